"""Read Parquet files in batches of rows. A position is a row number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from watchkeeper.errors import InputError, NothingToRead, Truncated, UnknownLayout
from watchkeeper.sources._assemble import Parts, assemble
from watchkeeper.sources._bytes import PARQUET, refused
from watchkeeper.sources._columns import numbers, unfolded
from watchkeeper.sources._layout import Layout, Origin, Wanted, find, refuse_text


class Parquet:
    """One Parquet file from a row on; once written it does not grow.

    :raises Truncated: the footer is missing. :raises UnknownLayout: the columns fit no layout.
    :raises NothingToRead: it has no rows.
    """

    def __init__(
        self, path: Path, origin: Origin, wanted: Wanted, rows: int, batch_rows: int
    ) -> None:
        self.at, self.packed = rows, True
        self._origin = origin
        self._file = _open(path, origin.name)
        try:
            if not self._file.metadata.num_rows:
                raise NothingToRead(f"{origin.name}: no rows", hint="leave the file out")
            self._layout, self._columns = self._meaning(wanted)
            wide = max(1, len(self._layout.metrics))
            self._batches = self._read(rows, max(1, batch_rows // wide))
        except BaseException:
            self.close()
            raise

    def read(self) -> tuple[Parts, int, int] | None:
        """Return the next parts with the row behind them (twice: it is position and line)."""
        try:
            batch = next(self._batches, None)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{self._origin.name}: damaged after row {self.at}: {error}",
                hint="what came before was read; fetch the file again for the rest",
            ) from error
        if batch is None:
            return None
        first, name = self.at, self._origin.name
        columns = unfolded(dict(zip(batch.schema.names, batch.columns, strict=True)))
        parts = assemble(
            self._layout, columns, batch.num_rows,
            lambda rows: [f"{name}:{row}" for row in (rows + first + 1).tolist()], [],
        )  # fmt: skip
        self.at += batch.num_rows
        return parts, self.at, self.at

    def finish(self) -> tuple[Parts, int, int] | None:
        """Read on; a Parquet file is always finished."""
        return self.read()

    def close(self) -> None:
        """Release the file. Safe to call twice."""
        self._file.close()

    def _meaning(self, wanted: Wanted) -> tuple[Layout, list[str]]:
        schema = self._file.schema_arrow
        nested = [
            field.name
            for field in schema
            if pa.types.is_nested(field.type)
            and not (field.name == "attributes" and pa.types.is_struct(field.type))
        ]
        if nested:
            raise UnknownLayout(
                f"{self._origin.name}: unknown column {', '.join(map(repr, nested))}: "
                "neither numbers nor text",
                hint="drop it, or make `attributes` a struct or a JSON text",
            )
        empty = unfolded({field.name: pa.array([], field.type) for field in schema})
        layout = find(list(empty), wanted, self._origin)
        if layout.kind == "wide":
            texts = [name for name in layout.metrics if _is_text(empty[name].type)]
            refuse_text(layout, [name for name in texts if self._only_text(name)], self._origin)
        return layout, list(schema.names)

    def _only_text(self, column: str) -> bool:
        head = next(self._file.iter_batches(1000, columns=[column]))
        found = numbers(head.column(0))
        return bool(found.bad.any() and (found.bad | found.missing).all())

    def _read(self, skip: int, size: int) -> Iterator[Any]:
        """Yield batches from row `skip` on; whole row groups before it are not touched."""
        groups, before = [], 0
        metadata = self._file.metadata
        for number in range(metadata.num_row_groups):
            count = metadata.row_group(number).num_rows
            if before + count <= skip:
                before += count
            else:
                groups = list(range(number, metadata.num_row_groups))
                break
        left = skip - before
        for batch in self._file.iter_batches(size, row_groups=groups, columns=self._columns):
            if left >= batch.num_rows:
                left -= batch.num_rows
                continue
            yield batch.slice(left)
            left = 0


def _open(path: Path, name: str) -> Any:
    try:
        file = pq.ParquetFile(path)
        texts = [field.name for field in file.schema_arrow if _is_text(field.type)]
        file.close()
        return pq.ParquetFile(path, read_dictionary=texts, pre_buffer=True)
    except OSError as error:
        if error.errno is None:
            raise _cut(name, error) from error
        raise refused(name, error) from error
    except pa.ArrowInvalid as error:
        raise _cut(name, error) from error


def _cut(name: str, error: Exception) -> Truncated:
    return Truncated(
        f"{name}: a Parquet file without its end ({PARQUET.decode()} is missing): {error}",
        hint="fetch or write the file again; without its end nothing can be read",
    )


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
