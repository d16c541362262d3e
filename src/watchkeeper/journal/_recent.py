"""The newest entries, kept in memory for whoever reads them at once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from watchkeeper.model import Entry


class Recent:
    """Entries as they were appended, without a gap, oldest first. Any thread may ask.

    :param size: bytes of columns to keep at most. A column cut from a longer one counts whole,
        because it keeps the longer one alive.
    """

    def __init__(self, size: int) -> None:
        self._most, self._size = size, 0
        self._entries: deque[tuple[Entry, int]] = deque()
        self._turn = threading.Lock()

    def add(self, entries: Sequence[Entry]) -> None:
        """Keep entries that have just become durable; let the oldest go."""
        with self._turn:
            for entry in entries:
                assert not self._entries or entry.offset == self._entries[-1][0].offset + 1
                size = _size(entry)
                self._entries.append((entry, size))
                self._size += size
            while self._entries and self._size > self._most:
                self._size -= self._entries.popleft()[1]

    def after(self, offset: int, limit: int) -> list[Entry] | None:
        """Return at most `limit` entries after an offset; None when the first is not here."""
        with self._turn:
            if not self._entries or offset + 1 < self._entries[0][0].offset:
                return None
            start = offset + 1 - self._entries[0][0].offset
            end = min(start + max(limit, 0), len(self._entries))
            return [self._entries[k][0] for k in range(start, end)]

    def clear(self) -> None:
        """Keep nothing: what is durable is not certain any more."""
        with self._turn:
            self._entries.clear()
            self._size = 0


def _size(entry: Entry) -> int:
    parts = (entry.new, entry.samples, entry.rejected)
    return sum(int(part.get_total_buffer_size()) for part in parts if part.num_rows)
