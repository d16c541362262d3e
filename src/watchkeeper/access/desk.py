"""The desk where accounts are made and changed, from the command line and over the API alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from watchkeeper.access import PEOPLE, Role, passwords, tokens
from watchkeeper.access.accounts import Accounts, Event, Person, Token
from watchkeeper.errors import AccessError
from watchkeeper.model import Millis, canonical
from watchkeeper.reports._words import rfc3339

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
NAME_HINT = "1 to 64 letters, digits and . _ @ - , not beginning with one of those"
LIFE_MAX = Millis(10 * 366 * 86_400_000)


class Desk:
    """One person's dealings with the accounts.

    :param who: an Asker's name. :param origin: where he is: an address, or `command line`.
    """

    def __init__(self, accounts: Accounts, who: str, origin: str) -> None:
        self._accounts, self._who, self._origin = accounts, who, origin

    def create_token(
        self, name: str, role: Role, environment: str, now: Millis, life: Millis | None
    ) -> tuple[Token, str]:
        """Return a new token and its text, which is not kept anywhere.

        :param life: ms until it expires; None: never.
        :raises AccessError: the name or the life is not as it must be.
        """
        _check_name(name)
        if life is not None and not 0 < life <= LIFE_MAX:
            raise AccessError("a token lives for ten years at most")
        minted = tokens.mint(environment)
        token = Token(
            minted.id, name, role, self._who, minted.digest, b"", Millis(0), now,
            Millis(now + life) if life is not None else None, None, None,
        )  # fmt: skip
        told = {
            "id": token.id,
            "name": name,
            "role": role,
            "expires": rfc3339(token.expires) if token.expires else None,
        }
        self._accounts.put_token(token, self._event(now, "token.create", told))
        return token, minted.text

    def revoke_token(self, id: str, now: Millis) -> Token:
        """End a token at once; again changes nothing.

        :raises AccessError: there is none of that id.
        """
        token = self._token(id)
        if token.revoked is None:
            token = replace(token, revoked=now)
            self._accounts.put_token(token, self._event(now, "token.revoke", {"id": id}))
        return token

    def rotate_token(
        self, id: str, environment: str, now: Millis, grace: Millis
    ) -> tuple[Token, str]:
        """Give a token another secret; return it and its text. It lives as long as it did at first.

        :param grace: ms for which the secret before holds, too.
        :raises AccessError: there is none of that id, or it is over.
        """
        token = self._token(id)
        if token.state(now) != "active":
            raise AccessError(f"token {id} is {token.state(now)}", hint="create another one")
        minted = tokens.mint(environment, id)
        life = None if token.expires is None else token.expires - token.created
        changed = replace(
            token,
            digest=minted.digest,
            before=token.digest,
            before_until=Millis(now + grace),
            created=now,
            expires=None if life is None else Millis(now + life),
        )
        told = {"id": id, "grace_ms": grace}
        self._accounts.put_token(changed, self._event(now, "token.rotate", told))
        return changed, minted.text

    def add_person(self, name: str, role: Role, password: str, now: Millis) -> Person:
        """Add somebody who can sign in.

        :raises AccessError: name, role or password is not as it must be, or the name is taken.
        """
        _check_name(name)
        _check_role(role)
        if name in self._accounts.book().people:
            raise AccessError(
                f"there is a user {name!r} already", hint="`user passwd`, `user role`"
            )
        person = Person(name, role, passwords.hashed(password), now, now)
        event = self._event(now, "user.add", {"name": name, "role": role})
        self._accounts.put_person(person, event)
        return person

    def set_password(self, name: str, password: str, now: Millis) -> None:
        """Change a password; whoever is signed in under that name is no longer.

        :raises AccessError: there is no such person, or the password is not as it must be.
        """
        person = replace(self._person(name), password=passwords.hashed(password), changed=now)
        self._accounts.put_person(person, self._event(now, "user.passwd", {"name": name}))

    def set_role(self, name: str, role: Role, now: Millis) -> None:
        """Change a role; it holds at once for whoever is signed in under that name.

        :raises AccessError: there is no such person, or it is no role for people.
        """
        _check_role(role)
        person = self._person(name)
        told = {"name": name, "role": role, "before": person.role}
        event = self._event(now, "user.role", told)
        self._accounts.put_person(replace(person, role=role), event)

    def remove_person(self, name: str, now: Millis) -> None:
        """Remove somebody; whoever is signed in under that name is no longer.

        :raises AccessError: there is no such person.
        """
        self._person(name)
        self._accounts.drop_person(name, self._event(now, "user.remove", {"name": name}))

    def _token(self, id: str) -> Token:
        token = self._accounts.book().tokens.get(id)
        if token is None:
            raise AccessError(f"no token {id!r}", hint="`watchkeeper token list` has their ids")
        return token

    def _person(self, name: str) -> Person:
        person = self._accounts.book().people.get(name)
        if person is None:
            raise AccessError(f"no user {name!r}", hint="`watchkeeper user list` has their names")
        return person

    def _event(self, now: Millis, action: str, told: Mapping[str, object]) -> Event:
        return Event(now, self._who, self._origin, action, "done", canonical(dict(told)))


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise AccessError(f"{name!r} cannot be a name", hint=NAME_HINT)


def _check_role(role: Role) -> None:
    if role not in PEOPLE:
        raise AccessError(f"{role} is no role for people", hint=f"one of {', '.join(PEOPLE)}")
