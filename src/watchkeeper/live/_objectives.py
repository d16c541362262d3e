"""The house's own objectives: counted by itself, kept beside its stores, told with their budgets.

The counts live in `objectives.json`, so that a restart forgets no broken promise. They are not part
of what the house concludes: losing the file loses the budgets' past and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from watchkeeper.config._units import duration
from watchkeeper.config._yaml import parse
from watchkeeper.errors import OutputError
from watchkeeper.health._burn_rate import Budget, Objective, Pair
from watchkeeper.model import Millis, canonical
from watchkeeper.service import Service
from watchkeeper.store.placed import put

log = structlog.get_logger("watchkeeper")

FILE = "objectives.json"
VERSION = 1
LOOK = 1.0  # seconds between two looks at the house's freshness
SAVE = Millis(60_000)
STALE = Millis(5_000)  # beyond a tick, after which what the house shows is no longer fresh


class Promises(NamedTuple):
    """What is promised, over which window, and what is told when it is broken."""

    window: int
    pairs: tuple[Pair, ...]
    objectives: tuple[Objective, ...]


def promises() -> Promises:
    """Return the objectives as they are shipped (`packs/house/objectives.yaml`)."""
    text = files("watchkeeper.packs").joinpath("house/objectives.yaml").read_text("utf-8")
    read = parse(text, "objectives.yaml").data()
    pairs = [
        Pair(one["severity"], _millis(one["long"]), _millis(one["short"]), one["factor"])
        for one in read["pairs"]
    ]
    objectives = [Objective(one["name"], one["target"], one["says"]) for one in read["objectives"]]
    return Promises(_millis(read["window"]), tuple(pairs), tuple(objectives))


class Kept:
    """The counts of every objective, in memory and in a file."""

    def __init__(self, folder: Path | None, promised: Promises | None = None) -> None:
        self.promised = promised or promises()
        self._path = folder / FILE if folder is not None else None
        self.budgets = {
            one.name: Budget(one.target, self.promised.window) for one in self.promised.objectives
        }

    def read(self) -> None:
        """Take up what the file holds; what cannot be read is told and begun anew."""
        if self._path is None or not self._path.exists():
            return
        try:
            found = json.loads(self._path.read_bytes())
            if found["version"] != VERSION:
                raise ValueError(f"version {found['version']}")
            for name, budget in self.budgets.items():
                if name in found["objectives"]:
                    budget.load(found["objectives"][name])
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("objectives_unreadable", error=f"{self._path}: {error!r}")

    def write(self) -> None:
        """Write the file anew, whole or not at all; a full disk leaves the last one."""
        if self._path is None:
            return
        dumped = {name: budget.dump() for name, budget in self.budgets.items()}
        with suppress(OutputError):
            put(self._path, canonical({"version": VERSION, "objectives": dumped}).encode())

    def facts(self, now: Millis) -> list[dict[str, Any]]:
        """Return how each objective stands, JSON-able."""
        return [self._facts(one, self.budgets[one.name], now) for one in self.promised.objectives]

    def _facts(self, one: Objective, budget: Budget, now: Millis) -> dict[str, Any]:
        windows = sorted({w for pair in self.promised.pairs for w in (pair.long, pair.short)})
        burning = budget.burning(now, self.promised.pairs)
        return {
            "name": one.name,
            "target": one.target,
            "says": one.says,
            "good": 1 - budget.share(now, self.promised.window),
            "remaining": budget.remaining(now),
            "burn": {shown(window): budget.burn(now, window) for window in windows},
            "burning": burning.severity if burning is not None else None,
        }


class Objectives:
    """Counts one house's events into its objectives."""

    def __init__(self, service: Service, folder: Path | None, clock: Callable[[], Millis]) -> None:
        self._service, self._clock = service, clock
        self.kept = Kept(folder)
        self._counted: dict[str, tuple[int, int]] = {}
        self._saved = clock()

    def run(self) -> None:
        """Look once in LOOK seconds, until the house stops."""
        self.kept.read()
        while not self._service.stop.wait(LOOK):
            self.look()
        self.look()
        self.kept.write()

    def look(self) -> None:
        """See how fresh the house is, and count what happened since the last look."""
        now, service = self._clock(), self._service
        promised = service.house.rulebook.tick + STALE
        if service.ready.is_set():  # before it, readiness tells
            fresh = not service.degraded and now - service.progress.tick <= promised
            service.witness.kept("freshness", well=fresh)
        self.count(now)
        if now - self._saved >= SAVE:
            self._saved = now
            self.kept.write()

    def count(self, now: Millis) -> None:
        """Take over what the witness has counted."""
        for name, budget in self.kept.budgets.items():
            events, bad = self.totals()[name]
            before = self._counted.get(name, (0, 0))
            self._counted[name] = (events, bad)
            budget.add(now, events - before[0], bad - before[1])

    def totals(self) -> Mapping[str, tuple[int, int]]:
        """Return events and bad events of each objective since the start."""
        witness = self._service.witness
        bad = {
            name: witness.bad[name] for name in self.kept.budgets
        }  # first: bad never exceeds all
        return {name: (witness.events[name], bad[name]) for name in self.kept.budgets}

    def facts(self) -> list[dict[str, Any]]:
        """Return how each objective stands, JSON-able."""
        return self.kept.facts(self._clock())


def shown(window: int) -> str:
    """Return milliseconds as people write them: 5m, 6h, 3d."""
    for unit, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m")):
        if window % unit == 0:
            return f"{window // unit}{name}"
    return f"{window}ms"


def _millis(text: str) -> int:
    found = duration(text)
    assert found is not None, text
    return int(found)
