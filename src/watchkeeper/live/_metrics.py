"""The house's own metrics, as Prometheus scrapes them. `observe.metrics` is their table.

Most are made when somebody asks, from what is known anyway; the hot path does not know them.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

from watchkeeper import __version__
from watchkeeper.live._objectives import Objectives
from watchkeeper.model import Assessed, Millis, State
from watchkeeper.observe.logs import LINES
from watchkeeper.observe.metrics import PROCESS, family
from watchkeeper.observe.settings import Exposed
from watchkeeper.service import Service
from watchkeeper.shown import Said
from watchkeeper.store.placed import held_by
from watchkeeper.store.reserve import Reserve

STATES = tuple(State)
BITS = 12  # hexadecimal digits of the checksum: 48 bits, which a float holds exactly
_PROCESS = ProcessCollector(registry=None)
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Told(NamedTuple):
    """What the exposition is made of.

    :param status: as `Live.status` tells it. :param current: the health of each entity.
    :param series: what some series said last. :param reserve: what is left free of the disk.
    :param reload: whether the last reading of the configuration went well, and the last that did.
    """

    service: Service
    objectives: Objectives
    status: Mapping[str, Any]
    current: Sequence[Assessed]
    reload: tuple[bool, Millis]
    exposed: Exposed
    series: Sequence[tuple[tuple[str, str, str], Said]]
    folder: Path | None
    reserve: Reserve
    given_up: int
    now: Millis


def exposed(told: Told, accept: str = "") -> tuple[bytes, str]:
    """Return all families and their content type: OpenMetrics when it is asked for.

    Only OpenMetrics has exemplars, which lead from a histogram to a trace.
    """
    registry = CollectorRegistry()
    registry.register(_Made([
        *_house(told),
        *_disk(told),
        *_sources(told),
        *_flow(told),
        *_progress(told),
        *_outbox(told),
        *_health(told),
        *_bands(told),
        *_promised(told),
        *told.service.witness.meters.families(),
        *(one for one in _PROCESS.collect() if one.name in _STEMS),
    ]))  # fmt: skip
    if "application/openmetrics-text" in accept:
        return openmetrics.generate_latest(registry), OPEN  # type: ignore[no-untyped-call]
    return exposition.generate_latest(registry), TEXT


_STEMS = frozenset(name.removesuffix("_total") for name in PROCESS)


class _Made:
    """What prometheus_client calls a collector, over families that are made already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """Return the families."""
        return self._families


def _one(name: str, value: float) -> Metric:
    made: Metric = family(name)
    made.add_metric([], value)  # type: ignore[attr-defined]
    return made


def _many(name: str, rows: Mapping[Any, float]) -> Metric:
    """Return a family with a series for each key: its labels, or its only label."""
    made: Metric = family(name)
    for labels, value in sorted(rows.items()):
        key = list(labels) if isinstance(labels, tuple) else [labels]
        made.add_metric(key, value)  # type: ignore[attr-defined]
    return made


def _house(told: Told) -> Iterator[Metric]:
    service, (well, at) = told.service, told.reload
    info = family("build_info")
    rulebook = service.house.rulebook.digest[:12]
    info.add_metric([], {"version": __version__, "rulebook": rulebook})
    yield info
    yield _one("ready", float(told.status["ready"]))
    yield _one("degraded", float(bool(service.degraded)))
    yield _one("start_time_seconds", service.witness.born / 1000)
    yield _one("config_last_reload_successful", float(well))
    yield _one("config_last_reload_success_timestamp_seconds", at / 1000)
    yield _one("config_drift", float(bool(told.status["drift"])))
    yield _one("restart_needed", len(told.status["restart_for"]))
    yield _many("log_lines_total", LINES.copy())
    yield _many("spans_total", service.witness.span_counts)


def _disk(told: Told) -> Iterator[Metric]:
    yield _one("disk_full", float(told.service.intake.full))
    if told.folder is not None:
        disk = os.statvfs(told.folder)
        yield _one("disk_free_bytes", disk.f_bavail * disk.f_frsize)
        kept = told.reserve.kept(disk.f_blocks * disk.f_frsize)
        yield _one("disk_reserve_bytes", kept)
        sizes = {name: held_by(told.folder, name) for name in ("journal", "ledger")}
        yield _many("store_bytes", sizes)


def _sources(told: Told) -> Iterator[Metric]:
    standing = told.status["sources"].items()
    up = {name: float(how == "ok") for name, how in standing if not how.startswith("off: ")}
    yield _many("source_up", up)
    states: dict[tuple[str, str, str], float] = {}
    failures: dict[tuple[str, str], float] = {}
    for source, targets in told.status["targets"].items():
        for one in targets:
            states[source, one["name"], one["state"]] = 1.0
            failures[source, one["name"]] = one["failures"]
    yield _many("target_breaker", states)
    yield _many("target_failures", failures)


def _flow(told: Told) -> Iterator[Metric]:
    intake, traffic = told.service.intake, told.status["traffic"]
    outcomes = ("offered", "accepted", "rejected", "shed")
    yield _many("ingest_samples_total", {name: traffic[name] for name in outcomes})
    pushed = {
        (receiver, outcome): count
        for receiver, outcomes in told.status["receivers"].items()
        for outcome, count in outcomes.items()
    }
    yield _many("receiver_samples_total", pushed)
    yield _many("rejected_samples_total", intake.traffic.reasons.copy())
    yield _many("requests_total", intake.traffic.requests.copy())
    yield _one("request_bytes_total", intake.traffic.bytes)
    items, size = intake.waiting
    yield _one("waiting_items", items)
    yield _one("waiting_bytes", size)
    yield _one("waiting_capacity_bytes", intake.limits.waiting)
    yield _one("waiting_source_bytes", intake.sources_waiting)
    yield _one("memory_budget_bytes", intake.memory.most)
    yield _one("waiting_oldest_seconds", intake.oldest(told.now) / 1000)
    spent = {**intake.spent.seconds, **told.service.progress.spent.seconds}
    yield _many("stage_cpu_seconds_total", spent)


def _progress(told: Told) -> Iterator[Metric]:
    status, progress = told.status, told.service.progress
    scored = ("scored", "duplicate", "late")
    yield _many("scored_samples_total", {name: status["counts"][name] for name in scored})
    yield _one("journal_samples", status["journal"]["samples"])
    yield _one("pending_samples", status["journal"]["pending"])
    head, tick = status["journal"]["head"], progress.tick
    yield _one("series", progress.series)
    yield _one("journal_entries", head)
    yield _one("journal_first_entry", status["journal"]["first"])
    yield _one("retention_held", float(status["journal"]["retention"] != "ok"))
    yield _one("ledger_lag_entries", max(0, head - progress.decided))
    yield _one("ledger_lag_seconds", (told.now - tick) / 1000 if tick else 0.0)
    last = told.service.house.ledger.head()
    yield _one("ledger_links", last.seq)
    yield _one("ledger_checksum", int(last.hash[:BITS], 16))


def _outbox(told: Told) -> Iterator[Metric]:
    count, oldest = told.service.house.ledger.owed()
    yield _one("outbox_orders", count)
    age = max(0, told.now - oldest) / 1000 if oldest is not None else 0.0
    yield _one("outbox_oldest_seconds", age)
    yield _one("outbox_dead_orders", told.given_up)


def _health(told: Told) -> Iterator[Metric]:
    kinds = {one.entity.partition(":")[0] for one in told.current}
    counts: Counter[tuple[str, str]] = Counter({(kind, s): 0 for kind in kinds for s in STATES})
    for one in told.current:
        counts[one.entity.partition(":")[0], str(one.state)] += 1
    yield _many("entities", counts)
    named = sorted(told.current, key=lambda one: one.entity)[: told.exposed.entities]
    yield _one("entities_not_shown", len(told.current) - len(named))
    pairs = {one: one.entity.partition(":")[::2] for one in named}
    yield _many("health_score", {p: o.health for o, p in pairs.items() if o.health is not None})
    yield _many("anomaly_score", {pair: one.score for one, pair in pairs.items()})


def _bands(told: Told) -> Iterator[Metric]:
    """Tell of each series what is known: no band before there is one."""
    said = {
        (*entity.partition(":")[::2], metric, attributes): one
        for (entity, metric, attributes), one in told.series
    }
    for name in ("expected", "lower", "upper", "score"):
        known = {key: getattr(one, name) for key, one in said.items()}
        family_name = "series_anomaly_score" if name == "score" else name
        yield _many(family_name, {key: v for key, v in known.items() if not math.isnan(v)})


def _promised(told: Told) -> Iterator[Metric]:
    facts, totals = told.objectives.facts(), told.objectives.totals()
    yield _many("slo_objective_ratio", {one["name"]: one["target"] for one in facts})
    yield _many("slo_events_total", {name: events for name, (events, _) in totals.items()})
    yield _many("slo_bad_events_total", {name: bad for name, (_, bad) in totals.items()})
    burns = {(one["name"], window): rate for one in facts for window, rate in one["burn"].items()}
    yield _many("slo_burn_rate", burns)
    left = {one["name"]: one["remaining"] for one in facts}
    yield _many("slo_error_budget_remaining_ratio", left)
