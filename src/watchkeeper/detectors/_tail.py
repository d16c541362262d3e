"""How rare a deviation is for its own series: the calibration that statistical detectors share.

A deviation `z` (0 = as expected, in spreads) is compared with the deviations this series showed
before. The quantile that one sample in fifty exceeds is tracked by stochastic approximation
(Robbins & Monro 1951). Above it the tail is taken as Pareto, its exponent estimated by the mean
logarithmic excess (Hill 1975), so that a heavy-tailed series does not alarm every day.
The surprise, -log10 of the tail probability, is divided by `BASE + GROWTH log10(n) + DOUBT / n`
for the n samples seen: young series are doubted, and the longer a series lives, the rarer an
alarm's evidence must be. So a series has a budget of alarms that hardly grows with its age,
instead of a rate (docs/detection.md).
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.arithmetic import LN2, exp, log
from watchkeeper.detectors import Scored
from watchkeeper.model import Floats

LN10 = 2.302585092994046
SHARE = 0.02  # of the samples lie above the tracked quantile
SURPRISE_AT_QUANTILE = 1.6989700043360187  # -log10(SHARE)
BASE, GROWTH = 1.1, 0.7  # decades of surprise that score 1, and how they grow per decade of samples
DOUBT = 150.0  # samples: as many decades more while a series is young, as 150 / n

QUANTILE, EXCESS, SEEN, ABOVE, LIMIT = range(5)  # the columns of one row; LIMIT is z at score 1
COLUMNS = 5
FIRST_QUANTILE = 2.5  # the normal law's 2.3 and a little, until the series has shown its own
FIRST_EXCESS = 0.5  # heavier than most telemetry: the first hours must not alarm on little
FIRST_LIMIT = 50.0
LEAST_QUANTILE = 1.0  # a series that hardly moves would otherwise find every move a wonder
LEAST_EXCESS = 0.2  # about the normal law's tail; thinner ones would make small steps look gross
PACE = 0.02  # of the quantile, at each sample
EXCESS_PACE = 0.005  # of the mean excess, at each sample above the quantile
MOST = 300.0  # deviations above are all alike
WARMUP = 16  # samples before any score
REMEMBERED = float(1 << 20)  # samples; counts stop here, which also keeps them exact in 32 bits
LARGEST = 1e30  # values are clamped here, so that spreads fit 32 bits
STILL = 1e-9  # smaller moves, relative to the level, are rounding
TINIEST = 1e-300  # keeps a spread of exactly zero divisible

Tails = npt.NDArray[np.float32]


def fresh(rows: int) -> Tails:
    """Return the tails of `rows` series never seen before, one row each."""
    first = np.zeros(COLUMNS, np.float32)
    first[QUANTILE], first[EXCESS], first[LIMIT] = FIRST_QUANTILE, FIRST_EXCESS, FIRST_LIMIT
    return np.tile(first, (rows, 1))


def columns(count: int) -> Floats:
    """Return room for expected, lower, upper and score of `count` samples; a kernel fills it."""
    return np.empty((4, count))


def bandless(score: Floats) -> Scored:
    """Return scores of whoever knows no band."""
    unknown = np.full(len(score), np.nan)
    return Scored(unknown, unknown, unknown, score)


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def blank(out: Any, i: int) -> None:
    """Say of one sample that nothing is known, and nothing odd."""
    out[0, i] = out[1, i] = out[2, i] = math.nan
    out[3, i] = 0.0


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def decades(count: float) -> float:
    """Return log10 of `count` >= 1 to within 0.03: exact at powers of two, linear between."""
    # the bits of a number, read as an integer, are its exponent with the mantissa as the fraction
    bits = np.float64(count).view(np.int64)
    return (bits * 2.0**-52 - 1023.0) * (LN2 / LN10)


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def clamp(x: float, reach: float) -> float:
    """Return `x` moved into -reach..reach."""
    return min(max(x, -reach), reach)


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def damped(score: float, move: float, worse: int, damp: float) -> float:
    """Return the score, reduced when the series moved in the direction that is not worse."""
    return score * damp if move * worse < 0.0 else score


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def held(tails: Any, row: int) -> Any:
    """Return one row of the array of `fresh` as numbers, in the order of the columns."""
    return tails[row, 0], tails[row, 1], tails[row, 2], tails[row, 3], tails[row, 4]


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def keep(tails: Any, row: int, tail: Any) -> None:
    """Write one row back."""
    for k in range(COLUMNS):
        tails[row, k] = tail[k]


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def age(seen: float) -> Any:
    """Return what follows from how many samples a series has shown.

    That is the weight of a new one in a plain mean, the surprise that scores 1, and the pace of the
    quantile. Neighbours in an entry were met together, mostly; so a kernel asks anew only when
    a series has another age than the one before it.
    """
    count = max(seen, WARMUP)
    needed = BASE + GROWTH * decades(count) + DOUBT / count
    return 1.0 / (seen + 1.0), needed, max(PACE, 1.0 / (seen + 10.0))


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy", forceinline=True)
def rate(tail: Any, z: float, age: Any) -> Any:
    """Return the score of deviation `z` >= 0, and the tail that has learned from it.

    Numbers in, numbers out: a kernel that is handed an array counts its references, atomically.

    :param tail: as `held` returns it. The score is 0 during the first `WARMUP` samples.
    :param age: of the tail's samples, as the function of that name returns it.
    """
    quantile, excess, seen, above, limit = tail
    _cold, needed, step = age
    z = min(z, MOST)
    rare = z > quantile
    if rare:
        beyond = log(z / quantile)
        surprise = SURPRISE_AT_QUANTILE + beyond / (excess * LN10)
        # one gross anomaly must not blunt the tail for the next one, hence the clip
        taught = (min(beyond, 4.0 * excess) - excess) * max(EXCESS_PACE, 1.0 / (above + 6.0))
        excess = np.float32(max(excess + taught, LEAST_EXCESS))
        above = np.float32(min(above + 1.0, REMEMBERED))
        quantile = np.float32(quantile * (1.0 + step * (1.0 - SHARE)))
    else:
        surprise = SURPRISE_AT_QUANTILE * z / quantile
        quantile = np.float32(max(quantile * (1.0 - step * SHARE), LEAST_QUANTILE))
    if rare or int(seen) % 64 == WARMUP:  # exp is dear, and the limit moves slowly
        span = max(needed - SURPRISE_AT_QUANTILE, 0.0) * excess * LN10
        limit = np.float32(min(float(quantile) * exp(span), MOST))
    score = surprise / needed if seen >= WARMUP else 0.0
    return score, (quantile, excess, np.float32(min(seen + 1.0, REMEMBERED)), above, limit)


class Slow:
    """The obvious twin of `rate` for one series, kept apart from it so that tests can compare."""

    def __init__(self) -> None:
        self.quantile = FIRST_QUANTILE
        self.excess = FIRST_EXCESS
        self.seen = 0
        self.above = 0

    def rate(self, z: float) -> float:
        """Return the score of one deviation, then learn from it."""
        z = min(z, MOST)
        is_tail = z > self.quantile
        ratio = z / self.quantile
        beyond = math.log(ratio) if is_tail else 0.0
        below = -math.log10(SHARE) * min(ratio, 1.0)
        surprise = below + beyond / self.excess / math.log(10)
        count = max(self.seen, WARMUP)
        power = 2 ** int(math.log2(count))
        log10 = (math.log2(power) + (count - power) / power) * math.log10(2)
        score = surprise / (BASE + GROWTH * log10 + DOUBT / count) if self.seen >= WARMUP else 0.0
        step = max(PACE, 1 / (self.seen + 10))
        if is_tail:
            weight = max(EXCESS_PACE, 1 / (self.above + 6))
            mean = (1 - weight) * self.excess + weight * min(beyond, 4 * self.excess)
            self.excess = max(mean, LEAST_EXCESS)
            self.above += 1
        grown = self.quantile * (1 + step * ((1 - SHARE) if is_tail else -SHARE))
        self.quantile = float(np.float32(grown if is_tail else max(grown, LEAST_QUANTILE)))
        self.excess = float(np.float32(self.excess))
        self.seen += 1
        return score
