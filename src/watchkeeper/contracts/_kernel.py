"""One pass over a batch: convert each value, and find the first rule that each sample breaks."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.contracts._rules import REASONS
from watchkeeper.model import STALE_BITS, Floats, Reason, Rows, Times

YEAR_1970 = 0
YEAR_2200 = 7_258_118_400_000
CODE = {reason: code for code, reason in enumerate(REASONS, 1)}  # 0: accepted

BELOW, ABOVE = CODE[Reason.BELOW_BOUND], CODE[Reason.ABOVE_BOUND]
NOT_FINITE, TOO_OLD = CODE[Reason.NOT_FINITE], CODE[Reason.TOO_OLD]
IN_THE_FUTURE = CODE[Reason.IN_THE_FUTURE]
STALE = np.uint64(STALE_BITS)

Codes = npt.NDArray[np.uint8]


@numba.njit(cache=True, nogil=True, fastmath=False)
def _why(
    x: float, stale: bool, when: int, ahead: float, limit: Floats, refused: int, live: bool
) -> int:
    """Return the code of the first rule that a sample breaks, 0 if it breaks none."""
    c = 0
    if refused != 0:
        c = refused
    elif not stale and not np.isfinite(x):
        c = NOT_FINITE
    elif live and -ahead > limit[4]:
        c = TOO_OLD
    elif live and ahead > limit[5]:
        c = IN_THE_FUTURE
    elif when < YEAR_1970:
        c = TOO_OLD
    elif when >= YEAR_2200:
        c = IN_THE_FUTURE
    elif not stale and x > limit[3]:
        c = ABOVE
    elif not stale and x < limit[2]:
        c = BELOW
    return c


@numba.njit(cache=True, nogil=True, fastmath=False)
def judge(
    series: Rows, time: Times, value: Floats, count: int, rule: Rows, limits: Floats,
    refused: Codes, arrived: int, live: bool, converted: Floats, code: Codes,
) -> tuple[int, bool, bool]:  # fmt: skip
    """Fill `converted` and `code` (0: accepted).

    :param count: rows of keys; -1 is returned first when a sample names one that there is not.
    :param rule: of each row of keys, its row in `limits` (columns of `_lookup.LIMITS`).
    :param refused: of each row of keys, the code for which all its samples are refused, or 0.
    :param live: whether ages and skew against `arrived` count.
    :return: how many samples are refused, whether any value was converted, and whether each
        sample is of a later row than the one before.
    """
    bits, bad, other, ascending = value.view(np.uint64), 0, False, True
    before = np.int64(-1)
    for i in range(len(series)):
        row = series[i]
        if row >= count:
            return -1, other, ascending
        if np.int64(row) <= before:
            ascending = False
        before = np.int64(row)
        limit, x, when = limits[rule[row]], value[i], time[i]
        if (limit[0] != 1.0 or limit[1] != 0.0) and bits[i] != STALE:
            x, other = x * limit[0] + limit[1], True
        converted[i], code[i] = x, 0
        ahead = np.float64(when) - np.float64(arrived)
        usual = limit[2] <= x <= limit[3] and np.isfinite(x) and YEAR_1970 <= when < YEAR_2200
        aged = live and not (-ahead <= limit[4] and ahead <= limit[5])
        if not usual or aged or refused[row] != 0:
            code[i] = _why(x, bits[i] == STALE, when, ahead, limit, refused[row], live)
            bad += code[i] != 0
    return bad, other, ascending
