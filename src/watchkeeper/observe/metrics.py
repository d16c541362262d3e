"""The metrics of the house: a closed list. `family` is the only way to make one."""

from __future__ import annotations

from typing import Any, NamedTuple

PREFIX = "watchkeeper_"


class Metric(NamedTuple):
    """One metric as it is exposed, without our prefix.

    :param buckets: upper bounds of a histogram.
    """

    name: str
    kind: str  # counter, gauge, histogram, info
    says: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SLOW = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)

SERIES = ("entity_type", "entity", "metric", "attributes")  # attributes: canonical JSON

STAGES = {
    "House": (
        Metric("build_info", "info", "Version and rulebook of what is running.",
               ("version", "rulebook")),
        Metric("ready", "gauge", "1 when telemetry is taken in."),
        Metric("degraded", "gauge",
               "1 after the disk has failed: nothing is taken in nor decided before a restart."),
        Metric("start_time_seconds", "gauge", "When this process started."),
        Metric("config_last_reload_successful", "gauge",
               "Whether the configuration could be read when it was last asked for."),
        Metric("config_last_reload_success_timestamp_seconds", "gauge", "When it was last read."),
        Metric("config_drift", "gauge",
               "1 while the configuration on the disk is another than the one that runs."),
        Metric("restart_needed", "gauge",
               "Changed fields of the configuration that only a restart takes up."),
        Metric("disk_free_bytes", "gauge", "Room on the disk of journal and ledger."),
        Metric("disk_reserve_bytes", "gauge", "How much of that disk is kept free."),
        Metric("store_bytes", "gauge",
               "What a store takes of that disk, with all that is beside it.", ("store",)),
        Metric("disk_full", "gauge", "1 when the last look found no room above the reserve."),
        Metric("log_lines_total", "counter", "Lines of log, by level.", ("level",)),
        Metric("spans_total", "counter",
               "Spans: exported, dropped for want of room in the queue, or failed to be sent.",
               ("outcome",)),
    ),
    "Collect": (
        Metric("source_up", "gauge", "0 while a source cannot be asked.", ("source",)),
        Metric("source_failures_total", "counter", "Questions to a source that failed.",
               ("source",)),
        Metric("target_breaker", "gauge",
               "1 for the state the breaker of a target is in: closed, open, half_open.",
               ("source", "target", "state")),
        Metric("target_failures", "gauge", "Questions to a target failed in a row.",
               ("source", "target")),
    ),
    "Ingest": (
        Metric("ingest_samples_total", "counter",
               "Samples since the start: offered = accepted + rejected + shed.", ("outcome",)),
        Metric("receiver_samples_total", "counter", "The same of each receiver.",
               ("receiver", "outcome")),
        Metric("rejected_samples_total", "counter", "Samples in quarantine, by reason.",
               ("reason",)),
        Metric("requests_total", "counter",
               "Requests that pushed telemetry: stored, partly, or why they were refused.",
               ("receiver", "outcome")),
        Metric("request_bytes_total", "counter", "Bytes of those that were read, as sent."),
        Metric("request_duration_seconds", "histogram",
               "From a request read whole to its answer: decoded, checked and durable.",
               ("receiver",), _FAST),
        Metric("waiting_items", "gauge", "Requests and batches that are not durable yet."),
        Metric("waiting_bytes", "gauge", "Bytes of those requests."),
        Metric("waiting_capacity_bytes", "gauge", "How many bytes may wait."),
        Metric("waiting_source_bytes", "gauge",
               "Bytes of what sources brought and is not durable yet; 64 MiB may wait."),
        Metric("memory_budget_bytes", "gauge",
               "Bytes the process may hold before it asks clients to wait; see"
               " process_resident_memory_bytes."),
        Metric("waiting_oldest_seconds", "gauge", "Age of the oldest; 0 when nothing waits."),
        Metric("stage_cpu_seconds_total", "counter",
               "Processor seconds of decode, check, journal, score, show, conclude, commit, act.",
               ("stage",)),
        Metric("stage_duration_seconds", "histogram",
               "Elapsed time of one round (decode, check, journal), entry (score), tick (conclude),"
               " step (commit), order (act) or gathering (report).",
               ("stage",), _FAST),
        Metric("journal_entries", "gauge", "Number of the newest entry of the journal."),
        Metric("journal_first_entry", "gauge",
               "Number of its oldest entry: more than 1 once retention removed some."),
        Metric("retention_held", "gauge",
               "1 while entries that are due to be removed have to wait; status says for what."),
    ),
    "Score and decide": (
        Metric("scored_samples_total", "counter",
               "Samples concluded, ever: accepted = scored + duplicate + late.", ("outcome",)),
        Metric("journal_samples", "gauge",
               "Samples in the journal: scored + duplicate + late + pending."),
        Metric("pending_samples", "gauge", "Those of them that are not concluded yet."),
        Metric("series", "gauge", "Series that have been seen and are scored."),
        Metric("entities", "gauge", "Entities of which something is expected, by state.",
               ("entity_type", "state")),
        Metric("health_score", "gauge", "Health, 0 to 100; absent while unknown.",
               ("entity_type", "entity")),
        Metric("anomaly_score", "gauge", "Above 1 is anomalous.", ("entity_type", "entity")),
        Metric("entities_not_shown", "gauge",
               "Entities beyond `metrics: entities`, told in `entities` only."),
        Metric("expected", "gauge", "What the newest sample of a series was expected to be.",
               SERIES),
        Metric("lower", "gauge", "Below it that sample would have been out of its band.", SERIES),
        Metric("upper", "gauge", "Above it that sample would have been out of its band.", SERIES),
        Metric("series_anomaly_score", "gauge", "Above 1 that sample was anomalous.", SERIES),
        Metric("ledger_lag_entries", "gauge", "Journal entries that are not concluded."),
        Metric("ledger_lag_seconds", "gauge", "Age of the last tick that was evaluated."),
        Metric("decision_latency_seconds", "histogram",
               "From the end of a tick to its step in the ledger.", (), _SLOW),
        Metric("decisions_total", "counter", "Changes of phase, by what came of them.",
               ("policy", "phase", "outcome")),
        Metric("guard_blocks_total", "counter", "Decisions that a guard kept from acting.",
               ("guard",)),
        Metric("ledger_links", "gauge", "Links in the audit chain."),
        Metric("ledger_checksum", "gauge",
               "The first 48 bits of the chain's newest hash: equal for houses of equal journals."),
    ),
    "Act": (
        Metric("orders_total", "counter",
               "Attempts at orders: done, retry, refused (never again) or dead (given up).",
               ("action", "outcome")),
        Metric("delivery_duration_seconds", "histogram",
               "From the decision to the order carried out.", ("action",), _SLOW),
        Metric("outbox_orders", "gauge", "Orders that are open: due, or waiting for another try."),
        Metric("outbox_oldest_seconds", "gauge", "Age of the oldest open order; 0 without any."),
        Metric("outbox_dead_orders", "gauge", "Orders given up or refused, ever."),
    ),
    "Our own objectives": (
        Metric("slo_objective_ratio", "gauge", "The share of good events that is promised.",
               ("slo",)),
        Metric("slo_events_total", "counter", "Events that an objective counts, since the start.",
               ("slo",)),
        Metric("slo_bad_events_total", "counter", "Those of them that broke the promise.",
               ("slo",)),
        Metric("slo_burn_rate", "gauge",
               "How fast the error budget is spent; 1 spends exactly all of it.",
               ("slo", "window")),
        Metric("slo_error_budget_remaining_ratio", "gauge",
               "What is left of the budget of the whole window; below 0 it is overdrawn.",
               ("slo",)),
    ),
}  # fmt: skip
BY_NAME = {PREFIX + one.name: one for stage in STAGES.values() for one in stage}
PROCESS = (
    "process_virtual_memory_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
)  # as every program with a Prometheus client tells them


def family(name: str) -> Any:
    """Return an empty family of a metric in the table, to be filled by `add_metric`.

    :param name: without our prefix.
    """
    from prometheus_client import core

    metric = BY_NAME[PREFIX + name]
    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "info": core.InfoMetricFamily,
    }
    stem = PREFIX + name.removesuffix("_info" if metric.kind == "info" else "_total")
    labels = () if metric.kind == "info" else metric.labels
    return kinds[metric.kind](stem, metric.says, labels=labels)
