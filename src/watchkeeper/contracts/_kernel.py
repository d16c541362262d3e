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
def unchanged(
    series: Rows, time: Times, value: Floats, count: int, rule: Rows, limits: Floats,
    refused: Codes, arrived: int, live: bool,
) -> bool:  # fmt: skip
    """Return whether all samples are accepted with the values they have, each of a later row.

    It may say no where that is so all the same, as of a stale marker. The parameters are those of
    `judge`.
    """
    before = np.int64(-1)
    for i in range(len(series)):
        row = series[i]
        if np.int64(row) <= before or row >= count or refused[row] != 0:
            return False
        before = np.int64(row)
        # limits are indexed, not sliced: a view at each sample would take five times as long
        k, x, when = rule[row], value[i], time[i]
        if limits[k, 0] != 1.0 or limits[k, 1] != 0.0 or not limits[k, 2] <= x <= limits[k, 3]:
            return False
        ahead = np.float64(when) - np.float64(arrived)
        if live and not (-ahead <= limits[k, 4] and ahead <= limits[k, 5]):
            return False
        if not np.isfinite(x) or not YEAR_1970 <= when < YEAR_2200:
            return False
    return True


@numba.njit(cache=True, nogil=True, fastmath=False)
def judge(
    series: Rows, time: Times, value: Floats, count: int, rule: Rows, limits: Floats,
    refused: Codes, arrived: int, live: bool, converted: Floats, code: Codes,
) -> int:  # fmt: skip
    """Fill `converted` and `code` (0: accepted); return how many samples are refused.

    :param count: rows of keys; -1 is returned when a sample names one that there is not.
    :param rule: of each row of keys, its row in `limits` (columns of `_lookup.LIMITS`).
    :param refused: of each row of keys, the code for which all its samples are refused, or 0.
    :param live: whether ages and skew against `arrived` count.
    """
    bits, bad = value.view(np.uint64), 0
    for i in range(len(series)):
        row = series[i]
        if row >= count:
            return -1
        k = rule[row]
        stale = bits[i] == STALE
        x = value[i]
        if not stale and (limits[k, 0] != 1.0 or limits[k, 1] != 0.0):
            x = x * limits[k, 0] + limits[k, 1]
        converted[i] = x
        ahead = np.float64(time[i]) - np.float64(arrived)
        c = 0
        if refused[row] != 0:
            c = refused[row]
        elif not stale and not np.isfinite(x):
            c = NOT_FINITE
        elif live and -ahead > limits[k, 4]:
            c = TOO_OLD
        elif live and ahead > limits[k, 5]:
            c = IN_THE_FUTURE
        elif time[i] < YEAR_1970:
            c = TOO_OLD
        elif time[i] >= YEAR_2200:
            c = IN_THE_FUTURE
        elif not stale and x > limits[k, 3]:
            c = ABOVE
        elif not stale and x < limits[k, 2]:
            c = BELOW
        code[i] = c
        bad += c != 0
    return bad
