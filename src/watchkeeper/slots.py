"""Open addressing in flat arrays: what the house's hash tables share. A slot holds a number.

Each table keeps what its numbers stand for in columns of its own, with the hash of each; when the
slots are to be more, or are emptied, they are filled again from those hashes.
"""

from __future__ import annotations

from typing import TypeVar

import numba
import numpy as np
import numpy.typing as npt

Slots = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]
T = TypeVar("T", bound=np.generic)

ABSENT = 0xFFFFFFFF  # nothing is in this slot


def grown(array: npt.NDArray[T], length: int, fill: int = 0) -> npt.NDArray[T]:
    """Return a longer array that begins with the same rows."""
    bigger: npt.NDArray[T] = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    bigger[: len(array)] = array
    if fill:
        bigger[len(array) :] = fill  # zeros cost no memory until they are written to
    return bigger


@numba.njit(cache=True, nogil=True, fastmath=False)
def mixed(h: np.uint64) -> np.uint64:
    """Scatter the bits: the finaliser of splitmix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@numba.njit(cache=True, nogil=True, fastmath=False)
def fill(slots: Slots, hashes: Hashes, first: int, count: int) -> None:
    """Put the numbers from `first` to `count` - 1 into empty slots, in order."""
    mask = np.uint64(len(slots) - 1)
    for number in range(first, count):
        at = hashes[number] & mask
        while slots[at] != ABSENT:
            at = (at + np.uint64(1)) & mask
        slots[at] = number
