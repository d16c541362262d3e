"""Read blocks of CSV lines into columns.

A block whose rows are all good costs one pass of Arrow's parser. When Arrow refuses a block, it is
read once more with every cell as it came, and only what is bad is set aside.
"""

from __future__ import annotations

import csv
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from watchkeeper.sources._assemble import Parts, Ragged, assemble
from watchkeeper.sources._columns import numbers, time_type
from watchkeeper.sources._layout import Layout, Origin, Wanted, find, refuse_text
from watchkeeper.sources._lines import BOM, Block

DELIMITERS = (",", ";", "\t")
_PARALLEL = 1 << 21  # bytes one thread parses at once
_ABSENT = frozenset({"na", "n/a", "null", "none", "nil", "-", "?"})  # text, but no text column


class Csv(NamedTuple):
    """How to read the rows of one CSV file.

    :param begins: bytes of the header, before the first row.
    """

    layout: Layout
    columns: tuple[str, ...]
    delimiter: str
    types: dict[str, Any]
    begins: int
    origin: Origin

    def parts(self, block: Block) -> list[tuple[Parts, Block]]:
        """Read one block of rows."""
        return [(self._read(block), block)]

    def _read(self, block: Block) -> Parts:
        try:
            table = self._table(block.data, self.types, threads=True)
        except pa.ArrowInvalid:
            return self._with_bad_rows(block)
        if table.num_rows != block.rows:
            return self._with_bad_rows(block)  # blank lines, or line feeds inside quotes
        return assemble(
            self.layout, dict(zip(self.columns, table.columns, strict=True)), table.num_rows,
            lambda rows: self._place(block.line + rows), [],
        )  # fmt: skip

    def _with_bad_rows(self, block: Block) -> Parts:
        ends = block.ends()
        wrong: list[int] = []

        def set_aside(row: Any) -> str:
            wrong.append(row.number - 1)
            return "skip"

        as_it_came = dict.fromkeys(self.columns, pa.binary())
        table = self._table(block.data, as_it_came, threads=False, aside=set_aside)
        if table.num_rows + len(wrong) != len(ends):
            table, wrong = self._by_hand(block, ends)
        rows = np.setdiff1d(np.arange(len(ends)), wrong, assume_unique=True)
        length = np.diff(ends, prepend=0)
        empty = (length <= 1) | ((length == 2) & (_byte_at(block, ends - 2) == 13))
        table = table.filter(pa.array(~empty[rows]))
        rows = rows[~empty[rows]]
        ragged = [self._ragged(block, ends, row) for row in wrong if not empty[row]]
        return assemble(
            self.layout, dict(zip(self.columns, table.columns, strict=True)), table.num_rows,
            lambda some: self._place(block.line + rows[some]), ragged,
        )  # fmt: skip

    def _table(self, data: bytes, types: Any, *, threads: bool, aside: Any = None) -> Any:
        size = max(len(data) + 1, 1 << 10)
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                column_names=self.columns,
                use_threads=threads,
                block_size=min(size, _PARALLEL) if threads else size,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=self.delimiter,
                ignore_empty_lines=aside is None,  # when set aside, rows are lines
                invalid_row_handler=aside,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=aside is not None,
            ),
        )

    def _by_hand(self, block: Block, ends: npt.NDArray[np.int64]) -> tuple[Any, list[int]]:
        """Read line by line: a quote that is not closed must not swallow the rows behind it."""
        good: list[list[bytes | None]] = []
        wrong: list[int] = []
        for row, line in enumerate(_lines(block, ends)):
            text = line.decode("latin-1").rstrip("\r\n")
            cells = next(csv.reader([text], delimiter=self.delimiter), [])
            if text and (len(cells) != len(self.columns) or text.count('"') % 2):
                wrong.append(row)
            else:
                cells = cells or [""] * len(self.columns)
                good.append([cell.encode("latin-1") or None for cell in cells])
        columns = zip(*good, strict=True) if good else [[] for _ in self.columns]
        arrays = [pa.array(column, pa.binary()) for column in columns]
        return pa.table(arrays, names=list(self.columns)), wrong

    def _ragged(self, block: Block, ends: npt.NDArray[np.int64], row: int) -> Ragged:
        line = block.data[int(ends[row - 1]) if row else 0 : int(ends[row])]
        text = line.decode(errors="backslashreplace").rstrip("\r\n")
        return Ragged(
            f"{self.origin.name}:{block.line + row}", text, f"a row of {len(self.columns)} cells"
        )

    def _place(self, lines: Any) -> list[str]:
        return [f"{self.origin.name}:{line}" for line in lines.tolist()]


def open_csv(head: Block, wanted: Wanted, delimiter: str, origin: Origin) -> Csv:
    """Read the header and say how to read the rows.

    :param head: the first lines of the file.
    :raises UnknownLayout: the columns fit no known layout.
    """
    ends = head.ends()
    lines = _lines(head, ends)
    number = next((n for n, line in enumerate(lines) if line.removeprefix(BOM).strip()), 0)
    text = lines[number].removeprefix(BOM).decode(errors="backslashreplace").strip("\r\n")
    delimiter = delimiter or max(DELIMITERS, key=text.count)
    columns = tuple(cell.strip() for cell in next(csv.reader([text], delimiter=delimiter)))
    layout = find(columns, wanted, origin)
    names = pa.dictionary(pa.int32(), pa.string())
    types: dict[str, Any] = dict.fromkeys(columns, names)
    types |= dict.fromkeys(layout.metrics or (layout.value,), pa.float64())
    types[layout.time] = pa.string()
    found = Csv(layout, columns, delimiter, types, int(ends[number]), origin)
    if number + 1 < len(ends):
        rows = head.cut(ends, number + 1, len(ends))
        sample = _sample(found, rows)
        types[layout.time] = time_type(sample[layout.time])
        refuse_text(layout, [one for one in layout.metrics if _only_text(sample[one])], origin)
    return found


def _sample(found: Csv, rows: Block) -> dict[str, Any]:
    """Return the first rows with every cell as it came."""
    as_it_came = dict.fromkeys(found.columns, pa.binary())
    table = found._table(rows.data, as_it_came, threads=False, aside=lambda row: "skip")
    return dict(zip(found.columns, table.columns, strict=True))


def _only_text(column: Any) -> bool:
    read = numbers(column)
    if not read.bad.any() or not (read.bad | read.missing).all():
        return False
    texts = {bytes(one or b"").decode(errors="replace").strip() for one in column.to_pylist()}
    return any(text and text.lower() not in _ABSENT for text in texts)


def _lines(block: Block, ends: npt.NDArray[np.int64]) -> list[bytes]:
    starts = [0, *ends[:-1].tolist()]
    return [block.data[a:b] for a, b in zip(starts, ends.tolist(), strict=True)]


def _byte_at(block: Block, at: npt.NDArray[np.int64]) -> Any:
    return np.frombuffer(block.data, np.uint8)[np.maximum(at, 0)]
