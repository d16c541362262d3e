"""Write a fleet to one file in the long layout, with the truth beside it; whole or not at all.

The suffix chooses the format: .parquet, .csv, .csv.gz, .jsonl, .jsonl.gz. Columns are `timestamp,
entity, metric`, one for each attribute name, and `value`; rows are sorted by time, then series.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from watchkeeper.errors import OutputError
from watchkeeper.simulate import Columns, Fleet, cuts
from watchkeeper.simulate.scenario import Scenario
from watchkeeper.simulate.truth import truth

Progress = Callable[[int, int], None]  # samples written, samples in all when none is missing


class Writer(Protocol):
    """One open file that takes tables of equal schema."""

    def __call__(self, table: pa.Table) -> None:
        """Write the rows of a table."""


def write(scenario: Scenario, seed: int, out: Path, progress: Progress | None = None) -> int:
    """Write a fleet to `out` and its ground truth beside it; return the number of samples.

    :raises OutputError: the suffix names no format, or the file cannot be written; nothing is
        left behind.
    """
    form = next((form for suffix, form in FORMATS.items() if out.name.endswith(suffix)), None)
    if form is None:
        raise OutputError(
            f"{out}: no format for this suffix", hint=f"use one of {', '.join(FORMATS)}"
        )
    fleet = Fleet(scenario, seed)
    whole = fleet.ticks * fleet.keys.num_rows
    shape = Table(fleet)
    count = 0
    with replaced(truth_path(out)) as beside, replaced(out) as file:
        beside.write(truth(fleet).text().encode())
        with form(file, shape.schema) as append:
            for block in cuts(fleet):
                columns = fleet.block(block)
                append(shape.of(columns))
                count += columns.value.size
                if progress is not None:
                    progress(count, whole)
    return count


def truth_path(out: Path) -> Path:
    """Return where the truth about `out` is written."""
    return out.with_name(out.name + ".truth.json")


class Table:
    """Turns columns of a fleet into tables of the long layout."""

    def __init__(self, fleet: Fleet) -> None:
        names = sorted({name for s in fleet.signals for name, _ in s.attributes})
        self._width = len(fleet.signals)
        self._entities = pa.array(fleet.names, pa.string())
        metrics = [signal.metric for signal in fleet.signals]
        self._coded = [_coded(metrics)]
        for name in names:
            self._coded.append(_coded([dict(s.attributes).get(name) for s in fleet.signals]))
        text = pa.dictionary(pa.int32(), pa.string())
        self.schema = pa.schema(
            [
                pa.field("timestamp", pa.timestamp("ms", tz="UTC"), nullable=False),
                pa.field("entity", text, nullable=False),
                pa.field("metric", text, nullable=False),
                *(pa.field(name, text) for name in names),
                pa.field("value", pa.float64(), nullable=False),
            ]
        )

    def of(self, columns: Columns) -> pa.Table:
        """Return the rows of one block."""
        entity, signal = np.divmod(columns.series.astype(np.int32), np.int32(self._width))
        times = pa.array(columns.time).cast(self.schema.field("timestamp").type)
        arrays = [times, pa.DictionaryArray.from_arrays(pa.array(entity), self._entities)]
        for codes, absent, words in self._coded:
            mask = absent[signal] if absent.any() else None
            indices = pa.array(codes[signal], mask=mask)
            arrays.append(pa.DictionaryArray.from_arrays(indices, words))
        return pa.Table.from_arrays([*arrays, pa.array(columns.value)], schema=self.schema)


def _coded(words: Sequence[str | None]) -> tuple[Any, Any, pa.Array]:
    """Return codes, which are absent, and the distinct words in order of appearance."""
    distinct = list(dict.fromkeys(word for word in words if word is not None))
    codes = np.array([0 if word is None else distinct.index(word) for word in words], np.int32)
    absent = np.array([word is None for word in words])
    return codes, absent, pa.array(distinct, pa.string())


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when the block ends well, and goes otherwise.

    :raises OutputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}", hint="choose a folder that can be written"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _parquet(file: IO[bytes], schema: pa.Schema) -> Iterator[Writer]:
    """Write Parquet: dictionaries for text and the repeating times, Zstandard level 1."""
    text = [name for name in schema.names if name != "value"]
    with pyarrow.parquet.ParquetWriter(
        file, schema, compression="zstd", compression_level=1, use_dictionary=text
    ) as writer:
        yield writer.write_table


@contextmanager
def _csv(file: IO[bytes], schema: pa.Schema) -> Iterator[Writer]:
    """Write CSV with RFC 3339 times and empty cells for absent attributes; NaN is `nan`."""
    file.write((",".join(schema.names) + "\n").encode())
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")

    def append(table: pa.Table) -> None:
        times = _stamps(table.column(0).combine_chunks())
        words = [times, *table.columns[1:]]
        plain = [
            column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for column in words
        ]
        buffer = io.BytesIO()
        pyarrow.csv.write_csv(pa.Table.from_arrays(plain, schema.names), buffer, options)
        file.write(buffer.getbuffer())

    yield append


@contextmanager
def _jsonl(file: IO[bytes], schema: pa.Schema) -> Iterator[Writer]:
    """Write one JSON object a line; absent attributes are left out and NaN is null."""

    def append(table: pa.Table) -> None:
        cells: list[Any] = ["{"]
        for place, name in enumerate(table.column_names[:-1]):
            column = table.column(place).combine_chunks()
            if not pa.types.is_dictionary(column.type):
                column = _stamps(column)
            words = [
                f"{',' if place else ''}{json.dumps(name)}:{json.dumps(word)}"
                for word in column.dictionary.to_pylist()
            ]
            texts = pa.DictionaryArray.from_arrays(column.indices, pa.array(words, pa.string()))
            cells.append(texts.cast(pa.string()))
        values = table.column("value").combine_chunks()
        finite = pa.compute.if_else(pa.compute.is_nan(values), None, values).cast(pa.string())
        cells += [',"value":', pa.compute.fill_null(finite, "null"), "}\n"]
        lines = pa.compute.binary_join_element_wise(
            *cells, "", null_handling="replace", null_replacement=""
        )
        file.write("".join(lines.to_pylist()).encode())

    yield append


def _stamps(times: pa.Array) -> pa.DictionaryArray:
    """Return times as RFC 3339 text."""
    coded = times.cast(pa.timestamp("ms")).dictionary_encode()
    text = pa.compute.strftime(coded.dictionary, format="%Y-%m-%dT%H:%M:%SZ")
    return pa.DictionaryArray.from_arrays(coded.indices, text)


def _zipped(
    form: Callable[[IO[bytes], pa.Schema], AbstractContextManager[Writer]],
) -> Callable[[IO[bytes], pa.Schema], AbstractContextManager[Writer]]:
    @contextmanager
    def opened(file: IO[bytes], schema: pa.Schema) -> Iterator[Writer]:
        # No time and no name in the header: the same fleet gives the same bytes.
        with (
            gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed,
            form(cast(IO[bytes], packed), schema) as append,
        ):
            yield append

    return opened


FORMATS: dict[str, Callable[[IO[bytes], pa.Schema], AbstractContextManager[Writer]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".csv.gz": _zipped(_csv),
    ".jsonl": _jsonl,
    ".jsonl.gz": _zipped(_jsonl),
}
