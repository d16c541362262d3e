"""A sensor that got stuck: a series that used to vary and now repeats one value for too long.

Many healthy series are constant for ever, so only the series' own habit counts: how long its runs
of equal values usually are, and how long the longest were. A run at exactly 0 is more often
"nothing happens" than a fault, and counts half.
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

RUN, USUAL, LONGEST, RUNS = range(4)  # columns of the state; lengths in samples
HABIT = 32.0  # completed runs before the series counts as one that varies
SHORTEST = 8.0  # the longest run is taken as at least this
MOST = 2.0  # a stuck sensor is no worse after a month than after a day


class State(NamedTuple):
    """The last value, and the lengths of the runs of equal values."""

    last: npt.NDArray[np.float64]
    run: npt.NDArray[np.float32]


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _score(state: Any, row: Any, value: Any, knobs: Any, score: Any) -> None:
    surprise, reach, fade, at_zero = knobs
    last, run = state
    for i in range(len(row)):
        prefetch(state, row[min(i + AHEAD, len(row) - 1)], 0)
        r, x = row[i], value[i]
        score[i] = 0.0
        if not math.isfinite(x):
            continue
        if run[r, RUN] > 0.0 and x != last[r]:
            runs = run[r, RUNS]
            length = min(run[r, RUN], 2.0 * max(run[r, LONGEST], SHORTEST))
            run[r, USUAL] += max(0.02, 1.0 / (runs + 1.0)) * (length - run[r, USUAL])
            run[r, LONGEST] = max(length, run[r, LONGEST] * fade)
            run[r, RUNS] = min(runs + 1.0, tail.REMEMBERED)
            run[r, RUN] = 0.0
        last[r] = x
        run[r, RUN] = min(run[r, RUN] + 1.0, tail.REMEMBERED)
        if run[r, RUNS] >= HABIT:
            rare = run[r, RUN] / (run[r, USUAL] * tail.LN10 * surprise)
            long = run[r, RUN] / (reach * max(run[r, LONGEST], SHORTEST))
            far = min(rare, long, MOST)
            score[i] = far * at_zero if x == 0.0 else far


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatline:
    """Length of the current run of equal values against the runs of the past.

    :param surprise: decades of improbability, were runs geometric, that score 1.
    :param reach: how many times the longest run of the past scores 1; the smaller of both counts.
    :param fade: factor on the longest run at each new run, so that it is forgotten in the end.
    :param at_zero: factor on the score of a run at exactly 0.
    """

    version: ClassVar[int] = 1
    state_version: ClassVar[int] = 1

    surprise: float = 9.0
    reach: float = 4.0
    fade: float = 0.9995
    at_zero: float = 0.5

    def fresh(self, rows: int) -> State:
        """Return the state of `rows` series never seen before."""
        return State(np.zeros(rows), np.zeros((rows, 4), np.float32))

    def score(self, state: State, samples: Samples, traits: Traits) -> tuple[State, Scored]:
        """Score each sample before learning from it; the state changes in place."""
        score = np.empty(len(samples.row))
        knobs = (self.surprise, self.reach, self.fade, self.at_zero)
        _score(state, samples.row, samples.value, knobs, score)
        return state, tail.bandless(score)

    def reference(self, time: Times, value: Floats, traits: Traits) -> Floats:
        """Return the scores of one series (row 0 of the traits) the slow, obvious way."""
        scores = np.zeros(len(value))
        last, run, runs, usual, longest = math.nan, 0, 0, 0.0, 0.0
        for i, x in enumerate(value.tolist()):
            if not math.isfinite(x):
                continue
            if run and x != last:
                length = min(run, 2 * max(longest, SHORTEST))
                weight = max(0.02, 1 / (runs + 1))
                usual = float(np.float32((1 - weight) * usual + weight * length))
                longest = float(np.float32(max(length, longest * self.fade)))
                runs, run = runs + 1, 0
            last, run = x, run + 1
            if runs >= HABIT:
                decades = run / usual / math.log(10)
                score = min(
                    decades / self.surprise, run / self.reach / max(longest, SHORTEST), MOST
                )
                scores[i] = score * (self.at_zero if x == 0 else 1)
        return scores


plugin = Flatline
