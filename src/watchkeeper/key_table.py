"""The keys a sender keeps repeating, told once: an append-only table.

A request of remote write names the same five thousand series every time. Whoever decodes it finds
each one's row in a table it keeps; whoever comes after (contracts, journal) keeps a column of its
own beside that table, one element a row, and looks nothing up twice. A row never changes; a table
that has grown too long is given up as a whole, and a new one begun.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PARTS_MAX = 64  # small additions are put together beyond this many


class KeyTable:
    """Rows of one schema, numbered from 0 as they are added. One thread adds; any may read."""

    def __init__(self, schema: pa.Schema) -> None:
        self._none = pa.RecordBatch.from_pylist([], schema)
        self._parts: list[pa.RecordBatch] = []
        self._firsts: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, keys: pa.RecordBatch) -> int:
        """Append rows, which the caller knows to be new; return the number of the first."""
        assert keys.schema.equals(self._none.schema), keys.schema
        first = self._count
        if keys.num_rows:
            self._parts.append(keys)
            self._firsts.append(first)
            self._count += keys.num_rows
            if len(self._parts) > PARTS_MAX:
                self._put_together()
        return first

    def since(self, first: int) -> pa.RecordBatch:
        """Return rows `first` and later as one batch."""
        return pa.concat_batches(list(self._since(first))) if first < self._count else self._none

    def take(self, rows: npt.NDArray[np.uint32]) -> pa.RecordBatch:
        """Return chosen rows, in the order asked for."""
        if len(rows) == 0:
            return self._none
        low = int(rows.min())
        near = self.since(low)
        return near.take(pa.array(rows - np.uint32(low)))

    def _since(self, first: int) -> Iterator[pa.RecordBatch]:
        at = bisect_right(self._firsts, first) - 1
        yield self._parts[at].slice(first - self._firsts[at])
        yield from self._parts[at + 1 :]

    def _put_together(self) -> None:
        """Join neighbours of like size, so that n rows in any portions cost n log n."""
        parts, firsts = self._parts[:], self._firsts[:]
        while len(parts) > 1 and parts[-2].num_rows <= 2 * parts[-1].num_rows:
            joined = pa.concat_batches(parts[-2:])
            parts[-2:], firsts[-1:] = [joined], []
        if len(parts) > PARTS_MAX:
            parts, firsts = [pa.concat_batches(parts)], [0]
        self._parts, self._firsts = parts, firsts
