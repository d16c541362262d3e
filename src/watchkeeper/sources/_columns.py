"""Turn columns as files hold them (text, numbers, times of any unit) into ours.

Every function works on whole columns. What a text means never depends on its neighbours: the
fast conversion of a column is only an attempt, and when it fails each distinct text is judged
alone, by the same parser.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper.model import Flags, Floats, Times

OFFERED_MAX = 200
ATTRIBUTES = "attributes"  # one column with all of them: a JSON object, a struct
_BLANKS = " \t\r"
_TIME_TYPES = (
    pa.timestamp("us"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ns"),
    pa.timestamp("ns", "UTC"),
)
_LIKELY = r"^[+-]?([0-9.]|[nN][aA][nN]|[iI][nN][fF])"  # all that any parser of ours could take
_ZONE = r":.*(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_LOOKS = (  # what a time looks like tells its type; tried in this order, on upper-case text
    (pa.int64(), r"^[+-]?([0-9]+|0X[0-9A-F]+)$"),
    (pa.float64(), r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(E[+-]?[0-9]+)?$"),
    (pa.timestamp("us", "UTC"), _ZONE),
    (pa.timestamp("ns", "UTC"), _ZONE),
    (pa.timestamp("us"), r"^[0-9]{4}-.*[0-9]$"),
    (pa.timestamp("ns"), r"^[0-9]{4}-.*\.[0-9]{7,9}$"),
)
_PER_MS = {"s": 1, "ms": 1, "us": 1_000, "ns": 1_000_000}


class Numbers(NamedTuple):
    """Values of one column. Where `missing` or `bad` is set, `value` means nothing."""

    value: Floats
    missing: Flags
    bad: Flags
    text: Any  # the column as it came, to quote what was bad


class Moments(NamedTuple):
    """Times of one column in milliseconds. Where `bad` is set, `time` means nothing."""

    time: Times
    bad: Flags
    text: Any


class Words(NamedTuple):
    """Names of one column: row -> code -> text. A missing name is empty."""

    code: npt.NDArray[np.int64]
    texts: list[str]
    bad: Flags  # by code: the bytes are not UTF-8


def flat(column: Any) -> Any:
    """Return a column as one array, whatever it was chunked or encoded like."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
        if isinstance(column, pa.ChunkedArray):  # no chunks at all
            column = pa.array([], column.type)
    return column


def numbers(column: Any) -> Numbers:
    """Read values. Numbers and truth values are taken, text is parsed, the rest is bad."""
    column = _plain(flat(column))
    kind, missing = column.type, _nulls(column)
    if _is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        if pa.types.is_boolean(kind):
            column = column.cast(pa.uint8())
        value = _filled(column.cast(pa.float64(), safe=False), 0.0)
        return Numbers(value, missing, np.zeros(len(value), bool), column)
    if not _is_text(kind):
        return Numbers(np.zeros(len(missing)), missing, ~missing, column)
    value, bad = _parsed(_absent(column, missing), pa.float64())
    return Numbers(value, missing, bad & ~missing, column)


def times(column: Any) -> Moments:
    """Read times: timestamps, dates, text, or a number counted since 1970 in a unit its size tells.

    Below 1e10 a number is seconds, below 1e13 milliseconds, below 1e16 microseconds, else
    nanoseconds. So each unit reaches from 1970 (milliseconds: from 27 April 1970) to 2286.
    """
    column = _plain(flat(column))
    kind, bad = column.type, _nulls(column)
    if pa.types.is_date(kind):
        column = column.cast(pa.timestamp("ms"))
        kind = column.type
    if pa.types.is_timestamp(kind):
        ticks = _filled(column.cast(pa.int64()), 0)
        factor = 1000 if kind.unit == "s" else 1
        return Moments(ticks * factor // _PER_MS[kind.unit], bad, column)
    if pa.types.is_integer(kind):
        return Moments(_by_size(_filled(column.cast(pa.int64(), safe=False), 0)), bad, column)
    if pa.types.is_floating(kind):
        value = _filled(column.cast(pa.float64()), np.nan)
        bad = bad | ~(np.abs(value) < 9e18)
        return Moments(_by_size_float(np.where(bad, 0.0, value)), bad, column)
    if not _is_text(kind):
        return Moments(np.zeros(len(bad), np.int64), np.ones(len(bad), bool), column)
    return _text_times(_absent(column, bad), bad)


def words(column: Any, rows: int) -> Words:
    """Read names; a column that is absent (None) has one empty name for every row."""
    if column is None:
        return Words(np.zeros(rows, np.int64), [""], np.zeros(1, bool))
    column = flat(column)
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    code = _filled(encoded.indices.cast(pa.int64()), -1)
    spelled = [_word(one) for one in encoded.dictionary.to_pylist()]
    texts, bad = [text for text, _ in spelled], np.array([b for _, b in spelled], bool)
    if not len(texts) or int(code.min(initial=0)) < 0:
        texts, bad = [*texts, ""], np.append(bad, False)
        code = np.where(code < 0, len(texts) - 1, code)
    return Words(code, texts, bad)


def quoted(column: Any, rows: npt.NDArray[np.int64]) -> list[str]:
    """Return some rows of a column as they came, for an operator to read."""
    picked = flat(column).take(pa.array(rows)).to_pylist()
    return ["" if one is None else _word(one)[0][:OFFERED_MAX] for one in picked]


def unfolded(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a column of structs named `attributes` by its fields, unless they exist already."""
    column = columns.get(ATTRIBUTES)
    if column is None or not pa.types.is_struct(column.type):
        return dict(columns)
    whole = flat(column)
    inner = {field.name: pc.struct_field(whole, field.name) for field in column.type}
    return {**inner, **{name: one for name, one in columns.items() if name != ATTRIBUTES}}


def _plain(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def _nulls(column: Any) -> Flags:
    flags: Flags = pc.is_null(column).to_numpy(zero_copy_only=False)
    if _is_text(column.type):
        empty = pc.equal(pc.binary_length(column), 0)
        flags = flags | pc.fill_null(empty, False).to_numpy(zero_copy_only=False)
    return flags


def _absent(column: Any, missing: Flags) -> Any:
    """Make empty texts null, so that they do not stop a column from parsing at once."""
    if int(missing.sum()) == column.null_count:
        return column
    return pc.if_else(pa.array(missing), pa.scalar(None, column.type), column)


def _filled(column: Any, value: Any) -> Any:
    if column.null_count:
        column = pc.fill_null(column, value)
    return column.to_numpy(zero_copy_only=False)


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _word(value: Any) -> tuple[str, bool]:
    """Return a name as text, and whether its bytes were not UTF-8."""
    if value is None:
        return "", False
    if isinstance(value, str):
        return value, False
    if isinstance(value, bytes):
        try:
            return value.decode(), False
        except UnicodeDecodeError:
            return value.decode(errors="backslashreplace"), True
    return json.dumps(value, default=str), False


def _by_size(value: Times) -> Times:
    size = np.abs(value.astype(np.float64))
    small = size < 1e10
    scaled = np.where(small, value, 0) * 1000
    rest = np.where(size < 1e13, value, np.where(size < 1e16, value // 1000, value // 1_000_000))
    return np.where(small, scaled, rest).astype(np.int64)


def _by_size_float(value: Floats) -> Times:
    size = np.abs(value)
    per_ms = np.where(size < 1e13, 1.0, np.where(size < 1e16, 1e3, 1e6))
    near = np.where(size < 9e18, value, 9e18)  # beyond any date; must not wrap around
    ms = np.where(size < 1e10, np.rint(near * 1000.0), np.floor(near / per_ms))
    return ms.astype(np.int64)


def _text_times(column: Any, missing: Flags) -> Moments:
    """Read times as text: RFC 3339, `YYYY-MM-DD HH:MM:SS[.fff]` in UTC, or a number."""
    time, bad = np.zeros(len(column), np.int64), np.ones(len(column), bool)
    present = np.flatnonzero(~missing)
    if pa.types.is_string(column.type) and len(present):
        for kind in (pa.int64(), *_TIME_TYPES):  # mostly all texts of a column look alike
            if _parses(column[int(present[0])].as_py(), kind):
                value, refused = _parsed(column, kind, attempt=True)
                if refused is not None:
                    return Moments(_in_ms(value, kind), refused | missing, column)
    texts, code = _distinct(column)
    texts = pc.utf8_upper(texts)
    value = np.zeros(len(texts) + 1, np.int64)
    refused = np.ones(len(texts) + 1, bool)
    for kind, looks in _LOOKS:
        alike = np.flatnonzero(pc.match_substring_regex(texts, looks).to_numpy(False))
        alike = alike[refused[alike]]
        found, wrong = _parsed(texts.take(pa.array(alike)), kind)
        value[alike[~wrong]] = _in_ms(found[~wrong], kind)
        refused[alike[~wrong]] = False
    time, bad = value[code], refused[code]
    return Moments(time, bad | missing, column)


def _in_ms(value: Any, kind: Any) -> Times:
    if pa.types.is_timestamp(kind):
        return np.asarray(value // _PER_MS[kind.unit], np.int64)
    return _by_size(value) if pa.types.is_integer(kind) else _by_size_float(value)


def _parses(text: str, kind: Any) -> bool:
    try:
        pa.array([text.strip(_BLANKS)]).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _distinct(column: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """Return the distinct texts of a column, trimmed, and the code of each row; nulls come last."""
    encoded = column.dictionary_encode()
    texts = encoded.dictionary
    if pa.types.is_binary(texts.type):
        texts = pa.array([_word(one)[0] for one in texts.to_pylist()], pa.string())
    code = _filled(encoded.indices.cast(pa.int64()), len(texts))
    return pc.utf8_trim(texts, _BLANKS), code


def _parsed(column: Any, kind: Any, *, attempt: bool = False) -> tuple[Any, Any]:
    """Parse texts as one type; return the values (as numbers) and which texts do not parse.

    :param attempt: give up (None for the flags) unless all of them parse at once.
    """
    number = pa.int64() if pa.types.is_timestamp(kind) else kind
    if pa.types.is_string(column.type):
        try:
            value = _filled(pc.utf8_trim(column, _BLANKS).cast(kind).cast(number), 0)
        except pa.ArrowInvalid:
            pass
        else:
            return value, np.zeros(len(value), bool)
    if attempt:
        return None, None
    texts, code = _distinct(column)
    value = np.zeros(len(texts) + 1, number.to_pandas_dtype())
    bad = np.ones(len(texts) + 1, bool)
    likely = np.flatnonzero(pc.match_substring_regex(texts, _LIKELY).to_numpy(False))
    _parse_apart(texts.take(pa.array(likely)), kind, number, value, bad, likely)
    return value[code], bad[code]


def _parse_apart(
    texts: Any, kind: Any, number: Any, value: Any, bad: Flags, at: npt.NDArray[np.int64]
) -> None:
    """Parse distinct texts into value[at] and bad[at], halving until the bad ones are alone."""
    if not len(texts):
        return
    try:
        value[at] = texts.cast(kind).cast(number).to_numpy(zero_copy_only=False)
        bad[at] = False
    except pa.ArrowInvalid:
        if len(texts) > 1:
            half = len(texts) // 2
            _parse_apart(texts[:half], kind, number, value, bad, at[:half])
            _parse_apart(texts[half:], kind, number, value, bad, at[half:])


def time_type(column: Any) -> Any:
    """Return the type in which the first time of a column of text can be parsed the fast way."""
    texts = (_word(one)[0] for one in flat(column).to_pylist())
    first = next((text for text in texts if text.strip(_BLANKS)), "")
    return next((kind for kind in (pa.int64(), *_TIME_TYPES) if _parses(first, kind)), pa.string())
