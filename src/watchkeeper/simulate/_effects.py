"""Effects are what physical faults are made of: one shape in time on one signal of one entity.

A fault is a handful of effects, so a new fault is data and no kernel changes. Shapes run from 0
(nothing) to 1 (the whole magnitude); seconds count from the effect's onset.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.arithmetic import exp
from watchkeeper.simulate._noise import sine_half, uniform


class Op(IntEnum):
    """What an effect of shape s and magnitude a does to a value x."""

    ADD = 0  # x + a s
    TIMES = 1  # x (1 + a s)
    TOWARD = 2  # x + (a - x) s


class Shape(IntEnum):
    """How an effect grows with the seconds t since its onset; p and q are its parameters."""

    STEP = 0  # 1
    RAMP = 1  # t / p, at most 1
    EXPONENTIAL = 2  # (e^(q t/p) - 1) / (e^q - 1), at most 1
    SATURATE = 3  # 1 - e^(-t/p); after the end it decays with the same p
    SAWTOOTH = 4  # (t mod p) / p, to the power q: a leak with restarts
    SQUARE = 5  # 1 during the first share q of each p
    PULSES = 6  # 1 in a random share q of the ticks
    STAIRS = 7  # like RAMP but faster, falling back every p_daily = 86,400 s: logrotate
    HUMP = 8  # half a sine over p


class Effect(NamedTuple):
    """One effect, with times relative to its fault; `signal` is an id of `_host.HOST` or a latent.

    :param p: seconds (see Shape). :param q: exponent, share or curvature (see Shape).
    :param lasts: it stays when the fault is over.
    """

    signal: str
    op: Op
    shape: Shape
    magnitude: float
    p: float = 1.0
    q: float = 1.0
    lasts: bool = False


PLAN = np.dtype(
    [
        ("entity", np.int32),
        ("target", np.int32),  # a signal's row; then load, then ambient
        ("op", np.int32),
        ("shape", np.int32),
        ("onset", np.float64),  # seconds since the start of the scenario
        ("end", np.float64),
        ("magnitude", np.float64),
        ("p", np.float64),
        ("q", np.float64),
        ("stream", np.uint64),  # for PULSES
    ]
)
DAY = 86_400.0


@numba.njit(cache=True, nogil=True, fastmath=False)
def strength(effect: Any, seconds: float, tick: int) -> float:
    """Return the shape s of one PLAN row at `seconds` since the scenario's start; 0 outside it."""
    t: float = seconds - effect.onset
    if t < 0.0:
        return 0.0
    p: float = effect.p
    q: float = effect.q
    if seconds >= effect.end:
        if effect.shape != Shape.SATURATE:
            return 0.0
        reached = 1.0 - exp(-(effect.end - effect.onset) / p)
        return float(reached * exp(-(seconds - effect.end) / p))
    if effect.shape == Shape.RAMP:
        return min(t / p, 1.0)
    if effect.shape == Shape.EXPONENTIAL:
        return min((exp(q * t / p) - 1.0) / (exp(q) - 1.0), 1.0)
    if effect.shape == Shape.SATURATE:
        return 1.0 - float(exp(-t / p))
    if effect.shape == Shape.SAWTOOTH:
        part = (t - p * math.floor(t / p)) / p
        power = part
        for _ in range(int(q) - 1):
            power *= part
        return power
    if effect.shape == Shape.SQUARE:
        return 1.0 if t - p * math.floor(t / p) < q * p else 0.0
    if effect.shape == Shape.PULSES:
        return 1.0 if uniform(effect.stream, tick) < q else 0.0
    if effect.shape == Shape.STAIRS:
        return min(stairs(t, p, q), 1.0)
    if effect.shape == Shape.HUMP:
        return sine_half(min(t / p, 1.0) * 0.5)
    return 1.0


@numba.njit(cache=True, nogil=True, fastmath=False)
def stairs(t: float, p: float, q: float) -> float:
    """Return the share filled after t seconds: it grows (1 + q) / p, and gives q/p back daily."""
    return ((1.0 + q) * t - q * DAY * math.floor(t / DAY)) / p


@numba.njit(cache=True, nogil=True, fastmath=False)
def apply(effect: Any, seconds: float, tick: int, x: float) -> float:
    """Return the value `x` as one PLAN row leaves it."""
    s = strength(effect, seconds, tick)
    if s == 0.0:
        return x
    if effect.op == Op.ADD:
        return x + float(effect.magnitude) * s
    if effect.op == Op.TIMES:
        return x * (1.0 + float(effect.magnitude) * s)
    return x + (float(effect.magnitude) - x) * s


def plan(rows: Sequence[tuple[Any, ...]]) -> npt.NDArray[Any]:
    """Return PLAN rows sorted by entity, in their given order within one."""
    table = np.array(list(rows), dtype=PLAN)
    return table[np.argsort(table["entity"], kind="stable")]
