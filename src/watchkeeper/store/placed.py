"""A file that stands in its place whole or not at all, durably."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from watchkeeper.errors import OutputError


def put(path: Path, body: bytes) -> None:
    """Write one file whole or not at all, durably.

    :raises OutputError: it cannot be written there.
    """
    with placed(path) as file:
        file.write(body)


@contextmanager
def placed(path: Path) -> Iterator[BinaryIO]:
    """Let a file be written beside its place; put it there, durably, once all of it is written.

    :raises OutputError: it cannot be written there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(beside, flags, 0o666), "wb") as file:
            yield file
        sync(beside)
        beside.replace(path)
        sync(path.absolute().parent)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}", hint="choose another place") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def held_by(data: Path, store: str) -> int:
    """Return the bytes that one store of a data folder takes, with all that is beside it."""
    size = 0
    for path in [*data.glob(f"{store}.sqlite*"), *data.glob(f"{store}.sqlite.*/*")]:
        with suppress(OSError):  # gone meanwhile
            size += path.stat().st_size if path.is_file() else 0
    return size


def sync(path: Path) -> None:
    """Force a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
