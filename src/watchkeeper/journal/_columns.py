"""From the rows of a batch's keys to series of the journal: numbers, and their order.

A table of keys (`key_table`) comes back with every request of its sender, so the numbers of its
rows are kept beside it: a series is looked up by name once, and by position ever after.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numba
import numpy as np
import pyarrow as pa

from watchkeeper.journal._numbers import Numbers
from watchkeeper.key_table import KeyTable
from watchkeeper.model import Floats, Rows, Times
from watchkeeper.slots import ABSENT

DIGIT_BITS = 11  # of one pass of the sort: 2,048 counters stay in the nearest cache


class Columns:
    """The number of every row of every table that is still in use; ABSENT until it has one."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._beside: WeakKeyDictionary[KeyTable, Rows] = WeakKeyDictionary()

    def resolve(self, keys: pa.RecordBatch | KeyTable, rows: Rows) -> tuple[Rows, pa.RecordBatch]:
        """Return the series of each sample, and the KEYS of those that are new, in their order.

        :param rows: the row of `keys` of each sample; a row nobody names gets no number.
        """
        known = self._numbers.count
        if isinstance(keys, KeyTable):
            series, asked = self._by_position(keys, rows)
            if not asked.num_rows:
                return series, asked
            numbers = self._numbers.resolve(asked)
            beside = self._beside[keys]
            beside[np.unique(rows[series == ABSENT])] = numbers
            series = beside[rows]
        else:
            wanted = np.zeros(keys.num_rows, dtype=np.bool_)
            wanted[rows] = True
            asked, numbers = keys, self._numbers.resolve(keys, wanted)
            series = numbers[rows]
        fresh = np.flatnonzero((numbers >= known) & (numbers != ABSENT))
        if not len(fresh):
            return series, asked.slice(0, 0)
        fresh = fresh[np.unique(numbers[fresh], return_index=True)[1]]
        return series, asked.take(pa.array(fresh))

    def forget(self, count: int) -> None:
        """Know only the first `count` series, because the others did not become durable."""
        self._numbers.forget(count)
        for beside in self._beside.values():
            beside[beside >= count] = ABSENT

    def _by_position(self, table: KeyTable, rows: Rows) -> tuple[Rows, pa.RecordBatch]:
        """Return what is known of each sample, and the KEYS of the rows of which nothing is."""
        beside = self._beside.get(table)
        if beside is None or len(beside) < len(table):
            longer = np.full(2 * len(table), ABSENT, dtype=np.uint32)
            if beside is not None:
                longer[: len(beside)] = beside
            beside = self._beside[table] = longer
        series: Rows = np.empty(len(rows), dtype=np.uint32)
        if _looked_up(beside, rows, series) == 0:
            return series, table.take(rows[:0])
        return series, table.take(np.unique(rows[series == ABSENT]))


def ordered(series: Rows, time: Times, value: Floats) -> tuple[Rows, Times, Floats]:
    """Return the samples by (series, time); what is equal in both keeps its order."""
    descents = _descents(series, time)
    if descents == 0:
        return series, time, value
    if descents == 1:
        order = _by_series(series)
        series, time, value = series[order], time[order], value[order]
        if _descents(series, time) == 0:
            return series, time, value
    both = np.lexsort((time, series))
    return series[both], time[both], value[both]


@numba.njit(cache=True, nogil=True, fastmath=False)
def _looked_up(beside: Rows, rows: Rows, series: Rows) -> int:
    """Fill in the series of each row; return how many have none."""
    unknown = 0
    for k in range(len(rows)):
        series[k] = beside[rows[k]]
        unknown += series[k] == ABSENT
    return unknown


@numba.njit(cache=True, nogil=True, fastmath=False)
def _descents(series: Rows, time: Times) -> int:
    """Return 0 when in order, 1 when some series comes after a higher one, else 2."""
    early = 0
    for k in range(1, len(series)):
        if series[k] < series[k - 1]:
            return 1
        if series[k] == series[k - 1] and time[k] < time[k - 1]:
            early = 2
    return early


@numba.njit(cache=True, nogil=True, fastmath=False)
def _by_series(series: Rows) -> Rows:
    """Return the order that sorts the series, stably: a radix sort, lowest digits first."""
    count = len(series)
    highest = np.uint32(0)
    order = np.empty(count, dtype=np.uint32)
    for k in range(count):
        order[k] = k
        highest = max(highest, series[k])
    other = np.empty(count, dtype=np.uint32)
    shift = np.uint32(0)
    mask = np.uint32((1 << DIGIT_BITS) - 1)
    while shift < 32 and (highest >> shift) > 0:
        starts = np.zeros((1 << DIGIT_BITS) + 1, dtype=np.int64)
        for k in range(count):
            starts[((series[k] >> shift) & mask) + 1] += 1
        for digit in range(1 << DIGIT_BITS):
            starts[digit + 1] += starts[digit]
        for k in range(count):
            digit = (series[order[k]] >> shift) & mask
            other[starts[digit]] = order[k]
            starts[digit] += 1
        order, other = other, order
        shift += np.uint32(DIGIT_BITS)
    return order
