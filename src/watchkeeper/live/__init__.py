"""What a running house shows: its findings for the page, its status, its metrics.

The page reads the ledger, as any report does. Only the newest samples come from memory, so that
signals can be drawn with their band; after a restart they fill up again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from watchkeeper import __version__
from watchkeeper.bulk import possible, versions
from watchkeeper.flags import flip
from watchkeeper.live._configured import Configured
from watchkeeper.live._historian import Historian
from watchkeeper.live._metrics import Told, exposed
from watchkeeper.live._objectives import Objectives
from watchkeeper.live._reporter import Reporter
from watchkeeper.live._shown import WINDOW, Shown
from watchkeeper.memory import Budget, held
from watchkeeper.model import REJECTS, Assessed, Millis, Offset
from watchkeeper.observe.settings import Exposed
from watchkeeper.reports import Facts, Findings, History, Schedule, gather
from watchkeeper.reports._words import rfc3339
from watchkeeper.results import HEALTH_FILE, health_rows
from watchkeeper.service import Service
from watchkeeper.shown import Filed, Made
from watchkeeper.sources import Source
from watchkeeper.store.reserve import NOTHING, Reserve
from watchkeeper.store.shelf import Shelf

COUNT_EVERY = Millis(60_000)
REJECTS_SHOWN = 50  # journal entries with rejects


class Live(Shown):
    """The view of one service that http shows.

    :param exposed: what `/metrics` tells.
    :param folder: of the stores; None: nothing is kept there. :param reserve: what is left free.
    """

    def __init__(
        self,
        service: Service,
        title: str,
        clock: Callable[[], Millis],
        *,
        exposed: Exposed | None = None,
        folder: Path | None = None,
        reserve: Reserve = NOTHING,
    ) -> None:
        super().__init__(service, title, clock)
        self._exposed, self._folder, self._reserve = exposed or Exposed(), folder, reserve
        self.objectives = Objectives(service, folder, clock)
        records = folder if folder is not None else Path(os.devnull)
        self.reporter = Reporter(service, Shelf(records / "reports"), self.labelled)
        self.historian = Historian(service, Shelf(records / "history"))
        self._given_up: tuple[Millis, int] | None = None  # orders, as counted when
        self._reload = (True, clock())  # how the last reading of the configuration went, and when
        self._configured = Configured()
        self._cached: tuple[Millis, Findings] | None = None
        self._lock = threading.Lock()

    def reloaded(self, well: bool, beyond: Sequence[str] = ()) -> None:
        """Remember how a reading of the configuration went.

        :param beyond: the fields that differ from the start's, and that only a restart takes up.
        """
        self._reload = (well, self._clock() if well else self._reload[1])
        self._stands(refused=not well, **({"restart_for": list(beyond)} if well else {}))

    def drifted(self, drift: str) -> None:
        """Remember how what is on the disk differs from what runs; empty when it does not."""
        self._stands(drift=drift)

    def fits(self, unfit: str) -> None:
        """Remember why the budget of memory is not what was asked for; empty when it is."""
        self._stands(memory=unfit)

    def _stands(self, **changed: Any) -> None:
        self._configured = replace(self._configured, **changed)
        self._configured.write(self._folder)

    def findings(self) -> Findings:
        """Return what is worth telling now; made once a tick."""
        mark = self.service.house.ledger.watermark()
        tick = mark.tick if mark is not None else Millis(0)
        with self._lock:
            if self._cached is None or self._cached[0] != tick:
                with self.service.witness.reporting():
                    self._cached = (tick, self._gathered(tick))
            return self._cached[1]

    def status(self) -> dict[str, Any]:
        """Return where the house stands, JSON-able."""
        service, ledger = self.service, self.service.house.ledger
        mark, counts = ledger.watermark(), ledger.counts()
        traffic, progress = service.intake.traffic, service.progress
        concluded = counts.scored + counts.duplicate + counts.late
        return {
            "version": __version__,
            "started": progress.started and rfc3339(progress.started),
            "ready": service.ready.is_set(),
            "rulebook": service.house.rulebook.digest,
            "restart_for": list(self._configured.restart_for),
            "journal": {
                "first": service.house.journal.first(),
                "head": service.house.journal.head(),
                "retention": service.cutter.held or "ok",
                "samples": service.journalled,
                "pending": max(0, service.journalled - concluded),
            },
            "watermark": None
            if mark is None
            else {"offset": mark.offset, "tick": rfc3339(mark.tick)},
            "now": rfc3339(self._clock()),
            "traffic": {
                "offered": traffic.offered,
                "accepted": traffic.accepted,
                "rejected": traffic.rejected,
                "shed": traffic.shed,
                "batches": traffic.batches,
                "attempts": progress.attempts,
            },
            "counts": {name: getattr(counts, name) for name in COUNTS},
            "receivers": _by_receiver(traffic.pushed),
            "waiting": dict(zip(("items", "bytes"), service.intake.waiting, strict=True)),
            "sources_waiting": service.intake.sources_waiting,
            "memory": _memory(service.intake.memory),
            "requests": {
                f"{receiver}: {outcome}": count
                for (receiver, outcome), count in sorted(traffic.requests.items())
            },
            "sources": {source.name: self._standing(source) for source in service.house.sources},
            "flags": self.flags(),
            "drift": self._configured.drift,
            "targets": {
                name: [one._asdict() for one in states()]
                for name, reader in sorted(service.readers().items())
                if (states := getattr(reader, "states", None)) is not None
            },
            "entities": len(self._current()),
            "objectives": self.objectives.facts(),
        }

    def flags(self) -> list[dict[str, Any]]:
        """Return every feature flag that switches something here, or was said to be on or off."""
        house, now = self.service.house, self.service.features.flags()
        defaults: dict[str, bool] = dict(house.switches.values())
        needed = {*house.rulebook.needs.values(), *(p.flag for p in house.rulebook.policies)}
        names = {*now.configured, *now.flipped, *defaults, *needed} - {""}
        return [
            {
                "flag": name,
                "on": self.service.features.ask(name, defaults.get(name, False)),
                "said_by": "flip"
                if name in now.flipped
                else "configuration"
                if name in now.configured
                else "default",
            }
            for name in sorted(names)
        ]

    def flip(self, name: str, on: bool, actor: str, reason: str) -> None:
        """Switch a feature flag; return when that is durable.

        :raises KeyError: no such flag switches anything here.
        :raises StoreError: it cannot be written down now.
        """
        if name not in {one["flag"] for one in self.flags()}:
            raise KeyError(name)
        self.service.features.tell(flip(name, on, actor, reason))

    def keep(self, schedules: Sequence[Schedule], history: History) -> None:
        """Make these reports from now on, and keep so much history."""
        self.reporter.schedules, self.historian.wanted = schedules, history

    def reports(self) -> list[Made]:
        """Return the scheduled reports that were made, by name, of each the newest first."""
        return self.reporter.made()

    def report(self, made: Made, filed: Filed) -> bytes | None:
        """Return one file of a report that was made; None when it is gone meanwhile."""
        return self.reporter.body(made, filed)

    def _standing(self, source: Source) -> str:
        switch = self.service.house.switches.get(source.name)
        if switch is not None and not self.service.features.ask(*switch):
            return f"off: flag {switch.flag}"
        return self.service.progress.failing.get(source.name, "ok")

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """Return the house's own metrics and their content type, as the client accepts them."""
        told = Told(
            self.service, self.objectives, self.status(), self._current(), self._reload,
            self._exposed, self.first(self._exposed.series), self._folder, self._reserve,
            self._orders_given_up(), self._clock(),
        )  # fmt: skip
        return exposed(told, accept)

    def checks(self) -> dict[str, str]:
        """Return each thing that readiness asks for: `ok`, or what is wrong with it."""
        service = self.service
        return {
            "recovered": "ok" if service.watching.is_set() else "recovering",
            "receivers": "ok" if service.ready.is_set() else service.warming.said or "opening",
            "stages": str(service.failure) if service.failure is not None else "ok",
            "disk": service.degraded or ("full" if service.intake.full else "ok"),
            "stopping": "stopping" if service.stop.is_set() else "ok",
        }

    def getting_ready(self) -> str:
        """Return what a first start still compiles; empty later."""
        return self.service.warming.said

    def ready(self) -> tuple[bool, str]:
        """Return whether everything is recovered and writable, and why not."""
        service = self.service
        if service.failure is not None:
            return False, str(service.failure)
        if service.stop.is_set():
            return False, "stopping"
        if service.degraded:
            return False, f"degraded: {service.degraded}"
        if service.intake.full:
            return False, "the disk is full"
        if service.ready.is_set():
            return True, "ready"
        return False, service.warming.said or "recovering"

    def _orders_given_up(self) -> int:
        """Return how many there are; counted once a minute, as that reads all receipts."""
        now = self._clock()
        with self._lock:
            if self._given_up is None or now - self._given_up[0] >= COUNT_EVERY:
                self._given_up = (now, self.service.house.ledger.given_up())
            return self._given_up[1]

    def _current(self) -> list[Assessed]:
        """Return the entities of which something is expected; what retired is history."""
        return sorted(self.fleet().entities, key=lambda one: one.entity)

    def _gathered(self, tick: Millis) -> Findings:
        house = self.service.house
        since = Millis(max(0, tick - WINDOW))
        histories = house.ledger.histories(since, tick)
        kept: list[Assessed] = []
        for one in self._current():
            kept += histories.get(one.entity) or [one]
        rejected = [
            entry.rejected
            for entry in house.journal.rejected(Offset(0), REJECTS_SHOWN, newest=True)
        ]
        counts = house.ledger.counts()
        facts = Facts(
            title=self._title,
            versions=versions(house.rulebook),
            inputs=(),
            counts=counts,
            offered=counts.accepted + counts.rejected,
            since=min((Millis(one.time) for one in kept), default=since),
            until=tick,
            digest=house.ledger.head().hash,
            problems=tuple(sorted(self.service.progress.failing.values())),
            possible=possible(house.rulebook),
        )
        return gather(
            health_rows(kept) if kept else HEALTH_FILE.empty_table(),
            self.recent.read,
            house.ledger.decisions(),
            pa.Table.from_batches(rejected, REJECTS),
            facts,
        )


def _memory(budget: Budget) -> dict[str, Any]:
    return {
        "held": held(),
        "budget": budget.most,
        "allowed": budget.allowed.size,
        "allowed_by": budget.allowed.by,
        "short": budget.short,
    }


def _by_receiver(pushed: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Return samples of each receiver by outcome: offered = accepted + rejected + shed."""
    found: dict[str, dict[str, int]] = {}
    for (receiver, outcome), count in sorted(pushed.items()):
        found.setdefault(receiver, {})[outcome] = count
    return found


COUNTS = ("accepted", "rejected", "scored", "duplicate", "late")
