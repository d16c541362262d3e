"""What memory this process holds, what it may hold, and whether there is room for more.

The system ends a process that outgrows its control group at once, without a word to it. So the
house keeps a budget of its own below that, and asks its senders to wait before the budget is spent.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

LOOK = 0.01  # seconds for which a look at the process holds
SHARE = 0.8  # of what is allowed, where no budget is configured: the rest is for work under way
PUSHED = 0.9  # of the budget, up to which requests are taken; sources go on up to all of it
SPARE = 64 << 20  # bytes of a limit on address space or data that stay free
SERIES = 5 << 10  # bytes that a series a decoder has not met before may come to, until it is scored
REFUSED = 1 << 10  # the same of one its sender may not add, until it is in quarantine
PAGE = os.sysconf("SC_PAGE_SIZE")
OWN, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
STATM = Path("/proc/self/statm")


class Allowed(NamedTuple):
    """The bytes of memory that a process may have here, and who says so."""

    size: int
    by: str


def allowed(own: Path = OWN, groups: Path = GROUPS) -> Allowed:
    """Return the tightest of the machine's memory and the limits of our control group.

    :param own: which groups we are in. :param groups: where they are mounted.
    """
    machine = Allowed(os.sysconf("SC_PHYS_PAGES") * PAGE, "the machine")
    return min([machine, *_of_groups(own, groups)])


def _of_groups(own: Path, groups: Path) -> Iterator[Allowed]:
    """Yield the limits of our group and of each one around it, of either version."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        inner = Path(path.lstrip("/"))
        for one in (inner, *inner.parents):  # in a container the path may be the host's
            try:
                said = (root / one / name).read_text().strip()
            except OSError:
                continue
            if said.isdecimal():
                yield Allowed(int(said), "the control group")


class Budget:
    """How much memory the whole process may hold. Any thread may ask.

    :param most: bytes; 0, or more than is allowed here, for four fifths of what is.
    """

    def __init__(self, most: int = 0) -> None:
        self._lock = threading.Lock()
        self.decided: Callable[[], float] = lambda: math.inf  # the newest entry that is scored
        self._promised: deque[tuple[float, int]] = deque()  # up to which entry, bytes
        self.hold_to(most)

    def hold_to(self, most: int) -> None:
        """Take another budget from now on."""
        self.asked, self.allowed = most, allowed()
        fits = 0 < most <= self.allowed.size
        self.most = most if fits else int(SHARE * self.allowed.size)
        self._due, self._left = 0.0, 0

    @property
    def unfit(self) -> str:
        """Why the budget that was asked for is not kept to; empty when it is."""
        if self.asked <= self.allowed.size:
            return ""
        return (
            f"limits: memory: {mebibytes(self.asked)} is more than {self.allowed.by} allows"
            f" ({mebibytes(self.allowed.size)}); {mebibytes(self.most)} is kept to"
        )

    @property
    def short(self) -> bool:
        """Whether no request is taken for want of memory."""
        return not self.room(0, PUSHED)

    def room(self, size: int, share: float = 1.0) -> bool:
        """Whether there is room for so many bytes; then they count as held.

        :param share: of the budget that may be held with them.
        """
        with self._lock:
            now = time.monotonic()
            if now >= self._due:
                self._left, self._due = left(self.most), now + LOOK
            if self._left - self._owed() - (1.0 - share) * self.most < size:
                return False
            self._left -= size
            return True

    def promise(self, series: int, entry: int, refused: int = 0) -> bool:
        """Whether there is room for so many new series; they count until that entry is scored.

        :param refused: how many more there are that will be refused, and are never scored.
        """
        size = series * SERIES
        if size + refused and not self.room(size + refused * REFUSED, PUSHED):
            return False
        with self._lock:
            if size:
                self._promised.append((entry, size))
        return True

    def _owed(self) -> int:
        while self._promised and self._promised[0][0] <= self.decided():
            self._promised.popleft()
        return sum(size for _, size in self._promised)


def held() -> int:
    """Return the bytes of memory that this process holds now."""
    return _pages()[1] * PAGE


def left(most: int) -> int:
    """Return how many bytes more this process may hold, by a budget and by its own limits."""
    size, resident, *_, data, _ = _pages()
    room = most - resident * PAGE
    for limit, used in ((resource.RLIMIT_AS, size), (resource.RLIMIT_DATA, data)):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            room = min(room, soft - SPARE - used * PAGE)
    return room


def _pages() -> list[int]:
    """Return size, resident, shared, text, lib, data and dt of proc(5), in pages."""
    with STATM.open("rb", buffering=0) as told:
        return [int(one) for one in told.read().split()]


def give_back() -> None:
    """Give back to the system what is kept for later and holds nothing."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # another C library has none
        trim(0)


def mebibytes(size: int) -> str:
    """Return a size as people read it."""
    return f"{size / (1 << 20):.0f} MiB"
