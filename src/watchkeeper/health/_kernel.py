"""The kernels of `noisy_or`. Series are walked in order of number, so sums have one order.

Nothing here is sorted or grouped: entities have accumulators, and a tick is one walk over the
series. A tick therefore costs a few nanoseconds a series, whether 10 entities hold them or 10,000.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.arithmetic import exp, log
from watchkeeper.model import Floats, Rows, Times

NEVER = np.int64(np.iinfo(np.int64).min)
LOSS_MAX = 1.0 - 2.0**-30  # ln(0) has no shares: whatever the weight, a trace of health is left
OK, WARN, FAIL, UNKNOWN = 0, 1, 2, 3  # indices into model.STATES; a test compares them
INSERTION_MAX = 16  # longer lists are sorted by merging


class Expect(NamedTuple):
    """`Evidence` with exact types: what arrived, in order of tick."""

    tick: Times
    series: Rows
    score: Floats
    deadline: Times


class Series(NamedTuple):
    """One element a series: to whom it belongs, what it weighs, what is remembered of it."""

    entity: Rows
    weight: Floats
    level: Floats
    deadline: Times
    heard: Times


class Entities(NamedTuple):
    """What is remembered of each entity [E], and what to fill in [T, E]."""

    score_now: Floats
    state_now: npt.NDArray[np.uint8]
    health: Floats
    coverage: Floats
    score: Floats
    state: npt.NDArray[np.uint8]


class Ramp(NamedTuple):
    """From anomaly scores to severity and to the entity's own score."""

    start: float
    width: float
    cap: float
    alarm: float
    smoothing: float  # ms


class Limits(NamedTuple):
    """Where states begin and end."""

    warn: float
    warn_clear: float
    fail: float
    fail_clear: float
    coverage_min: float
    retire: int  # ms


class Tally(NamedTuple):
    """Accumulators of one tick, one element an entity."""

    product: Floats
    total: Floats
    present: Times
    expected: Times


class Hits(NamedTuple):
    """What took from health, as it was met: the cell, the series, and ln(1 − w·s) < 0."""

    cell: Times
    series: Rows
    taken: Floats


@numba.njit(cache=True, nogil=True, fastmath=False)
def orderly(tick: Times, series: Rows, ticks: int, rows: int) -> bool:
    """Return whether evidence is in order of tick and every index is within its range."""
    before = 0
    for i in range(len(tick)):
        if tick[i] < before or series[i] >= rows:
            return False
        before = tick[i]
    return before < ticks or len(tick) == 0


@numba.njit(cache=True, nogil=True, fastmath=False)
def loss_of(level: float, weight: float, start: float, width: float) -> float:
    """Return w·s of one series: its weight times the severity of its score, at most LOSS_MAX."""
    if not level > start:
        return 0.0
    severity = (level - start) / width
    return min(weight * min(severity, 1.0), LOSS_MAX)


@numba.njit(cache=True, nogil=True, fastmath=False)
def state_of(health: float, before: int, limits: Limits) -> int:
    """Return the state for a health, where leaving a bad state takes more than entering it."""
    if math.isnan(health):
        return UNKNOWN
    if health < limits.fail or (before == FAIL and health < limits.fail_clear):
        return FAIL
    if health < limits.warn or (before in (WARN, FAIL) and health < limits.warn_clear):
        return WARN
    return OK


@numba.njit(cache=True, nogil=True, fastmath=False)
def _listen(
    at: int, t: int, now: int, news: Expect, series: Series, loss: Floats, taken: Floats, ramp: Ramp
) -> int:
    """Fold in the evidence of tick `t` from element `at` on; return the first of the next tick."""
    while at < len(news.tick) and news.tick[at] == t:
        s = news.series[at]
        score = news.score[at]
        if series.heard[s] != now or score > series.level[s]:
            series.level[s] = score
            loss[s] = loss_of(score, series.weight[s], ramp.start, ramp.width)
            taken[s] = log(1.0 - loss[s]) if loss[s] > 0.0 else 0.0
        series.heard[s] = now
        series.deadline[s] = news.deadline[at]
        at += 1
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _room(hits: Hits, count: int, more: int) -> Hits:
    """Return hits with room for `more` beyond `count`."""
    if count + more <= len(hits.cell):
        return hits
    size = max(2 * len(hits.cell), count + more)
    cell, series = np.empty(size, np.int64), np.empty(size, np.uint32)
    taken = np.empty(size, np.float64)
    cell[:count], series[:count] = hits.cell[:count], hits.series[:count]
    taken[:count] = hits.taken[:count]
    return Hits(cell, series, taken)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _walk(
    now: int,
    first: int,
    series: Series,
    loss: Floats,
    taken: Floats,
    tally: Tally,
    hits: Hits,
    count: int,
    cap: float,
    retire: int,
) -> int:
    """Add every series to its entity at one tick, whose cells start at `first`; return hits."""
    for s in range(len(series.heard)):
        heard = series.heard[s]
        if heard == NEVER:
            continue
        e = int(series.entity[s])
        if series.deadline[s] >= now:
            tally.expected[e] += 1
            tally.present[e] += 1
            level = series.level[s]
            if level > 0.0:
                square = min(level, cap) * min(level, cap)
                tally.total[e] += square * square
            if taken[s] < 0.0:
                tally.product[e] *= 1.0 - loss[s]
                hits.cell[count] = first + e
                hits.series[count] = s
                hits.taken[count] = taken[s]
                count += 1
        elif now - heard <= retire:
            tally.expected[e] += 1
    return count


@numba.njit(cache=True, nogil=True, fastmath=False)
def _settle(
    t: int, entities: Entities, tally: Tally, keep: float, alarm: float, limits: Limits
) -> None:
    """Write the row of tick `t` and clear the tally; `keep` is the share of the score before."""
    for e in range(len(tally.product)):
        present, expected = tally.present[e], tally.expected[e]
        coverage = present / expected if expected > 0 else math.nan
        health = math.nan
        if present > 0 and coverage >= limits.coverage_min:
            health = 100.0 * tally.product[e]
        level = tally.total[e] / present if present > 0 else 0.0
        entities.score_now[e] = max(level + keep * (entities.score_now[e] - level), 0.0)
        entities.state_now[e] = state_of(health, int(entities.state_now[e]), limits)
        entities.health[t, e] = health
        entities.coverage[t, e] = coverage
        entities.score[t, e] = math.sqrt(math.sqrt(entities.score_now[e])) / alarm
        entities.state[t, e] = entities.state_now[e]
        tally.product[e] = 1.0
        tally.total[e] = 0.0
        tally.present[e] = 0
        tally.expected[e] = 0


@numba.njit(cache=True, nogil=True, fastmath=False)
def _keep_known(hits: Hits, begin: int, count: int, first: int, health: Floats) -> int:
    """Drop hits of this tick whose entity is unknown, or whose health is 100; return the count."""
    kept = begin
    for i in range(begin, count):
        if health[hits.cell[i] - first] < 100.0:
            hits.cell[kept] = hits.cell[i]
            hits.series[kept] = hits.series[i]
            hits.taken[kept] = hits.taken[i]
            kept += 1
    return kept


@numba.njit(cache=True, nogil=True, fastmath=False)
def run(
    news: Expect,
    ticks: Times,
    series: Series,
    entities: Entities,
    clock: Times,
    ramp: Ramp,
    limits: Limits,
) -> tuple[Times, Rows, Floats, int]:
    """Walk the ticks; fill `entities`, carry `series` and `clock` on, and return the hits."""
    size, rows = len(entities.score_now), len(series.heard)
    loss, taken = np.zeros(rows), np.zeros(rows)
    for s in range(rows):
        loss[s] = loss_of(series.level[s], series.weight[s], ramp.start, ramp.width)
        taken[s] = log(1.0 - loss[s]) if loss[s] > 0.0 else 0.0
    tally = Tally(np.ones(size), np.zeros(size), np.zeros(size, np.int64), np.zeros(size, np.int64))
    hits = Hits(np.empty(0, np.int64), np.empty(0, np.uint32), np.empty(0, np.float64))
    at, count = 0, 0
    for t in range(len(ticks)):
        now, first = ticks[t], t * size
        at = _listen(at, t, now, news, series, loss, taken, ramp)
        hits = _room(hits, count, rows)
        end = _walk(now, first, series, loss, taken, tally, hits, count, ramp.cap, limits.retire)
        # The first tick of a house has nothing to smooth with: the score starts from 0.
        keep = exp(-(now - clock[0]) / ramp.smoothing) if clock[0] != NEVER else 1.0
        _settle(t, entities, tally, keep, ramp.alarm, limits)
        count = _keep_known(hits, count, end, first, entities.health[t])
        clock[0] = now
    return hits.cell[:count], hits.series[:count], hits.taken[:count], count


@numba.njit(cache=True, nogil=True, fastmath=False)
def lay_out(
    cell: Times, series: Rows, taken: Floats, count: int, cells: int
) -> tuple[Times, Rows, Floats]:
    """Return hits grouped by cell (start, series, share): largest share first, ties by series."""
    start = np.zeros(cells + 1, np.int64)
    total = np.zeros(cells)
    for i in range(count):
        start[cell[i] + 1] += 1
        total[cell[i]] += taken[i]
    for c in range(cells):
        start[c + 1] += start[c]
    place = start[:-1].copy()
    who, share = np.empty(count, np.uint32), np.empty(count, np.float64)
    for i in range(count):
        c = cell[i]
        who[place[c]] = series[i]
        share[place[c]] = taken[i] / total[c]
        place[c] += 1
    for c in range(cells):
        if start[c + 1] - start[c] > 1:
            _largest_first(who[start[c] : start[c + 1]], share[start[c] : start[c + 1]])
    return start, who, share


@numba.njit(cache=True, nogil=True, fastmath=False)
def _largest_first(who: Rows, share: Floats) -> None:
    """Sort one cell in place by share, descending and stable (it comes in order of series)."""
    if len(who) > INSERTION_MAX:
        order = np.argsort(-share, kind="mergesort")
        who[:], share[:] = who[order], share[order]
        return
    for i in range(1, len(who)):
        series, part = who[i], share[i]
        j = i - 1
        while j >= 0 and share[j] < part:
            who[j + 1], share[j + 1] = who[j], share[j]
            j -= 1
        who[j + 1], share[j + 1] = series, part
