"""When a series reaches a bound of its contract if it goes on as it did: a trend, and its doubt.

The trend is the median of the slopes between all pairs of medians of five minutes (Theil 1950), its
interval the one that Kendall's S leaves to those slopes (Sen 1968). So a burst moves neither. What
follows one another hangs together, so the true interval is at least as wide. This looks at the last
hours for whoever looks at a page; `detectors/bounds.py` looks at days, and scores.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from watchkeeper.model import Floats, Millis, Times

STRETCH = 300_000  # ms of one median
NEEDED = 6  # medians before a trend is one: half an hour
AHEAD = Millis(24 * 3_600_000)  # nothing is said of what is farther away
LATELY = Millis(900_000)  # a series that is silent for longer foretells nothing
Z = 1.96  # 95 %
HOUR = 3_600_000


class Reach(NamedTuple):
    """A bound that will be reached. :param soonest: ms from now. :param latest: likewise."""

    bound: float
    after: Millis
    soonest: Millis
    latest: Millis


class Forecast(NamedTuple):
    """Where a series goes. :param level: of the trend, now. :param pace: per hour; `low` to `high`.

    :param warn: None when it is beyond already, farther than a day, or not in the contract.
    """

    level: float
    pace: float
    low: float
    high: float
    warn: Reach | None
    crit: Reach | None


def forecast(
    time: Times, value: Floats, worse: int, warn: float, crit: float, now: int
) -> Forecast | None:
    """Return when a series reaches its bounds; None when it is not clearly on its way.

    :param worse: 1 when more is worse, -1 when less is. :param warn: NaN without.
    """
    there = np.isfinite(value)
    if not worse or (math.isnan(warn) and math.isnan(crit)) or not there.any():
        return None
    at, level = medians(time[there] - now, worse * value[there])
    if len(at) < NEEDED or at[-1] < -LATELY:
        return None
    slopes = _slopes(at, level)
    low, pace, high = _interval(slopes, len(at))
    lately = _slopes(at[-NEEDED:], level[-NEEDED:])
    if not low > 0.0 or not lately[len(lately) // 2] > 0.0:  # none, or one that has ended
        return None
    here = float(np.median(level - pace * at))
    paces = (low, pace, high)
    to_warn, to_crit = (_reach(worse * bound - here, bound, paces) for bound in (warn, crit))
    if to_warn is to_crit is None:
        return None
    least, most = sorted((worse * low * HOUR, worse * high * HOUR))
    return Forecast(worse * here, worse * pace * HOUR, least, most, to_warn, to_crit)


def medians(time: Times, value: Floats) -> tuple[Floats, Floats]:
    """Return the mean time and the median of each stretch that has samples, oldest first."""
    stretch = time // STRETCH
    order = np.lexsort((value, stretch))
    stretch, time, value = stretch[order], time[order], value[order]
    first = np.flatnonzero(np.append(True, stretch[1:] != stretch[:-1]))
    count = np.diff(np.append(first, len(stretch)))
    middle = (value[first + (count - 1) // 2] + value[first + count // 2]) / 2
    return np.add.reduceat(time, first) / count, middle


def _slopes(at: Floats, level: Floats) -> Floats:
    """Return the slopes between all pairs, lowest first."""
    i, j = np.triu_indices(len(at), 1)
    return np.sort((level[j] - level[i]) / (at[j] - at[i]))


def _interval(slopes: Floats, count: int) -> tuple[float, float, float]:
    """Return the lower end of the median slope's interval, the slope, and the upper end."""
    pairs = len(slopes)
    doubt = Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lower = max(0, math.floor((pairs - doubt) / 2) - 1)
    upper = min(pairs - 1, math.ceil((pairs + doubt) / 2))
    middle = (slopes[(pairs - 1) // 2] + slopes[pairs // 2]) / 2
    return float(slopes[lower]), float(middle), float(slopes[upper])


def _reach(gap: float, bound: float, pace: tuple[float, float, float]) -> Reach | None:
    low, middle, high = pace
    if not gap > 0.0 or gap / middle > AHEAD:  # NaN is no bound
        return None
    soonest, after, latest = (Millis(round(gap / each)) for each in (high, middle, low))
    return Reach(bound, after, soonest, latest)
