"""The findings for tables: Parquet, one row an entity, worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from watchkeeper.model import canonical
from watchkeeper.reports._findings import Entity, Findings
from watchkeeper.reports._words import rfc3339

STAMP = pa.timestamp("ms", "UTC")
INCIDENT = pa.struct(
    [("start", STAMP), ("end", STAMP), ("state", pa.string()), ("worst", pa.float64())]
)
COLUMNS = pa.schema(
    [
        ("entity", pa.string()),
        ("state", pa.string()),
        ("health", pa.float64()),
        ("time", STAMP),
        ("coverage", pa.float64()),
        ("score", pa.float64()),
        ("since", STAMP),
        ("worst", pa.float64()),
        ("worst_time", STAMP),
        ("lead", pa.string()),
        ("incident_count", pa.int64()),
        ("decision_count", pa.int64()),
        ("incidents", pa.list_(INCIDENT)),
    ]
)


@dataclass(frozen=True)
class Parquet:
    """One Parquet file. Its metadata, under `watchkeeper`, say what was looked at."""

    file: ClassVar[str] = "report.parquet"
    media: ClassVar[str] = "application/vnd.apache.parquet"

    def render(self, findings: Findings) -> bytes:
        """Return the file."""
        facts = findings.facts
        about = {
            "schema": "watchkeeper.report-entities/1",
            "title": facts.title,
            "scope": facts.scope,
            "since": rfc3339(facts.since),
            "until": rfc3339(facts.until),
            "digest": facts.digest,
        }
        told = COLUMNS.with_metadata({"watchkeeper": canonical(about).encode("utf-8", "replace")})
        table = pa.Table.from_pylist([_row(entity) for entity in findings.entities], told)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="none")
        return bytes(sink.getvalue().to_pybytes())


def _row(entity: Entity) -> dict[str, Any]:
    return {
        "entity": entity.name,
        "state": str(entity.state),
        "health": entity.health,
        "time": entity.at,
        "coverage": entity.coverage,
        "score": entity.score,
        "since": entity.since,
        "worst": entity.worst,
        "worst_time": entity.worst_at,
        "lead": entity.lead,
        "incident_count": entity.incident_count,
        "decision_count": entity.decision_count,
        "incidents": [
            {"start": one.start, "end": one.end, "state": str(one.state), "worst": one.worst}
            for one in entity.incidents
        ],
    }


plugin = Parquet
