"""A disk that failed once is not believed again.

Linux forgets which pages it could not write, so after an fsync error the page cache may show what
the disk does not hold (the "fsyncgate" of 2018). The store then leaves a marker beside its file,
`.suspect`; the next opening copies everything into a new file, syncs that, and only then goes on.
An error is told once to each open file (Linux 4.13 and later), so the writer hears of one that a
checkpoint's sync has met: wiki.postgresql.org/wiki/Fsync_Errors.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from watchkeeper.errors import StoreError


def mark(path: Path) -> None:
    """Leave word that the disk failed. It may refuse this too; then there is no word."""
    with contextlib.suppress(OSError):
        marker = beside(path, ".suspect")
        marker.touch()
        sync(marker)
        sync(marker.parent)


def rescue(path: Path, copy_to: Callable[[Path], None], crash_point: Callable[[str], None]) -> None:
    """Rewrite the database into a new file if its disk failed before.

    A cut at any moment leaves either the old file with its WAL, or `.rewritten`, whose name says
    that it is whole and replaces the old file; never a new file beside an old WAL.

    :param copy_to: writes the whole database to a path that is not there.
    :param crash_point: told the name of each moment at which a test may end the process.
    :raises StoreError: there is nothing to copy.
    """
    marker, copy, whole = (beside(path, end) for end in (".suspect", ".rewrite", ".rewritten"))
    if marker.exists() and not whole.exists():
        for left in ("", "-journal", "-wal", "-shm"):
            copy.with_name(copy.name + left).unlink(missing_ok=True)
        if not path.exists():
            raise StoreError(f"{path}: missing, though its disk failed while it was open")
        copy_to(copy)
        sync(copy)
        crash_point("rewrite_copied")
        copy.rename(whole)
        sync(whole.parent)
    if whole.exists():
        crash_point("rewrite_whole")
        for left in ("-wal", "-shm", "-journal"):
            beside(path, left).unlink(missing_ok=True)
        sync(whole.parent)
        crash_point("rewrite_bare")
        whole.rename(path)
        sync(path.parent)
    crash_point("rewrite_done")
    marker.unlink(missing_ok=True)


def beside(path: Path, suffix: str) -> Path:
    """Return the file of this name with something behind it."""
    return path.with_name(path.name + suffix)


def sync(path: Path) -> None:
    """Force a file or a folder's entries to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
