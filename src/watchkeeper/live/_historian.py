"""History in Parquet: when a day is over by the journal's time, it becomes one file of each table.

The days stand in folders that DuckDB, Polars and Spark know as partitions:
`history/health/day=2026-11-16/health.parquet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from watchkeeper.ledger import Ledger
from watchkeeper.live._making import Making
from watchkeeper.model import Assessed, Decision, Millis
from watchkeeper.reports import History
from watchkeeper.reports._history import (
    DECISIONS,
    HEALTH,
    day_of,
    decision_table,
    end_of,
    health_table,
)
from watchkeeper.reports._schedule import DAY
from watchkeeper.reports._words import rfc3339
from watchkeeper.service import Service
from watchkeeper.store.shelf import Shelf

log = structlog.get_logger("watchkeeper")

KIND = "history"  # of links of the audit chain
SCHEMA = "watchkeeper.history/1"
HOUR = DAY // 24  # of one row group, so that memory stays bounded
TABLES = ("health", "decisions")
DECISIONS_MAX = 10_000  # asked for at first


class Historian:
    """Writes the days of one house that are over, and keeps as many as are wanted."""

    def __init__(self, service: Service, shelf: Shelf) -> None:
        self._service, self._shelf = service, shelf
        self._making = Making(service, shelf, KIND)
        self.wanted = History()
        self._first: Millis | None = None  # when the first step was committed

    def run(self) -> None:
        """Write what is over, until the house stops."""
        self._making.run(self.look)

    def look(self, now: Millis) -> None:
        """Write every day that is over by the time of the ledger and not written yet."""
        wanted = self.wanted
        for table in TABLES if wanted.keep else ():
            for end in wanted.due(now, self._newest(table)):
                if not self._write(table, end):
                    break
                self._shelf.keep(table, wanted.keep)
                log.info("made", what=f"history {table}", until=rfc3339(end))

    def _newest(self, table: str) -> Millis:
        """Return the end of the newest day that is written, or where the first begins."""
        written = max(map(end_of, self._shelf.stamps(table)), default=Millis(0))
        if not written and self._first is None:
            links = self._service.house.ledger.links()
            self._first = next(link.at for link in links if link.kind == "step")
        return written or Millis((self._first or 0) // DAY * DAY)

    def _write(self, table: str, end: Millis) -> bool:
        since, ledger = Millis(end - DAY), self._service.house.ledger

        def write(path: Path) -> None:
            schema, parts = (
                (HEALTH, _health(ledger, since, end))
                if table == "health"
                else (DECISIONS, _decisions(ledger, since, end))
            )
            with pq.ParquetWriter(path, schema, compression="zstd") as file:
                for part in parts:
                    file.write_table(part)

        facts = {"schema": SCHEMA, "name": table, "since": since, "until": end}
        return self._making.put(table, day_of(end), end, {f"{table}.parquet": write}, facts)


def _health(ledger: Ledger, since: Millis, end: Millis) -> Iterator[pa.Table]:
    """Yield the assessments of a day, hour by hour, in each by entity and time."""
    for begin in range(since, end, HOUR):
        found = ledger.histories(Millis(begin), Millis(begin + HOUR - 1))
        kept: list[Assessed] = [one for entity in sorted(found) for one in found[entity]]
        if kept:
            yield health_table(kept)


def _decisions(ledger: Ledger, since: Millis, end: Millis) -> Iterator[pa.Table]:
    """Yield the decisions of a day, oldest first."""
    limit, made = DECISIONS_MAX, list[Decision]()
    while True:
        made = ledger.decisions(until=Millis(end - 1), limit=limit)
        if len(made) < limit or made[-1].at < since:
            break
        limit *= 4
    yield decision_table([one for one in reversed(made) if one.at >= since])
