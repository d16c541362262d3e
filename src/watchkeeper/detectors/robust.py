"""Level and spread that one wild sample cannot move: the view that catches spikes and dips."""

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

PREDICTORS = 3  # the value before, a fast and a slow exponential average; the best one so far leads


class State(NamedTuple):
    """What each series is expected to be: predictions, their mean absolute errors, their tail."""

    level: npt.NDArray[np.float64]
    error: npt.NDArray[np.float32]
    tail: tail.Tails


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _score(state: Any, row: Any, value: Any, worse: Any, knobs: Any, out: Any) -> None:
    fast, slow, spread_pace, clip, damp = knobs
    pace = (1.0, fast, slow)
    level, error, tails = state
    met, age = 0.0, tail.age(0.0)
    for i in range(len(row)):
        prefetch(state, row[min(i + AHEAD, len(row) - 1)], 0)
        tail.blank(out, i)
        r, x = row[i], tail.clamp(value[i], tail.LARGEST)
        if not math.isfinite(x):
            continue
        now = tail.held(tails, r)
        seen = now[tail.SEEN]
        if seen != met:
            met, age = seen, tail.age(seen)
        cold = age[0]
        warm = seen >= tail.WARMUP
        if seen == 0.0:
            for k in range(PREDICTORS):
                level[r, k] = x
        best = 0
        for k in range(1, PREDICTORS):
            if error[r, k] < error[r, best]:
                best = k
        floor = tail.STILL * abs(level[r, PREDICTORS - 1]) + tail.TINIEST
        spread = max(1.25 * error[r, best], floor)  # 1.25 mean absolute errors are one sigma
        expected = level[r, best]
        move = x - expected
        score, now = tail.rate(now, abs(move) / spread, age)
        tail.keep(tails, r, now)
        out[3, i] = tail.damped(score, move, worse[r], damp)
        if warm:
            reach = now[tail.LIMIT] * spread
            out[0, i] = expected
            out[1, i] = expected - reach
            out[2, i] = expected + reach
        bound = clip * spread if warm else math.inf
        for k in range(PREDICTORS):
            miss = x - level[r, k]
            most = clip * max(error[r, k], floor) if warm else math.inf
            error[r, k] += max(spread_pace, cold) * (min(abs(miss), most) - error[r, k])
            # the value before is never clipped: after a step it is right at once
            level[r, k] += max(pace[k], cold) * (miss if k == 0 else tail.clamp(miss, bound))


@dataclass(frozen=True, slots=True, kw_only=True)
class Robust:
    """Deviation from the best of three predictors, in units of that predictor's usual error.

    :param fast: weight of a new sample in the fast average. :param slow: in the slow one.
    :param spread: weight of a new sample in the mean absolute errors.
    :param clip: a sample teaches at most this many spreads (Huber's bounded influence).
    :param damp: factor on the score of a move in the direction that is not worse.
    """

    version: ClassVar[int] = 1
    state_version: ClassVar[int] = 1

    fast: float = 0.15
    slow: float = 0.02
    spread: float = 0.001
    clip: float = 8.0
    damp: float = 0.5

    def fresh(self, rows: int) -> State:
        """Return the state of `rows` series never seen before."""
        level = np.zeros((rows, PREDICTORS))
        return State(level, np.zeros((rows, PREDICTORS), np.float32), tail.fresh(rows))

    def score(self, state: State, samples: Samples, traits: Traits) -> tuple[State, Scored]:
        """Score each sample before learning from it; the state changes in place."""
        out = tail.columns(len(samples.row))
        knobs = (self.fast, self.slow, self.spread, self.clip, self.damp)
        _score(state, samples.row, samples.value, traits.worse, knobs, out)
        return state, Scored(*out)

    def reference(self, time: Times, value: Floats, traits: Traits) -> Floats:
        """Return the scores of one series (row 0 of the traits) the slow, obvious way."""
        scores, judge = np.zeros(len(value)), tail.Slow()
        predictions: list[float] = []
        errors = [0.0, 0.0, 0.0]
        for i, offered in enumerate(value.tolist()):
            if not math.isfinite(offered):
                continue
            x = max(-tail.LARGEST, min(tail.LARGEST, offered))
            predictions = predictions or [x, x, x]
            n = judge.seen
            least = tail.STILL * abs(predictions[2]) + tail.TINIEST
            best = errors.index(min(errors))
            spread = max(1.25 * errors[best], least)
            move = x - predictions[best]
            score = judge.rate(abs(move) / spread)
            scores[i] = score * self.damp if move * float(traits.worse[0]) < 0 else score
            learnt = zip(predictions, errors, (1.0, self.fast, self.slow), strict=True)
            for k, (prediction, error, pace) in enumerate(list(learnt)):
                miss, weight = x - prediction, max(self.spread, 1 / (n + 1))
                size, step = abs(miss), miss
                if n >= tail.WARMUP:
                    size = min(size, self.clip * max(error, least))
                    if k > 0:
                        step = max(-self.clip * spread, min(self.clip * spread, miss))
                errors[k] = float(np.float32(error + weight * (size - error)))
                predictions[k] = prediction + max(pace, 1 / (n + 1)) * step
        return scores


plugin = Robust
