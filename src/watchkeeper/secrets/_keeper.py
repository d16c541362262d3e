"""Hands out secrets, and reads them again while they are in use.

One keeper lives as long as the process. A configuration that is read again asks it for the same
secrets and gets the same objects, so a source whose configuration did not change goes on.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from watchkeeper.errors import SecretError
from watchkeeper.secret import Secret

if TYPE_CHECKING:
    from watchkeeper.secrets import Door, Store

ROUND = 30.0  # seconds between two looks at what is due
STAND_IN = "https://stand-in-for-a-secret.invalid"  # passes for a URL too


class Reference(NamedTuple):
    """Which secret: the name of its store, where in it, and which part of that."""

    store: str
    path: str
    key: str = ""


class Keeper:
    """Every store that was opened, and every secret in use.

    :param clock: seconds that only grow.
    :param blind: ask nobody; every secret is a stand-in. For looking at a configuration where
        what it needs is not at hand.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, blind: bool = False) -> None:
        self._clock, self._blind = clock, blind
        self._stores: dict[str, Store] = {}
        self._doors: dict[str, Door] = {}
        self._used: weakref.WeakValueDictionary[Reference, Secret] = weakref.WeakValueDictionary()
        self._due: dict[Reference, float] = {}
        self._lock = threading.RLock()
        self._asking: list[str] = []
        self.failing: dict[str, str] = {}  # what could not be renewed, and why

    def adopt(self, stores: Mapping[str, Store]) -> None:
        """Go on with these stores; one that is gone or was changed is closed."""
        with self._lock:
            for name in [name for name in self._doors if self._stores[name] != stores.get(name)]:
                self._doors.pop(name).close()
            self._stores = dict(stores)

    def add(self, name: str, store: Store) -> None:
        """Go on with one more store, or with another one of this name."""
        self.adopt({**self._stores, name: store})

    @property
    def stores(self) -> Mapping[str, Store]:
        """The stores it goes to, by name."""
        return dict(self._stores)

    def secret(self, reference: Reference) -> Secret:
        """Return a secret; it is read when it is first needed."""
        with self._lock:
            found = self._used.get(reference)
            if found is None:
                found = self._used[reference] = Secret(lambda: self._fetched(reference))
            return found

    def round(self, *, all_of_them: bool = False) -> dict[str, str]:
        """Read again what is due, keep what lets us in; return what fails that did not before."""
        with self._lock:
            names, used = list(self._doors), dict(self._used)
        failing: dict[str, str] = {}
        for name in names:
            try:
                with self._lock:
                    if name in self._doors:
                        self._doors[name].keep()
            except SecretError as error:
                failing[name] = str(error)
        for reference, secret in used.items():
            if all_of_them or self._clock() >= self._due.get(reference, 0.0):
                try:
                    secret.renew()
                except SecretError as error:
                    failing[f"{reference.store}: {reference.path}"] = str(error)
        new = {what: why for what, why in failing.items() if self.failing.get(what) != why}
        self.failing = failing
        with self._lock:
            self._due = {one: at for one, at in self._due.items() if one in self._used}
        return new

    def close(self) -> None:
        """Give back what lets us in."""
        with self._lock:
            for door in self._doors.values():
                door.close()
            self._doors.clear()

    def _fetched(self, reference: Reference) -> str:
        if self._blind:
            return STAND_IN
        name = reference.store
        with self._lock:
            store = self._stores.get(name)
            if store is None:
                raise SecretError(f"no secret store {name!r} is configured any more")
            if name in self._asking:
                raise SecretError(
                    f"secret store {name!r}: what opens it is kept in itself",
                    hint="keep that in a file or the environment",
                )
            self._asking.append(name)
            try:
                if name not in self._doors:
                    self._doors[name] = store.open()
                text = self._doors[name].fetch(reference.path, reference.key)
            finally:
                self._asking.pop()
            if not text:
                raise SecretError(f"{name}: {reference.path!r} is empty")
            self._due[reference] = self._clock() + store.refresh
            return text
