"""Derive a whole journal again: as a folder of results, or as findings for a report."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from watchkeeper import __version__, pipeline
from watchkeeper.beginning import begun, reaches
from watchkeeper.bulk import possible, versions
from watchkeeper.core import Observed, checkpoint
from watchkeeper.core.fold import Fold, Reread
from watchkeeper.core.state import BEGINNING, Rulebook, State
from watchkeeper.engines import Engine
from watchkeeper.errors import NothingToRead
from watchkeeper.flags import CONTROL as FLIP
from watchkeeper.flags import Flags
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Counts, Millis, Offset
from watchkeeper.reports import Facts, Findings, Scope
from watchkeeper.reports._timeline import course as course_of
from watchkeeper.reports._timeline import timeline
from watchkeeper.results import EVERYTHING, Results, reader, series_digest, within

Progress = Callable[[Offset], None]
COUNTS = ("accepted", "rejected", "scored", "duplicate", "late")


@dataclass(frozen=True)
class Rerun:
    """What a replay came to."""

    rulebook: Rulebook
    state: State
    counts: Counts
    since: Millis
    until: Millis
    digest: str

    def facts(self, title: str) -> Facts:
        """Return what reports say about it."""
        return Facts(
            title=title,
            versions=versions(self.rulebook),
            inputs=(),
            counts=self.counts,
            offered=self.counts.accepted + self.counts.rejected,
            since=self.since,
            until=self.until,
            digest=self.digest,
            possible=possible(self.rulebook),
        )


def replayed(
    journal: Journal,
    reread: Reread,
    engine: Engine,
    out: Path,
    title: str,
    progress: Progress = lambda _: None,
) -> dict[str, Any]:
    """Replay the journal into the folder `out`; return run.json's content.

    :raises NothingToRead: the journal is empty.
    """
    with Results(out) as results:
        again = _carry(journal, begun(journal, reread, engine), results, progress)
        facts = again.facts(title)
        results.report(facts)
        run = {
            "schema": "watchkeeper.run/1",
            "version": __version__,
            "journal": {"first": journal.first(), "entries": again.state.offset},
            "rulebook": {"digest": again.rulebook.digest, "document": again.rulebook.document},
            "counts": {
                "offered": facts.offered,
                **{name: getattr(again.counts, name) for name in COUNTS},
            },
            "window": {"first_tick": again.since, "last_tick": again.until},
            "series_digest": series_digest(again.state.series.keys),
            "digest": again.digest,
        }
        results.publish(run)
        return run


def found(
    journal: Journal,
    reread: Reread,
    engine: Engine,
    title: str,
    scope: Scope = EVERYTHING,
    progress: Progress = lambda _: None,
) -> Findings:
    """Replay the journal; return what is worth telling of a part of it.

    :raises NothingToRead: the journal is empty.
    :raises InputError: there is no such part. :raises Removed: it began before the journal does.
    """
    if scope.since is not None:
        reaches(journal, scope.since)
    with (
        tempfile.TemporaryDirectory(prefix="watchkeeper-") as folder,
        Results(Path(folder) / "results") as results,
    ):
        again = _carry(journal, begun(journal, reread, engine), results, progress)
        return results.report(again.facts(title), kinds=(), scope=scope)


def incident(
    journal: Journal,
    ledger: Ledger,
    reread: Reread,
    engine: Engine,
    title: str,
    which: str,
    progress: Progress = lambda _: None,
) -> Findings:
    """Replay the journal; return how one incident went, with what the ledger says was delivered.

    :param which: the key of one of its decisions, or an entity for its newest incident.
    :raises InputError: there is no such incident.
    """
    with (
        tempfile.TemporaryDirectory(prefix="watchkeeper-") as folder,
        Results(Path(folder) / "results") as results,
    ):
        again = _carry(journal, begun(journal, reread, engine), results, progress)
        course = course_of(results.decisions, which)
        facts = again.facts(f"{title}: {course.name}")
        findings = results.report(facts, (), course.scope(facts.since, facts.until))
        (entity,) = findings.entities
        orders = [order for one in course.decisions for order in ledger.orders_of(one.key)]
        delivered = [(order, ledger.receipts(order.key)) for order in orders]
        chosen = [(entity.name, metric, attributes) for metric, attributes, _ in entity.plots]
        scores = within(reader(results.folder)(chosen), findings.facts)
        told = timeline(entity, course, delivered, scores, findings.facts.possible)
        return replace(findings, timeline=told)


def _carry(journal: Journal, fold: Fold, results: Results, progress: Progress) -> Rerun:
    counts, waiting = Counts(), list[Observed]()
    first: int | None = None
    for entry in pipeline.entries(journal):
        concluded = fold.close(entry)[1]
        if concluded is not None and fold.state is not None:
            results.add(fold.state.series, waiting, concluded)
            waiting = []
            if first is None and concluded.panel.entities:
                first = int(concluded.panel.ticks[0])
        observed = fold.take(entry)
        results.reject(entry.rejected)
        counts += Counts(rejected=entry.rejected.num_rows)
        if observed is not None:
            counts += observed.counts
            waiting.append(observed)
        progress(entry.offset)
    concluded = fold.finish()
    if fold.rulebook is None or fold.state is None or concluded is None:
        raise NothingToRead("the journal is empty", hint="run the service first")
    results.add(fold.state.series, waiting, concluded)
    until = Millis(int(concluded.panel.ticks[-1]))
    since = Millis(first) if first is not None else until
    return Rerun(fold.rulebook, fold.state, counts, since, until, results.settle())


def flags_now(journal: Journal, ledger: Ledger) -> Flags:
    """Return the feature flags as they are at the end of the journal."""
    newest, base = ledger.checkpoint(), journal.base()
    if base is not None and (newest is None or newest.offset < base[0].offset):
        newest = base[0]
    flags = checkpoint.flags(newest) if newest is not None else Flags()
    for entry in pipeline.entries(journal, newest.offset if newest is not None else BEGINNING):
        for control in entry.controls:
            if control.kind == "rulebook":
                flags = flags.adopt(json.loads(control.body).get("flags", {}))
            elif control.kind == FLIP:
                flags = flags.take(control)
    return flags
