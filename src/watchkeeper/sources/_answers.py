"""What came of the questions to targets, as columns, and many of them as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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


class Part(NamedTuple):
    """Samples over keys of their own."""

    keys: pa.RecordBatch
    series: Rows
    time: Times
    value: Floats


class Answer(NamedTuple):
    """What came of one question, or of a target's going."""

    parts: tuple[Part, ...]
    unread: pa.RecordBatch = NO_REJECTS
    controls: tuple[Control, ...] = ()

    @property
    def size(self) -> int:
        """How many samples, good or bad."""
        return sum(len(part.series) for part in self.parts) + int(self.unread.num_rows)


def readings_of(target: Target) -> pa.RecordBatch:
    """Return the keys of what is told of the asking itself."""
    attributes = attributes_text(target.labels)
    columns = [[target.entity] * len(READINGS), list(READINGS), [attributes] * len(READINGS)]
    return pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in columns], schema=KEYS)


def told(keys: pa.RecordBatch, time: Millis, values: Sequence[float]) -> Part:
    """Return one value for each of the first keys, at one time."""
    count = len(values)
    return Part(
        keys.slice(0, count),
        np.arange(count, dtype=np.uint32),
        np.full(count, time, np.int64),
        np.array(values, np.float64),
    )


def ended(keys: pa.RecordBatch, time: Millis) -> Part:
    """Return a stale marker for each key."""
    count = keys.num_rows
    return Part(
        keys,
        np.arange(count, dtype=np.uint32),
        np.full(count, time, np.int64),
        np.full(count, STALE, np.float64),
    )


def said(collected: Collected) -> Part:
    """Return what a target said."""
    samples = collected.samples
    series = samples["series"].to_numpy()
    assert len(series) == 0 or int(series.max()) < collected.keys.num_rows
    return Part(collected.keys, series, samples["time"].to_numpy(), samples["value"].to_numpy())


def vanished(before: pa.RecordBatch, now: pa.RecordBatch) -> pa.RecordBatch:
    """Return the keys that were there before and are no longer."""
    if before is now or before.num_rows == 0:
        return NO_KEYS
    lost = pc.invert(pc.is_in(_joined_texts(before), value_set=_joined_texts(now)))
    return before.filter(lost)


def batch(source: str, cursor: Cursor, answers: Sequence[Answer]) -> Batch:
    """Return many answers as one batch; a key that two of them name is there once."""
    parts = [part for answer in answers for part in answer.parts]
    keys, rows = _distinct([part.keys for part in parts])
    firsts = np.cumsum([0, *(part.keys.num_rows for part in parts)])
    series = [rows[first + part.series] for part, first in zip(parts, firsts[:-1], strict=True)]
    columns = [
        _column(series, np.uint32),
        _column([part.time for part in parts], np.int64),
        _column([part.value for part in parts], np.float64),
    ]
    samples = pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=SAMPLES)
    unread = pa.concat_batches([NO_REJECTS, *(answer.unread for answer in answers)])
    controls = tuple(control for answer in answers for control in answer.controls)
    return Batch(source, cursor, keys, samples, unread, controls)


def _column(parts: Sequence[Rows | Times | Floats], kind: type) -> Rows | Times | Floats:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind, copy=False)


def _distinct(parts: Sequence[pa.RecordBatch]) -> tuple[pa.RecordBatch, Rows]:
    """Return distinct keys in order of first appearance, and the row of each key of the parts."""
    every = pa.concat_batches([NO_KEYS, *parts])
    found = _joined_texts(every).dictionary_encode()
    rows = found.indices.to_numpy().astype(np.uint32)
    if len(found.dictionary) == every.num_rows:
        return every, rows
    _, firsts = np.unique(rows, return_index=True)
    return every.take(pa.array(firsts)), rows


def _joined_texts(keys: pa.RecordBatch) -> pa.Array:
    """Return each key as one text; names with a zero byte in them are refused by the contracts."""
    return pc.binary_join_element_wise(*keys.columns, "\0")
