"""The gate: who asks, whether the route's scope is granted, and what of it is audited.

Unsafe requests that a browser sends by itself (with a cookie or a certificate) must come from a
page of ours; with a session, they must also bring the token that only our pages know.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive
from starlette.types import Scope as Connection

from watchkeeper.access import ANYONE_HERE, Asker, Scope
from watchkeeper.access.accounts import Event
from watchkeeper.access.doorkeeper import Doorkeeper, Shown, not_granted
from watchkeeper.errors import Forbidden, Unauthenticated

SAFE_METHODS = ("GET", "HEAD")
COOKIE, COOKIE_TLS = "wk_session", "__Host-wk_session"
CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf_token"
FORM_MAX = 64 << 10
PEER = "watchkeeper.peer"  # the common name of the client's certificate, put in by `server`
ENDLESS = "watchkeeper.endless"  # set on a request whose answer lasts until somebody leaves
HEADERS = "watchkeeper.headers"  # of a request that has been looked at
RAISED = "watchkeeper.raised"  # why a request was refused before its route was looked for
FORM = "application/x-www-form-urlencoded"


class Gate(Protocol):
    """Lets a request through to its answer, or raises why not."""

    async def admit(self, connection: Connection, receive: Receive, scope: Scope) -> Receive:
        """Return what the rest of the request comes from; who asks is in `connection["asker"]`.

        :raises AccessError: it is not let in.
        """


class Open:
    """The gate of a house that knows nobody: on loopback everybody reads and pushes."""

    async def admit(self, connection: Connection, receive: Receive, scope: Scope) -> Receive:
        """Let in whoever asks for what is granted on loopback."""
        connection["asker"] = ANYONE_HERE
        if not ANYONE_HERE.may(scope):
            raise Unauthenticated("this house knows nobody who may")
        return receive


class Guarded:
    """The gate of a house with a doorkeeper."""

    def __init__(self, keeper: Doorkeeper) -> None:
        self.keeper = keeper

    async def admit(self, connection: Connection, receive: Receive, scope: Scope) -> Receive:
        """Let in who may, and write down who was not, and who did something."""
        headers = headers_of(connection)
        shown = shown_by(connection, headers)
        try:
            asker = await self._asker(shown)
        except Unauthenticated:
            await self._failed(connection, "anyone", "refused")
            raise
        connection["asker"] = asker
        # Somebody could be known here, and this one is not: pages show him where to sign in.
        connection["stranger"] = lambda: asker.name == ANYONE_HERE.name and self.keeper.peopled()
        connection["still"] = lambda: self._still(shown, scope)
        unsafe = connection["method"] not in SAFE_METHODS
        if unsafe and not shown.authorization:
            receive = await self._own_page(connection, receive, headers, asker)
        refusal = not_granted(asker, scope)
        if isinstance(refusal, Forbidden):
            await self._failed(connection, asker.name, "denied")
        if refusal is not None:
            raise refusal
        if unsafe and scope not in (Scope.TELEMETRY_WRITE, Scope.PUBLIC):
            event = self._event(connection, asker.name, "allowed")
            await run_in_threadpool(self.keeper.audit.record, event)
        return receive

    def _still(self, shown: Shown, scope: Scope) -> bool:
        """Return whether whoever was let in would be now; for answers that last."""
        try:
            return self.keeper.asker(shown).may(scope)
        except Unauthenticated:
            return False

    async def _asker(self, shown: Shown) -> Asker:
        if shown.authorization.count(".") == 2:  # its signature is work, its keys may be far away
            return await run_in_threadpool(self.keeper.asker, shown)
        return self.keeper.asker(shown)

    async def _failed(self, connection: Connection, who: str, outcome: str) -> None:
        event = self._event(connection, who, outcome)
        await run_in_threadpool(self.keeper.audit.failed, event)

    def _event(self, connection: Connection, who: str, outcome: str) -> Event:
        path = connection["path"].encode("utf-8", "replace").decode()[:200]
        action = f"{connection['method']} {path}"
        return Event(self.keeper.clock(), who, address_of(connection), action, outcome)

    async def _own_page(
        self, connection: Connection, receive: Receive, headers: Mapping[str, str], asker: Asker
    ) -> Receive:
        """Return if a page of ours sent this, or no browser did.

        :raises Forbidden: it may have been sent by a page of a stranger.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        ours = origin is not None and urlsplit(origin).netloc == headers.get("host", "")
        if not ours and (origin is not None or site not in (None, "none", "same-origin")):
            await self._failed(connection, asker.name, "denied")
            raise Forbidden("this was sent by a page of another site")
        if not asker.csrf:
            return receive
        given = headers.get(CSRF_HEADER, "")
        if not given and headers.get("content-type", "").partition(";")[0].strip() == FORM:
            parts = await _form(receive)
            body = b"".join(part.get("body", b"") for part in parts)
            given = parse_qs(body.decode("latin-1")).get(CSRF_FIELD, [""])[0]
            receive = _again(parts, receive)
        ours = ours or site == "same-origin"
        if not (ours and hmac.compare_digest(given.encode(), asker.csrf.encode())):
            await self._failed(connection, asker.name, "denied")
            raise Forbidden("this was not sent by a page of ours; load the page again")
        return receive


def headers_of(connection: Connection) -> Mapping[str, str]:
    """Return the headers of a request, names in lower case; of equal names the first counts."""
    if HEADERS not in connection:  # several ask, and a request is read once
        told = reversed(connection["headers"])
        connection[HEADERS] = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in told
        }
    headers: Mapping[str, str] = connection[HEADERS]
    return headers


def shown_by(connection: Connection, headers: Mapping[str, str]) -> Shown:
    """Return what a request shows of who sent it."""
    return Shown(
        headers.get("authorization", ""),
        cookie_of(connection, headers),
        connection.get(PEER, ""),
        address_of(connection),
    )


def cookie_of(connection: Connection, headers: Mapping[str, str]) -> str:
    """Return the session's cookie; empty without."""
    wanted = cookie_name(connection)
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted:
            return value
    return ""


def cookie_name(connection: Connection) -> str:
    """Return the cookie's name; under TLS one that only this host can set."""
    return COOKIE_TLS if connection.get("scheme") == "https" else COOKIE


def address_of(connection: Connection) -> str:
    """Return where a request comes from."""
    client = connection.get("client")
    return str(client[0]) if client else ""


async def _form(receive: Receive) -> list[Message]:
    """Read a small body whole, to look into it."""
    parts: list[Message] = []
    size = 0
    while True:
        message = await receive()
        parts.append(message)
        size += len(message.get("body", b""))
        if size > FORM_MAX:
            raise Forbidden(f"a form has at most {FORM_MAX} bytes")
        if message["type"] != "http.request" or not message.get("more_body", False):
            return parts


def _again(parts: Sequence[Message], receive: Receive) -> Receive:
    """Return what gives the same messages once more, and then what comes after."""
    waiting = list(parts)

    async def give() -> Message:
        return waiting.pop(0) if waiting else await receive()

    return give
