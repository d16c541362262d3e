"""How the C library gives memory back: not after every batch.

A batch is a dozen arrays of a megabyte that live for milliseconds. By default glibc maps each of
them anew and unmaps it, and the kernel clears every page of every batch: a third of all processor
time under load. Kept for the next batch instead, the same pages stay in the cache.
"""

from __future__ import annotations

import ctypes

TRIM, TOP_PAD, MAPPED, ARENAS = -1, -2, -3, -8  # of mallopt(3)
KEPT = 256 << 20  # bytes free at the top of an arena before some are given back
AHEAD = 16 << 20  # bytes asked of the kernel at once
LARGE = 32 << 20  # bytes from which on an array is mapped by itself, and given back
TOGETHER = 2  # arenas; each thread by itself would keep as much again


def keep_memory(most: int = KEPT) -> bool:
    """Let the allocator keep what was freed for the next batch; False where it cannot be told.

    Called before there are other threads. What others allocate by other means (Arrow, SQLite) is
    not touched.

    :param most: bytes free that are kept at most.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:  # another C library
        return False
    settings = {TRIM: min(most, KEPT), TOP_PAD: AHEAD, MAPPED: LARGE, ARENAS: TOGETHER}
    return min(int(tell(name, value)) for name, value in settings.items()) == 1
