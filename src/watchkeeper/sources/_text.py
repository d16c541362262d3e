"""Read one text file, CSV or JSON lines, from a position on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from watchkeeper.errors import NothingToRead, UnknownLayout
from watchkeeper.sources._assemble import Parts
from watchkeeper.sources._bytes import compressed, open_bytes
from watchkeeper.sources._csv import Csv, open_csv
from watchkeeper.sources._jsonl import Jsonl, open_jsonl
from watchkeeper.sources._layout import Origin, Wanted
from watchkeeper.sources._lines import BOM, Block, Lines

HEAD_BYTES = 1 << 16
BLOCK_MIN, BLOCK_MAX = 1 << 10, 1 << 26


class Text:
    """One text file. Errors are those of `open_bytes`, `open_csv` and `Lines.block`.

    :param at: content bytes to pass over. :param line: the number of the line behind them.
    :param waits: a last line without a line feed is still being written.
    :raises NothingToRead: it is empty.
    """

    def __init__(
        self, path: Path, origin: Origin, wanted: Wanted, delimiter: str, batch_rows: int,
        *, at: int = 0, line: int = 1, waits: bool = False,
    ) -> None:  # fmt: skip
        self._name = origin.name
        head = self._head(path, waits)
        if head is None:
            raise NothingToRead(f"{origin.name}: empty", hint="leave the file out")
        self.table: Csv | Jsonl
        first = head.data.removeprefix(BOM).lstrip()[:1]
        if first == b"[":
            raise UnknownLayout(
                f"{origin.name}: a JSON array", hint="write one object a line (jq -c '.[]')"
            )
        if first == b"{":
            self.table = open_jsonl(head, wanted, origin)
        else:
            self.table = open_csv(head, wanted, delimiter, origin)
        wide = max(1, len(self.table.layout.metrics))
        a_line = len(head.data) / max(1, len(head.ends()))
        self._size = int(min(max(batch_rows * a_line / wide, BLOCK_MIN), BLOCK_MAX))
        self._parts: Iterator[tuple[Parts, Block]] = iter(())
        stream, _ = open_bytes(path, origin.name)
        self._lines = Lines(stream, origin.name, waits=waits)
        self.packed = compressed(stream)
        begins = self.table.begins
        if at < begins:
            at, line = begins, 1 + head.data[:begins].count(b"\n")
        try:
            self._lines.go_to(at, line)
        except BaseException:
            self.close()
            raise
        self.at, self.line = at, line

    def read(self) -> tuple[Parts, int, int] | None:
        """Return the next parts and the position behind them; None when there are none (yet)."""
        for parts, block in self._parts:
            return self._done(parts, block)
        whole = self._lines.block(self._size)
        if whole is None:
            return None
        pieces = iter(self.table.parts(whole))
        first = next(pieces)
        self._parts = pieces
        return self._done(*first)

    def finish(self) -> tuple[Parts, int, int] | None:
        """Read on, knowing that nothing will be added any more to the last line."""
        self._lines.waits = False
        return self.read()

    def close(self) -> None:
        """Release the file. Safe to call twice."""
        self._lines.close()

    def _done(self, parts: Parts, block: Block) -> tuple[Parts, int, int]:
        self.at = block.start + len(block.data)
        self.line = block.line + block.rows
        return parts, self.at, self.line

    @staticmethod
    def _head(path: Path, waits: bool) -> Block | None:
        """Return the first lines of the file, enough to tell the layout."""
        stream, _ = open_bytes(path, path.name)
        lines = Lines(stream, path.name, waits=waits)
        try:
            head = lines.block(HEAD_BYTES)
        finally:
            lines.close()
        return head if head is not None and head.data.removeprefix(BOM).strip() else None
