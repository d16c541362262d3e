"""Scheduled reports: each made when the journal's time has passed its due time, and kept.

What a report says comes from the ledger and the journal, up to the time at which it was due. So one
that is made late, because the house was off, says what it would have said then; and one that a
crash cut off is made again at the next start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog

from watchkeeper import plugins
from watchkeeper.bulk import versions
from watchkeeper.core import checkpoint
from watchkeeper.core.state import KEEP_EVERY, Rulebook
from watchkeeper.live._making import Making
from watchkeeper.model import REJECTS, Assessed, Counts, Millis, Offset, canonical
from watchkeeper.reports import SUFFIXES, Facts, Findings, Schedule, gather
from watchkeeper.reports._words import rfc3339
from watchkeeper.reports.json import Json
from watchkeeper.results import SCORES_FILE, health_rows
from watchkeeper.service import Service
from watchkeeper.shown import Filed, Made, kind
from watchkeeper.store.shelf import Shelf, Writes

log = structlog.get_logger("watchkeeper")

KIND = "report"  # of links of the audit chain
SCHEMA = "watchkeeper.made/1"
ROWS_MAX = 200_000  # assessments that one report is made from; beyond it, the lowest of stretches
DECISIONS_MAX = 10_000  # the newest of a window
REJECTED_MAX = 10_000  # rejected samples of a window that are counted

Labelled = Callable[[str], frozenset[str]]


class Reporter:
    """Makes what is due of one house, and knows what was made.

    :param labelled: the entities with a series that has a label `name=value`.
    """

    def __init__(self, service: Service, shelf: Shelf, labelled: Labelled) -> None:
        self._service, self._shelf, self._labelled = service, shelf, labelled
        self._making = Making(service, shelf, KIND)
        self.schedules: Sequence[Schedule] = ()
        self._rulebooks: list[tuple[Millis, str]] = []  # each that the journal has, from when on
        self._read = Offset(0)  # how far it was read for them
        self._passed: dict[Schedule, Millis] = {}  # the newest due time that is dealt with

    def run(self) -> None:
        """Make what is due, until the house stops."""
        self._making.run(self.look)

    def look(self, now: Millis) -> None:
        """Make every report that is due by the time of the ledger."""
        for schedule in tuple(self.schedules):
            for until in schedule.due(now, self._newest(schedule)):
                if not self._make(schedule, until):
                    break
                self._passed[schedule] = until

    def made(self) -> list[Made]:
        """Return the reports that were made, by name, of each the newest first."""
        shelf = self._shelf
        cards = (
            (stamp, shelf.card(name, stamp))
            for name in shelf.names()
            for stamp in shelf.stamps(name)
        )
        return [_read(stamp, card) for stamp, card in cards if card is not None]

    def body(self, made: Made, filed: Filed) -> bytes | None:
        """Return one file of a report that was made; None when it is gone meanwhile."""
        return self._shelf.body(made.name, made.stamp, filed.file)

    def _newest(self, schedule: Schedule) -> Millis | None:
        if schedule in self._passed:
            return self._passed[schedule]
        return max(map(_unstamped, self._shelf.stamps(schedule.name)), default=None)

    def _make(self, schedule: Schedule, until: Millis) -> bool:
        """Make one report; False when it has to be tried again."""
        with self._service.witness.reporting():
            findings = self._findings(schedule, until)
            if findings is None:  # nothing was watched then, or not this
                return True
            facts = {
                "schema": SCHEMA,
                "name": schedule.name,
                "since": findings.facts.since,
                "until": until,
                "scope": findings.facts.scope,
            }
            plugs = [plugins.load("reports", kind)() for kind in schedule.formats]
            files = {plug.file: _writes(plug.render(findings)) for plug in plugs}
            if not self._making.put(schedule.name, _stamped(until), until, files, facts):
                return False
        self._shelf.keep(schedule.name, schedule.keep)
        log.info("made", what=f"report {schedule.name}", until=rfc3339(until))
        return True

    def _findings(self, schedule: Schedule, until: Millis) -> Findings | None:
        house, scope = self._service.house, schedule.scope(until)
        ledger, since = house.ledger, Millis(max(0, until - schedule.length))
        chosen = self._chosen(schedule)
        before = {one.entity: replace(one, time=since) for one in ledger.health(since)}
        histories = ledger.histories(
            Millis(since + 1), until, _stretch(len(ledger.health(until)), schedule.length)
        )
        kept: list[Assessed] = []
        for entity in sorted(one for one in histories if chosen(one)):
            kept += [*([before[entity]] if entity in before else ()), *histories[entity]]
        if not kept:
            return None
        decisions = ledger.decisions(until=until, limit=DECISIONS_MAX)
        totals, earlier = astuple(ledger.counts(until)), astuple(ledger.counts(since))
        counts = Counts(*(total - one for total, one in zip(totals, earlier, strict=True)))
        facts = Facts(
            title=f"scheduled report {schedule.name}",
            versions=versions(self._rulebook(until)),
            inputs=(),
            counts=counts,
            offered=counts.accepted + counts.rejected,
            since=since,
            until=until,
            digest="",
            scope=schedule.entity or schedule.group,
        )
        findings = gather(
            health_rows(kept),
            lambda _: SCORES_FILE.empty_table(),
            [one for one in decisions if one.at > since and chosen(one.entity)],
            self._rejected(since, until, chosen),
            scope.of(facts),
        )
        told = hashlib.sha256(Json().render(findings)).hexdigest()
        return replace(findings, facts=replace(findings.facts, digest=told))

    def _chosen(self, schedule: Schedule) -> Callable[[str], bool]:
        if schedule.entity:
            return schedule.entity.__eq__
        if "=" in schedule.group:
            return self._labelled(schedule.group).__contains__
        return lambda entity: schedule.group in ("", kind(entity))

    def _rulebook(self, until: Millis) -> Rulebook:
        """Return what telemetry was judged by at a time."""
        house = self._service.house
        head = house.journal.head()
        base = house.journal.base() if not self._rulebooks else None
        if base is not None:
            self._rulebooks = [(Millis(0), canonical(checkpoint.document(base[0])))]
        found = house.journal.controls("rulebook", self._read)
        self._rulebooks += [(arrived, control.body) for arrived, control in found]
        self._read = head
        held = [body for arrived, body in self._rulebooks if arrived <= until]
        return house.reread(json.loads(held[-1] if held else self._rulebooks[0][1]))

    def _rejected(self, since: Millis, until: Millis, chosen: Callable[[str], bool]) -> pa.Table:
        house, parts, count = self._service.house, list[pa.RecordBatch](), 0
        begin, end = house.ledger.watermark(since), house.ledger.watermark(until)
        after = begin.offset if begin is not None else Offset(0)
        for entry in house.journal.rejected(after, REJECTED_MAX):
            if end is None or entry.offset > end.offset or count >= REJECTED_MAX:
                break
            mine = [chosen(one) for one in entry.rejected["entity"].to_pylist()]
            parts.append(entry.rejected.filter(pa.array(mine, pa.bool_())))
            count += parts[-1].num_rows
        return pa.Table.from_batches(parts, REJECTS)


def _stretch(entities: int, length: int) -> int:
    """Return the ms of a stretch of which one assessment is enough; 1: all of them fit."""
    size = -(-entities * length // ROWS_MAX)
    return size if size > KEEP_EVERY else 1


def _writes(body: bytes) -> Writes:
    return lambda path: path.write_bytes(body)


def _read(stamp: str, card: Mapping[str, Any]) -> Made:
    files = (
        Filed(SUFFIXES[Path(one["file"]).suffix], one["file"], one["size"], one["sha256"])
        for one in card["files"]
    )
    return Made(card["name"], stamp, card["since"], card["until"], card["scope"], tuple(files))


def _stamped(until: Millis) -> str:
    return datetime.fromtimestamp(until / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def _unstamped(stamp: str) -> Millis:
    """Return the time of a folder; what is not of ours is as if it were never made."""
    try:
        found = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return Millis(0)
    return Millis(int(found.timestamp() * 1000))
