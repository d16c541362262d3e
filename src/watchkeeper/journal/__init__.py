"""The journal is what we saw: checked batches and control inputs in order, once.

Every other file is one backend. `docs/formats.md` describes what they store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from watchkeeper.model import Checked, Control, Cursor, Entry, Millis, Offset


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
        """

    def rejected(self, after: Offset, limit: int, *, newest: bool = False) -> Iterator[Entry]:
        """Yield at most `limit` entries that hold rejected samples, in order.

        :param newest: the last of them, not the first.
        """

    def controls(self, kind: str, after: Offset) -> Iterator[tuple[Millis, Control]]:
        """Yield the controls of one kind after an offset and when they came in, in order.

        For people to look at: their bytes are not held against the checksums.
        """

    def cursor(self, source: str) -> Cursor | None:
        """Return the cursor of the last durable batch of a source."""

    def head(self) -> Offset:
        """Return the offset of the last entry; 0 when there is none."""

    def series(self, first: int = 0) -> pa.RecordBatch:
        """Return the KEYS of series `first` and later, in order of number."""

    def close(self) -> None:
        """Release the store. Safe to call twice."""
