"""Who owns a store: a lock of the kernel's on a file beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from watchkeeper.errors import StoreLocked
from watchkeeper.store.rescue import beside


def take(path: Path, name: str) -> int:
    """Own the store for this process; the lock goes with the process, however it ends.

    :raises StoreLocked: another process owns it.
    """
    lock = os.open(beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StoreLocked(
            f"{path}: process {owner} owns this {name}",
            hint=f"stop process {owner}, or use another --data folder",
        ) from None
    with contextlib.suppress(OSError):  # a full disk: the lock holds, only its label is missing
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def let_go(lock: int) -> None:
    """Own a store no longer."""
    os.ftruncate(lock, 0)
    os.close(lock)


def hold(path: Path) -> int:
    """Keep what a store holds from being removed while somebody reads it; -1 where nobody can.

    The hold goes with the descriptor, however its process ends. Where no lock file may be opened,
    no process owns the store either, or none that this one can see.
    """
    try:
        lock = os.open(beside(path, ".lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLKW, _whole(fcntl.F_RDLCK))
    except OSError:  # a file system without locks has no owner that could remove anything
        os.close(lock)
        return -1
    return lock


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep what a store holds from being removed while the block lasts, see `hold`."""
    lock = hold(path)
    try:
        yield
    finally:
        if lock >= 0:
            os.close(lock)


@contextlib.contextmanager
def unread(lock: int) -> Iterator[bool]:
    """Keep readers from beginning while the block removes something; say whether nobody reads.

    :param lock: that of the owner, see `take`.
    """
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _whole(fcntl.F_WRLCK))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _whole(fcntl.F_UNLCK))


def _whole(kind: int) -> bytes:
    """Return the `struct flock` of a lock on all of a file; it is of the open file, not of a
    process, and has nothing to do with the one of `take`."""
    return struct.pack("hhqqi", kind, os.SEEK_SET, 0, 0, 0)
