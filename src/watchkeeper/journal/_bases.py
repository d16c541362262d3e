"""Bases: the state of the core before an entry, kept so that the entries before it may go.

`<journal>.bases/<entry>.base` is one line of JSON about it, the bytes of a checkpoint, and the
SHA-256 of both. The whole base with the lowest entry from which the journal is dense is where it
begins; later ones wait until what is before them is old enough (see `watchkeeper.cutting`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from watchkeeper.errors import CorruptionError, OutputError, StoreError, StoreVersion
from watchkeeper.model import Checkpoint, Millis, Offset, canonical
from watchkeeper.store import file
from watchkeeper.store.placed import placed, sync

SCHEMA = "watchkeeper.base/1"
SUFFIX = ".base"
SHA_BYTES = 32
HEAD_MAX = 1 << 16  # bytes of the first line
HINT = "restore a backup: without it nothing after it can be proven"


@dataclass(frozen=True, slots=True)
class Base:
    """What is known of a base without reading its state.

    :param offset: the last entry that it knows. :param tick: the last that was concluded.
    :param arrived: when that entry came in. :param series: how many the journal had by then.
    :param size: bytes of the entries since the base before it, or since the beginning.
    """

    offset: Offset
    tick: Millis
    arrived: Millis
    series: int
    size: int


class Bases:
    """The bases of one journal."""

    def __init__(self, journal: Path) -> None:
        self.folder = journal.with_name(f"{journal.name}.bases")

    def known(self) -> list[Base]:
        """Return every base there is, oldest first.

        :raises CorruptionError: one of them does not begin like one.
        """
        return [self._head(path) for path in sorted(self.folder.glob(f"*{SUFFIX}"))]

    def put(
        self,
        base: Base,
        pieces: Iterable[bytes],
        name: Callable[[str], object] = lambda _sha256: None,
    ) -> None:
        """Keep a base, whole or not at all, durably.

        :param name: is told its SHA-256 before it stands in its place, so that whoever finds it
            there can ask whether it was named.
        :raises StoreError: it cannot be written.
        """
        sha = hashlib.sha256()
        try:
            if not self.folder.exists():
                self.folder.mkdir(mode=0o700)
                sync(self.folder.parent)
            with placed(self.path(base.offset)) as out:
                for piece in (_first_line(base), *pieces):
                    sha.update(piece)
                    out.write(piece)
                out.write(sha.digest())
                file.crash_point("base.written")
                name(sha.hexdigest())
        except (OSError, OutputError) as error:
            raise StoreError(
                f"{self.folder}: {error}", hint="see whether its disk is full"
            ) from error
        file.crash_point("base.placed")

    def checkpoint(self, base: Base) -> tuple[Checkpoint, str]:
        """Return the state of a base, and its SHA-256.

        :raises CorruptionError: its bytes are not what was written.
        """
        path = self.path(base.offset)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise CorruptionError(f"{path}: {error.strerror}", hint=HINT) from error
        held, own = body[:-SHA_BYTES], body[-SHA_BYTES:]
        sha = hashlib.sha256(held)
        begins = _first_line(base)
        if sha.digest() != own or not held.startswith(begins):
            raise CorruptionError(f"{path}: its bytes do not match its checksum", hint=HINT)
        return Checkpoint(base.offset, base.tick, held[len(begins) :]), sha.hexdigest()

    def drop(self, below: Offset) -> None:
        """Forget the bases of entries before this one; they are no longer needed."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if _offset(path) < below:
                with suppress(OSError):  # it costs a little space, and is tried again
                    path.unlink()
                file.crash_point("base.dropped")

    def drop_after(self, last: Offset) -> None:
        """Forget the bases of entries that there are no longer."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if _offset(path) > last:
                path.unlink()

    def sweep(self) -> None:
        """Delete what a process left behind that was ended while it wrote one."""
        for path in self.folder.glob(f".*{SUFFIX}.*"):
            with suppress(OSError):  # it costs a little space, and is tried again
                path.unlink()

    def path(self, offset: Offset) -> Path:
        """Return where the base of an entry is."""
        return self.folder / f"{offset:020}{SUFFIX}"

    def _head(self, path: Path) -> Base:
        try:
            with path.open("rb") as source:
                facts = json.loads(source.readline(HEAD_MAX))
            if facts["schema"] != SCHEMA:
                raise StoreVersion(
                    f"{path}: schema {facts['schema']!r}, this release reads {SCHEMA}",
                    hint="use the release that wrote it",
                )
            base = Base(
                Offset(int(facts["offset"])), Millis(int(facts["tick"])),
                Millis(int(facts["arrived"])), int(facts["series"]), int(facts["size"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptionError(f"{path}: this is no base ({error})", hint=HINT) from error
        if base.offset != _offset(path):
            raise CorruptionError(f"{path}: it is of entry {base.offset}", hint=HINT)
        return base


def _offset(path: Path) -> int:
    """Return the entry that a file is named after; what is not of ours is of none."""
    return int(path.stem) if path.stem.isdecimal() else 0


def _first_line(base: Base) -> bytes:
    facts = {
        "schema": SCHEMA,
        "offset": base.offset,
        "tick": base.tick,
        "arrived": base.arrived,
        "series": base.series,
        "size": base.size,
    }
    return canonical(facts).encode() + b"\n"
