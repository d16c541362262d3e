"""Turn the columns of one piece of a file into keys, samples, and what could not be read.

Rows are never touched one by one, except those that go to quarantine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.model import (
    KEYS,
    REJECTS,
    SAMPLES,
    Flags,
    Floats,
    Reason,
    Times,
    attributes_text,
)
from watchkeeper.sources._columns import (
    ATTRIBUTES,
    OFFERED_MAX,
    Moments,
    Numbers,
    Words,
    numbers,
    quoted,
    times,
    words,
)
from watchkeeper.sources._layout import Layout, typed

Codes = npt.NDArray[np.int64]
Place = Callable[[Codes], list[str]]  # rows of a piece -> `file:line`


class Ragged(NamedTuple):
    """A line that is no row at all."""

    origin: str
    text: str
    detail: str


class Parts(NamedTuple):
    """What becomes of one piece of a file; columns of a Batch."""

    keys: pa.RecordBatch
    samples: pa.RecordBatch
    unread: pa.RecordBatch


class _Names(NamedTuple):
    """Row -> code of the entity and of the attributes, with the texts they stand for."""

    entity: Codes
    entities: list[str]
    attribute: Codes
    attributes: list[str]
    bad: Flags  # rows with a name that is not UTF-8


def assemble(
    layout: Layout, columns: Mapping[str, Any], rows: int, place: Place, ragged: Sequence[Ragged]
) -> Parts:
    """Build the parts of a batch from `rows` rows of columns."""
    moments = times(columns[layout.time])
    names = _names(layout, columns, rows)
    if layout.kind == "long":
        parts = _long(layout, columns, rows, moments, names, place)
    else:
        parts = _wide(layout, columns, rows, moments, names, place)
    if not ragged:
        return parts
    rejects = [_reject(layout, one) for one in ragged]
    unread = pa.Table.from_batches([parts.unread, pa.RecordBatch.from_pylist(rejects, REJECTS)])
    return Parts(parts.keys, parts.samples, unread.combine_chunks().to_batches()[0])


def _long(
    layout: Layout, columns: Mapping[str, Any], rows: int, moments: Moments, names: _Names,
    place: Place,
) -> Parts:  # fmt: skip
    metric = words(columns[layout.metric], rows)
    found = numbers(columns[layout.value])
    bad_name = names.bad | metric.bad[metric.code]
    wrong = moments.bad | found.bad | found.missing | bad_name
    good = np.flatnonzero(~wrong) if wrong.any() else None
    keys, series = _keys(names, metric.code, metric.texts, good)
    time, value = moments.time, found.value
    if good is not None:
        time, value = time[good], value[good]
    bad = np.flatnonzero(wrong)
    unread = _unread(bad, names, [metric.texts[code] for code in metric.code[bad]], moments,
                     found, bad_name, place)  # fmt: skip
    return Parts(keys, _samples(series, time, value), unread)


def _wide(
    layout: Layout, columns: Mapping[str, Any], rows: int, moments: Moments, names: _Names,
    place: Place,
) -> Parts:  # fmt: skip
    row_parts, codes, values, unread = [], [], [], [_no_rejects()]
    every = np.arange(rows)
    for code, column in enumerate(layout.metrics):
        found = numbers(columns[column])
        wrong = (moments.bad | found.bad | names.bad) & ~found.missing
        keep = ~(wrong | found.missing)
        some = every if keep.all() else np.flatnonzero(keep)
        row_parts.append(some)
        codes.append(np.full(len(some), code, np.int64))
        values.append(found.value if some is every else found.value[some])
        bad = np.flatnonzero(wrong)
        if len(bad):
            texts = [column] * len(bad)
            unread.append(_unread(bad, names, texts, moments, found, names.bad, place))
    taken = np.concatenate(row_parts)
    keys, series = _keys(names, np.concatenate(codes), list(layout.metrics), taken, given=True)
    table = pa.Table.from_batches(unread).combine_chunks()
    batches = table.to_batches()
    samples = _samples(series, moments.time[taken], np.concatenate(values))
    return Parts(keys, samples, batches[0] if batches else _no_rejects())


def _names(layout: Layout, columns: Mapping[str, Any], rows: int) -> _Names:
    entity = words(columns[layout.entity] if layout.entity else None, rows)
    if layout.entity:
        entities = [typed(text, layout.entity_type) for text in entity.texts]
    else:
        entities = [layout.fixed]
    bad = entity.bad[entity.code]
    code, texts = np.zeros(rows, np.int64), ["{}"]
    parts = [words(columns[name], rows) for name in layout.attributes if name in columns]
    if parts:
        for part in parts:
            bad = bad | part.bad[part.code]
        code, texts = _attributes([n for n in layout.attributes if n in columns], parts)
    return _Names(entity.code, entities, code, texts, bad)


def _attributes(names: Sequence[str], parts: Sequence[Words]) -> tuple[Codes, list[str]]:
    """Combine attribute columns: row -> code -> canonical JSON."""
    encoded = _encode([part.code for part in parts], [len(part.texts) for part in parts])
    texts = []
    for codes in zip(*encoded.codes, strict=True):
        given: dict[str, str] = {}
        for name, part, code in zip(names, parts, codes, strict=True):
            text = part.texts[code]
            if name == ATTRIBUTES:
                given |= _unfolded(text)
            elif text:
                given[name] = text
        texts.append(given.pop("", "") or attributes_text(given))
    return encoded.row, texts


def _unfolded(text: str) -> dict[str, str]:
    """Return the attributes in a JSON object; text that is none is kept whole under an empty name,
    so that the contract refuses it as it came.
    """
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {"": text}
    if not isinstance(found, dict):
        return {"": text}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if value is not None and value != ""
    }


class _Encoded(NamedTuple):
    row: Codes  # row -> distinct combination
    codes: list[list[int]]  # one list a column: combination -> code


def _encode(columns: Sequence[Codes], counts: Sequence[int]) -> _Encoded:
    """Number the distinct combinations of codes in order of appearance."""
    row, table = columns[0], [np.arange(counts[0], dtype=np.int64)]
    for column, count in zip(columns[1:], counts[1:], strict=True):
        # Numbered anew after every column, so that products of many counts cannot overflow.
        encoded = pa.array(row * count + column).dictionary_encode()
        pairs = encoded.dictionary.to_numpy()
        row = encoded.indices.to_numpy().astype(np.int64)
        table = [*(codes[pairs // count] for codes in table), pairs % count]
    if len(columns) == 1:
        encoded = pa.array(row).dictionary_encode()
        row = encoded.indices.to_numpy().astype(np.int64)
        table = [encoded.dictionary.to_numpy()]
    return _Encoded(row, [codes.tolist() for codes in table])


def _keys(
    names: _Names, metric: Codes, metrics: Sequence[str], rows: Codes | None, *, given: bool = False
) -> tuple[pa.RecordBatch, npt.NDArray[np.uint32]]:
    """Return the distinct keys of some rows (None: all), and which key each has.

    :param given: `metric` is already one code for each of `rows`, not for each row of the piece.
    """
    entity, attribute = names.entity, names.attribute
    if rows is not None:
        entity, attribute = entity[rows], attribute[rows]
        metric = metric if given else metric[rows]
    encoded = _encode(
        [entity, attribute, metric], [len(names.entities), len(names.attributes), len(metrics)]
    )
    of_entity, of_attribute, of_metric = encoded.codes
    keys = pa.RecordBatch.from_arrays(
        [
            pa.array([names.entities[code] for code in of_entity], pa.string()),
            pa.array([metrics[code] for code in of_metric], pa.string()),
            pa.array([names.attributes[code] for code in of_attribute], pa.string()),
        ],
        schema=KEYS,
    )
    return _distinct(keys, encoded.row)


def _distinct(keys: pa.RecordBatch, row: Codes) -> tuple[pa.RecordBatch, npt.NDArray[np.uint32]]:
    """Merge keys that different spellings made equal (`web-1` and `host:web-1`)."""
    first: dict[tuple[str, str, str], int] = {}
    spelled = zip(*(column.to_pylist() for column in keys.columns), strict=True)
    number = np.array([first.setdefault(key, len(first)) for key in spelled], np.uint32)
    if len(first) < keys.num_rows:
        _, kept = np.unique(number, return_index=True)
        keys = keys.take(pa.array(kept))
    return keys, number[row]


def _samples(series: Any, time: Times, value: Floats) -> pa.RecordBatch:
    columns = [pa.array(series, pa.uint32()), pa.array(time), pa.array(value)]
    return pa.RecordBatch.from_arrays(columns, schema=SAMPLES)


def _no_rejects() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], REJECTS)


def _unread(
    bad: Codes, names: _Names, metrics: Sequence[str], moments: Moments, found: Numbers,
    bad_name: Flags, place: Place,
) -> pa.RecordBatch:  # fmt: skip
    """Describe the rows `bad`, the first thing wrong with each."""
    if not len(bad):
        return _no_rejects()
    no_name, no_time = bad_name[bad], moments.bad[bad]
    no_value = found.bad[bad] | found.missing[bad]
    time_text, value_text = quoted(moments.text, bad), quoted(found.text, bad)
    reasons, offered, details = [], [], []
    for n in range(len(bad)):
        if no_name[n]:
            reasons.append(Reason.BAD_NAME)
            offered.append(value_text[n])
            details.append("names are UTF-8 text")
        elif no_time[n]:
            reasons.append(Reason.NO_TIME)
            offered.append(time_text[n])
            details.append("RFC 3339, YYYY-MM-DD HH:MM:SS, or a number since 1970")
        else:
            reasons.append(Reason.NOT_A_NUMBER)
            offered.append(value_text[n])
            details.append("a number")
    columns = [
        pa.array([names.entities[code] for code in names.entity[bad]], pa.string()),
        pa.array(metrics, pa.string()),
        pa.array([names.attributes[code] for code in names.attribute[bad]], pa.string()),
        pa.array(moments.time[bad], pa.int64(), mask=no_time),
        pa.array(found.value[bad], pa.float64(), mask=no_value),
        pa.array(offered, pa.string()),
        pa.array(place(bad), pa.string()),
        pa.array([str(reason) for reason in reasons], pa.string()),
        pa.array(details, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTS)


def _reject(layout: Layout, one: Ragged) -> dict[str, Any]:
    return {
        "entity": layout.fixed if layout.entity is None else "",
        "metric": "",
        "attributes": "{}",
        "time": None,
        "value": None,
        "offered": one.text[:OFFERED_MAX],
        "origin": one.origin,
        "reason": str(Reason.NOT_A_NUMBER),
        "detail": one.detail,
    }
