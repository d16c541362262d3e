"""Columns of what one target said, put together from readings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from watchkeeper.model import KEYS, REJECTS, SAMPLES, Millis, Reason
from watchkeeper.sources import Collected

OFFERED_MAX = 200


class Reading(NamedTuple):
    """One value of one series. :param attributes: canonical JSON (`model.attributes_text`)."""

    entity: str
    metric: str
    attributes: str
    time: Millis
    value: float


class Unread(NamedTuple):
    """One thing a target said that is no value. :param detail: what was expected."""

    entity: str
    metric: str
    attributes: str
    time: Millis
    offered: str
    reason: Reason
    detail: str


def collected(
    readings: Iterable[Reading],
    unread: Iterable[Unread] = (),
    origin: str = "",
    known: Iterable[tuple[str, str, str]] = (),
) -> Collected:
    """Return readings as columns; of two of the same series and time the first is kept.

    :param known: series that go on, though nothing may be told of them now.
    """
    numbers: dict[tuple[str, str, str], int] = {}
    for key in known:
        numbers.setdefault(key, len(numbers))
    seen: dict[tuple[int, int], float] = {}
    for entity, metric, attributes, time, value in readings:
        number = numbers.setdefault((entity, metric, attributes), len(numbers))
        seen.setdefault((number, time), value)
    keys = _batch(list(numbers), KEYS)
    samples = _batch([(n, time, value) for (n, time), value in seen.items()], SAMPLES)
    rejected = _batch([_row(one, origin) for one in unread], REJECTS)
    return Collected(keys, samples, rejected)


def _row(one: Unread, origin: str) -> tuple[Any, ...]:
    key = (one.entity, one.metric, one.attributes)
    offered = one.offered[:OFFERED_MAX]
    return (*key, one.time, None, offered, origin or one.entity, str(one.reason), one.detail)


def _batch(rows: list[Any], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
