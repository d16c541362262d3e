"""The accounts of one house: people, tokens and the log of events, in one file of the data folder.

The service and the command line share the file: each opens it for a change and closes it again, so
that a token can be made and revoked while the service runs. A change and its event are one
transaction. Whoever reads sees a change at once, whoever made it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from watchkeeper.access import ROLES, Role, Scope
from watchkeeper.errors import StoreLocked
from watchkeeper.model import Millis
from watchkeeper.store.file import StoreFile
from watchkeeper.store.layout import Layout, queries

SQL = queries(Path(__file__).with_suffix(".sql"))
LAYOUT = Layout("accounts", application=0x574B4143, version=1, schema=SQL["schema"])  # "WKAC"
FILE = "accounts.sqlite"
PATIENCE = 5.0  # seconds in which another's change is over
NEWEST = 1 << 62


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signs in.

    :param changed: when the password was set; sessions that were begun before end.
    """

    name: str
    role: Role
    password: str
    created: Millis
    changed: Millis

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the role grants."""
        return ROLES[self.role]


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token.

    :param before: the digest of the secret before this one, which holds until `before_until`.
    """

    id: str
    name: str
    role: Role
    maker: str
    digest: bytes
    before: bytes
    before_until: Millis
    created: Millis
    expires: Millis | None
    used: Millis | None
    revoked: Millis | None

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the role grants."""
        return ROLES[self.role]

    def state(self, now: Millis) -> str:
        """Return `active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"

    def facts(self, now: Millis, spelled: Callable[[Millis], str]) -> dict[str, Any]:
        """Return what may be known of it, JSON-able, its times as `spelled`."""
        times = {"created": self.created, "expires": self.expires, "last_used": self.used}
        return {
            "id": self.id,
            "name": self.name,
            "role": str(self.role),
            "maker": self.maker,
            "state": self.state(now),
            **{name: None if time is None else spelled(time) for name, time in times.items()},
        }


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was asked, and what became of it.

    :param who: an Asker's name. :param origin: an address, or `command line`.
    :param action: `token.create`, `sign_in`, `POST /api/v1/quarantine/replay`, …
    :param outcome: `allowed`, `done`, `refused` (nobody we know) or `denied` (known, not granted).
    :param detail: canonical JSON. :param link: its link in the ledger's chain; None: not yet.
    """

    at: Millis
    who: str
    origin: str
    action: str
    outcome: str
    detail: str = "{}"
    number: int = 0
    link: int | None = None

    def facts(self, spelled: Callable[[Millis], str]) -> dict[str, Any]:
        """Return it JSON-able, its time as `spelled`."""
        return {
            "number": self.number,
            "time": spelled(self.at),
            "who": self.who,
            "origin": self.origin,
            "action": self.action,
            "outcome": self.outcome,
            "detail": json.loads(self.detail),
            "link": self.link,
        }


@dataclass(frozen=True, slots=True)
class Book:
    """Everybody there is, at one moment."""

    people: Mapping[str, Person]
    tokens: Mapping[str, Token]


class Accounts:
    """The accounts of a data folder; made when missing. Any thread may use it.

    :raises StoreError: the disk failed, or the file is none of ours.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        if not self._path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        if self._path.stat().st_size == 0:
            with self._changing():
                pass
        self._file = StoreFile(self._path, LAYOUT, read_only=True)
        self._lock = threading.Lock()
        self._seen, self._book = -1, Book({}, {})

    def book(self) -> Book:
        """Return everybody; the same object until something changed."""
        with self._lock:
            ((seen,),) = self._file.query("pragma data_version")
            if seen != self._seen:
                people = [_person(row) for row in self._file.query(SQL["people"])]
                keys = [_token(row) for row in self._file.query(SQL["tokens"])]
                self._book = Book({one.name: one for one in people}, {one.id: one for one in keys})
                self._seen = seen
            return self._book

    def put_person(self, person: Person, event: Event) -> int:
        """Add or replace somebody; return the event's number."""
        return self._change(event, (SQL["put_person"], astuple(person)))

    def drop_person(self, name: str, event: Event) -> int:
        """Remove somebody; return the event's number."""
        return self._change(event, (SQL["drop_person"], (name,)))

    def put_token(self, token: Token, event: Event) -> int:
        """Add or replace a token; return the event's number."""
        return self._change(event, (SQL["put_token"], astuple(token)))

    def used(self, tokens: Mapping[str, Millis]) -> None:
        """Note when tokens were last used."""
        with self._changing() as db:
            db.executemany(SQL["use_token"], [(at, id) for id, at in tokens.items()])

    def record(self, event: Event) -> int:
        """Add an event, durably; return its number."""
        return self._change(event)

    def link(self, number: int, seq: int) -> None:
        """Note under which link of the ledger an event stands."""
        with self._changing() as db:
            db.execute(SQL["link_event"], (seq, number))

    def unlink(self) -> None:
        """Forget all links: the ledger was made anew, and the next start tells it every event."""
        with self._changing() as db:
            db.execute(SQL["unlink_events"])

    def unlinked(self, limit: int = 1000) -> list[Event]:
        """Return the oldest events that are not in the ledger's chain yet."""
        return [_event(row) for row in self._file.query(SQL["unlinked"], (limit,))]

    def newest_link(self) -> int:
        """Return the last link of the ledger that holds one of our events; 0 when none does."""
        return int(self._file.query(SQL["newest_link"])[0][0])

    def events(
        self,
        limit: int,
        before: int = NEWEST,
        who: str = "",
        action: str = "",
        outcome: str = "",
        since: int = 0,
    ) -> list[Event]:
        """Return events, newest first; what is empty leaves nothing out.

        :param before: only those with a smaller number.
        """
        rows = self._file.query(SQL["events"], (before, who, action, outcome, since, limit))
        return [_event(row) for row in rows]

    def close(self) -> None:
        """Release the file. Safe to call twice."""
        self._file.close()

    def _change(self, event: Event, *changes: tuple[str, Sequence[Any]]) -> int:
        with self._changing() as db:
            for sql, row in changes:
                db.execute(sql, row)
            facts = (event.at, event.who, event.origin, event.action, event.outcome, event.detail)
            return int(db.execute(SQL["add_event"], facts).fetchall()[0][0])

    @contextmanager
    def _changing(self) -> Iterator[Any]:
        """Own the file for one transaction; another's is waited for."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                file = StoreFile(self._path, LAYOUT)
                break
            except StoreLocked:
                if time.monotonic() > end:
                    raise
                time.sleep(0.005)
        try:
            with file.transaction() as db:
                yield db
        finally:
            file.close()


def _person(row: tuple[Any, ...]) -> Person:
    name, role, password, created, changed = row
    return Person(name, Role(role), password, created, changed)


def _token(row: tuple[Any, ...]) -> Token:
    id, name, role, *rest = row
    return Token(id, name, Role(role), *rest)


def _event(row: tuple[Any, ...]) -> Event:
    number, at, who, origin, action, outcome, detail, link = row
    return Event(at, who, origin, action, outcome, detail, number, link)
