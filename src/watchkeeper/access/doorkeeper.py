"""The doorkeeper: from what somebody shows to who he is, and what of it is remembered.

A credential that does not hold is never passed over in favour of a weaker one. All that do not
hold are told the same, in about the same time: unknown, wrong, expired and revoked alike.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable
from dataclasses import dataclass

from watchkeeper.access import ANYONE, ANYONE_HERE, ROLES, Asker, Role, Scope, passwords, tokens
from watchkeeper.access.accounts import Accounts, Event
from watchkeeper.access.audit import Audit
from watchkeeper.access.openid import Provider
from watchkeeper.access.sessions import Backoff, Session, Sessions, network
from watchkeeper.access.settings import Access, OpenId
from watchkeeper.errors import (
    AccessError,
    Forbidden,
    StoreError,
    TooManyFailures,
    Unauthenticated,
)
from watchkeeper.model import Millis, canonical

NOT_KNOWN = "this credential does not hold"
USED_EVERY = Millis(60_000)  # how exactly we know when a token was last used
NAME_MAX = 64
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody brought along.

    :param authorization: that header; empty without. :param cookie: of a session.
    :param certificate: the common name of a certificate that the connection proved.
    :param address: where he comes from.
    """

    authorization: str = ""
    cookie: str = ""
    certificate: str = ""
    address: str = ""


class Doorkeeper:
    """Knows everybody. Any thread may ask.

    :param local: whether this house listens on loopback only.
    """

    def __init__(
        self,
        settings: Access,
        accounts: Accounts,
        audit: Audit,
        clock: Callable[[], Millis],
        *,
        local: bool,
        openid: OpenId | None = None,
    ) -> None:
        self.settings, self.accounts, self.audit, self.clock = settings, accounts, audit, clock
        self._stranger = ANYONE_HERE if local and settings.anonymous == "local" else ANYONE
        self._sessions = Sessions(
            Millis(int(settings.session * 1000)), Millis(int(settings.idle * 1000))
        )
        self._backoff = Backoff()
        self._provider = Provider(openid) if openid is not None and openid.issuer else None
        self._used: dict[str, Millis] = {}
        self._lock = threading.Lock()

    def asker(self, shown: Shown) -> Asker:
        """Return who this is.

        :raises Unauthenticated: what he showed does not hold.
        """
        if shown.authorization:
            return self._bearer(_credential(shown.authorization))
        if shown.cookie:
            asker = self._signed_in(shown.cookie)
            if asker is not None:
                return asker
        if shown.certificate:
            return self._certified(shown.certificate)
        return self._stranger

    def admit(self, shown: Shown, scope: Scope, action: str) -> Asker:
        """Return who this is, when he may; write down when he may not.

        :raises Unauthenticated: what he showed does not hold, or he showed nothing.
        :raises Forbidden: this was not granted to him.
        """
        try:
            asker = self.asker(shown)
        except Unauthenticated:
            self.audit.failed(Event(self.clock(), "anyone", shown.address, action, "refused"))
            raise
        refusal = not_granted(asker, scope)
        if isinstance(refusal, Forbidden):
            self.audit.failed(Event(self.clock(), asker.name, shown.address, action, "denied"))
        if refusal is not None:
            raise refusal
        return asker

    def sign_in(self, name: str, password: str, address: str, before: str = "") -> str:
        """Return the cookie of a new session.

        :param before: the cookie that the browser had; its session ends.
        :raises Unauthenticated: no such person, or another password.
        :raises TooManyFailures: of this person or this address; nothing was tried.
        """
        now, name = self.clock(), name[:NAME_MAX]
        keys = (f"name {name}", f"address {network(address)}")
        wait = self._backoff.wait(keys, now)
        if wait > 0:
            raise TooManyFailures("too many failed attempts", retry_after=wait)
        person = self.accounts.book().people.get(name)
        right = passwords.holds(person.password if person else None, password)
        if person is None or not right:
            self._backoff.fail(keys, now)
            detail = canonical({"name": name.encode("utf-8", "replace").decode()})
            self.audit.failed(Event(now, "anyone", address, "sign_in", "refused", detail))
            raise Unauthenticated(NOT_KNOWN)
        self.audit.record(Event(now, f"person:{name}", address, "sign_in", "done"))
        return self._sessions.begin(name, now, before)[0]

    def sign_out(self, cookie: str, asker: Asker, address: str) -> None:
        """End the session of a cookie."""
        self._sessions.end(cookie)
        self.audit.record(Event(self.clock(), asker.name, address, "sign_out", "done"))

    def round(self) -> None:
        """Do what need not be done at once: link what the command line did, note what was used."""
        self.audit.link()
        with self._lock:
            used, self._used = self._used, {}
        known = self.accounts.book().tokens
        fresh = {
            id: at
            for id, at in used.items()
            if id in known and at - (known[id].used or 0) >= USED_EVERY
        }
        if fresh:
            self.accounts.used(fresh)

    def _bearer(self, text: str) -> Asker:
        if self._provider is not None and text.count(".") == 2:
            return self._provider.asker(text, self.clock())
        now, id = self.clock(), tokens.id_of(text)
        token = self.accounts.book().tokens.get(id)
        offered = tokens.digest(text)
        right = tokens.same(token.digest if token else _NOBODY, offered)
        former = tokens.same(token.before if token else _NOBODY, offered)
        if token is None or not (right or (former and now < token.before_until)):
            raise Unauthenticated(NOT_KNOWN)
        if token.state(now) != "active":
            raise Unauthenticated(NOT_KNOWN)
        self._used[id] = now
        return Asker(f"token:{id}", token.scopes, token.role, "", token.name)

    def _signed_in(self, cookie: str) -> Asker | None:
        """Return whose session this is; None when it is over, which is nobody's fault."""
        session = self._sessions.find(cookie, self.clock())
        person = self._person(session) if session is not None else None
        if session is None or person is None:
            return None
        return Asker(f"person:{person[0]}", ROLES[person[1]], person[1], session.csrf, person[0])

    def _person(self, session: Session) -> tuple[str, Role] | None:
        person = self.accounts.book().people.get(session.person)
        if person is None or person.changed > session.begun:
            return None
        return person.name, person.role

    def _certified(self, name: str) -> Asker:
        role = self.settings.certificates.get(name) or self.settings.certificates.get("*")
        if role is None:
            raise Unauthenticated(NOT_KNOWN)
        return Asker(f"certificate:{name}", ROLES[Role(role)], role, "", name)

    def known(self) -> bool:
        """Return whether there is any way for somebody to be known."""
        book = self.accounts.book()
        active = any(one.state(self.clock()) == "active" for one in book.tokens.values())
        return bool(
            book.people or active or self.settings.certificates or self._provider is not None
        )

    def peopled(self) -> bool:
        """Return whether anybody has a password to sign in with."""
        return bool(self.accounts.book().people)

    def grants(self, asker: Asker, role: Role) -> bool:
        """Return whether this asker may give away a role: nobody gives more than he has."""
        return ROLES[role] <= asker.scopes | {Scope.PUBLIC}


def not_granted(asker: Asker, scope: Scope) -> AccessError | None:
    """Return why this asker is not let in; None when he is."""
    if asker.may(scope):
        return None
    if asker.name == ANYONE.name:
        return Unauthenticated("sign in, or bring a token")
    return Forbidden(f"{scope} is not granted to the role {asker.role}")


def _credential(header: str) -> str:
    """Return the token in an Authorization header: Bearer, Influx' Token, or Basic's password."""
    kind, _, rest = header.partition(" ")
    rest = rest.strip()
    if kind.lower() in ("bearer", "token"):
        return rest
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def quietly(round: Callable[[], None], stop: threading.Event, every: float) -> None:
    """Make rounds until stopped; a store that cannot be written now is tried again."""
    while not stop.wait(every):
        try:
            round()
        except StoreError:
            continue
