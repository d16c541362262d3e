"""The house's own metrics, as Prometheus scrapes them. docs/metrics.md lists them.

They are made when somebody asks, from counts that are kept anyway; the hot path does not know them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from watchkeeper import __version__
from watchkeeper.model import Assessed, Millis
from watchkeeper.service import Service


def exposition(
    service: Service,
    status: Mapping[str, Any],
    current: Sequence[Assessed],
    reload: tuple[bool, Millis],
    now: Millis,
) -> bytes:
    """Return all families in the text format 0.0.4.

    :param status: as `Live.status` tells it. :param current: the health of each entity.
    :param reload: whether the last reading of the configuration went well, and the last that did.
    """
    registry = CollectorRegistry()
    registry.register(_Made([
        *_house(service, reload),
        *_flow(service, status),
        *_progress(service, status, now),
        *_targets(status),
        *_health(current),
    ]))  # fmt: skip
    return generate_latest(registry)


class _Made:
    """What prometheus_client calls a collector, over families that are made already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        """Return the families."""
        return self._families


def _house(service: Service, reload: tuple[bool, Millis]) -> Iterator[Metric]:
    info = InfoMetricFamily("watchkeeper_build", "What is running.")
    rulebook = service.house.rulebook.digest[:12]
    info.add_metric([], {"version": __version__, "rulebook": rulebook})
    yield info
    well, at = reload
    yield GaugeMetricFamily(
        "watchkeeper_config_last_reload_successful",
        "Whether the configuration could be read when it was last asked for.", float(well),
    )  # fmt: skip
    yield GaugeMetricFamily(
        "watchkeeper_config_last_reload_success_timestamp_seconds",
        "When the configuration was last read.", at / 1000,
    )  # fmt: skip
    yield GaugeMetricFamily(
        "watchkeeper_degraded", "1 after the disk has failed.", float(bool(service.degraded))
    )


def _flow(service: Service, status: Mapping[str, Any]) -> Iterator[Metric]:
    intake = service.intake
    samples = CounterMetricFamily(
        "watchkeeper_ingest_samples",
        "Samples since the start: offered = accepted + rejected + shed.", labels=["outcome"],
    )  # fmt: skip
    for outcome in ("offered", "accepted", "rejected", "shed"):
        samples.add_metric([outcome], status["traffic"][outcome])
    yield samples
    pushed = CounterMetricFamily(
        "watchkeeper_receiver_samples",
        "The same of each receiver.", labels=["receiver", "outcome"],
    )  # fmt: skip
    for receiver, outcomes in status["receivers"].items():
        for outcome, count in outcomes.items():
            pushed.add_metric([receiver, outcome], count)
    yield pushed
    rejected = CounterMetricFamily(
        "watchkeeper_rejected_samples", "Samples in quarantine, by reason.", labels=["reason"]
    )
    for reason, count in sorted(intake.traffic.reasons.items()):
        rejected.add_metric([reason], count)
    yield rejected
    requests = CounterMetricFamily(
        "watchkeeper_requests", "Requests that pushed telemetry.", labels=["receiver", "outcome"]
    )
    for (receiver, outcome), count in sorted(intake.traffic.requests.items()):
        requests.add_metric([receiver, outcome], count)
    yield requests
    yield CounterMetricFamily(
        "watchkeeper_request_bytes", "Bytes of those requests, as sent.", intake.traffic.bytes
    )
    items, size = intake.waiting
    yield GaugeMetricFamily("watchkeeper_waiting_items", "Requests and batches waiting.", items)
    yield GaugeMetricFamily("watchkeeper_waiting_bytes", "Bytes of requests waiting.", size)
    yield GaugeMetricFamily(
        "watchkeeper_waiting_capacity_bytes", "How many may wait.", intake.limits.waiting
    )
    sources = intake.sources_waiting
    yield GaugeMetricFamily(
        "watchkeeper_waiting_source_bytes", "Bytes of batches waiting.", sources
    )
    spent = CounterMetricFamily(
        "watchkeeper_stage_cpu_seconds", "Processor seconds of each stage.", labels=["stage"]
    )
    for stage, seconds in sorted(
        {**intake.spent.seconds, **service.progress.spent.seconds}.items()
    ):
        spent.add_metric([stage], seconds)
    yield spent


def _progress(service: Service, status: Mapping[str, Any], now: Millis) -> Iterator[Metric]:
    scored = CounterMetricFamily(
        "watchkeeper_scored_samples", "Samples concluded, ever.", labels=["outcome"]
    )
    for outcome in ("scored", "duplicate", "late"):
        scored.add_metric([outcome], status["counts"][outcome])
    yield scored
    yield GaugeMetricFamily(
        "watchkeeper_journal_samples", "Samples in the journal.", status["journal"]["samples"]
    )
    yield GaugeMetricFamily(
        "watchkeeper_pending_samples",
        "Those not concluded yet: journal = scored + duplicate + late + pending.",
        status["journal"]["pending"],
    )
    yield GaugeMetricFamily(
        "watchkeeper_restart_needed",
        "Changed fields of the configuration that only a restart takes up.",
        len(status["restart_for"]),
    )
    head, tick = status["journal"]["head"], service.progress.tick
    lag = head - service.progress.decided
    behind = (now - tick) / 1000 if tick else 0.0
    yield GaugeMetricFamily("watchkeeper_journal_entries", "Entries in the journal.", head)
    yield GaugeMetricFamily("watchkeeper_ledger_lag_entries", "Entries not concluded.", lag)
    yield GaugeMetricFamily("watchkeeper_ledger_lag_seconds", "Age of the last tick.", behind)


def _targets(status: Mapping[str, Any]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "watchkeeper_target_breaker",
        "1 for the state that the breaker of a target is in.",
        labels=["source", "target", "state"],
    )
    failures = GaugeMetricFamily(
        "watchkeeper_target_failures", "Failures in a row.", labels=["source", "target"]
    )
    for source, states in status["targets"].items():
        for one in states:
            up.add_metric([source, one["name"], one["state"]], 1.0)
            failures.add_metric([source, one["name"]], one["failures"])
    yield from (up, failures)


def _health(current: Sequence[Assessed]) -> Iterator[Metric]:
    health = GaugeMetricFamily(
        "watchkeeper_health_score", "Health, 0 to 100.", labels=["entity_type", "entity"]
    )
    anomaly = GaugeMetricFamily(
        "watchkeeper_anomaly_score", "Above 1 is anomalous.", labels=["entity_type", "entity"]
    )
    for one in current:
        kind, _, name = one.entity.partition(":")
        if one.health is not None:
            health.add_metric([kind, name], one.health)
        anomaly.add_metric([kind, name], one.score)
    yield from (health, anomaly)
