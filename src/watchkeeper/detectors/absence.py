"""How long a series may be silent before it counts as missing. Silence itself has no score.

A late sample is not an anomaly of its value: absence lowers coverage, through the deadline.
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
from watchkeeper.model import STALE_BITS, Floats, Times, Traits

INTERVAL, COUNT = range(2)  # columns; the interval in milliseconds
ENOUGH = 3.0  # intervals before the learned one is believed
CLIP = 4.0  # an interval teaches at most this many times the learned one
UNKNOWN, NOTHING = np.array(math.nan), np.array(0.0)


class State(NamedTuple):
    """The last arrival (ms) and the usual interval between arrivals."""

    arrived: npt.NDArray[np.int64]
    interval: npt.NDArray[np.float32]


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _deadlines(state: Any, row: Any, arrived: Any, bits: Any, knobs: Any, out: Any) -> None:
    patience, least, unlearned, pace = knobs
    last, known = state
    for i in range(len(row)):
        prefetch(state, row[min(i + AHEAD, len(row) - 1)], 0)
        r, now = row[i], arrived[i]
        count = known[r, COUNT]
        if last[r] >= 0:
            gap = float(now - last[r])
            # samples that came together say nothing about the time between arrivals
            if gap > 0.0:
                taught = min(gap, CLIP * known[r, INTERVAL]) if count >= ENOUGH else gap
                known[r, INTERVAL] += max(pace, 1.0 / (count + 1.0)) * (taught - known[r, INTERVAL])
                known[r, COUNT] = min(count + 1.0, tail.REMEMBERED)
        last[r] = now
        wait = unlearned
        if known[r, COUNT] >= ENOUGH:
            wait = max(patience * known[r, INTERVAL], least)
        out[i] = now - 1 if bits[i] == STALE_BITS else now + math.ceil(wait)


def _repeated(number: Floats, count: int) -> Floats:
    """Return a column of one number, which takes no memory."""
    return np.ndarray(count, np.float64, number, strides=(0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """Learns the interval between arrivals, robustly against single gaps and double deliveries.

    :param patience: intervals of silence that are still normal.
    :param least: and at least this long, in milliseconds.
    :param unlearned: the same until the interval is learned, in milliseconds.
    :param pace: weight of a new interval.
    """

    version: ClassVar[int] = 1
    state_version: ClassVar[int] = 1
    scoreless: ClassVar[bool] = True  # it says until when, and nothing of the value

    patience: float = 3.0
    least: float = 1_000.0
    unlearned: float = 900_000.0
    pace: float = 0.05

    def fresh(self, rows: int) -> State:
        """Return the state of `rows` series never seen before."""
        return State(np.full(rows, -1, np.int64), np.zeros((rows, 2), np.float32))

    def score(self, state: State, samples: Samples, traits: Traits) -> tuple[State, Scored]:
        """Say for each sample until when silence after it is normal; the state changes in place.

        The deadline of a stale marker lies just before its arrival: the series has ended.
        """
        deadline = np.empty(len(samples.row), np.int64)
        knobs = (self.patience, self.least, self.unlearned, self.pace)
        bits = samples.value.view(np.int64)
        _deadlines(state, samples.row, samples.arrived, bits, knobs, deadline)
        unknown, nothing = _repeated(UNKNOWN, len(deadline)), _repeated(NOTHING, len(deadline))
        return state, Scored(unknown, unknown, unknown, nothing, deadline)

    def reference(self, time: Times, value: Floats, traits: Traits) -> Floats:
        """Return the scores of one series: none, whatever came."""
        return np.zeros(len(value))

    def reference_deadlines(self, arrived: Times) -> list[int]:
        """Return the deadlines of one series without stale markers, the slow, obvious way."""
        deadlines, interval, count, last = [], 0.0, 0, -1
        for now in arrived.tolist():
            gap = now - last
            if last >= 0 and gap > 0:
                weight = max(self.pace, 1 / (count + 1))
                taught = min(gap, CLIP * interval) if count >= ENOUGH else gap
                interval = float(np.float32((1 - weight) * interval + weight * taught))
                count += 1
            last = now
            learned = max(self.patience * interval, self.least)
            deadlines.append(now + math.ceil(learned if count >= ENOUGH else self.unlearned))
        return deadlines


plugin = Absence
