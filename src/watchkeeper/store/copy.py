"""A copy of one SQLite store while others write to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from watchkeeper.errors import CorruptionError, StoreError, StoreFull
from watchkeeper.store.placed import sync

PAGES = 512  # copied between two words of progress: 4 MiB


def copy(
    source: Path, target: Path, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> None:
    """Copy a store as it is at one moment; the writer goes on meanwhile.

    The copy stands alone: it has no WAL, so it can be read where nothing may be written.

    :param target: a path that is not there; readable by its owner only.
    :param progress: told how many pages of how many are copied.
    :raises StoreError: there is nothing to copy, it is damaged, or there is no room.
    """
    if not source.exists():
        raise StoreError(f"{source}: there is nothing to copy", hint="name a data folder: --data")
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        _copied(source, target, progress)
        sync(target)
    except apsw.FullError as error:
        raise StoreFull(f"{target}: no space left", hint="choose a larger disk") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise CorruptionError(
            f"{source}: {error}", hint="`watchkeeper repair` says what can be kept"
        ) from error
    except apsw.Error as error:
        raise StoreError(f"{source}: {error}", hint="see the system's log for this disk") from error


def _copied(source: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    reader = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    writer = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        # A transaction that lasts shows one moment, so the copy never has to begin again.
        reader.execute("begin")
        reader.execute("select 1 from sqlite_schema").fetchall()
        with writer.backup("main", reader, "main") as work:
            while not work.done:
                work.step(PAGES)
                progress(work.page_count - work.remaining, work.page_count)
        writer.execute("pragma journal_mode=delete").fetchall()
    finally:
        writer.close(True)
        reader.close(True)
