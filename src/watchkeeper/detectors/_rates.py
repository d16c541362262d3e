"""A counter becomes its rate per second, across resets and wraps of 32-bit counters.

A counter that falls was reset, as in Prometheus: what it shows now is what came since. Unless it
stood in the last quarter below 2^32 and shows up in the first one: then it wrapped, as SNMP's
Counter32 does. A rate is never negative.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.detectors._prefetch import AHEAD, prefetch
from watchkeeper.model import Flags, Floats, Rows, Times

WRAP = 4294967296.0
WRAP_FROM, WRAP_TO = 0.75 * WRAP, 0.25 * WRAP


class State(NamedTuple):
    """The last value of each counter (NaN: none yet) and its time in ms."""

    value: npt.NDArray[np.float64]
    time: npt.NDArray[np.int64]


def fresh(rows: int) -> State:
    """Return the state of `rows` series never seen before."""
    return State(np.full(rows, np.nan), np.zeros(rows, np.int64))


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _rates(state: Any, row: Any, time: Any, bits: Any, value: Any, counter: Any, out: Any) -> None:
    into = out.view(np.float64)
    for i in range(len(row)):
        prefetch(state, row[min(i + AHEAD, len(row) - 1)], 0)
        r, x = row[i], value[i]
        if not counter[r] or not math.isfinite(x):
            out[i] = bits[i]  # as integers, or a stale marker would lose its payload
            continue
        last, seconds = state.value[r], (time[i] - state.time[r]) / 1000.0
        state.value[r], state.time[r] = x, time[i]
        into[i] = math.nan
        if math.isfinite(last) and seconds > 0.0:
            gain = x - last
            if gain < 0.0:
                wrapped = WRAP_FROM <= last < WRAP and 0.0 <= x < WRAP_TO
                gain = gain + WRAP if wrapped else max(x, 0.0)
            into[i] = gain / seconds


def per_second(
    state: State, row: Rows, time: Times, value: Floats, counter: Flags, out: Floats
) -> None:
    """Fill in the values, those of counters as rates per second; the state changes in place.

    A counter's first sample has no rate yet: NaN. What is not finite passes unchanged.
    """
    _rates(state, row, time, value.view(np.int64), value, counter, out.view(np.int64))


def reference(time: Times, value: Floats) -> list[float]:
    """Return the rates of one counter the slow, obvious way."""
    rates, before = [], None
    for t, x in zip(time.tolist(), value.tolist(), strict=True):
        if not math.isfinite(x):
            rates.append(x)
            continue
        rate = math.nan
        if before is not None and t > before[0]:
            last = before[1]
            gain = x - last
            if x < last:
                wrapped = WRAP_FROM <= last < WRAP and 0 <= x < WRAP_TO
                gain = gain + WRAP if wrapped else max(x, 0.0)
            rate = gain / ((t - before[0]) / 1000.0)
        rates.append(rate)
        before = (t, x)
    return rates
