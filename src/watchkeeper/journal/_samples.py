"""Samples as few bytes, in few steps: differences, then without their zero bytes, then lz4.

A scrape says the same series at one time, so differences of series and time are small. Most of
its values are counts, and a count has few bits set at either end of its eight bytes; of a value
that came before in the same entry only the changed bits are left. What remains is no more than
what zstd makes of Arrow's columns, for half of the work (`benchmarks/stores.py`).

`docs/formats.md` describes it byte by byte.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.model import SAMPLES, Floats, Rows, Times

Bytes = npt.NDArray[np.uint8]

SIZE_BYTES = 4  # how many bytes the block unfolds to, little end first
MOST_BYTES = 5 + 10 + 1 + 8  # of one sample: series, time, shape of the value, value
MOST_GAIN = 256  # lz4 cannot make a byte out of more
LZ4 = pa.Codec("lz4_raw")


def pack(samples: pa.RecordBatch) -> bytes:
    """Return SAMPLES as bytes; the fewer, the better they are sorted by (series, time)."""
    series, time, value = (samples.column(name).to_numpy() for name in SAMPLES.names)
    room = np.empty(MOST_BYTES * len(series) + 8, dtype=np.uint8)
    size = _written(series, time, value, room)
    block: bytes = LZ4.compress(room[:size], asbytes=True)
    return size.to_bytes(SIZE_BYTES, "little") + block


def unpack(packed: bytes, count: int) -> pa.RecordBatch:
    """Return the SAMPLES that were packed.

    :param count: how many they are.
    :raises ValueError: these are not the bytes of so many samples.
    """
    size = int.from_bytes(packed[:SIZE_BYTES], "little")
    if len(packed) < SIZE_BYTES or not count <= size <= MOST_GAIN * len(packed):
        raise ValueError(f"{len(packed)} bytes cannot hold {size}, nor {size} {count} samples")
    block = pa.py_buffer(packed).slice(SIZE_BYTES)
    data = np.frombuffer(LZ4.decompress(block, size), dtype=np.uint8)
    series = np.empty(count, dtype=np.uint32)
    time = np.empty(count, dtype=np.int64)
    value = np.empty(count, dtype=np.float64)
    if _read(data, series, time, value) != size:
        raise ValueError(f"{size} bytes are not {count} samples")
    return pa.RecordBatch.from_arrays(
        [pa.array(each) for each in (series, time, value)], schema=SAMPLES
    )


@numba.njit(cache=True, nogil=True, fastmath=False)
def _without_zeros(word: np.uint64) -> tuple[int, np.uint64]:
    """Return how many of the lowest bytes are zero, and the word without them; 0, 0 of zero."""
    zeros = 0
    if word & np.uint64(0xFFFFFFFF) == 0:
        word >>= np.uint64(32)
        zeros = 4
    if word & np.uint64(0xFFFF) == 0:
        word >>= np.uint64(16)
        zeros += 2
    if word & np.uint64(0xFF) == 0:
        word >>= np.uint64(8)
        zeros += 1
    return (zeros if word else 0), word


@numba.njit(cache=True, nogil=True, fastmath=False)
def _length(word: np.uint64) -> int:
    """Return how many bytes a word takes without zeros before it."""
    length = 0
    if word >> np.uint64(32) != 0:
        word >>= np.uint64(32)
        length = 4
    if word >> np.uint64(16) != 0:
        word >>= np.uint64(16)
        length += 2
    if word >> np.uint64(8) != 0:
        word >>= np.uint64(8)
        length += 1
    return length + (1 if word != 0 else 0)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _written(series: Rows, time: Times, value: Floats, room: Bytes) -> int:
    """Write the four parts one after the other; return how many bytes they take."""
    count = len(series)
    at = 0
    before = np.uint32(0)
    for k in range(count):
        gap = np.uint32(series[k] - before)
        before = series[k]
        while gap > np.uint32(127):
            room[at] = np.uint8(gap & np.uint32(127)) | np.uint8(128)
            gap >>= np.uint32(7)
            at += 1
        room[at] = np.uint8(gap)
        at += 1
    began = np.int64(0)  # the first time of the series before
    for k in range(count):
        same = k > 0 and series[k] == series[k - 1]
        change = time[k] - (time[k - 1] if same else began)
        if not same:
            began = time[k]
        folded = np.uint64((change << 1) ^ (change >> 63))
        while folded > np.uint64(127):
            room[at] = np.uint8(folded & np.uint64(127)) | np.uint8(128)
            folded >>= np.uint64(7)
            at += 1
        room[at] = np.uint8(folded)
        at += 1
    bits = value.view(np.uint64)
    shape = at
    at += count
    for k in range(count):
        word = bits[k]
        if k > 0 and series[k] == series[k - 1]:
            word ^= bits[k - 1]
        zeros, word = _without_zeros(word)
        length = _length(word)
        # All eight bytes, in one store; the next value overwrites those that are not this one's.
        to = np.uint64(at)
        for j in range(np.uint64(8)):
            room[to + j] = np.uint8(word >> (np.uint64(8) * j))
        room[shape + k] = np.uint8(16 * zeros + length)
        at += length
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _read(data: Bytes, series: Rows, time: Times, value: Floats) -> int:
    """Fill the columns; return how many bytes that took, or -1 when there are not enough."""
    count, size = len(series), len(data)
    at = 0
    before = np.uint32(0)
    for k in range(count):
        gap, at = _number(data, at)
        before = np.uint32(before + np.uint32(gap))
        series[k] = before
    began = np.int64(0)
    for k in range(count):
        folded, at = _number(data, at)
        change = np.int64(folded >> np.uint64(1)) ^ -np.int64(folded & np.uint64(1))
        if k > 0 and series[k] == series[k - 1]:
            time[k] = time[k - 1] + change
        else:
            time[k] = began = began + change
    shape = at
    at += count
    if at > size:
        return -1
    bits = value.view(np.uint64)
    for k in range(count):
        zeros, length = data[shape + k] >> 4, data[shape + k] & 15
        if zeros + length > 8 or at + length > size:
            return -1
        word = np.uint64(0)
        for j in range(length):
            word |= np.uint64(data[at + j]) << np.uint64(8 * (zeros + j))
        at += length
        if k > 0 and series[k] == series[k - 1]:
            word ^= bits[k - 1]
        bits[k] = word
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _number(data: Bytes, at: int) -> tuple[np.uint64, int]:
    """Return a number of seven bits a byte, lowest first, and where the next one begins."""
    number = np.uint64(0)
    shift = np.uint64(0)
    while at < len(data) and shift < np.uint64(64):
        byte = np.uint64(data[at])
        at += 1
        number |= (byte & np.uint64(127)) << shift
        if byte <= np.uint64(127):
            return number, at
        shift += np.uint64(7)
    return number, len(data) + 1
