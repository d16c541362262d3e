"""The journal is what we saw: checked batches and control inputs in order, once.

Every other file is one backend. `docs/formats.md` describes what they store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from watchkeeper.journal._bases import Base
from watchkeeper.model import Checked, Checkpoint, Control, Cursor, Entry, Millis, Offset

__all__ = ["Base", "Journal"]


class Journal(Protocol):
    """An append-only sequence of entries. One process opens it; one thread appends."""

    def append(self, batches: Sequence[Checked]) -> list[Offset]:
        """Store each batch with its cursor as one entry; return once all of them are durable.

        One transaction holds them all (group commit). New series get the next numbers, in order
        of appearance. `arrived` is raised to that of the entry before when the clock went back.

        :raises StoreFull: there is no space; nothing was stored, and a later append may succeed.
        :raises StoreError: the disk failed; nothing more is accepted until the journal is opened
            again.
        """

    def warm_up(self, batches: Sequence[Checked]) -> None:
        """Do with batches what an append does before it stores; so no append waits for kernels."""

    def note(self, control: Control, arrived: Millis) -> Offset:
        """Store one control input as an entry of its own, durably."""

    def read(self, after: Offset, limit: int) -> Iterator[Entry]:
        """Yield at most `limit` entries with an offset greater than `after`, in order.

        :raises CorruptionError: an entry's bytes do not match its checksum.
        :raises Removed: entries were asked for that retention removed.
        """

    def rejected(self, after: Offset, limit: int, *, newest: bool = False) -> Iterator[Entry]:
        """Yield at most `limit` entries that hold rejected samples, in order.

        :param newest: the last of them, not the first.
        """

    def controls(self, kind: str, after: Offset) -> Iterator[tuple[Millis, Control]]:
        """Yield the controls of one kind after an offset and when they came in, in order.

        For people to look at: their bytes are not held against the checksums.
        """

    def first(self) -> Offset:
        """Return the offset of the oldest entry there is; 1 when none was removed."""

    def bases(self) -> list[Base]:
        """Return the states that are kept to begin with, oldest first."""

    def base(self) -> tuple[Checkpoint, str] | None:
        """Return the state before the oldest entry, with its SHA-256; None if that is the first.

        :raises CorruptionError: entries were removed, and no whole state stands for them.
        """

    def state(self, base: Base) -> tuple[Checkpoint, str]:
        """Return one of them, with its SHA-256.

        :raises CorruptionError: its bytes are not what was written.
        """

    def keep(self, base: Base, pieces: Iterable[bytes], name: Callable[[str], object]) -> None:
        """Keep a state to begin with, whole or not at all, durably.

        :param name: is told its SHA-256 before it counts.
        :raises StoreError: it cannot be written.
        """

    def size(self, after: Offset, until: Offset) -> int:
        """Return how many bytes the entries of a range take."""

    def cut(self, until: Base, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Remove the entries up to a base; return whether all are gone.

        Nothing is removed while another process reads. Cut off at any moment, what is left begins
        with a base that is whole, and a later call goes on.

        :param go_on: asked now and then; False ends it.
        :raises CorruptionError: that base is not whole; nothing was removed.
        """

    def cursor(self, source: str) -> Cursor | None:
        """Return the cursor of the last durable batch of a source."""

    def head(self) -> Offset:
        """Return the offset of the last entry; 0 when there is none."""

    def series(self, first: int = 0) -> pa.RecordBatch:
        """Return the KEYS of series `first` and later, in order of number."""

    def close(self) -> None:
        """Release the store. Safe to call twice."""
