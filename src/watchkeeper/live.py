"""What a running house shows: its findings for the page, its status, its metrics.

The page reads the ledger, as any report does. Only the newest samples come from memory, so that
signals can be drawn with their band; after a restart they fill up again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from watchkeeper import __version__
from watchkeeper.bulk import versions
from watchkeeper.core import Observed
from watchkeeper.core.state import KEEP_EVERY, Series, State
from watchkeeper.model import REJECTS, Assessed, Millis, Offset, pick
from watchkeeper.reports import Facts, Findings, gather
from watchkeeper.reports._words import rfc3339
from watchkeeper.results import HEALTH_FILE, SCORES_FILE, Names, health_rows
from watchkeeper.service import Service

WINDOW = Millis(3 * 3_600_000)  # of health shown on the page
RECENT = 400_000  # samples kept in memory for plots
REJECTS_SHOWN = 50  # journal entries with rejects
LOOK_BACK = 1_000  # newest journal entries looked through for them


class Recent:
    """The newest scored samples, for plots. Names are looked up only when somebody looks."""

    def __init__(self) -> None:
        self._parts: deque[Observed] = deque()
        self._series = Series()
        self._rows = 0
        self._lock = threading.Lock()

    def add(self, observed: Observed, state: State) -> None:
        """Keep what was just observed; let the oldest go."""
        if len(observed.samples.row) == 0:
            return
        with self._lock:
            self._series = state.series
            self._parts.append(observed)
            self._rows += len(observed.samples.row)
            while self._rows > RECENT and len(self._parts) > 1:
                self._rows -= len(self._parts.popleft().samples.row)

    def read(self, chosen: Sequence[tuple[str, str, str]]) -> pa.Table:
        """Return the samples kept of chosen (entity, metric, attributes)."""
        with self._lock:
            parts, series = list(self._parts), self._series
        wanted = set(chosen)
        numbers = [
            number
            for number, (metric, attributes) in enumerate(
                zip(series.metrics, series.attributes, strict=False)
            )
            if number < len(series.entity)
            and (series.entities[series.entity[number]], metric, attributes) in wanted
        ]
        kept = [
            replace(one, samples=pick(one.samples, mine), scores=pick(one.scores, mine))
            for one in parts
            if (mine := np.isin(one.samples.row, numbers)).any()
        ]
        names = Names(series)
        return pa.Table.from_batches([names.scores(one) for one in kept], SCORES_FILE)


class Live:
    """The view of one service that http shows."""

    def __init__(self, service: Service, title: str, clock: Callable[[], Millis]) -> None:
        self._service, self._title, self._clock = service, title, clock
        self.recent = Recent()
        self._cached: tuple[Millis, Findings] | None = None
        self._lock = threading.Lock()

    def findings(self) -> Findings:
        """Return what is worth telling now; made once a tick."""
        mark = self._service.house.ledger.watermark()
        tick = mark.tick if mark is not None else Millis(0)
        with self._lock:
            if self._cached is None or self._cached[0] != tick:
                self._cached = (tick, self._gathered(tick))
            return self._cached[1]

    def status(self) -> dict[str, Any]:
        """Return where the house stands, JSON-able."""
        service, ledger = self._service, self._service.house.ledger
        mark = ledger.watermark()
        traffic = service.traffic
        return {
            "version": __version__,
            "ready": service.ready.is_set(),
            "rulebook": service.house.rulebook.digest,
            "journal": {"head": service.house.journal.head()},
            "watermark": None
            if mark is None
            else {"offset": mark.offset, "tick": rfc3339(mark.tick)},
            "now": rfc3339(self._clock()),
            "traffic": {
                "offered": traffic.offered,
                "accepted": traffic.accepted,
                "rejected": traffic.rejected,
                "batches": traffic.batches,
                "attempts": traffic.attempts,
            },
            "counts": {name: getattr(ledger.counts(), name) for name in COUNTS},
            "sources": {
                source.name: traffic.failing.get(source.name, "ok")
                for source in service.house.sources
            },
            "entities": len(self._current()),
        }

    def metrics(self) -> bytes:
        """Return the Prometheus text exposition of the house's own metrics."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def ready(self) -> tuple[bool, str]:
        """Return whether everything is recovered and writable, and why not."""
        service = self._service
        if service.failure is not None:
            return False, str(service.failure)
        if service.stop.is_set():
            return False, "stopping"
        return (True, "ready") if service.ready.is_set() else (False, "recovering")

    def collect(self) -> Sequence[Metric]:
        """Return metric families; prometheus_client calls this."""
        status, house = self.status(), self._service.house
        info = InfoMetricFamily("watchkeeper_build", "What is running.")
        info.add_metric([], {"version": __version__, "rulebook": house.rulebook.digest[:12]})
        traffic, counts = status["traffic"], status["counts"]
        samples = CounterMetricFamily(
            "watchkeeper_ingest_samples", "Samples since the start.", labels=["outcome"]
        )
        for outcome in ("offered", "accepted", "rejected"):
            samples.add_metric([outcome], traffic[outcome])
        scored = CounterMetricFamily(
            "watchkeeper_scored_samples", "Samples concluded, ever.", labels=["outcome"]
        )
        for outcome in ("scored", "duplicate", "late"):
            scored.add_metric([outcome], counts[outcome])
        head, tick = status["journal"]["head"], self._service.traffic.tick
        lag = head - self._service.traffic.decided
        behind = (self._clock() - tick) / 1000 if tick else 0.0
        families: list[Metric] = [
            info, samples, scored,
            GaugeMetricFamily("watchkeeper_journal_entries", "Entries in the journal.", head),
            GaugeMetricFamily("watchkeeper_ledger_lag_entries", "Entries not concluded.", lag),
            GaugeMetricFamily("watchkeeper_ledger_lag_seconds", "Age of the last tick.", behind),
        ]  # fmt: skip
        health = GaugeMetricFamily(
            "watchkeeper_health_score", "Health, 0 to 100.", labels=["entity_type", "entity"]
        )
        anomaly = GaugeMetricFamily(
            "watchkeeper_anomaly_score", "Above 1 is anomalous.", labels=["entity_type", "entity"]
        )
        for one in self._current():
            kind, _, name = one.entity.partition(":")
            if one.health is not None:
                health.add_metric([kind, name], one.health)
            anomaly.add_metric([kind, name], one.score)
        return [*families, health, anomaly]

    def _current(self) -> list[Assessed]:
        """Return the entities of which something is expected; what retired is history."""
        tick = self._service.traffic.tick
        oldest = tick - 2 * max(KEEP_EVERY, self._service.house.rulebook.tick)
        return [one for one in self._service.house.ledger.health() if one.time >= oldest]

    def _gathered(self, tick: Millis) -> Findings:
        house = self._service.house
        since = Millis(max(0, tick - WINDOW))
        kept: list[Assessed] = []
        for one in self._current():
            kept += house.ledger.history(one.entity, since, tick) or [one]
        rejected = [
            entry.rejected
            for entry in house.journal.rejected(
                Offset(max(0, house.journal.head() - LOOK_BACK)), REJECTS_SHOWN
            )
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
            problems=tuple(sorted(self._service.traffic.failing.values())),
        )
        return gather(
            health_rows(kept) if kept else HEALTH_FILE.empty_table(),
            self.recent.read,
            house.ledger.decisions(),
            pa.Table.from_batches(rejected, REJECTS),
            facts,
        )


COUNTS = ("accepted", "rejected", "scored", "duplicate", "late")
