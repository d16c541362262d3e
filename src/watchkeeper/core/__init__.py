"""The pure function between journal and ledger: what arrived in, steps out.

    entry ─► enrol new series ─► observe (detectors) ─► conclude a tick (health, policies) ─► step

Two verbs do the work, on blocks of any size, so that a month of files and the last second of a
live fleet run through the same code. `observe` scores samples as they come; `conclude` evaluates
health and policies at ticks. `close` and `take` carry one journal entry in; replay, verify and the
live house share them. State is handed over: arrays may be changed in place, the caller keeps only
what is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper import policies
from watchkeeper.contracts import traits
from watchkeeper.core import blocks
from watchkeeper.core.panel import ENDED, FRESH, Current, Panel, admit, later
from watchkeeper.core.state import (
    KEEP_EVERY,
    Arrived,
    Kept,
    Pending,
    Rulebook,
    Series,
    State,
    joined,
    together,
)
from watchkeeper.detectors import Samples
from watchkeeper.detectors._ensemble import Scores
from watchkeeper.engines import Engine
from watchkeeper.flags import CONTROL as FLIP
from watchkeeper.flags import Flags, Gate
from watchkeeper.health import Evidence, Roster
from watchkeeper.model import (
    KEYS,
    REJECTS,
    SAMPLES,
    Assessed,
    Counts,
    Cursor,
    Decision,
    Entry,
    Millis,
    Offset,
    Order,
    Step,
    Times,
    append,
    pick,
    stack,
)
from watchkeeper.policies import judge, nothing_held, paused

C = TypeVar("C", bound=tuple[Any, ...])
GAP = Millis(120_000)  # a longer silence of the whole house was not watched; it accuses nobody
KEEP_CHANGE = 1.0  # health points
KEEP_APART = 7_919  # ms between the moments of two entities; no divisor of a minute, so they spread


@dataclass(frozen=True)
class Observed:
    """The scores of one block of samples, beside the samples they belong to."""

    samples: Samples
    scores: Scores
    counts: Counts
    evidence: Arrived


@dataclass(frozen=True)
class Concluded:
    """What was concluded over a block of ticks."""

    panel: Panel
    decisions: list[Decision]
    orders: list[Order]


def fresh(rulebook: Rulebook) -> State:
    """Return the state before the first entry."""
    return State(
        series=Series(),
        traits=traits(rulebook.contracts, pa.RecordBatch.from_pylist([], KEYS)),
        last=np.zeros(0, np.int64),
        now=Current.fresh(0),
        detectors=rulebook.ensemble.fresh(0),
        health=rulebook.health.fresh(),
        held=nothing_held(),
        flags=Flags(rulebook.flags),
    )


def begun(rulebook: Rulebook, entry: Entry) -> State:
    """Return the state right before the entry that brings the first rulebook."""
    state = fresh(rulebook)
    state.offset = Offset(entry.offset - 1)
    state.tick = Millis((entry.arrived - 1) // rulebook.tick * rulebook.tick)
    return state


def enrol(rulebook: Rulebook, state: State, new: pa.RecordBatch) -> State:
    """Make room for new series, in the order given; their entities get the next numbers."""
    if new.num_rows == 0:
        return state
    series = state.series
    series.add(new)
    count, entities = len(series.entity), len(series.entities)
    state.traits = _behind(state.traits, traits(rulebook.contracts, new))
    state.last = append(state.last, np.full(new.num_rows, -1, np.int64))
    state.now = state.now.grow(count)
    state.detectors = rulebook.ensemble.grow(state.detectors, count)
    state.health = rulebook.health.grow(state.health, count, entities)
    state.kept = _behind(state.kept, Kept.fresh(entities - len(state.kept.time)))
    return state


def observe(
    rulebook: Rulebook, state: State, samples: Samples, engine: Engine
) -> tuple[State, Observed]:
    """Score samples, sorted by (row, time), and learn from them.

    A sample not newer than the last of its series is a duplicate or late: counted, not scored. A
    stale marker ends its series at once: it becomes evidence of silence and is not scored.
    """
    return state, _observe(rulebook, state, samples, engine)[0]


def _observe(
    rulebook: Rulebook, state: State, samples: Samples, engine: Engine
) -> tuple[Observed, npt.NDArray[np.bool_]]:
    """Return also which of the samples were scored."""
    fate, ended, duplicate, late = admit(samples.row, samples.time, samples.value, state.last)
    judged = len(fate) - duplicate - late
    counts = Counts(len(fate), scored=judged, duplicate=duplicate, late=late)
    kept, offered = fate == FRESH, samples
    if duplicate or late:
        offered = pick(samples, fate <= ENDED)
    samples = pick(samples, kept) if ended else offered

    parts = blocks.slices(samples, engine.workers)
    done = engine.map(
        lambda part: rulebook.ensemble.score(state.detectors, part, state.traits)[1], parts
    )
    scores = stack(done)
    evidence = Arrived(samples.arrived, samples.row, scores.score, scores.deadline)
    if ended:
        evidence = _with_ends(evidence, offered, np.isnan(offered.value))
    return Observed(samples, scores, counts, evidence), kept


def merged(parts: Sequence[Observed]) -> Observed:
    """Return what was observed in slices of time as if it had been observed at once."""
    samples = stack([part.samples for part in parts])
    scores = stack([part.scores for part in parts])
    order = np.lexsort((samples.time, samples.row))
    return Observed(
        pick(samples, order),
        pick(scores, order),
        sum((part.counts for part in parts), Counts()),
        joined([part.evidence for part in parts]),
    )


def conclude(
    rulebook: Rulebook, state: State, evidence: Arrived, ticks: Times
) -> tuple[State, Concluded]:
    """Evaluate health and policies at `ticks`; every arrival belongs to the first tick after it."""
    if len(ticks) == 1:  # all of it, in a house that is not behind
        index = np.zeros(len(evidence.arrived), np.int64)
    else:
        index = np.searchsorted(ticks, evidence.arrived, side="left").astype(np.int64)
    if len(ticks) > 1 and (np.diff(index) < 0).any():
        order = np.argsort(index.astype(np.int32), kind="stable")
        index, evidence = index[order], pick(evidence, order)
    seen = Evidence(index, evidence.series, evidence.score, evidence.deadline)
    roster = Roster(state.series.entity, state.traits.weight)
    state.health, health = rulebook.health.assess(state.health, seen, ticks, roster)
    panel = Panel(ticks, state.series.entities, health, state.series, seen, state.now)
    state.held, decisions, orders = judge(
        rulebook.policies, state.held, panel, Gate(state.flags, rulebook.needs)
    )
    panel.settle()
    state.tick = Millis(int(ticks[-1]))
    return state, Concluded(panel, decisions, orders)


def due(rulebook: Rulebook, state: State, entry: Entry) -> bool:
    """Return whether `close` has anything to do when `entry` arrives."""
    return entry.arrived - 1 - state.tick >= rulebook.tick or _restarted(entry)


def close(
    rulebook: Rulebook, state: State, entry: Entry
) -> tuple[State, list[Step], Concluded | None]:
    """Evaluate the ticks that are over when `entry` arrives; return the steps worth keeping."""
    until = entry.arrived
    if restarted := _restarted(entry):  # the open tick is closed, what follows was not watched
        until = Millis(min(until, state.tick + rulebook.tick + 1))
    state, steps, concluded = close_ticks(rulebook, state, until)
    if restarted:
        state = resume(rulebook, state, entry.arrived)
    return state, steps, concluded


def take(
    rulebook: Rulebook, state: State, entries: Sequence[Entry], engine: Engine
) -> tuple[State, Observed | None]:
    """Score what journal entries brought, after `close` has evaluated what was before them.

    The result is the same as if each had been taken alone, but for the order of what was observed:
    it is sorted by series. There may be no tick between them.
    """
    for entry in entries:
        assert entry.offset == state.offset + 1, (entry.offset, state.offset)
        state = enrol(rulebook, state, entry.new)
        state.offset, state.arrived = entry.offset, entry.arrived
        for control in entry.controls:
            if control.kind == FLIP:
                state.flags = state.flags.take(control)
    if rejected := sum(entry.rejected.num_rows for entry in entries):
        state.pending.counts += Counts(rejected=rejected)
    block = blocks.together(entries)
    if len(block.entry) == 0:
        return state, None
    observed, kept = _observe(rulebook, state, block.samples, engine)
    state.pending.counts += observed.counts
    state.pending.hear(observed.evidence, len(state.last))
    entry_of = block.entry if len(observed.samples.row) == len(kept) else block.entry[kept]
    block = blocks.Block(observed.samples, entry_of)
    blocks.tell(state.pending.hashing(rulebook), block, observed.scores)
    return state, observed


def adopt(old: Rulebook, new: Rulebook, state: State) -> State:
    """Go on under another rulebook; whatever did not change in it keeps its memory."""
    state.traits = stack([traits(new.contracts, part) for part in state.series.keys])
    if old.document["detectors"] != new.document["detectors"]:
        state.detectors = new.ensemble.fresh(len(state.series.entity))
    if old.document["health"] != new.document["health"]:
        state.health = new.health.grow(
            new.health.fresh(), len(state.series.entity), len(state.series.entities)
        )
        state = _said_again(state, state.tick, 0)  # a new model has heard nobody yet
    else:  # what it made of the weights before is forgotten
        state.health = new.health.load(new.health.dump(state.health))
    state.flags = state.flags.adopt(new.flags)
    if old.tick != new.tick:  # what is pending must fall into the first new tick
        state.tick = Millis(max(state.tick, state.arrived - 1) // new.tick * new.tick)
    return state


def close_ticks(
    rulebook: Rulebook, state: State, until: Millis
) -> tuple[State, list[Step], Concluded | None]:
    """Evaluate every tick before `until` that is still open."""
    size = rulebook.tick
    count = (until - 1 - state.tick) // size
    if count <= 0:
        return state, [], None
    if count > 1 and until - state.arrived > GAP:
        state, steps, concluded = close_ticks(rulebook, state, Millis(state.tick + size + 1))
        return resume(rulebook, state, until), steps, concluded
    ticks = state.tick + size * np.arange(1, count + 1, dtype=np.int64)
    pending, state.pending = state.pending, Pending()
    evidence = joined(pending.evidence)
    state, concluded = conclude(rulebook, state, evidence, ticks)
    return state, _steps(rulebook, state, concluded, pending), concluded


def _restarted(entry: Entry) -> bool:
    return any(control.kind == "started" for control in entry.controls)


def resume(rulebook: Rulebook, state: State, at: Millis) -> State:
    """Nobody watched until `at`: no tick in between, and that silence accuses nobody."""
    before = Millis((at - 1) // rulebook.tick * rulebook.tick)
    pause = before - state.tick
    if pause <= 0:
        return state
    state = _said_again(state, before, pause)
    state.held = paused(state.held, pause)
    state.tick = before
    return state


def _said_again(state: State, at: Millis, pause: int) -> State:
    """Let every series that is not silent say at `at` what it said last, good for as long."""
    alive = np.flatnonzero(state.now.deadline >= state.tick).astype(np.uint32)
    if len(alive):
        state.pending.evidence.insert(
            0,
            Arrived(
                np.full(len(alive), at, np.int64),
                alive,
                state.now.score[alive],
                later(state.now.deadline[alive], pause),
            ),
        )
    return state


def warm_up(rulebook: Rulebook, engine: Engine) -> None:
    """Carry made-up entries through, so that every kernel is compiled, or loaded."""
    new = pa.RecordBatch.from_pylist(
        [{"entity": "host:warm-up", "metric": m, "attributes": "{}"} for m in ("a", "b")], KEYS
    )
    state: State | None = None
    for offset in (1, 2, 3):
        at = offset * 10 * rulebook.tick
        columns = [pa.array([0, 1], pa.uint32()), pa.array([at, at]), pa.array([1.0, 2.0])]
        entry = Entry(
            offset=Offset(offset),
            source="",
            cursor=Cursor(""),
            arrived=Millis(at),
            first=0 if offset == 1 else 2,
            new=new if offset == 1 else new.slice(0, 0),
            samples=pa.RecordBatch.from_arrays(columns, schema=SAMPLES),
            rejected=pa.RecordBatch.from_pylist([], REJECTS),
        )
        state, _, _ = close(rulebook, state or begun(rulebook, entry), entry)
        state, _ = take(rulebook, state, [entry], engine)
        together(state.pending.evidence, len(state.last))
    policies.warm_up()  # nothing has held in any of them


def _steps(rulebook: Rulebook, state: State, concluded: Concluded, pending: Pending) -> list[Step]:
    panel, steps = concluded.panel, []
    for index, tick in enumerate(panel.ticks.tolist()):
        first = index == 0
        state.kept, health = _worth_keeping(state.kept, panel, index)
        decisions = tuple(d for d in concluded.decisions if d.at == tick)
        orders = tuple(o for o in concluded.orders if o.created == tick)
        arrived = first and not pending.empty
        if not (arrived or health or decisions or orders):
            continue
        steps.append(
            Step(
                offset=state.offset,
                tick=Millis(tick),
                rulebook=rulebook.digest,
                counts=pending.counts if first else Counts(),
                scores=(pending if first else Pending()).hashing(rulebook).hexdigest(),
                health=health,
                decisions=decisions,
                orders=orders,
            )
        )
    return steps


def _worth_keeping(kept: Kept, panel: Panel, tick: int) -> tuple[Kept, tuple[Assessed, ...]]:
    """Keep what changed, and everything known once a minute.

    Each entity has its own moment of the minute, or all would be kept in one tick.
    """
    now = int(panel.ticks[tick])
    health, state = panel.health[tick], panel.state[tick]
    known = panel.expected(tick)
    moved = np.abs(health - kept.health) >= KEEP_CHANGE
    moved |= np.isnan(health) != np.isnan(kept.health)
    moment = np.arange(len(health)) * KEEP_APART % KEEP_EVERY
    due = (now - moment) // KEEP_EVERY > (kept.time - moment) // KEEP_EVERY
    keep = np.flatnonzero(known & (moved | due | (state != kept.state)))
    kept.time[keep], kept.health[keep], kept.state[keep] = now, health[keep], state[keep]
    return kept, panel.assessed(tick, keep)


def _behind(have: C, more: C) -> C:
    kind: Any = type(have)
    longer: C = kind(*map(append, have, more))
    return longer


def _with_ends(evidence: Arrived, offered: Samples, ended: npt.NDArray[np.bool_]) -> Arrived:
    """Return evidence of all samples in the order offered; a stale marker is a past deadline."""
    score, deadline = np.zeros(len(ended)), offered.arrived - np.int64(1)
    score[~ended], deadline[~ended] = evidence.score, evidence.deadline
    return Arrived(offered.arrived, offered.row, score, deadline)
