"""What the house tells of itself: the names of its metrics, log lines and spans, in one table.

Nothing is counted, logged or traced under a name that is not here (`metrics`, `events`, `SPANS`);
`docs/metrics.md`, `docs/logging.md` and `docs/tracing.md` are written from it, and tests compare.

* `metrics`   the table of metrics; `meters` holds those that are counted while work is done
* `events`    the table of log lines and their schema; `logs` writes them
* `settings`  what operators may say about all this
* `spans`     traces through the house and its journal; `export` sends them by OTLP
* `witness`   is told what the house does, and counts, logs and traces it

What Prometheus and Grafana need to watch us is in `packs/house`: rules, a dashboard, objectives.

None of it takes part in what is decided: replay knows no trace, and a house that is watched writes
the same ledger as one that is not.
"""

from __future__ import annotations

from typing import NamedTuple

STAGES = ("house", "collect", "ingest", "decide", "act", "report", "serve")


class SpanName(NamedTuple):
    """One kind of span: what it times, and what it hangs under."""

    name: str
    stage: str
    under: str
    says: str


SPANS = (
    SpanName("receive", "ingest", "the caller's span, when it sent `traceparent`",
             "a request that pushed telemetry, from its arrival to its answer"),
    SpanName("ingest", "ingest", "`receive`, or nothing",
             "one round: what waited becomes one group in the journal"),
    SpanName("decode", "ingest", "`ingest`", "bodies become batches"),
    SpanName("check", "ingest", "`ingest`", "contracts split batches into accepted and rejected"),
    SpanName("journal", "ingest", "`ingest`", "the group is written and synced"),
    SpanName(
        "score", "decide",
        "`ingest` of the first entry, across the journal; links to those of the others",
        "detectors score one entry, or several of one tick that wait",
    ),
    SpanName("conclude", "decide", "`score` of the newest entry; links to the other entries",
             "health and policies at the ticks that are over"),
    SpanName("commit", "decide", "`conclude`", "one step goes into the ledger"),
    SpanName("act", "act", "`commit`, across the outbox", "one attempt at one order"),
    SpanName("report", "report", "`commit` of the newest step; links to the steps before it",
             "findings are gathered for the page, the API or a report"),
)  # fmt: skip
