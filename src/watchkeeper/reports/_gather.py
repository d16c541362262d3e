"""Boil bulk results down to findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper.model import STATES, Decision, Millis, State, Times
from watchkeeper.reports._episodes import (
    BY_SEVERITY,
    SEVERITY,
    Episodes,
    Index,
    Ticks,
    codes,
    episodes,
    extremes,
    floats,
    lowest,
    sorted_ticks,
    thinned,
    times,
)
from watchkeeper.reports._findings import (
    ANY,
    Entity,
    Facts,
    Findings,
    Incident,
    Line,
    Plot,
    Quarantined,
    Range,
    Signal,
)

PLOTTED = 12  # entities whose signals are drawn
LISTED = 50  # entities told in full
INCIDENTS_EACH = 8  # the worst of one entity
INCIDENTS_ALL = 2_000
SIGNALS = 4  # of one moment
DECISIONS_EACH = 20
DECISIONS_ALL = 500
EXAMPLES = 3
BAND = ("value", "expected", "lower", "upper", "score")

Key = tuple[str, str, str]  # entity, metric, attributes
Scores = Callable[[Sequence[Key]], pa.Table]


def gather(
    health: pa.Table,
    scores: Scores,
    decisions: Sequence[Decision],
    quarantine: pa.Table,
    facts: Facts,
) -> Findings:
    """Return what is worth telling, worst first.

    :param health: columns as in health.parquet: entity, time, health (null is unknown), state,
        coverage, score, contributions; in any order of rows.
    :param scores: asked at most once, for the series to be drawn; returns columns as in
        scores.parquet for those of them it has.
    :param quarantine: REJECTS.
    """
    ticks = sorted_ticks(health)
    found = episodes(ticks)
    low = lowest(ticks)
    rank = _ranked(ticks, found, low)
    made = _by_entity(decisions)
    told = _Told(health, ticks, found, low, rank, made)
    entities = [_entity(told, place, int(code)) for place, code in enumerate(rank)]
    entities[:PLOTTED] = _with_plots(entities[:PLOTTED], scores, facts.possible)
    now = Counter(STATES[code] for code in ticks.state[ticks.last].tolist())
    newest = sorted(decisions, key=_newest_first)[:DECISIONS_ALL]
    outcomes = Counter(str(decision.outcome) for decision in decisions)
    return Findings(
        facts=facts,
        states=tuple((state, now[state]) for state in STATES),
        entities=tuple(entities),
        incident_count=len(found.code),
        decision_count=len(decisions),
        decisions=tuple(newest),
        outcomes=tuple(sorted(outcomes.items())),
        quarantine=_quarantined(quarantine),
    )


class _Told:
    """Looks up what is told of an entity; reads nested columns only for the rows needed."""

    def __init__(
        self,
        health: pa.Table,
        ticks: Ticks,
        found: Episodes,
        low: Index,
        rank: Index,
        made: dict[str, list[Decision]],
    ) -> None:
        self.ticks, self.low, self.made, self.found = ticks, low, made, found
        self.coverage = floats(health["coverage"])[ticks.row]
        self.score = floats(health["score"])[ticks.row]
        self.span = np.searchsorted(found.code, np.arange(len(ticks.names) + 1))
        self.built = {int(code): self._worst_incidents(int(code)) for code in rank}
        self._cap()
        rows = [*ticks.last.tolist(), *low.tolist()]
        leads = _leads(health["contributions"], ticks.row[np.array(rows, np.int64)])
        self.lead = dict(zip(rows, leads, strict=True))
        wanted = [int(found.worst_row[i]) for kept in self.built.values() for i in kept]
        wanted += [int(ticks.last[code]) for code in rank[:LISTED]]
        unique = sorted(set(wanted))
        cells = health["contributions"].take(pa.array(ticks.row[unique], pa.int64())).to_pylist()
        self.signals = {
            row: tuple(
                Signal(part["metric"], part["attributes"], part["share"])
                for part in (cell or ())[:SIGNALS]
            )
            for row, cell in zip(unique, cells, strict=True)
        }

    def _worst_incidents(self, code: int) -> list[int]:
        found, (start, stop) = self.found, self.span[code : code + 2]
        each = sorted(
            range(start, stop), key=lambda i: (found.worst[i], -found.state[i], found.start[i])
        )
        return sorted(each[:INCIDENTS_EACH])

    def _cap(self) -> None:
        left = INCIDENTS_ALL
        for code, kept in self.built.items():
            self.built[code] = kept[:left]
            left -= len(self.built[code])


def _entity(told: _Told, place: int, code: int) -> Entity:
    ticks, last, low = told.ticks, int(told.ticks.last[code]), int(told.low[code])
    name = ticks.names[code]
    made = told.made.get(name, [])
    start, stop = told.span[code : code + 2]
    state = STATES[int(ticks.state[last])]
    since = None
    if state is not State.OK:  # the last incident, or never known at all
        since = Millis(int(told.found.start[stop - 1] if stop > start else _first(ticks, code)))
    line = Line()
    if place < LISTED:
        part = slice(int(ticks.first[code]), last + 1)
        time, health = ticks.time[part], ticks.health[part]
        kept = thinned(time, health)
        line = Line(_millis(time[kept]), tuple(_or_none(h) for h in health[kept].tolist()))
    return Entity(
        name=name,
        state=state,
        health=_or_none(float(ticks.health[last])),
        at=Millis(int(ticks.time[last])),
        coverage=float(told.coverage[last]),
        score=float(told.score[last]),
        since=since,
        worst=_or_none(float(ticks.health[low])),
        worst_at=Millis(int(ticks.time[low])),
        lead=_lead(told, state, last, low),
        signals=told.signals.get(last, ()),
        incident_count=int(stop - start),
        incidents=tuple(_incident(told, i, made) for i in told.built[code]),
        decision_count=len(made),
        decisions=tuple(made[:DECISIONS_EACH]) if place < LISTED else (),
        line=line,
        plots=(),
    )


def _lead(told: _Told, state: State, last: int, low: int) -> str:
    if state is State.UNKNOWN:
        return ""
    return (told.lead[last] if state is not State.OK else "") or told.lead[low]


def _incident(told: _Told, index: int, made: Sequence[Decision]) -> Incident:
    found, row = told.found, int(told.found.worst_row[index])
    start, end = int(found.start[index]), int(found.end[index])
    within = [d.key for d in reversed(made) if start <= d.at and (end < 0 or d.at <= end)]
    worst = float(found.worst[index])
    return Incident(
        start=Millis(start),
        end=Millis(end) if end >= 0 else None,
        state=BY_SEVERITY[int(found.state[index])],
        worst=worst if worst < np.inf else None,
        worst_at=Millis(int(told.ticks.time[row])),
        signals=told.signals[row],
        decisions=tuple(within[-DECISIONS_EACH:]),
    )


def _ranked(ticks: Ticks, found: Episodes, low: Index) -> Index:
    """Order the entities: state now, then health now, then the worst that happened, then name."""
    now, worst = ticks.health[ticks.last], ticks.health[low]
    calm = np.bincount(found.code, minlength=len(ticks.names)) == 0
    bad = SEVERITY[ticks.state[ticks.last]]
    return np.lexsort((worst, np.where(bad > 0, now, 0.0), calm, -bad))


def _by_entity(decisions: Sequence[Decision]) -> dict[str, list[Decision]]:
    made: dict[str, list[Decision]] = {}
    for decision in sorted(decisions, key=_newest_first):
        made.setdefault(decision.entity, []).append(decision)
    return made


def _newest_first(decision: Decision) -> tuple[int, str, str, str]:
    return (-decision.at, decision.policy, decision.entity, decision.key)


def _leads(contributions: pa.ChunkedArray, rows: Index) -> list[str]:
    """Return the metric with the largest share of each row; empty when nothing took health."""
    cells = contributions.take(pa.array(rows, pa.int64())).combine_chunks()
    size = np.asarray(pc.fill_null(pc.list_value_length(cells), 0).to_numpy(zero_copy_only=False))
    leads = [""] * len(rows)
    some = np.flatnonzero(size > 0)
    if len(some):
        parts = pc.list_element(cells.take(pa.array(some)), 0)
        metrics = pc.struct_field(parts, "metric").to_pylist()
        for place, metric in zip(some.tolist(), metrics, strict=True):
            leads[place] = metric
    return leads


class _Series(NamedTuple):
    """The scores of one series, by time."""

    columns: dict[str, npt.NDArray[Any]]

    possible: Range

    def at(self, signal: Signal, moment: int) -> Signal:
        """Fill in what the series said last at or before a moment."""
        row = int(np.searchsorted(self.columns["time"], moment, side="right")) - 1
        if row < 0:
            return signal
        value, expected, lower, upper, score = (
            _or_none(float(self.columns[name][row])) for name in BAND
        )
        return Signal(
            signal.metric, signal.attributes, signal.share, value, expected, lower, upper, score
        ).within(self.possible)

    def plot(self) -> Plot:
        c = self.columns
        kept = extremes(c["time"], c["value"], c["score"])
        return Plot(
            _millis(c["time"][kept]),
            tuple(c["value"][kept].tolist()),
            tuple(self.possible.clip(_or_none(v)) for v in c["lower"][kept].tolist()),
            tuple(self.possible.clip(_or_none(v)) for v in c["upper"][kept].tolist()),
            tuple(c["score"][kept].tolist()),
        )


def _with_plots(
    entities: list[Entity], scores: Scores, possible: Mapping[str, Range]
) -> list[Entity]:
    wanted = [(e.name, *pair) for e in entities for pair in _leading(e)]
    if not wanted:
        return entities
    series = _by_series(scores(wanted), possible)
    drawn = []
    for e in entities:

        def fill(signals: tuple[Signal, ...], at: int, name: str = e.name) -> tuple[Signal, ...]:
            known = [(s, series.get((name, s.metric, s.attributes))) for s in signals]
            return tuple(s if found is None else found.at(s, at) for s, found in known)

        plots = [
            (m, a, series[e.name, m, a].plot()) for m, a in _leading(e) if (e.name, m, a) in series
        ]
        incidents = tuple(replace(i, signals=fill(i.signals, i.worst_at)) for i in e.incidents)
        drawn.append(
            replace(e, signals=fill(e.signals, e.at), incidents=incidents, plots=tuple(plots))
        )
    return drawn


def _leading(entity: Entity) -> list[tuple[str, str]]:
    """The signals worth a plot: those that ever took most, at most SIGNALS + 1."""
    share: dict[tuple[str, str], float] = {}
    for signal in [*entity.signals, *(s for i in entity.incidents for s in i.signals)]:
        key = (signal.metric, signal.attributes)
        share[key] = max(signal.share, share.get(key, 0.0))
    return sorted(share, key=lambda key: (-share[key], key))[: SIGNALS + 1]


def _by_series(scores: pa.Table, possible: Mapping[str, Range]) -> dict[Key, _Series]:
    parts = [codes(scores[name]) for name in ("entity", "metric", "attributes")]
    names = [words for _, words in parts]
    joint = np.zeros(scores.num_rows, np.int64)
    for number, words in parts:
        joint = joint * max(1, len(words)) + number
    time = times(scores["time"])
    order = np.lexsort((time, joint))
    columns: dict[str, npt.NDArray[Any]] = {"time": time[order]}
    for name in BAND:
        columns[name] = floats(scores[name])[order]
    _, begins = np.unique(joint[order], return_index=True)
    found: dict[Key, _Series] = {}
    for begin, end in zip(begins, np.r_[begins[1:], scores.num_rows], strict=False):
        row = order[begin]
        entity, metric, attributes = (
            n[int(c[row])] for (c, _), n in zip(parts, names, strict=True)
        )
        part = {name: column[begin:end] for name, column in columns.items()}
        keep = ~np.isnan(part["value"])  # a counter's first sample has no rate
        if keep.any():
            kept = {name: column[keep] for name, column in part.items()}
            found[entity, metric, attributes] = _Series(kept, possible.get(metric, ANY))
    return found


def _quarantined(rejects: pa.Table) -> tuple[Quarantined, ...]:
    reason, words = codes(rejects["reason"])
    found = []
    for number, word in enumerate(words):
        rows = np.flatnonzero(reason == number)
        examples = rejects.take(pa.array(rows[:EXAMPLES])).to_pylist()
        texts = tuple(f"{r['origin']}: {r['entity']} {r['metric']}: {_said(r)}" for r in examples)
        found.append(Quarantined(word, len(rows), texts))
    return tuple(sorted(found, key=lambda q: (-q.count, q.reason)))


def _said(reject: dict[str, object]) -> str:
    offered = reject["offered"] if reject["offered"] is not None else reject["value"]
    got = "" if offered is None else f"got {offered!r}"
    wanted = f"wanted {reject['detail']}" if reject["detail"] else ""
    return ", ".join(part for part in (got, wanted) if part)


def _first(ticks: Ticks, code: int) -> int:
    return int(ticks.time[ticks.first[code]])


def _millis(time: Times) -> tuple[Millis, ...]:
    return tuple(Millis(t) for t in time.tolist())


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
