"""Follow files that grow and are rotated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from watchkeeper.errors import InputError, NothingToRead
from watchkeeper.sources._assemble import Parts
from watchkeeper.sources._inputs import Found, expand

Open = Callable[[Path, Found, int, int], Any]  # path, what it is called, position, line


class _Tail:
    """One file, held open; so what is written before a rotation is read after it."""

    def __init__(self, reader: Any, inode: int) -> None:
        self.reader, self.inode = reader, inode


class Follower:
    """Reads what was added to any of the files since it last looked.

    :param positions: name -> {"at", "line", "inode"}, changed while reading; the cursor holds it.
        `packed` marks files whose positions are not bytes on the disk.
    """

    def __init__(self, paths: tuple[str, ...], root: str, open_: Open, positions: Any) -> None:
        self._paths, self._root, self._open = paths, root, open_
        self.positions: dict[str, dict[str, int]] = positions
        self._tails: dict[str, _Tail] = {}
        self._refused: set[tuple[str, int, int]] = set()  # name, inode and size of hopeless files

    def read(self) -> tuple[Parts, str] | None:
        """Return what one file has more; None when none has.

        :raises InputError: a file cannot be read; the others will be.
        """
        for found in expand(self._paths, self._root)[0]:
            name = found.key
            got = self._more(found)
            if got is not None:
                parts, at, line = got
                tail = self._tails[name]
                position = {"at": at, "line": line, "inode": tail.inode}
                self.positions[name] = position | ({"packed": 1} if tail.reader.packed else {})
                return parts, name
        return None

    def close(self) -> None:
        """Release all files. Safe to call twice."""
        for name in list(self._tails):
            self._drop(name)

    def _more(self, found: Found) -> Any:
        """Read on in one file; one that failed is left alone until it changes."""
        try:
            stat = found.path.stat()
        except OSError:
            return None  # rotated away this very moment; the next look finds its successor
        looks = (found.key, stat.st_ino, stat.st_size)
        if looks in self._refused:
            return None
        try:
            return self._read_on(found, stat)
        except NothingToRead:
            return None  # not even a header yet
        except InputError:
            tail = self._tails.get(found.key)
            if tail is not None and tail.inode != stat.st_ino:
                self.positions.pop(found.key, None)  # the file before failed; not this one
            else:
                self._refused.add(looks)
            self._drop(found.key)
            raise

    def _read_on(self, found: Found, stat: os.stat_result) -> Any:
        tail = self._tails.get(found.key) or self._resume(found, stat)
        renamed = tail.inode != stat.st_ino
        emptied = not renamed and not tail.reader.packed and stat.st_size < tail.reader.at
        got = tail.reader.read()
        if got is None and renamed:
            got = tail.reader.finish()
        if got is not None or not (renamed or emptied):
            return got
        self._drop(found.key)
        self.positions.pop(found.key, None)
        return self._begin(found, found.path, stat, {}).reader.read()

    def _resume(self, found: Found, stat: os.stat_result) -> _Tail:
        """Open a file where the cursor stands, also when it was renamed meanwhile."""
        position = self.positions.get(found.key, {})
        inode = position.get("inode", stat.st_ino)
        if inode == stat.st_ino:
            if stat.st_size < position.get("at", 0) and "packed" not in position:
                position = {}  # emptied in place
            return self._begin(found, found.path, stat, position)
        for other in sorted(found.path.parent.iterdir()):
            if other.is_file() and other.stat().st_ino == inode:
                return self._begin(found, other, other.stat(), position)
        return self._begin(found, found.path, stat, {})

    def _begin(
        self, found: Found, path: Path, stat: os.stat_result, position: dict[str, int]
    ) -> _Tail:
        reader = self._open(path, found, position.get("at", 0), position.get("line", 1))
        self._tails[found.key] = _Tail(reader, stat.st_ino)
        return self._tails[found.key]

    def _drop(self, name: str) -> None:
        tail = self._tails.pop(name, None)
        if tail is not None:
            tail.reader.close()
