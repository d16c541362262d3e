"""Levels that move and stay moved, slow drifts, and series that turn restless or unusually calm.

Four charts: exponential means of three lengths against a slow, clipped reference (the EWMA control
chart of Roberts 1959, at several scales), and the short mean of absolute differences against its
long one. Each is measured in its own usual size, so that autocorrelation needs no model.
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

CHARTS = 3
REFERENCE, LAST = CHARTS, CHARTS + 1  # columns of the means behind those of the charts
STEP, USUAL_STEP, TURN = CHARTS + 1, CHARTS + 2, CHARTS + 3  # columns of the sizes, likewise
LEAST_TURN = 0.1  # roughness never counts as steadier than this


class State(NamedTuple):
    """Means (charts, reference, last value), usual sizes (charts, reference, roughness), tail."""

    mean: npt.NDArray[np.float64]
    size: npt.NDArray[np.float32]
    tail: tail.Tails


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _learn(size: Any, r: int, k: int, pace: float, found: float, most: float) -> None:
    size[r, k] += pace * (min(found, most) - size[r, k])


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _roughness(
    size: Any, r: int, step: float, seen: float, cold: float, floor: float, knobs: Any
) -> Any:
    memory, rough, clip, delay = knobs
    most = 3.0 * clip * max(size[r, USUAL_STEP], floor) if seen >= tail.WARMUP else math.inf
    _learn(size, r, STEP, max(rough, cold), step, most)
    _learn(size, r, USUAL_STEP, max(memory, cold), step, most)
    now, usual = max(size[r, STEP], floor), max(size[r, USUAL_STEP], floor)
    turn = max(now, usual) / min(now, usual) - 1.0
    z = turn / max(1.25 * size[r, TURN], LEAST_TURN) * seen / (seen + delay / rough)
    _learn(size, r, TURN, max(memory, cold), turn, clip * max(size[r, TURN], LEAST_TURN))
    return z, now - usual


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _score(state: Any, row: Any, value: Any, bias: Any, charts: Any, knobs: Any, out: Any) -> None:
    worse, damp = bias
    first, ratio, anchor = charts
    memory, _rough, clip, delay = knobs
    mean, size, tails = state
    met, age = 0.0, tail.age(0.0)
    for i in range(len(row)):
        ahead = row[min(i + AHEAD, len(row) - 1)]
        prefetch(state, ahead, 0)
        prefetch(mean, ahead, LAST)
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
            for k in range(CHARTS + 2):
                mean[r, k] = x
        learn = max(memory, cold)
        floor = tail.STILL * abs(mean[r, REFERENCE]) + tail.TINIEST
        z, side, length = 0.0, 0.0, first
        for k in range(CHARTS):
            mean[r, k] += max(1.0 / length, cold) * (x - mean[r, k])
            gap = mean[r, k] - mean[r, REFERENCE]
            found = abs(gap) / max(1.25 * size[r, k], floor) * seen / (seen + delay * length)
            if found > z or k == 0:
                z, side = found, gap
            most = clip * max(size[r, k], floor) if warm else math.inf
            _learn(size, r, k, learn, abs(gap), most)
            length *= ratio
        expected = mean[r, REFERENCE]
        most = clip * max(size[r, REFERENCE], floor) if warm else math.inf
        held = tail.clamp(x - expected, most)
        mean[r, REFERENCE] += max(anchor, cold) * held
        _learn(size, r, REFERENCE, learn, abs(held), most)
        if seen > 0.0:
            step = abs(x - mean[r, LAST])
            found, turned = _roughness(size, r, step, seen, cold, floor, knobs)
            if found > z:
                z, side = found, turned
        mean[r, LAST] = x
        score, now = tail.rate(now, z, age)
        tail.keep(tails, r, now)
        out[3, i] = tail.damped(score, side, worse[r], damp)
        if warm:
            # a band for values, although the charts judge means of them
            reach = now[tail.LIMIT] * 1.25 * max(size[r, REFERENCE], floor)
            out[0, i] = expected
            out[1, i] = expected - reach
            out[2, i] = expected + reach


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelShift:
    """Short means against a long one, at several scales, and roughness likewise.

    :param first: length of the shortest mean, in samples. :param ratio: of one length to the next.
    :param anchor: weight of a new sample in the slow reference.
    :param memory: weight of a new sample in the usual sizes.
    :param rough: weight of a new step in the short roughness.
    :param clip: a sample teaches at most this many usual sizes.
    :param delay: a chart counts in full after this many times its length.
    :param damp: factor on the score of a move in the direction that is not worse.
    """

    version: ClassVar[int] = 1
    state_version: ClassVar[int] = 1

    first: float = 4.0
    ratio: float = 4.0
    anchor: float = 0.001
    memory: float = 0.0003
    rough: float = 0.03
    clip: float = 8.0
    delay: float = 8.0
    damp: float = 0.5

    def fresh(self, rows: int) -> State:
        """Return the state of `rows` series never seen before."""
        size = np.zeros((rows, CHARTS + 4), np.float32)
        return State(np.zeros((rows, CHARTS + 2)), size, tail.fresh(rows))

    def score(self, state: State, samples: Samples, traits: Traits) -> tuple[State, Scored]:
        """Score each sample before learning from it; the state changes in place."""
        out = tail.columns(len(samples.row))
        bias = (traits.worse, self.damp)
        charts = (self.first, self.ratio, self.anchor)
        knobs = (self.memory, self.rough, self.clip, self.delay)
        _score(state, samples.row, samples.value, bias, charts, knobs, out)
        return state, Scored(*out)

    def reference(self, time: Times, value: Floats, traits: Traits) -> Floats:
        """Return the scores of one series (row 0 of the traits) the slow, obvious way."""
        scores, judge = np.zeros(len(value)), tail.Slow()
        lengths = [self.first * self.ratio**k for k in range(CHARTS)]
        means: list[float] = []
        sizes = [0.0] * CHARTS
        anchor_size = short = usual = turned = 0.0
        anchor = last = 0.0
        for i, offered in enumerate(value.tolist()):
            if not math.isfinite(offered):
                continue
            x = max(-tail.LARGEST, min(tail.LARGEST, offered))
            n = judge.seen
            if n == 0:
                means, anchor, last = [x] * CHARTS, x, x
            cold, warm = 1 / (n + 1), n >= tail.WARMUP
            learn, least = max(self.memory, cold), tail.STILL * abs(anchor) + tail.TINIEST
            found = []
            for k, length in enumerate(lengths):
                means[k] += max(1 / length, cold) * (x - means[k])
                gap = means[k] - anchor
                trust = n / (n + self.delay * length)
                found.append((abs(gap) / max(1.25 * sizes[k], least) * trust, gap))
                most = self.clip * max(sizes[k], least) if warm else math.inf
                sizes[k] = _towards(sizes[k], abs(gap), learn, most)
            most = self.clip * max(anchor_size, least) if warm else math.inf
            held = max(-most, min(most, x - anchor))
            anchor += max(self.anchor, cold) * held
            anchor_size = _towards(anchor_size, abs(held), learn, most)
            if n > 0:
                most = 3 * self.clip * max(usual, least) if warm else math.inf
                short = _towards(short, abs(x - last), max(self.rough, cold), most)
                usual = _towards(usual, abs(x - last), learn, most)
                now, long = max(short, least), max(usual, least)
                turn = max(now / long, long / now) - 1
                trust = n / (n + self.delay / self.rough)
                found.append((turn / max(1.25 * turned, LEAST_TURN) * trust, now - long))
                turned = _towards(turned, turn, learn, self.clip * max(turned, LEAST_TURN))
            last = x
            z, side = max(found, key=lambda chart: chart[0])
            score = judge.rate(z)
            scores[i] = score * self.damp if side * float(traits.worse[0]) < 0 else score
        return scores


def _towards(mean: float, found: float, weight: float, most: float) -> float:
    """Move a mean towards what was found, clipped, and round it as the state does."""
    return float(np.float32(mean + weight * (min(found, most) - mean)))


plugin = LevelShift
