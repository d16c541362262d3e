"""What is normal at this time of the day, and of the week, for this series. Times are UTC.

The day is 48 bins, interpolated, around a slow level; the week is 56 blocks of three hours that
hold only what the day leaves over. Learning weighs a sample by the time it stands for, so that a
series sampled each second and one sampled each half hour learn a day in a day.
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
from watchkeeper.detectors._prefetch import AHEAD, prefetch
from watchkeeper.model import Floats, Times, Traits

DAY = 86_400_000  # milliseconds
BINS, HOURS, BLOCKS = 48, 24, 8  # in a day: of the profile, of its spread, of the week
WIDTH = DAY // BINS
WEEK_AFTER = 7.0  # days of age; before, a week's share cannot be told from the day's
SPREAD_AFTER = 2.0  # days of age; before, an hour's own spread is hearsay
BLOCK_PACE = 0.35  # of the remaining difference is learned in one visit to a block of the week
ERROR, VISIT, PRIOR, BIN = range(4)  # columns of the small state; BIN counts from 1


class State(NamedTuple):
    """Slow level, first and last time, offsets of the day and week, spreads, the visit, tail."""

    level: npt.NDArray[np.float64]
    time: npt.NDArray[np.int64]
    day: npt.NDArray[np.float32]  # NaN where no sample has been
    hour: npt.NDArray[np.float32]
    week: npt.NDArray[np.float32]
    small: npt.NDArray[np.float32]
    tail: tail.Tails


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _place(t: int) -> Any:
    """Return the bin, the hour and the block of the week of a time, and what it lies between.

    Those are the bins whose centres were last and will be next, and how far beyond the former, in
    bins. The samples of an entry are of one time, mostly; so the kernel asks when it changes.
    """
    date = t // DAY
    into = t - date * DAY
    b = into // WIDTH
    place = into / WIDTH + (BINS - 0.5)  # one day on, so that it is positive
    left = int(place)
    hour, block = b * HOURS // BINS, date % 7 * BLOCKS + b * BLOCKS // BINS
    return b, hour, block, left % BINS, (left + 1) % BINS, place - left


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _between(before: float, after: float, beyond: float) -> float:
    return before + beyond * (after - before)


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _habit(own: float, size: float, share: float, memory: float) -> Any:
    """Return the usual error of an hour, 0 where no sample has been, after one of this size."""
    usual = np.float32(size) if own == 0.0 else own
    return usual + min(share / (memory + 1.0), 0.5) * (size - usual)


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _soon(state: Any, row: int, b: int, h: int, w: int) -> None:
    level, times, day, hour, week, small, tails = state
    prefetch((level, times, small, tails), row, 0)
    prefetch(day, row, b)
    prefetch(hour, row, h)
    prefetch(week, row, w)


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _score(state: Any, row: Any, time: Any, value: Any, worse: Any, knobs: Any, out: Any) -> None:
    # rows are indexed, not sliced: a view of each array at each sample would cost half the time
    days, spread_pace, clip, damp = knobs
    level, times, day, hour, week, small, tails = state
    met, ages, when, (b, h, w, left, right, beyond) = 0.0, tail.age(0.0), 0, _place(0)
    for i in range(len(row)):
        r, x, t = row[i], tail.clamp(value[i], tail.LARGEST), time[i]
        tail.blank(out, i)
        if not math.isfinite(x):
            continue
        now = tail.held(tails, r)
        seen = now[tail.SEEN]
        if seen != met:
            met, ages = seen, tail.age(seen)
        if t != when:
            when, (b, h, w, left, right, beyond) = t, _place(t)
        if seen == 0.0:
            level[r] = x
            times[r, 0] = times[r, 1] = t
        share = min(max(t - times[r, 1], 0), WIDTH) / WIDTH
        times[r, 1] = t
        age = (t - times[r, 0]) / DAY
        _soon(state, row[min(i + AHEAD, len(row) - 1)], b, h, w)
        habit, own = day[r, b], hour[r, h]
        if b + 1.0 != small[r, BIN]:
            small[r, BIN], small[r, VISIT] = b + 1.0, 0.0
            small[r, PRIOR] = 0.0 if math.isnan(habit) else min(max(age, 1.0), days)
        offset = _between(day[r, left], day[r, right], beyond)
        known = age >= 1.0 and not math.isnan(offset)
        expected = level[r] + (offset + week[r, w] if known else 0.0)
        move = x - expected
        floor = tail.STILL * abs(level[r]) + tail.TINIEST
        usual = small[r, ERROR]
        most = clip * max(usual, floor) if seen >= tail.WARMUP else math.inf
        both = own > 0.0 and age >= SPREAD_AFTER
        spread = max(1.25 * (0.5 * (usual + own) if both else usual), floor)
        score, now = tail.rate(now, abs(move) / spread, ages)
        tail.keep(tails, r, now)
        score *= 1.0 if age >= SPREAD_AFTER else 0.5
        out[3, i] = tail.damped(score, move, worse[r], damp)
        if known:
            reach = now[tail.LIMIT] * spread
            out[0, i], out[1, i], out[2, i] = expected, expected - reach, expected + reach
        held = tail.clamp(move, most)
        size, far = abs(held), x - level[r]
        small[r, ERROR] += max(spread_pace, ages[0]) * (size - small[r, ERROR])
        hour[r, h] = _habit(own, size, share, min(age, days))
        small[r, VISIT] += share
        pace = share / (small[r, PRIOR] + max(small[r, VISIT], share) + 1e-6)
        day[r, b] = far if math.isnan(habit) else habit + pace * (held if known else far - habit)
        if age >= WEEK_AFTER:
            week[r, w] += BLOCK_PACE * share * BLOCKS / BINS * held
        level[r] += max(0.5 * share / BINS, ages[0]) * held


@dataclass(frozen=True, slots=True, kw_only=True)
class Seasonal:
    """Deviation from the learned day and week, in units of the usual error at that hour.

    During the first two days the score is halved: one day does not make a habit.

    :param days: how many days the profile remembers.
    :param spread: weight of a new sample in the mean absolute error.
    :param clip: a sample teaches at most this many mean absolute errors.
    :param damp: factor on the score of a move in the direction that is not worse.
    """

    version: ClassVar[int] = 1
    state_version: ClassVar[int] = 1

    days: float = 5.0
    spread: float = 0.001
    clip: float = 8.0
    damp: float = 0.5

    def fresh(self, rows: int) -> State:
        """Return the state of `rows` series never seen before."""
        return State(
            level=np.zeros(rows),
            time=np.zeros((rows, 2), np.int64),
            day=np.full((rows, BINS), np.nan, np.float32),
            hour=np.zeros((rows, HOURS), np.float32),
            week=np.zeros((rows, 7 * BLOCKS), np.float32),
            small=np.zeros((rows, 4), np.float32),
            tail=tail.fresh(rows),
        )

    def score(self, state: State, samples: Samples, traits: Traits) -> tuple[State, Scored]:
        """Score each sample before learning from it; the state changes in place."""
        out = tail.columns(len(samples.row))
        knobs = (self.days, self.spread, self.clip, self.damp)
        _score(state, samples.row, samples.time, samples.value, traits.worse, knobs, out)
        return state, Scored(*out)

    def reference(self, time: Times, value: Floats, traits: Traits) -> Floats:
        """Return the scores of one series (row 0 of the traits) the slow, obvious way."""
        twin = _Twin(self)
        scores = np.zeros(len(value))
        for i, (t, x) in enumerate(zip(time.tolist(), value.tolist(), strict=True)):
            if math.isfinite(x):
                x = max(-tail.LARGEST, min(tail.LARGEST, x))
                score, move = twin.score(t, x)
                worse = float(traits.worse[0])
                scores[i] = score * self.damp if move * worse < 0 else score
        return scores


class _Twin:
    """One series in dictionaries: bins that were never visited are simply not there."""

    def __init__(self, knobs: Seasonal) -> None:
        self.knobs, self.judge = knobs, tail.Slow()
        self.day: dict[int, float] = {}
        self.hour: dict[int, float] = {}
        self.week: dict[tuple[int, int], float] = {}
        self.level = self.error = self.visit = self.prior = 0.0
        self.first = self.last = 0
        self.bin: int | None = None

    def score(self, t: int, x: float) -> tuple[float, float]:
        """Return the score and the move it stands for, then learn."""
        n = self.judge.seen
        if n == 0:
            self.level, self.first, self.last = x, t, t
        share = min(t - self.last, WIDTH) / WIDTH
        self.last, age = t, (t - self.first) / DAY
        b, block = t % DAY // WIDTH, (t // DAY % 7, t % DAY // (DAY // BLOCKS))
        h = t % DAY // (DAY // HOURS)
        if b != self.bin:
            past = min(max(age, 1.0), self.knobs.days) if b in self.day else 0.0
            self.bin, self.visit, self.prior = b, 0.0, float(np.float32(past))
        place = (t % DAY - WIDTH / 2) / WIDTH
        left = math.floor(place)
        sides = (left % BINS, (left + 1) % BINS)
        known = age >= 1 and all(side in self.day for side in sides)
        expected = self.level
        if known:
            before, after = (self.day[side] for side in sides)
            expected += before + (place - left) * (after - before) + self.week.get(block, 0.0)
        move = x - expected
        least = tail.STILL * abs(self.level) + tail.TINIEST
        usual = self.error
        if age >= SPREAD_AFTER and self.hour.get(h, 0.0) > 0:
            usual = (self.error + self.hour[h]) / 2
        score = self.judge.rate(abs(move) / max(1.25 * usual, least))
        most = self.knobs.clip * max(self.error, least) if n >= tail.WARMUP else math.inf
        held = max(-most, min(most, move))
        self._learn(x, b, h, share, age, held, known)
        if age >= WEEK_AFTER:
            old = self.week.get(block, 0.0)
            self.week[block] = _single(old + BLOCK_PACE * share * BLOCKS / BINS * held)
        self.level += max(0.5 * share / BINS, 1 / (n + 1)) * held
        return (score if age >= SPREAD_AFTER else score / 2), move

    def _learn(
        self, x: float, b: int, h: int, share: float, age: float, held: float, known: bool
    ) -> None:
        n = self.judge.seen - 1
        weight = max(self.knobs.spread, 1 / (n + 1))
        self.error = _single(self.error + weight * (abs(held) - self.error))
        far = x - self.level
        taught = held if known else far - self.day.get(b, math.nan)
        old = self.hour.get(h, 0.0) or _single(abs(held))
        pace = min(share / (min(age, self.knobs.days) + 1), 0.5)
        self.hour[h] = _single(old + pace * (abs(held) - old))
        self.visit = _single(self.visit + share)
        if b in self.day:
            reach = self.prior + max(self.visit, share) + 1e-6
            self.day[b] = _single(self.day[b] + share / reach * taught)
        else:
            self.day[b] = _single(far)


def _single(x: float) -> float:
    """Round as the state does."""
    return float(np.float32(x))


plugin = Seasonal
