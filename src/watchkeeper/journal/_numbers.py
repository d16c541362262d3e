"""Which number each series has: a hash table in flat arrays, filled and asked by a kernel.

A dictionary of Python strings takes 0.3 kB and 0.3 us a series; with a batch of 50,000 series and
a million known ones that is most of the cost of an append.
"""

from __future__ import annotations

import secrets

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.model import KEYS, Flags, Rows
from watchkeeper.slots import ABSENT, fill, grown, mixed

Bytes = npt.NDArray[np.uint8]
Ends = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Text = tuple[npt.NDArray[np.int32], Bytes]  # Arrow's layout of strings: offsets and bytes


class Numbers:
    """Every known series, numbered from 0 in order of first appearance.

    The seed of the hash is secret, so that nobody can choose names that collide. It never shows:
    a number depends on the order of appearance only.
    """

    def __init__(self) -> None:
        self.count = 0
        self._seed = np.uint64(secrets.randbits(64))
        self._slots: Rows = np.full(1024, ABSENT, dtype=np.uint32)
        self._hashes: Hashes = np.empty(512, dtype=np.uint64)  # by number
        self._ends: Ends = np.zeros(513, dtype=np.int64)  # by number: where its words end
        self._words: Hashes = np.empty(1 << 13, dtype=np.uint64)  # lengths and bytes of each

    def resolve(self, keys: pa.RecordBatch, wanted: Flags | None = None) -> Rows:
        """Return the number of each row of KEYS; unknown ones get the next numbers, in order.

        :param wanted: rows to number; the others stay unknown and are answered with ABSENT.
        """
        rows = keys.num_rows
        if rows == 0:
            return np.empty(0, dtype=np.uint32)
        asked = np.ones(rows, dtype=np.bool_) if wanted is None else wanted
        texts = tuple(_text(keys.column(name)) for name in KEYS.names)
        size = sum(int(offsets[-1] - offsets[0]) for offsets, _ in texts)
        self._make_room(rows, size // 8 + 3 * rows)
        numbers, self.count = _resolve(
            *texts[0], *texts[1], *texts[2], asked,
            self._seed, self._slots, self._hashes, self._ends, self._words, self.count,
        )  # fmt: skip
        return numbers

    def forget(self, count: int) -> None:
        """Know only the first `count` series, because the others did not become durable."""
        self.count = min(count, self.count)
        self._slots[:] = ABSENT
        fill(self._slots, self._hashes, 0, self.count)

    def _make_room(self, rows: int, size: int) -> None:
        most = self.count + rows
        if most > len(self._hashes):
            self._hashes = grown(self._hashes, 2 * most)
            self._ends = grown(self._ends, 2 * most + 1)
        if int(self._ends[self.count]) + size > len(self._words):
            self._words = grown(self._words, 2 * (int(self._ends[self.count]) + size))
        if 2 * most > len(self._slots):
            self._slots = np.full(1 << (2 * most).bit_length(), ABSENT, dtype=np.uint32)
            fill(self._slots, self._hashes, 0, self.count)


def _text(column: pa.StringArray) -> Text:
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1]
    empty = np.zeros(0, dtype=np.uint8)
    return ends, np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else empty


@numba.njit(cache=True, nogil=True, fastmath=False)
def _copy(data: Bytes, at: int, text: Bytes, start: int, length: int) -> int:
    to, of = np.uint64(at), np.uint64(start)  # unsigned: numba need not look for negative ones
    for k in range(np.uint64(length)):
        data[to + k] = text[of + k]
    return at + length


@numba.njit(cache=True, nogil=True, fastmath=False)
def _hashed(words: Hashes, start: int, end: int, seed: np.uint64) -> np.uint64:
    h = seed
    for k in range(np.uint64(start), np.uint64(end)):
        h = mixed(h ^ words[k])
    return mixed(h + np.uint64(end - start))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _same(words: Hashes, one: int, two: int, length: int) -> bool:
    first, second = np.uint64(one), np.uint64(two)
    for k in range(np.uint64(length)):  # noqa: SIM110  a kernel has no generators
        if words[first + k] != words[second + k]:
            return False
    return True


@numba.njit(cache=True, nogil=True, fastmath=False)
def _resolve(
    entity_ends: npt.NDArray[np.int32],
    entity: Bytes,
    metric_ends: npt.NDArray[np.int32],
    metric: Bytes,
    attributes_ends: npt.NDArray[np.int32],
    attributes: Bytes,
    wanted: Flags,
    seed: np.uint64,
    slots: Rows,
    hashes: Hashes,
    ends: Ends,
    words: Hashes,
    count: int,
) -> tuple[Rows, int]:
    """Each key is written behind the known ones first; if it is known already, it is dropped."""
    numbers = np.full(len(wanted), ABSENT, dtype=np.uint32)
    data = words.view(np.uint8)
    mask = np.uint64(len(slots) - 1)
    for row in range(len(wanted)):
        if not wanted[row]:
            continue
        entity_length = entity_ends[row + 1] - entity_ends[row]
        metric_length = metric_ends[row + 1] - metric_ends[row]
        attributes_length = attributes_ends[row + 1] - attributes_ends[row]
        length = entity_length + metric_length + attributes_length
        start = ends[count]
        end = start + 2 + (length + 7) // 8
        words[end - 1] = 0  # behind the last byte
        words[start] = np.uint64(entity_length)
        words[start + 1] = (np.uint64(metric_length) << np.uint64(32)) | np.uint64(length)
        at = _copy(data, 8 * (start + 2), entity, entity_ends[row], entity_length)
        at = _copy(data, at, metric, metric_ends[row], metric_length)
        at = _copy(data, at, attributes, attributes_ends[row], attributes_length)
        h = _hashed(words, start, end, seed)
        slot = h & mask
        while slots[slot] != ABSENT:
            known = slots[slot]
            first = ends[known]
            if (
                hashes[known] == h
                and ends[known + 1] - first == end - start
                and _same(words, first, start, end - start)
            ):
                break
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] == ABSENT:
            slots[slot] = count
            hashes[count] = h
            ends[count + 1] = end
            count += 1
        numbers[row] = slots[slot]
    return numbers, count
