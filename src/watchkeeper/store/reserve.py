"""Space that is kept free on the disk of the stores, and given up step by step.

First the journal stops accepting, while there is still room: what was accepted can be concluded,
and operators can work. When the disk is full all the same, because others fill it, the ballast
goes: a file that holds nothing, so that the ledger and a restart have room for what they owe.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.errors import StoreFull

BALLAST = "reserve.ballast"  # in the stores' folder


SMALL = 4  # of a small disk at most this part is kept free for the sake of `size`
SMALL_BALLAST = 8  # and this part of it given to the ballast


@dataclass(frozen=True, slots=True)
class Reserve:
    """How much is kept free; the larger of share and size counts.

    On a small disk `size` is at most a quarter of it and the ballast an eighth; on a large one the
    share is at most `most`: a tenth of 4 TB would be a disk by itself.

    :param share: part of the file system, 0 to 1; 0 for none.
    :param size: bytes; 0 for none.
    :param most: bytes that the share may come to.
    :param ballast: bytes of the file that is given up when the disk is full; 0 for none.
    :param interval: seconds between two looks at the disk.
    """

    share: float = 0.10
    size: int = 512 << 20
    most: int = 4 << 30
    ballast: int = 64 << 20
    interval: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError("share must be at least 0 and below 1, such as 0.1")
        if min(self.size, self.most, self.ballast) < 0 or self.interval < 0:
            raise ValueError("no size or interval may be negative")

    def kept(self, disk: int) -> int:
        """Return how many bytes of a disk of so many are kept free."""
        return int(max(min(self.share * disk, self.most), min(self.size, disk // SMALL)))

    def ballast_on(self, disk: int) -> int:
        """Return the bytes of the ballast on a disk of so many."""
        return min(self.ballast, disk // SMALL_BALLAST)


NOTHING = Reserve(share=0.0, size=0, ballast=0)


class Room:
    """The room on the disk of one folder, as last seen."""

    def __init__(self, folder: Path, reserve: Reserve) -> None:
        self._folder, self._reserve = folder, reserve
        self._looks = max(reserve.share, reserve.size, reserve.ballast) > 0
        self._due = 0.0  # when to look next
        self._lacking = ""

    def claim(self, spare: Callable[[], int] = lambda: 0) -> None:
        """Return if more may be stored.

        :param spare: bytes of the store's file that hold nothing: they stand for up to half of
            the reserve, because what is written there takes nothing of the disk.

        :raises StoreFull: no more than the reserve is left.
        """
        if not self._looks:
            return
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._reserve.interval
            with contextlib.suppress(OSError):  # a folder that went away: the store will say so
                self._look(spare)
        if self._lacking:
            raise StoreFull(self._lacking, hint="free space on this disk; nothing else is needed")

    def _look(self, spare: Callable[[], int]) -> None:
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        kept = self._reserve.kept(disk.f_blocks * disk.f_frsize)
        self._lacking = ""
        if free < kept and free + min(spare(), kept // 2) < kept:
            self._lacking = (
                f"{self._folder}: {free >> 20} MiB of this disk are free,"
                f" {kept >> 20} MiB are kept in reserve; nothing was stored"
            )
        ballast = self._folder / BALLAST
        size = self._reserve.ballast_on(disk.f_blocks * disk.f_frsize)
        if size and free >= kept + 2 * size and not ballast.exists():
            _take(ballast, size)


def give_up_ballast(folder: Path) -> bool:
    """Make room on a full disk; return whether there was something to give up."""
    try:
        (folder / BALLAST).unlink()
    except OSError:
        return False
    return True


def _take(path: Path, size: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)
