"""Files that nobody else can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watchkeeper.secrets._file import read
from watchkeeper.secrets._part import part


@dataclass(frozen=True)
class File:
    """Files; `path` is the path of one, `key` a part of the JSON in it.

    Newlines at the end are not read. A file must belong to the user we run as, or to root, and
    nobody else may read or write it.

    :param folder: where relative paths start.
    :param readable_by_others: take files that other users of this host may read, as Kubernetes
        mounts them; never those that others may write.
    :param refresh: seconds after which a file is read again.
    """

    folder: str = "."
    readable_by_others: bool = False
    refresh: float = 30.0

    def open(self) -> File:
        """Nothing to open."""
        return self

    def fetch(self, path: str, key: str) -> str:
        """Return what a file holds.

        :raises SecretError: it cannot be read, or others can.
        """
        text = read(Path(self.folder) / path, others=self.readable_by_others)
        return part("file", path, text, key)

    def keep(self) -> None:
        """Nothing to renew."""

    def close(self) -> None:
        """Nothing to close."""


plugin = File
