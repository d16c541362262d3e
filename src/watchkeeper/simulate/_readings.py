"""What can go wrong between a host that is well and the reader of its telemetry."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

from watchkeeper.model import Flags, Floats
from watchkeeper.simulate._fault import Reading
from watchkeeper.simulate._host import HOST, Signal
from watchkeeper.simulate._noise import uniform

WRAP = 2.0**32


def corrupt(
    reading: Reading,
    values: Floats,
    first: int,
    begin: int,
    held: Callable[[int, int], float],
    stream: np.uint64,
) -> Flags | None:
    """Change [T, M] readings of one host in place; return which ticks were heard, None for all.

    :param first: the tick of the first row. :param begin: the tick at which it went wrong.
    :param held: what a signal truly was at a tick.
    """
    count = values.shape[0]
    if reading.how == "blackout":
        return np.zeros(count, np.bool_)
    if reading.how == "bursts":
        return _heard(stream, begin, first, count, reading.p, reading.q)
    m = next(m for m, signal in enumerate(HOST) if signal.id == reading.signal)
    column = values[:, m]
    if reading.how == "stuck":
        column[:] = held(m, begin)
    elif reading.how == "reset":
        column -= held(m, begin)
    elif reading.how == "wrap":
        np.mod(column, WRAP, out=column)
    elif reading.how == "unit_swap":
        column[:] = swapped(HOST[m], column)
    else:
        struck = _struck(stream, first, count, reading.p)
        column[struck] = math.nan if reading.how == "nan" else impossible(HOST[m])
    return None


def swapped(signal: Signal, values: Floats) -> Floats:
    """Return values in the unit that people mix up with the right one."""
    if signal.unit == "Cel":
        return values * 1.8 + 32.0
    return values * (100.0 if signal.unit == "1" else 1000.0)


def impossible(signal: Signal) -> float:
    """Return a value outside the physical bounds."""
    return signal.high * 10.0 + 1.0 if math.isfinite(signal.high) else signal.low - 1.0


@numba.njit(cache=True, nogil=True, fastmath=False)
def _struck(stream: np.uint64, first: int, count: int, share: float) -> Flags:
    struck = np.empty(count, np.bool_)
    for i in range(count):
        struck[i] = uniform(stream, first + i) < share
    return struck


@numba.njit(cache=True, nogil=True, fastmath=False)
def _heard(
    stream: np.uint64, begin: int, first: int, count: int, p_bad: float, p_good: float
) -> Flags:
    """Return the good ticks of a Gilbert-Elliott chain that is bad at `begin`."""
    heard = np.empty(count, np.bool_)
    good = False
    for tick in range(begin, first + count):
        if tick > begin:
            u = uniform(stream, tick)
            good = u >= p_bad if good else u < p_good
        if tick >= first:
            heard[tick - first] = good
    return heard
