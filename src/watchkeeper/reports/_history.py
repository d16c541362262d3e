"""History in tables: what was concluded on one day, for people and their tools. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from watchkeeper.model import Assessed, Decision, Millis
from watchkeeper.reports._schedule import DAY, Schedule

STAMP = pa.timestamp("ms", "UTC")
KEEP_MAX = 3_660  # days
PART = pa.struct([("metric", pa.string()), ("attributes", pa.string()), ("share", pa.float64())])
HEALTH = pa.schema(
    [
        ("entity", pa.string()),
        ("time", STAMP),
        ("health", pa.float64()),  # null is unknown
        ("state", pa.string()),
        ("coverage", pa.float64()),
        ("score", pa.float64()),
        ("contributions", pa.list_(PART)),
    ]
)
DECISIONS = pa.schema(
    [
        ("key", pa.string()),
        ("policy", pa.string()),
        ("version", pa.string()),
        ("entity", pa.string()),
        ("phase", pa.string()),
        ("time", STAMP),
        ("severity", pa.string()),
        ("health", pa.float64()),
        ("reason", pa.string()),
        ("outcome", pa.string()),
        ("trace", pa.string()),  # JSON
    ]
)


@dataclass(frozen=True, slots=True)
class History:
    """What is written to Parquet, one file a day, besides the stores.

    :param keep: so many days; the oldest goes when there is one more. 0: nothing is written.
    """

    keep: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.keep <= KEEP_MAX:
            raise ValueError(f"keep must be between 0 and {KEEP_MAX} days")

    def due(self, now: Millis, end: Millis) -> list[Millis]:
        """Return the ends of the days that are over and not yet written, oldest first.

        :param end: of the newest day that is.
        """
        return Schedule("history", every=DAY, keep=self.keep).due(now, end) if self.keep else []


def day_of(end: Millis) -> str:
    """Return the day that ends at a midnight, as folders are named: `day=2026-11-16`."""
    return datetime.fromtimestamp((end - DAY) / 1000, UTC).strftime("day=%Y-%m-%d")


def end_of(folder: str) -> Millis:
    """Return the end of the day of a folder; 0 of one that is not named after a day."""
    try:
        begin = datetime.strptime(folder, "day=%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return Millis(0)
    return Millis(int(begin.timestamp() * 1000) + DAY)


def health_table(kept: Sequence[Assessed]) -> pa.Table:
    """Return assessments in the columns of HEALTH."""
    rows = [
        {
            "entity": one.entity,
            "time": one.time,
            "health": one.health,
            "state": str(one.state),
            "coverage": one.coverage,
            "score": one.score,
            "contributions": [
                {"metric": part.metric, "attributes": part.attributes, "share": part.share}
                for part in one.contributions
            ],
        }
        for one in kept
    ]
    return pa.Table.from_pylist(rows, HEALTH)


def decision_table(made: Sequence[Decision]) -> pa.Table:
    """Return decisions in the columns of DECISIONS."""
    names = [name for name in DECISIONS.names if name != "time"]
    rows = [{**{name: getattr(one, name) for name in names}, "time": one.at} for one in made]
    return pa.Table.from_pylist(rows, DECISIONS)
