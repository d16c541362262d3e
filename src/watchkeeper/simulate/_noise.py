"""Randomness without state: every number is a pure function of (key, counter).

A key names one stream (seed, entity, metric, purpose); the counter is the tick. So any slice of a
fleet can be made alone, in any order, by any worker, and is the same. Only IEEE 754 additions,
multiplications, divisions and square roots, so the bytes are the same on every x86-64.
"""

from __future__ import annotations

import hashlib
import math

import numba
import numpy as np

from watchkeeper.arithmetic import log
from watchkeeper.model import Floats

SEGMENT = 256  # ticks; autocorrelated noise is begun afresh at each multiple of it
WARM = 96  # ticks run in before a segment, so that its start joins the segment before: 0.95^96 < 1%

_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # splitmix64's odd step, 2^64 / golden ratio
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def key(*parts: object) -> np.uint64:
    """Return the 64-bit key of the stream that `parts` name."""
    text = "|".join(str(part) for part in parts)
    hashed = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(hashed, "little"))


@numba.njit(cache=True, nogil=True, fastmath=False)
def mix(stream: np.uint64, counter: int) -> np.uint64:
    """Return 64 hashed bits of one counter of one stream.

    Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators": splitmix64, whose
    n-th output depends on nothing but seed + n × gamma.
    """
    z = stream + np.uint64(counter) * _GAMMA
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@numba.njit(cache=True, nogil=True, fastmath=False)
def uniform(stream: np.uint64, counter: int) -> float:
    """Return a number strictly between 0 and 1, a multiple of 2^-54."""
    return (np.float64(mix(stream, counter) >> _S11) + 0.5) * 1.1102230246251565e-16


@numba.njit(cache=True, nogil=True, fastmath=False)
def quantile(p: float) -> float:
    """Return the standard normal quantile of 0 < p < 1, to about 7 digits.

    Wichura 1988, algorithm AS 241 (PPND7), Applied Statistics 37(3).
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = ((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179
        return q * top / (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1.0)
    r = math.sqrt(-log(p if q < 0.0 else 1.0 - p))
    if r <= 5.0:
        r -= 1.6
        top = ((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777
        x = top / ((0.12021132975 * r + 0.73700164250) * r + 1.0)
    else:
        r -= 5.0
        top = ((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150
        x = top / ((0.012258202635 * r + 0.24197894225) * r + 1.0)
    return -x if q < 0.0 else x


@numba.njit(cache=True, nogil=True, fastmath=False)
def normal(stream: np.uint64, counter: int) -> float:
    """Return a standard normal number."""
    return quantile(uniform(stream, counter))


@numba.njit(cache=True, nogil=True, fastmath=False)
def sine(turns: float) -> float:
    """Return sin(2π · turns), accurate to about 1e-13 (Taylor series on a quarter turn)."""
    x = turns - math.floor(turns)
    if x > 0.5:
        return -sine_half(x - 0.5)
    return sine_half(x)


@numba.njit(cache=True, nogil=True, fastmath=False)
def sine_half(x: float) -> float:
    """Return sin(2π x) for 0 <= x <= 1/2."""
    angle = 6.283185307179586 * (0.5 - x if x > 0.25 else x)
    square = angle * angle
    total = 1.0
    for k in range(17, 1, -2):
        total = 1.0 - total * square / (k * (k - 1))
    return angle * total


@numba.njit(cache=True, nogil=True, fastmath=False)
def wander(stream: np.uint64, position: float) -> float:
    """Return smooth noise at a position counted in knots: standard normal at each whole number.

    Between knots it follows 3s² - 2s³, so its slope has no jump (Perlin 1985, one dimension).
    """
    knot = math.floor(position)
    s = position - knot
    s = s * s * (3.0 - 2.0 * s)
    return (1.0 - s) * normal(stream, int(knot)) + s * normal(stream, int(knot) + 1)


@numba.njit(cache=True, nogil=True, fastmath=False)
def autoregression(stream: np.uint64, phi: float, first: int, out: Floats) -> None:
    """Fill `out` with ticks first, first+1, … of AR(1) noise of mean 0 and variance 1.

    x[t] = φ x[t-1] + √(1-φ²) e[t]. Each segment of SEGMENT ticks starts WARM ticks early from one
    stationary draw, so a tick never depends on where the caller began; 0 <= φ <= 0.95.
    """
    spread = math.sqrt(1.0 - phi * phi)
    done = 0
    while done < out.size:
        tick = first + done
        begin = tick // SEGMENT * SEGMENT
        x = normal(stream, begin - WARM)
        for t in range(begin - WARM + 1, tick):
            x = phi * x + spread * normal(stream, t)
        for t in range(tick, min(begin + SEGMENT, first + out.size)):
            x = phi * x + spread * normal(stream, t)
            out[t - first] = x
        done = begin + SEGMENT - first
