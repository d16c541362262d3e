"""Numbers for byte strings and for pairs of numbers, in order of first appearance.

Senders repeat themselves: the same blocks in the same order, request after request. So what
followed last time is tried first, eight bytes at a time, and only a miss is hashed. A hash proves
nothing; bytes are always compared. Its seed comes from the first request, so that names which
collide cannot be prepared without being the first to send, and then hurt only their own tenant.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from watchkeeper.model import Rows

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]
Ends = npt.NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

ABSENT = 0xFFFFFFFF


class Strings:
    """Byte strings, numbered from 0."""

    def __init__(self, seed: int) -> None:
        self.count = 0
        self._seed = np.uint64(seed)
        self._slots: Rows = np.full(1024, ABSENT, np.uint32)
        self._next: Rows = np.zeros(512, np.uint32)  # by number: what followed it last time
        self._hashes: Hashes = np.empty(512, np.uint64)
        self._ends: Ends = np.zeros(513, np.int64)
        self._bytes: Bytes = np.empty(1 << 15, np.uint8)

    def __getitem__(self, number: int) -> bytes:
        return self._bytes[self._ends[number] : self._ends[number + 1]].tobytes()

    def number(self, data: Bytes, start: Places, end: Places) -> Rows:
        """Return the number of each stretch of `data`; new ones get the next numbers."""
        numbers = np.empty(len(start), np.uint32)
        done = 0
        while done < len(start):
            done, self.count = _number_strings(
                data, start, end, done, numbers, self._seed, self._slots, self._next,
                self._hashes, self._ends, self._bytes, self.count,
            )  # fmt: skip
            if done < len(start):
                self._make_room(int(end[done] - start[done]))
        return numbers

    def _make_room(self, length: int) -> None:
        """Grow what is full: the kernel stops at the first string that finds no place."""
        if self.count == len(self._hashes):
            self._hashes = _grown(self._hashes, 2 * self.count)
            self._ends = _grown(self._ends, 2 * self.count + 1)
            self._next = _grown(self._next, 2 * self.count)
            self._slots = np.full(2 * len(self._slots), ABSENT, np.uint32)
            _place(self._slots, self._hashes, self.count)
        if self._ends[self.count] + length > len(self._bytes):
            self._bytes = _grown(self._bytes, 2 * (len(self._bytes) + length))


class Pairs:
    """Pairs of numbers, numbered from 0."""

    def __init__(self, seed: int) -> None:
        self.count = 0
        self._seed = np.uint64(seed)
        self._slots: Rows = np.full(1024, ABSENT, np.uint32)
        self._next: Rows = np.zeros(512, np.uint32)
        self._hashes: Hashes = np.empty(512, np.uint64)
        self._pairs: Hashes = np.empty(512, np.uint64)

    def __getitem__(self, number: int) -> tuple[int, int]:
        return divmod(int(self._pairs[number]), 1 << 32)

    def number(self, first: Rows, of: Places, second: Rows) -> Rows:
        """Return the number of each pair (`first[of]`, `second`)."""
        numbers = np.empty(len(second), np.uint32)
        done = 0
        while done < len(second):
            done, self.count = _number_pairs(
                first, of, second, done, numbers, self._seed, self._slots, self._next,
                self._hashes, self._pairs, self.count,
            )  # fmt: skip
            if done < len(second):
                self._hashes = _grown(self._hashes, 2 * self.count)
                self._pairs = _grown(self._pairs, 2 * self.count)
                self._next = _grown(self._next, 2 * self.count)
                self._slots = np.full(2 * len(self._slots), ABSENT, np.uint32)
                _place(self._slots, self._hashes, self.count)
        return numbers


def _grown(array: npt.NDArray[T], length: int) -> npt.NDArray[T]:
    bigger = np.zeros(length, dtype=array.dtype)
    bigger[: len(array)] = array
    return bigger


def _word(_context: Any, data: Any, at: Any) -> Any:
    """Return the eight bytes of `data` that begin at `at`, wherever that is, as one number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


word: Any = intrinsic(_word)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _mixed(h: np.uint64) -> np.uint64:
    """Scatter the bits: the finaliser of splitmix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _hashed(data: Bytes, start: int, length: int, seed: np.uint64) -> np.uint64:
    h = _mixed(seed ^ np.uint64(length))
    if length < 8:
        for k in range(length):
            h = (h ^ np.uint64(data[start + k])) * np.uint64(0x100000001B3)
        return _mixed(h)
    for k in range(0, length - 8, 8):
        h = _mixed(h ^ word(data, start + k))
    return _mixed(h ^ word(data, start + length - 8))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _same(data: Bytes, start: int, known: Bytes, first: int, length: int) -> bool:
    if length < 8:
        for k in range(length):  # noqa: SIM110  a kernel has no generators
            if data[start + k] != known[first + k]:
                return False
        return True
    for k in range(0, length - 8, 8):
        if word(data, start + k) != word(known, first + k):
            return False
    return bool(word(data, start + length - 8) == word(known, first + length - 8))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _place(slots: Rows, hashes: Hashes, count: int) -> None:
    """Fill empty slots with the numbers 0 to count-1."""
    mask = np.uint64(len(slots) - 1)
    for number in range(count):
        at = hashes[number] & mask
        while slots[at] != ABSENT:
            at = (at + np.uint64(1)) & mask
        slots[at] = number


@numba.njit(cache=True, nogil=True, fastmath=False)
def _number_strings(
    data: Bytes,
    start: Places,
    end: Places,
    begin: int,
    numbers: Rows,
    seed: np.uint64,
    slots: Rows,
    following: Rows,
    hashes: Hashes,
    ends: Ends,
    known: Bytes,
    count: int,
) -> tuple[int, int]:
    """Number strings from `begin` on; return how far it came and how many are known."""
    mask = np.uint64(len(slots) - 1)
    before = int(numbers[begin - 1]) if begin > 0 else 0
    for k in range(begin, len(start)):
        at, length = int(start[k]), int(end[k] - start[k])
        found = int(following[before])
        first = int(ends[found])
        if found >= count or not (
            ends[found + 1] - first == length and _same(data, at, known, first, length)
        ):
            h = _hashed(data, at, length, seed)
            slot = h & mask
            while slots[slot] != ABSENT:
                found = int(slots[slot])
                first = int(ends[found])
                if (
                    hashes[found] == h
                    and ends[found + 1] - first == length
                    and _same(data, at, known, first, length)
                ):
                    break
                slot = (slot + np.uint64(1)) & mask
            if slots[slot] == ABSENT:
                found, first = count, int(ends[count])
                if count == len(hashes) or first + length > len(known):
                    return k, count
                known[first : first + length] = data[at : at + length]
                slots[slot], hashes[count], ends[count + 1] = count, h, first + length
                count += 1
            following[before] = found
        numbers[k] = found
        before = found
    return len(start), count


@numba.njit(cache=True, nogil=True, fastmath=False)
def _number_pairs(
    one: Rows,
    of: Places,
    two: Rows,
    begin: int,
    numbers: Rows,
    seed: np.uint64,
    slots: Rows,
    following: Rows,
    hashes: Hashes,
    pairs: Hashes,
    count: int,
) -> tuple[int, int]:
    """Number pairs from `begin` on; return how far it came and how many are known."""
    mask = np.uint64(len(slots) - 1)
    before = int(numbers[begin - 1]) if begin > 0 else 0
    for k in range(begin, len(two)):
        pair = (np.uint64(one[of[k]]) << np.uint64(32)) | np.uint64(two[k])
        found = int(following[before])
        if found >= count or pairs[found] != pair:
            h = _mixed(pair ^ seed)
            slot = h & mask
            while slots[slot] != ABSENT and pairs[slots[slot]] != pair:
                slot = (slot + np.uint64(1)) & mask
            if slots[slot] == ABSENT:
                if count == len(hashes):
                    return k, count
                slots[slot], hashes[count], pairs[count] = count, h, pair
                count += 1
            found = int(slots[slot])
            following[before] = found
        numbers[k] = found
        before = found
    return len(two), count
