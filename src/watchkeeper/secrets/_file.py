"""Read a file that nobody else can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from watchkeeper.errors import SecretError

BYTES_MAX = 64 * 1024


def read(path: Path, *, others: bool = False) -> str:
    """Return the text of a file, without the newlines at its end.

    :param others: whether other users may read it; nobody else may ever write it.
    :raises SecretError: it cannot be read, is too long or no text, or is open to others.
    """
    try:
        # What is looked at is what is read: the file cannot be exchanged in between.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            facts = os.fstat(file.fileno())
            _closed_to_others(path, facts, others)
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        hint = "relative paths start at the folder of the configuration file"
        raise SecretError(f"cannot read {str(path)!r}: {error.strerror}", hint=hint) from None
    if len(raw) > BYTES_MAX:
        raise SecretError(f"{str(path)!r} is longer than a secret: {BYTES_MAX >> 10} KiB")
    try:
        return raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(f"{str(path)!r} is no UTF-8 text") from None


def _closed_to_others(path: Path, facts: os.stat_result, others: bool) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise SecretError(f"{str(path)!r} is no regular file")
    if facts.st_uid not in (0, os.geteuid()):
        raise SecretError(
            f"{str(path)!r} belongs to another user", hint="chown it to the user of this program"
        )
    refused = 0o022 if others else 0o077
    if facts.st_mode & refused:
        what = "write" if others or facts.st_mode & 0o022 else "read"
        raise SecretError(
            f"other users can {what} {str(path)!r} (mode {stat.S_IMODE(facts.st_mode):04o})",
            hint="chmod 600 it; where it is mounted so, set readable_by_others of its store",
        )
