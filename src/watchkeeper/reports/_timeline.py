"""One incident as it went: what signals said, what health did, what was decided, what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from watchkeeper.errors import InputError
from watchkeeper.model import Decision, Millis, Order, Phase, Receipt
from watchkeeper.reports._episodes import floats, times
from watchkeeper.reports._findings import ANY, Entity, Event, Range, Signal
from watchkeeper.reports._scope import Scope
from watchkeeper.reports._words import health, number, said, series, span

LEAD = Millis(15 * 60_000)  # of the time before, in which the cause shows
AFTER = Millis(5 * 60_000)
EDGES = 20  # told of one signal
KINDS = ("signal", "health", "decision", "order", "attempt")  # at one moment: cause before effect
BAND = ("value", "expected", "lower", "upper", "score")

Delivered = Sequence[tuple[Order, Sequence[Receipt]]]


class Course(NamedTuple):
    """One policy with one entity, from its first word to its last; oldest first."""

    decisions: tuple[Decision, ...]

    def scope(self, since: Millis, until: Millis) -> Scope:
        """Return what to look at: the entity, from before the first word until after the last.

        :param since: when anything is known first. :param until: and last.
        """
        first, last = self.decisions[0], self.decisions[-1]
        over = last.phase in (Phase.RESOLVED, Phase.INACTIVE)
        return Scope(
            entity=first.entity,
            since=Millis(max(since, first.at - LEAD)),
            until=Millis(min(until, last.at + AFTER)) if over else until,
        )

    @property
    def name(self) -> str:
        """How the report is called."""
        return f"{self.decisions[0].policy} of {self.decisions[0].entity}"


def course(decisions: Sequence[Decision], which: str) -> Course:
    """Return the incident of which a decision is part, or the newest of an entity.

    :param which: the key of a decision, or the name of an entity.
    :raises InputError: there is no such incident.
    """
    found: dict[tuple[str, str], list[list[Decision]]] = {}
    for one in decisions:
        parts = found.setdefault((one.policy, one.entity), [])
        if not parts or parts[-1][-1].phase in (Phase.RESOLVED, Phase.INACTIVE):
            parts.append([])
        parts[-1].append(one)
    fired = [
        part
        for parts in found.values()
        for part in parts
        if any(one.phase is Phase.FIRING for one in part)
    ]
    mine = [part for part in fired if any(which in (one.key, one.entity) for one in part)]
    if not mine:
        newest = sorted(fired, key=lambda part: -part[0].at)[:3]
        known = ", ".join(part[0].entity for part in newest)
        raise InputError(
            f"no policy fired as {which!r}",
            hint=f"name an entity or the key of a decision; newest: {known}"
            if known
            else "none ever fired in this journal",
        )
    chosen: list[Decision] = max(mine, key=lambda part: (part[0].at, part[0].policy))
    return Course(tuple(chosen))


def timeline(
    entity: Entity,
    of: Course,
    delivered: Delivered,
    scores: pa.Table,
    possible: Mapping[str, Range],
) -> tuple[Event, ...]:
    """Return what happened, oldest first.

    :param delivered: what the decisions owed, each with what came of every attempt.
    :param scores: of the leading signals of the entity, columns as in scores.parquet.
    :param possible: as in `Facts`.
    """
    events = [
        *_signals(scores, possible),
        *_healths(entity),
        *_decisions(of),
        *_deliveries(delivered),
    ]
    return tuple(sorted(events, key=lambda one: (one.at, KINDS.index(one.kind))))


def _signals(scores: pa.Table, possible: Mapping[str, Range]) -> Iterator[Event]:
    """Tell where a score reached the alarm threshold, and where it fell below it again."""
    names = [scores[name].to_pylist() for name in ("metric", "attributes")]
    keys = list(zip(*names, strict=True))
    columns = {name: floats(scores[name]) for name in BAND}
    time = times(scores["time"])
    for key in sorted(set(keys)):
        rows = np.array([row for row, one in enumerate(keys) if one == key], np.int64)
        rows = rows[np.argsort(time[rows], kind="stable")]
        odd = columns["score"][rows] >= 1
        edges = np.flatnonzero(odd != np.r_[False, odd[:-1]])
        for edge in edges[:EDGES].tolist():
            row = int(rows[edge])
            values = [float(columns[name][row]) for name in BAND]
            known = [value if np.isfinite(value) else None for value in values]
            signal = Signal(key[0], key[1], 0.0, *known).within(possible.get(key[0], ANY))
            word = "anomalous" if odd[edge] else "normal again"
            about = f"{said(signal)}; score {number(signal.score)}".lstrip("; ")
            yield Event(Millis(int(time[row])), "signal", f"{series(*key)} {word}", about)


def _healths(entity: Entity) -> Iterator[Event]:
    for one in entity.incidents:
        lead = "; ".join(series(s.metric, s.attributes) for s in one.signals[:2])
        yield Event(one.start, "health", "not ok any more", f"led by {lead}" if lead else "")
        if one.worst_at > one.start:
            what = f"lowest: health {health(one.worst)} ({one.state})"
            yield Event(one.worst_at, "health", what, "")
        if one.end is not None:
            yield Event(one.end, "health", "ok again", f"after {span(one.end - one.start)}")


def _decisions(of: Course) -> Iterator[Event]:
    for one in of.decisions:
        what = f"{one.policy} {one.phase}: {one.reason.replace('_', ' ')}"
        about = [one.outcome.replace("_", " "), *_clauses(one.trace)]
        yield Event(one.at, "decision", what, "; ".join(about))


def _clauses(trace: str) -> Iterator[str]:
    """Say of each clause of a trace whether it held, and with which values."""
    try:
        clauses: list[dict[str, Any]] = json.loads(trace)["clauses"]
        for clause in clauses:
            values = ", ".join(f"{name} = {value}" for name, value in clause["values"].items())
            holds = "holds" if clause["held"] else "does not hold"
            yield f"{clause.get('part', 'when')} {clause['text']} {holds} ({values})"
    except (ValueError, KeyError, TypeError):
        return


def _deliveries(delivered: Delivered) -> Iterator[Event]:
    for order, receipts in delivered:
        yield Event(order.created, "order", f"{order.action} owed", f"key {order.key}")
        for one in receipts:
            what = f"{order.action}: {one.outcome}, attempt {one.attempt}"
            yield Event(one.at, "attempt", what, one.detail)
