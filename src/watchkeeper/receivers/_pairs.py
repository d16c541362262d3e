"""Numbers for pairs of numbers, in order of first appearance.

A series of line protocol is a block and a field, each known by its number already. What followed
last time is tried first, and only a miss is hashed. The seed of the hash comes from the first
request of the tenant, so that pairs which collide cannot be prepared by anyone else.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.model import Rows
from watchkeeper.slots import ABSENT, fill, grown, mixed

Places = npt.NDArray[np.int32]
Hashes = npt.NDArray[np.uint64]


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
                self._hashes = grown(self._hashes, 2 * self.count)
                self._pairs = grown(self._pairs, 2 * self.count)
                self._next = grown(self._next, 2 * self.count)
                self._slots = np.full(2 * len(self._slots), ABSENT, np.uint32)
                fill(self._slots, self._hashes, 0, self.count)
        return numbers


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
            h = mixed(pair ^ seed)
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
