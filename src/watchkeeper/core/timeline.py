"""Lay the samples of many files out in time, in blocks of whole ticks.

A block is cut where it is full, counting samples and cells; so blocks are a function of the
telemetry alone, and neither the order of the files, nor how they were read, nor how many workers
score them shows in what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numba
import numpy as np
import pyarrow as pa

from watchkeeper.model import KEYS, Floats, Millis, Rows, Times

BLOCK_SAMPLES = 1 << 18
BLOCK_CELLS = 1 << 20  # ticks × entities
SILENT_TICKS = 60  # after so many ticks without a sample from anybody, ticks wait for the next
BINS_MAX = 1 << 20


Part = tuple[Rows, Times, Floats]  # series, time, value


class Block(NamedTuple):
    """Samples of some whole ticks, sorted by (row, time), and the ticks to evaluate."""

    ticks: Times
    row: Rows
    time: Times
    value: Floats


@dataclass
class Timeline:
    """Collects checked samples in any order, then hands them out in time.

    20 bytes a sample are held in memory, up to twice that while they are laid out.
    """

    tick: Millis
    _numbers: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _parts: list[Part] = field(default_factory=list)

    def add(self, keys: pa.RecordBatch, samples: pa.RecordBatch) -> None:
        """Take the accepted samples of one batch."""
        if samples.num_rows == 0:
            return
        rows = zip(*(keys[name].to_pylist() for name in KEYS.names), strict=True)
        numbers = self._numbers
        codes = np.fromiter(
            (numbers.setdefault(key, len(numbers)) for key in rows), np.uint32, keys.num_rows
        )
        series = codes[samples["series"].to_numpy()]
        self._parts.append((series, samples["time"].to_numpy(), samples["value"].to_numpy()))

    @property
    def samples(self) -> int:
        """How many samples were taken."""
        return sum(len(part[0]) for part in self._parts)

    def keys(self) -> pa.RecordBatch:
        """Return the KEYS of all series in canonical order; rows of blocks are positions in it."""
        ordered = sorted(self._numbers)
        columns = zip(*ordered, strict=True) if ordered else ([], [], [])
        return pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in columns], schema=KEYS)

    def blocks(self, entities: int) -> Iterator[Block]:
        """Hand the samples out, oldest block first; the timeline is empty afterwards."""
        if not self._parts:
            return
        position = np.empty(len(self._numbers), np.uint32)
        position[[self._numbers[key] for key in sorted(self._numbers)]] = np.arange(
            len(position), dtype=np.uint32
        )
        tick, limit = int(self.tick), max(1, BLOCK_CELLS // max(1, entities))
        first, width, counts = _histogram([part[1] for part in self._parts], tick)
        block_of = _cut(counts, BLOCK_SAMPLES, max(1, limit // width))
        starts = _starts(counts, block_of)
        count = int(starts[-1])
        series, time, value = np.empty(count, np.uint32), np.empty(count, np.int64), np.empty(count)
        at = starts[:-1].copy()
        for part in _drained(self._parts):
            _place(*part, position, tick, first, width, block_of, at, series, time, value)
        last = np.iinfo(np.int64).min
        for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            if start == end:
                continue
            block = _sorted(series[start:end], time[start:end], value[start:end], len(position))
            ticks = _ticks(block[1], tick, int(last), limit)
            last = ticks[-1]
            yield Block(ticks, *block)


def _histogram(times: list[Times], tick: int) -> tuple[int, int, Times]:
    """Count samples in bins of `width` ticks; widths are powers of two, so few bins suffice."""
    low = min(-(-int(time.min()) // tick) for time in times)
    high = max(-(-int(time.max()) // tick) for time in times)
    width = 1
    while (high - low) // width >= BINS_MAX:
        width *= 2
    counts = np.zeros((high - low) // width + 1, np.int64)
    for time in times:
        _count(time, tick, low, width, counts)
    return low, width, counts


def _starts(counts: Times, block_of: Times) -> Times:
    """Return where each block starts among all samples, and their number at the end."""
    sizes = np.zeros(int(block_of[-1]) + 1, np.int64)
    np.add.at(sizes, block_of, counts)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _drained(parts: list[Part]) -> Iterator[Part]:
    """Hand the parts out in order and let go of each, so that memory is held once, not twice."""
    parts.reverse()
    while parts:
        yield parts.pop()


def _sorted(series: Rows, time: Times, value: Floats, count: int) -> tuple[Rows, Times, Floats]:
    """Sort by (series, time), keeping the order in which equal times were offered."""
    if count <= 4 * len(series):
        order = _order_by_series(series, count)
    else:
        order = np.argsort(series, kind="stable")
    series, time, value = series[order], time[order], value[order]
    if _backwards(series, time):
        order = np.lexsort((time, series))
        series, time, value = series[order], time[order], value[order]
    return series, time, value


def _ticks(time: Times, tick: int, last: int, limit: int) -> Times:
    """Return the ticks to evaluate: those with samples, and the silence up to the next, bounded.

    The silence before a block's first sample belongs to the block, up to SILENT_TICKS of it.
    """
    busy = np.unique(-(-time // tick) * tick)
    starts = np.concatenate([[last if last > 0 else busy[0] - tick], busy[:-1]])
    if len(busy) > 1 and ((busy - starts) == tick).all():
        return busy
    quiet = np.minimum((busy - starts) // tick - 1, SILENT_TICKS)
    quiet[0] = min(int(quiet[0]), limit)
    pieces = [
        np.append(start + tick * np.arange(1, n + 1, dtype=np.int64), at)
        for start, n, at in zip(starts.tolist(), quiet.tolist(), busy.tolist(), strict=True)
    ]
    return np.concatenate(pieces).astype(np.int64)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _count(time: Times, tick: int, first: int, width: int, counts: Times) -> None:
    for i in range(len(time)):
        counts[((time[i] + tick - 1) // tick - first) // width] += 1


@numba.njit(cache=True, nogil=True, fastmath=False)
def _cut(counts: Times, samples_max: int, bins_max: int) -> Times:
    """Number the blocks: a new one begins when the next bin would not fit."""
    block_of = np.empty(len(counts), np.int64)
    block, samples, bins, empty = 0, 0, 0, True
    for b in range(len(counts)):
        if not empty and counts[b] > 0 and (samples + counts[b] > samples_max or bins >= bins_max):
            block, samples, bins, empty = block + 1, 0, 0, True
        block_of[b] = block
        samples += counts[b]
        if counts[b] > 0:
            empty = False
        if not empty:
            bins += 1
    return block_of


@numba.njit(cache=True, nogil=True, fastmath=False)
def _place(
    series: Rows,
    time: Times,
    value: Floats,
    position: Rows,
    tick: int,
    first: int,
    width: int,
    block_of: Times,
    at: Times,
    series_out: Rows,
    time_out: Times,
    value_out: Floats,
) -> None:
    """Put each sample of one part behind the others of its block; `at` moves on."""
    for i in range(len(time)):
        block = block_of[((time[i] + tick - 1) // tick - first) // width]
        place = at[block]
        at[block] = place + 1
        series_out[place] = position[series[i]]
        time_out[place] = time[i]
        value_out[place] = value[i]


@numba.njit(cache=True, nogil=True, fastmath=False)
def _order_by_series(series: Rows, count: int) -> Times:
    """Counting sort; stable."""
    at = np.zeros(count + 1, np.int64)
    for i in range(len(series)):
        at[series[i] + 1] += 1
    for s in range(count):
        at[s + 1] += at[s]
    order = np.empty(len(series), np.int64)
    for i in range(len(series)):
        order[at[series[i]]] = i
        at[series[i]] += 1
    return order


@numba.njit(cache=True, nogil=True, fastmath=False)
def _backwards(series: Rows, time: Times) -> bool:
    found = False
    for i in range(1, len(series)):
        found = found or (series[i] == series[i - 1] and time[i] < time[i - 1])
    return found
