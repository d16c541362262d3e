"""Who owns a store: a lock of the kernel's on a file beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
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
