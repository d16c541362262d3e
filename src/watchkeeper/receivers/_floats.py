"""Decimal text to the nearest double, exactly, in a kernel.

Senders write doubles with up to 17 digits, too many for the classic fast path (Clinger, PLDI
1990: at most 2^53, times a power of ten up to 10^22). This is the method of Lemire, "Number
parsing at a gigabyte per second" (Software: Practice and Experience, 2021), sections 5 to 9: the
digits as an integer times a 128-bit power of five, and the few cases where those 128 bits cannot
tell are left to Python.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

SMALLEST, LARGEST = -342, 308  # powers of ten: below all is zero, above all is infinite
DIGITS_MAX = 19  # that always fit 64 bits

U64 = npt.NDArray[np.uint64]


def _powers_of_five() -> U64:
    """Return 5^q for every power, scaled to 128 bits, as rows of a high and a low half."""
    table = np.empty((LARGEST - SMALLEST + 1, 2), dtype=np.uint64)
    for q in range(SMALLEST, LARGEST + 1):
        five = 5 ** abs(q)
        length = five.bit_length()
        if q >= 0:
            scaled = five << (128 - length) if length <= 128 else five >> (length - 128)
        elif q >= -27:  # a reciprocal, rounded up in its last bit, so that ties show as ties
            scaled = (1 << (length + 127)) // five + 1
        else:
            scaled = (1 << (2 * length + 128)) // five + 1
            scaled >>= scaled.bit_length() - 128
        table[q - SMALLEST] = scaled >> 64, scaled & (1 << 64) - 1
    return table


POWERS = _powers_of_five()


@numba.njit(cache=True, nogil=True, fastmath=False)
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Return the high and the low half of a 64 by 64 bit product."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a_high, a_low, b_high, b_low = a >> half, a & mask, b >> half, b & mask
    low, one, two = a_low * b_low, a_high * b_low, a_low * b_high
    middle = (low >> half) + (one & mask) + (two & mask)
    high = a_high * b_high + (one >> half) + (two >> half) + (middle >> half)
    return high, (middle << half) | (low & mask)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _leading_zeros(word: np.uint64) -> int:
    """Return how many of the highest bits of `word` > 0 are zero."""
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if word >> np.uint64(64 - step) == np.uint64(0):
            word <<= np.uint64(step)
            zeros += step
    return zeros


@numba.njit(cache=True, nogil=True, fastmath=False)
def double_bits(digits: np.uint64, power: int, powers: U64) -> tuple[bool, np.uint64]:
    """Return the bits of the double nearest to `digits` x 10^`power`, ties to even.

    :param powers: POWERS. :returns: whether it could be told, and the bits.
    """
    zero, one = np.uint64(0), np.uint64(1)
    if digits == zero or power < SMALLEST:
        return True, zero
    if power > LARGEST:
        return True, np.uint64(0x7FF) << np.uint64(52)
    zeros = _leading_zeros(digits)
    row, scaled = power - SMALLEST, digits << np.uint64(zeros)
    high, low = _product(scaled, powers[row, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):  # the bits cut off may carry: add precision
        more, _ = _product(scaled, powers[row, 1])
        low += more
        if low < more:
            high += one
    if low == ~zero and not -27 <= power <= 55:
        return False, zero
    upper = high >> np.uint64(63)
    shift = upper + np.uint64(9)
    mantissa = high >> shift  # 54 bits: one more than a double has
    exponent = ((217706 * power) >> 16) + 63 + np.int64(upper) - zeros + 1023
    if exponent <= 0:
        return False, zero  # subnormal: rare, and rounded elsewhere
    halfway = low <= one and -4 <= power <= 23 and mantissa & np.uint64(3) == one
    if halfway and mantissa << shift == high:
        mantissa &= ~one  # exactly between two doubles: the even one
    mantissa = (mantissa + (mantissa & one)) >> one
    if mantissa >= one << np.uint64(53):
        mantissa, exponent = one << np.uint64(52), exponent + 1
    if exponent >= 0x7FF:
        return True, np.uint64(0x7FF) << np.uint64(52)
    return True, (np.uint64(exponent) << np.uint64(52)) | (mantissa & ~(one << np.uint64(52)))
