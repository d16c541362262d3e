"""The contract's warn and crit bounds: how close a value is, and when its trend will get there.

Score 1 at warn, 2 at crit, linear between and beyond; below warn a ramp of a tenth of it, or half
the gap if that is less. The forecast scores 1 when crit is a day away and 2 when it is four hours
away. It needs a trend that is consistent (the slopes between all pairs of the last bucket means,
as Theil 1950 and Sen 1968) and that reaches where the series has not been of late, or a daily rise
would alarm every morning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.detectors import Samples, Scored
from watchkeeper.detectors import _tail as tail
from watchkeeper.model import Floats, Times, Traits

BUCKETS = 8
WIDTH = 2_700_000  # ms in a bucket: eight are six hours, the span that node_exporter's rule takes
HOUR = 3_600_000
NEEDED = 6  # buckets present before a trend is one
AGREE = 0.9  # share of the slopes that must point towards the bound
FRESH = 0.5  # share of the span's rise that must lie beyond the record
STEADY = 1.0  # the slopes' interquartile range, in medians, that is still one trend
RECORD_PACE = 1.0 / 224.0  # of the distance, at each bucket: the record fades in a week
HISTORY = 32  # buckets before the record counts as the series' own: a day
WARN_HOURS, CRIT_HOURS = 24.0, 4.0
MOST = 4.0  # scores above say nothing more

ORIGIN, SUM, RECORD = range(3)  # float64 columns; RECORD is in the direction of worse, NaN if none
NOW, FIRST = range(2)  # int64 columns: the current bucket's number and the first one's
COUNT, AHEAD = range(2)  # float32 columns; AHEAD is the forecast's score


class State(NamedTuple):
    """Exact sums and bucket numbers, then the means of the last buckets and what they foretell."""

    exact: npt.NDArray[np.float64]
    bucket: npt.NDArray[np.int64]
    number: npt.NDArray[np.int32]
    mean: npt.NDArray[np.float64]
    small: npt.NDArray[np.float32]


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _level(y: float, warn: float, crit: float) -> float:
    """Return the score of `y`, all turned so that more is worse; a missing bound is NaN."""
    if math.isnan(warn):
        warn = crit - 0.1 * abs(crit)
    if math.isnan(crit):
        crit = warn + 0.1 * abs(warn)
    gap = crit - warn
    if gap <= 0.0:
        return 2.0 if y >= crit else 0.0
    if y > warn:
        return min(1.0 + (y - warn) / gap, MOST)
    # The gap may be wide (1 error a second is odd, 100 are a disaster): none is still none.
    ramp = min(0.5 * gap, 0.1 * abs(warn))
    return max(1.0 - (warn - y) / ramp, 0.0) if ramp > 0.0 else 0.0


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _when(hours: float) -> float:
    """Return the score of reaching crit in so many hours."""
    if hours <= CRIT_HOURS:
        return 2.0
    if hours <= WARN_HOURS:
        return 1.0 + (WARN_HOURS - hours) / (WARN_HOURS - CRIT_HOURS)
    return max(2.0 - hours / WARN_HOURS, 0.0)


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _forecast(mean: Any, number: Any, now: int, crit: float, record: float, old: bool) -> float:
    """Return the score of the trend of the buckets up to `now`; 0 when there is no clear one."""
    slopes = np.empty(BUCKETS * (BUCKETS - 1) // 2)
    pairs, present, up = 0, 0, 0
    for i in range(now - BUCKETS + 1, now + 1):
        if number[i % BUCKETS] != i:
            continue
        present += 1
        for j in range(i + 1, now + 1):
            if number[j % BUCKETS] == j:
                slope = (mean[j % BUCKETS] - mean[i % BUCKETS]) / (j - i)
                up += 1 if slope > 0.0 else 0
                slopes[pairs] = slope
                pairs += 1
    if present < NEEDED or up < AGREE * pairs:
        return 0.0
    slopes = np.sort(slopes[:pairs])
    middle = slopes[pairs // 2]
    iqr = slopes[3 * pairs // 4] - slopes[pairs // 4]
    latest = mean[now % BUCKETS]
    if not middle > 0.0 or not iqr <= STEADY * middle:
        return 0.0
    if latest < record + FRESH * middle * (BUCKETS - 1):
        return 0.0
    score = _when(max(crit - latest, 0.0) / middle * (WIDTH / HOUR))
    return score if old else 0.5 * score


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _close(state: Any, r: int, b: int, crit: float) -> None:
    """End the current bucket: its mean joins the last eight, and the forecast is made anew."""
    exact, bucket, small = state.exact[r], state.bucket[r], state.small[r]
    now = bucket[NOW]
    if small[COUNT] > 0.0:
        slot = now % BUCKETS
        y = exact[ORIGIN] + exact[SUM] / small[COUNT]
        left = state.mean[r, slot]
        if state.number[r, slot] >= 0 and not left <= exact[RECORD]:
            exact[RECORD] = left  # the bucket that leaves the span becomes history
        else:
            exact[RECORD] -= RECORD_PACE * max(exact[RECORD] - y, 0.0)
        state.mean[r, slot], state.number[r, slot] = y, now
        old = now - bucket[FIRST] >= HISTORY
        number, mean = state.number[r], state.mean[r]
        small[AHEAD] = _forecast(mean, number, now, crit, exact[RECORD], old)
    else:
        bucket[FIRST] = b
    if b - now > BUCKETS:
        small[AHEAD] = 0.0  # nothing is known about the hours between
    bucket[NOW] = b
    exact[SUM], small[COUNT] = 0.0, 0.0


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _score(state: Any, row: Any, time: Any, value: Any, told: Any, out: Any) -> None:
    worse, bound_warn, bound_crit = told
    exact, bucket, small = state.exact, state.bucket, state.small
    for i in range(len(row)):
        r, x = row[i], tail.clamp(value[i], tail.LARGEST)
        warn, crit = bound_warn[r], bound_crit[r]
        tail.blank(out, i)
        if not math.isfinite(x) or (math.isnan(warn) and math.isnan(crit)):
            continue
        side = worse[r]
        if side == 0:  # both directions: the bounds hold for the magnitude
            x, side = abs(x), 1
        y, warn, crit = side * x, side * warn, side * crit
        score = _level(y, warn, crit)
        if not math.isnan(crit):
            b = time[i] // WIDTH
            if b != bucket[r, NOW] or small[r, COUNT] == 0.0:
                _close(state, r, b, crit)
            if small[r, COUNT] == 0.0:
                exact[r, ORIGIN] = y
            exact[r, SUM] += y - exact[r, ORIGIN]
            small[r, COUNT] += 1.0
            score = max(score, small[r, AHEAD])
        out[3, i] = score
        if y > warn:  # what the contract allows is the band that explains the score
            if worse[r] >= 0:
                out[2, i] = bound_warn[r]
            if worse[r] <= 0:
                out[1, i] = -bound_warn[r] if worse[r] == 0 else bound_warn[r]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Judges values by the contract alone; a series without bounds scores 0.

    Where `worse` is 0 the bounds hold for the magnitude of the value (a clock's offset).
    """

    by_contract: ClassVar[bool] = True
    version: ClassVar[int] = 1
    state_version: ClassVar[int] = 1

    def fresh(self, rows: int) -> State:
        """Return the state of `rows` series never seen before."""
        exact = np.zeros((rows, 3))
        exact[:, RECORD] = np.nan
        return State(
            exact=exact,
            bucket=np.full((rows, 2), -1, np.int64),
            number=np.full((rows, BUCKETS), -1, np.int32),
            mean=np.zeros((rows, BUCKETS)),
            small=np.zeros((rows, 2), np.float32),
        )

    def score(self, state: State, samples: Samples, traits: Traits) -> tuple[State, Scored]:
        """Score each sample before learning from it; the state changes in place."""
        out = tail.columns(len(samples.row))
        told = (traits.worse, traits.warn, traits.crit)
        _score(state, samples.row, samples.time, samples.value, told, out)
        return state, Scored(*out)

    def reference(self, time: Times, value: Floats, traits: Traits) -> Floats:
        """Return the scores of one series (row 0 of the traits) the slow, obvious way."""
        scores = np.zeros(len(value))
        side = int(traits.worse[0])
        warn, crit = float(traits.warn[0]) * (side or 1), float(traits.crit[0]) * (side or 1)
        if math.isnan(warn) and math.isnan(crit):
            return scores
        closed: dict[int, float] = {}
        held: list[float] = []
        current, record, ahead = -1, math.nan, 0.0
        for i, (t, offered) in enumerate(zip(time.tolist(), value.tolist(), strict=True)):
            if not math.isfinite(offered):
                continue
            x = max(-tail.LARGEST, min(tail.LARGEST, offered))
            y = x * side if side else abs(x)
            if t // WIDTH != current and held:
                closed[current] = held[0] + sum(v - held[0] for v in held) / len(held)
                before = [n for n in closed if n < current and n % BUCKETS == current % BUCKETS]
                leaving = closed[max(before)] if before else math.nan
                if before and not leaving <= record:
                    record = leaving
                elif record > closed[current]:
                    record -= RECORD_PACE * (record - closed[current])
                ahead = _foretold(closed, current, crit, record)
                if t // WIDTH - current > BUCKETS:
                    ahead = 0.0
                held = []
            current = t // WIDTH
            held.append(y)
            scores[i] = max(_slow_level(y, warn, crit), ahead)
        return scores


def _slow_level(y: float, warn: float, crit: float) -> float:
    warn = crit - abs(crit) / 10 if math.isnan(warn) else warn
    crit = warn + abs(warn) / 10 if math.isnan(crit) else crit
    if crit <= warn:
        return 2.0 if y >= crit else 0.0
    if y <= warn:
        ramp = min((crit - warn) / 2, abs(warn) / 10)
        return max(0.0, 1.0 - (warn - y) / ramp) if ramp else 0.0
    return float(np.interp(y, [warn, warn + 3 * (crit - warn)], [1.0, MOST]))


def _foretold(closed: dict[int, float], now: int, crit: float, record: float) -> float:
    """Return the score of the trend of the closed buckets, by number, up to `now`."""
    if math.isnan(crit):
        return 0.0
    span = [n for n in range(now - BUCKETS + 1, now + 1) if n in closed]
    slopes = sorted((closed[b] - closed[a]) / (b - a) for a in span for b in span if a < b)
    rising = sum(slope > 0 for slope in slopes)
    if len(span) < NEEDED or rising < AGREE * len(slopes):
        return 0.0
    count = len(slopes)
    middle = slopes[count // 2]
    if slopes[3 * count // 4] - slopes[count // 4] > STEADY * middle:
        return 0.0
    if closed[now] - record < FRESH * middle * (BUCKETS - 1):
        return 0.0
    hours = max(crit - closed[now], 0.0) / middle * WIDTH / HOUR
    score = float(np.interp(hours, [CRIT_HOURS, WARN_HOURS, 2 * WARN_HOURS], [2.0, 1.0, 0.0]))
    return float(np.float32(score if now - min(closed) >= HISTORY else score / 2))


plugin = Bounds
