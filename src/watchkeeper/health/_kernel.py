"""The kernels of `noisy_or`. A tick costs what changed, not what there is.

Sums are not carried on, they are made anew, so that they have one order: each entity's series are
chained in order of number, and an entity is walked again when one of its series spoke, when a
deadline has passed, and while something takes from its health. What was summed of the others
still holds. So a tick is a few nanoseconds for each series of those entities and for each entity.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.arithmetic import exp, log
from watchkeeper.model import Floats, Rows, Times

NEVER, FOREVER = np.int64(np.iinfo(np.int64).min), np.int64(np.iinfo(np.int64).max)
NOBODY = np.uint32(np.iinfo(np.uint32).max)
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
    taken: Floats  # ln(1 − w·s) of the level: 0 when it takes nothing
    after: Rows  # the next series of the same entity, or NOBODY


class Entities(NamedTuple):
    """One element an entity: what is remembered of it, and what was summed at its last walk."""

    score: Floats  # the smoothed fourth power mean
    state: npt.NDArray[np.uint8]
    first: Rows  # its first series, or NOBODY
    last: Rows
    until: Times  # what was summed holds until then
    product: Floats
    total: Floats
    present: Times
    expected: Times


class Table(NamedTuple):
    """What to fill in, [T, E]."""

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


class Hits(NamedTuple):
    """What took from health, cell by cell: the series and ln(1 − w·s) < 0."""

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
def _taken(level: float, weight: float, ramp: Ramp) -> float:
    """Return ln(1 − w·s) of one series; 0 when it takes nothing."""
    loss = loss_of(level, weight, ramp.start, ramp.width)
    return log(1.0 - loss) if loss > 0.0 else 0.0


@numba.njit(cache=True, nogil=True, fastmath=False)
def chain(linked: Times, series: Series, entities: Entities, ramp: Ramp) -> None:
    """Chain the series that are new behind those of their entities; `linked` is how many are."""
    for s in range(linked[0], len(series.heard)):
        e = series.entity[s]
        if entities.first[e] == NOBODY:
            entities.first[e] = s
        else:
            series.after[entities.last[e]] = s
        entities.last[e] = s
        entities.until[e] = NEVER
        series.taken[s] = _taken(series.level[s], series.weight[s], ramp)
    linked[0] = len(series.heard)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _listen(
    at: int, t: int, now: int, news: Expect, series: Series, until: Times, ramp: Ramp
) -> int:
    """Fold in the evidence of tick `t` from element `at` on; return the first of the next tick."""
    while at < len(news.tick) and news.tick[at] == t:
        s = news.series[at]
        score = news.score[at]
        if series.heard[s] != now or score > series.level[s]:
            series.level[s] = score
            series.taken[s] = _taken(score, series.weight[s], ramp)
        series.heard[s] = now
        series.deadline[s] = news.deadline[at]
        until[series.entity[s]] = NEVER
        at += 1
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _room(hits: Hits, count: int) -> Hits:
    """Return hits with room for one beyond `count`."""
    if count < len(hits.series):
        return hits
    size = max(2 * count, 64)
    series, taken = np.empty(size, np.uint32), np.empty(size, np.float64)
    series[:count], taken[:count] = hits.series[:count], hits.taken[:count]
    return Hits(series, taken)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _walk(
    e: int, now: int, series: Series, entities: Entities, hits: Hits, count: int,
    ramp: Ramp, retire: int,
) -> tuple[Hits, int]:  # fmt: skip
    """Sum up the series of one entity, in order of number; return hits."""
    product, total, present, expected, until = 1.0, 0.0, 0, 0, FOREVER
    s = entities.first[e]
    while s != NOBODY:
        heard, deadline = series.heard[s], series.deadline[s]
        if heard == NEVER:
            pass
        elif deadline >= now:
            expected += 1
            present += 1
            until = min(until, deadline)
            level = series.level[s]
            if level > 0.0:
                square = min(level, ramp.cap) * min(level, ramp.cap)
                total += square * square
            if series.taken[s] < 0.0:
                product *= 1.0 - loss_of(level, series.weight[s], ramp.start, ramp.width)
                hits = _room(hits, count)
                hits.series[count] = s
                hits.taken[count] = series.taken[s]
                count += 1
        elif now - heard <= retire:
            expected += 1
            until = min(until, heard + retire)
        s = series.after[s]
    entities.product[e], entities.total[e] = product, total
    entities.present[e], entities.expected[e] = present, expected
    entities.until[e] = until
    return hits, count


@numba.njit(cache=True, nogil=True, fastmath=False)
def _settle(
    t: int, e: int, entities: Entities, table: Table, keep: float, alarm: float, limits: Limits
) -> None:
    """Write the cell of one entity; `keep` is the share of the score before."""
    present, expected = entities.present[e], entities.expected[e]
    coverage = present / expected if expected > 0 else math.nan
    health = math.nan
    # Health is at most what the present leave of it, whatever the missing would say. So where too
    # little is known to call an entity well, it may still be known to be unwell.
    most = 100.0 * entities.product[e]
    if present > 0 and (coverage >= limits.coverage_min or most < limits.fail):
        health = most
    level = entities.total[e] / present if present > 0 else 0.0
    entities.score[e] = max(level + keep * (entities.score[e] - level), 0.0)
    entities.state[e] = state_of(health, int(entities.state[e]), limits)
    table.health[t, e] = health
    table.coverage[t, e] = coverage
    table.score[t, e] = math.sqrt(math.sqrt(entities.score[e])) / alarm
    table.state[t, e] = entities.state[e]


@numba.njit(cache=True, nogil=True, fastmath=False)
def run(
    news: Expect, ticks: Times, series: Series, entities: Entities, table: Table,
    clock: Times, ramp: Ramp, limits: Limits,
) -> tuple[Times, Rows, Floats]:  # fmt: skip
    """Walk the ticks; fill `table`, carry all memory on.

    Return hits grouped by cell (start, series, share): largest share first, ties by series.
    """
    size = len(entities.score)
    start = np.zeros(len(ticks) * size + 1, np.int64)
    hits = Hits(np.empty(0, np.uint32), np.empty(0, np.float64))
    at, count = 0, 0
    for t in range(len(ticks)):
        now = ticks[t]
        at = _listen(at, t, now, news, series, entities.until, ramp)
        # The first tick of a house has nothing to smooth with: the score starts from 0.
        keep = exp(-(now - clock[0]) / ramp.smoothing) if clock[0] != NEVER else 1.0
        for e in range(size):
            end = count
            if entities.until[e] < now or entities.product[e] < 1.0:
                hits, end = _walk(e, now, series, entities, hits, count, ramp, limits.retire)
            _settle(t, e, entities, table, keep, ramp.alarm, limits)
            if table.health[t, e] < 100.0:  # neither of the unknown nor of the whole
                _share_out(hits.series[count:end], hits.taken[count:end])
                count = end
            start[t * size + e + 1] = count
        clock[0] = now
    return start, hits.series[:count], hits.taken[:count]


@numba.njit(cache=True, nogil=True, fastmath=False)
def _share_out(who: Rows, taken: Floats) -> None:
    """Turn what was taken from one cell into shares in place, largest first."""
    total = 0.0
    for i in range(len(taken)):
        total += taken[i]
    for i in range(len(taken)):
        taken[i] /= total
    if len(taken) > 1:
        _largest_first(who, taken)


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
