"""What came of the questions to targets, as columns, and many of them as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper.key_table import KeyTable
from watchkeeper.model import (
    KEYS,
    REJECTS,
    SAMPLES,
    STALE_BITS,
    Batch,
    Control,
    Cursor,
    Floats,
    Millis,
    Rows,
    Times,
    attributes_text,
)
from watchkeeper.sources import Collected, Target

NO_KEYS = pa.RecordBatch.from_pylist([], KEYS)
NO_REJECTS = pa.RecordBatch.from_pylist([], REJECTS)
READINGS = ("up", "scrape_duration_seconds", "scrape_samples_scraped")
STALE = np.array([STALE_BITS], np.uint64).view(np.float64)[0]


class Keys:
    """Keys that a target goes on saying, and their rows in a table once it knows them."""

    def __init__(self, columns: pa.RecordBatch) -> None:
        self.columns = columns
        self.table: Table | None = None  # of which `rows` are
        self.rows: Rows = np.empty(0, np.uint32)

    def __len__(self) -> int:
        return int(self.columns.num_rows)


class Table:
    """All keys that targets have said, each told to the journal's side once. One thread uses it."""

    def __init__(self) -> None:
        self.keys = KeyTable(KEYS)
        self._rows: dict[str, int] = {}

    def rows(self, keys: Keys) -> Rows:
        """Return the row of each key; what is new is added."""
        if keys.table is not self:
            keys.table, keys.rows = self, self._found(keys.columns)
        return keys.rows

    def _found(self, columns: pa.RecordBatch) -> Rows:
        texts = _joined_texts(columns).to_pylist()
        known, first = self._rows, len(self._rows)
        rows = np.array([known.setdefault(text, len(known)) for text in texts], np.uint32)
        new, places = np.unique(rows, return_index=True)
        added = places[new >= first]
        if len(added):
            self.keys.add(columns.take(pa.array(added)))
        return rows


class Part(NamedTuple):
    """Samples over keys of their own."""

    keys: Keys
    series: Rows
    time: Times
    value: Floats


class Answer(NamedTuple):
    """What came of one question, or of a target's going."""

    parts: tuple[Part, ...]
    unread: pa.RecordBatch = NO_REJECTS
    controls: tuple[Control, ...] = ()
    mark: tuple[str, str] | None = None  # target, and where it is asked on from

    @property
    def size(self) -> int:
        """How many samples, good or bad."""
        return sum(len(part.series) for part in self.parts) + int(self.unread.num_rows)


def readings_of(target: Target) -> Keys:
    """Return the keys of what is told of the asking itself."""
    attributes = attributes_text(target.labels)
    columns = [[target.entity] * len(READINGS), list(READINGS), [attributes] * len(READINGS)]
    arrays = [pa.array(column, pa.string()) for column in columns]
    return Keys(pa.RecordBatch.from_arrays(arrays, schema=KEYS))


def told(keys: Keys, time: Millis, values: Sequence[float]) -> Part:
    """Return one value for each of the first keys, at one time."""
    count = len(values)
    return Part(
        keys,
        np.arange(count, dtype=np.uint32),
        np.full(count, time, np.int64),
        np.array(values, np.float64),
    )


def ended(keys: Keys, time: Millis) -> Part:
    """Return a stale marker for each key."""
    return told(keys, time, [STALE] * len(keys))


def said(collected: Collected, before: Keys) -> Part:
    """Return what a target said. :param before: its keys of the round before; often the same."""
    samples, keys = collected.samples, collected.keys
    series = samples["series"].to_numpy()
    assert len(series) == 0 or int(series.max()) < keys.num_rows
    same = keys is before.columns or before.columns.equals(keys)
    columns = series, samples["time"].to_numpy(), samples["value"].to_numpy()
    return Part(before if same else Keys(keys), *columns)


def vanished(before: Keys, now: Keys) -> Keys:
    """Return the keys that were there before and are no longer."""
    if before is now or len(before) == 0:
        return Keys(NO_KEYS)
    texts = _joined_texts(before.columns), _joined_texts(now.columns)
    lost = pc.invert(pc.is_in(texts[0], value_set=texts[1]))
    return Keys(before.columns.filter(lost))


def batch(source: str, cursor: Cursor, answers: Sequence[Answer], table: Table) -> Batch:
    """Return many answers as one batch over a table."""
    parts = [part for answer in answers for part in answer.parts]
    columns = [
        _column([table.rows(part.keys)[part.series] for part in parts], np.uint32),
        _column([part.time for part in parts], np.int64),
        _column([part.value for part in parts], np.float64),
    ]
    samples = pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=SAMPLES)
    unread = pa.concat_batches([NO_REJECTS, *(answer.unread for answer in answers)])
    controls = tuple(control for answer in answers for control in answer.controls)
    return Batch(source, cursor, table.keys, samples, unread, controls)


def _column(parts: Sequence[Rows | Times | Floats], kind: type) -> Rows | Times | Floats:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind, copy=False)


def _joined_texts(keys: pa.RecordBatch) -> pa.Array:
    """Return each key as one text; names with a zero byte in them are refused by the contracts."""
    return pc.binary_join_element_wise(*keys.columns, "\0")
