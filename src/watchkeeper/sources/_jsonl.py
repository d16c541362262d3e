"""Read blocks of JSON lines, one object each, into columns.

Arrow parses whole blocks. Where it meets a line that does not fit, the block is halved until the
rest is small, and that is read line by line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import json as arrow_json

from watchkeeper.errors import UnknownLayout
from watchkeeper.sources._assemble import Parts, Ragged, assemble
from watchkeeper.sources._columns import ATTRIBUTES, numbers, unfolded
from watchkeeper.sources._layout import Layout, Origin, Wanted, find, refuse_text
from watchkeeper.sources._lines import BOM, Block

_BY_LINE = 1024  # lines too few to halve again
_PARALLEL = 1 << 22


class Jsonl(NamedTuple):
    """How to read the rows of one file of JSON lines.

    :param seen: the fields met so far and their types; grows while reading.
    :param nested: those met inside an object `attributes`.
    """

    layout: Layout
    seen: dict[str, Any]
    nested: dict[str, Any]
    origin: Origin
    begins: int = 0

    def parts(self, block: Block) -> Iterator[tuple[Parts, Block]]:
        """Read one block of rows, in as many parts as it takes."""
        yield from self._read(block)

    def _read(self, block: Block) -> Iterator[tuple[Parts, Block]]:
        columns = self._at_once(block)
        if columns is not None:
            place = self._place(np.arange(block.line, block.line + block.rows))
            yield assemble(self._grown(columns), columns, block.rows, place, []), block
        elif block.rows <= _BY_LINE:
            yield self._by_line(block, block.ends()), block
        else:
            half, ends = block.rows // 2, block.ends()
            yield from self._read(block.cut(ends, 0, half))
            yield from self._read(block.cut(ends, half, len(ends)))

    def _at_once(self, block: Block) -> dict[str, Any] | None:
        schema = dict(self.seen)
        if self.nested:
            schema[ATTRIBUTES] = pa.struct(list(self.nested.items()))
        try:
            table = arrow_json.read_json(
                pa.BufferReader(block.data),
                read_options=arrow_json.ReadOptions(
                    block_size=min(_PARALLEL, max(len(block.data), 1 << 10))
                ),
                parse_options=arrow_json.ParseOptions(
                    explicit_schema=pa.schema(list(schema.items())),
                    unexpected_field_behavior="error",
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != block.rows:
            return None  # blank lines, or several objects in one
        columns = dict(zip(table.column_names, table.columns, strict=True))
        return unfolded(columns) if self.nested else columns

    def _by_line(self, block: Block, ends: npt.NDArray[np.int64]) -> Parts:
        rows: list[dict[str, Any]] = []
        lines: list[int] = []
        ragged: list[Ragged] = []
        starts = [0, *ends[:-1].tolist()]
        for number, (begin, end) in enumerate(zip(starts, ends.tolist(), strict=True), block.line):
            line = block.data[begin:end].removeprefix(BOM).strip()
            row = _object(line)
            if row is not None:
                rows.append(self._learned(row))
                lines.append(number)
            elif line:
                text = line.decode(errors="backslashreplace")
                where = f"{self.origin.name}:{number}"
                ragged.append(Ragged(where, text, "a JSON object"))
        columns = {
            name: pa.array([_text(row.get(name)) for row in rows], pa.string())
            for name in (*self.seen, *self.nested)
        }
        place = self._place(np.array(lines, np.int64))
        return assemble(self._grown(columns), columns, len(rows), place, ragged)

    def _learned(self, row: dict[str, Any]) -> dict[str, Any]:
        """Note the fields of a row, so that Arrow may read blocks which hold them; unfold it."""
        layout = self.layout
        nested = row.get(ATTRIBUTES)
        if isinstance(nested, dict):
            self.nested.update((n, pa.string()) for n, value in nested.items() if value is not None)
            row = {**nested, **{n: value for n, value in row.items() if n != ATTRIBUTES}}
        else:
            nested = {}
        for name, value in row.items():
            if name in self.seen or name in self.nested or value is None:
                continue
            text = layout.kind == "long" or name in (layout.entity, *layout.attributes)
            self.seen[name] = pa.string() if text else pa.float64()
        return row

    def _grown(self, columns: dict[str, Any]) -> Layout:
        """Return the layout with the fields met since the file was opened."""
        layout = self.layout
        for name in (layout.time, layout.metric, layout.value, layout.entity, *layout.metrics):
            if name and name not in columns:
                some = next(iter(columns.values()), pa.array([], pa.string()))
                columns[name] = pa.nulls(len(some), pa.string())
        taken = (layout.time, layout.metric, layout.value, layout.entity)
        more = [n for n in columns if n not in (*taken, *layout.attributes, *layout.metrics)]
        if not more:
            return layout
        told = [name for name in more if layout.kind == "long" or name in self.nested]
        attributes = (*layout.attributes, *told)
        metrics = (*layout.metrics, *(name for name in more if name not in told))
        return Layout(
            layout.kind, layout.time, layout.entity, layout.metric, layout.value,
            attributes, metrics, layout.fixed, layout.entity_type,
        )  # fmt: skip

    def _place(self, lines: npt.NDArray[np.int64]) -> Any:
        return lambda rows: [f"{self.origin.name}:{line}" for line in lines[rows].tolist()]


def open_jsonl(head: Block, wanted: Wanted, origin: Origin) -> Jsonl:
    """Look at the first object and say how to read the rows.

    :raises UnknownLayout: its fields fit no known layout, or no line is an object.
    """
    lines = (_object(line.strip()) for line in head.data.removeprefix(BOM).splitlines())
    first = next((line for line in lines if line is not None), None)
    if first is None:
        raise UnknownLayout(
            f"{origin.name}: no line is a JSON object", hint='one object a line: {"timestamp": …}'
        )
    nested = first.pop(ATTRIBUTES) if isinstance(first.get(ATTRIBUTES), dict) else {}
    layout = find(tuple(first), wanted, origin)
    refuse_text(layout, [name for name in layout.metrics if _is_word(first[name])], origin)
    time = pa.string() if isinstance(first[layout.time], str) else pa.int64()
    seen = {layout.time: time} | dict.fromkeys(layout.metrics or (layout.value,), pa.float64())
    found = Jsonl(layout, seen, {}, origin)
    found._learned({**first, ATTRIBUTES: nested} if nested else first)
    return found


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(numbers(pa.array([value])).bad.any())


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the object in a line; None when it holds none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str | None:
    """Return a value as text that reads back as the same number."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
