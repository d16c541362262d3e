"""log and exp whose last bit is the same on every machine.

The C library picks another `log` for another processor, and the results differ in the last bit;
one such bit would break replay across machines. These use only IEEE 754 additions,
multiplications, divisions and exact scalings, which every x86-64 rounds alike. Accurate to about
2 units in the last place. Series: Abramowitz & Stegun 4.1.27 (log), 4.2.1 (exp).
"""

from __future__ import annotations

import math

import numba

LN2 = 0.6931471805599453
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10  # Cody & Waite's split


@numba.njit(cache=True, nogil=True, fastmath=False)
def log(x: float) -> float:
    """Return the natural logarithm of `x` > 0; -inf for 0, NaN below."""
    if not x > 0.0:
        return -math.inf if x == 0.0 else math.nan
    if math.isinf(x):
        return x
    mantissa, exponent = math.frexp(x)
    if mantissa < 0.7071067811865476:
        mantissa, exponent = mantissa * 2.0, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    total = 0.0
    for k in range(21, 0, -2):
        total = total * square + 1.0 / k
    return exponent * LN2_HIGH + (2.0 * s * total + exponent * LN2_LOW)


@numba.njit(cache=True, nogil=True, fastmath=False)
def exp(x: float) -> float:
    """Return e to the power `x`; 0 below -745, inf above 709."""
    if math.isnan(x):
        return x
    if x > 709.0:
        return math.inf
    if x < -745.0:
        return 0.0
    whole = math.floor(x / LN2 + 0.5)
    rest = (x - whole * LN2_HIGH) - whole * LN2_LOW
    total = 1.0
    for k in range(16, 0, -1):
        total = 1.0 + total * rest / k
    return math.ldexp(total, int(whole))
