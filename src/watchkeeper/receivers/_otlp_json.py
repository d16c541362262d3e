"""OTLP's JSON written as the protobuf bytes that say the same, so that one decoder reads both.

It is protobuf's JSON with the differences the OTLP specification makes: names in lowerCamelCase
only, enumerations as integers (their names are understood, too), 64-bit integers as numbers or
texts, ids in hexadecimal; unknown names are ignored. What is not mapped (exemplars, descriptions)
is not looked at either.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from watchkeeper.errors import Malformed

DEPTH_MAX = 100  # messages in messages, as protobuf's own reader allows
NOT_NUMBERS = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
TEMPORALITIES = {
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": 0,
    "AGGREGATION_TEMPORALITY_DELTA": 1,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
}
SHORT = [bytes((n,)) for n in range(128)]

Write = Callable[[Any, int], bytes]  # a value and how deep it may still nest -> bytes


class _WrongError(Exception):
    """A value is not what its name says. :param wanted: what it should be."""

    def __init__(self, wanted: str) -> None:
        self.wanted, self.path = wanted, list[str]()


def as_protobuf(body: bytes) -> bytes:
    """Return an ExportMetricsServiceRequest in JSON as protobuf bytes.

    :raises Malformed: it is not JSON, or a value is not what its name says.
    """
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    try:
        return REQUEST(said, DEPTH_MAX)
    except _WrongError as wrong:
        place = ".".join(reversed(wrong.path)) or "the body"
        raise Malformed(f"{place}: {wrong.wanted} is expected") from None


def _varint(value: int) -> bytes:
    if value < 128:
        return SHORT[value]
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def _message(fields: Mapping[str, Write]) -> Write:
    """Return how to write a message's content."""

    def write(value: Any, depth: int) -> bytes:
        if not isinstance(value, dict):
            raise _WrongError("an object")
        if not depth:
            raise _WrongError(f"nesting of at most {DEPTH_MAX}")
        parts = []
        for name, one in value.items():
            field = fields.get(name)
            if field is None or one is None:
                continue
            try:
                parts.append(field(one, depth - 1))
            except _WrongError as wrong:
                wrong.path.append(name)
                raise
        return b"".join(parts)

    return write


def _one(number: int, write: Write) -> Write:
    """Return how to write a field whose content has a length."""
    tag = _varint(number << 3 | 2)

    def field(value: Any, depth: int) -> bytes:
        content = write(value, depth)
        return tag + _varint(len(content)) + content

    return field


def _many(number: int, write: Write) -> Write:
    """Return how to write a field that is repeated."""
    tag = _varint(number << 3 | 2)

    def field(value: Any, depth: int) -> bytes:
        parts: list[bytes] = []
        for place, one in enumerate(_list(value)):
            try:
                content = write(one, depth)
            except _WrongError as wrong:
                wrong.path.append(str(place))
                raise
            parts += (tag, _varint(len(content)), content)
        return b"".join(parts)

    return field


def _packed(number: int, write: Write) -> Write:
    """Return how to write a field of many numbers."""
    return _one(number, lambda value, depth: b"".join(write(n, depth) for n in _list(value)))


def _tagged(number: int, wire: int, write: Write) -> Write:
    """Return how to write a field of one number."""
    tag = _varint(number << 3 | wire)
    return lambda value, depth: tag + write(value, depth)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongError("a list")
    return value


def _text(value: Any, _: int) -> bytes:
    if not isinstance(value, str):
        raise _WrongError("a text")
    return value.encode()


def _base64(value: Any, depth: int) -> bytes:
    try:
        plain = _text(value, depth).translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except ValueError:
        raise _WrongError("base64") from None


def _truth(value: Any, _: int) -> bytes:
    if not isinstance(value, bool):
        raise _WrongError("true or false")
    return SHORT[value]


def _integer(value: Any, low: int, high: int) -> int:
    number = value
    if isinstance(value, str) and len(value) <= 20 and value.isascii():
        number = int(value) if value.removeprefix("-").isdigit() else None
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise _WrongError(f"an integer from {low} to {high}")
    return number


def _fixed64(value: Any, _: int) -> bytes:
    return _integer(value, 0, (1 << 64) - 1).to_bytes(8, "little")


def _sfixed64(value: Any, _: int) -> bytes:
    return _integer(value, -(1 << 63), (1 << 63) - 1).to_bytes(8, "little", signed=True)


def _int64(value: Any, _: int) -> bytes:
    return _varint(_integer(value, -(1 << 63), (1 << 63) - 1) & (1 << 64) - 1)


def _uint32(value: Any, _: int) -> bytes:
    return _varint(_integer(value, 0, (1 << 32) - 1))


def _temporality(value: Any, _: int) -> bytes:
    number = TEMPORALITIES.get(value, value) if isinstance(value, str) else value
    return _varint(_integer(number, -(1 << 31), (1 << 31) - 1) & (1 << 64) - 1)


def _double(value: Any, _: int) -> bytes:
    number = value
    if isinstance(value, str):
        plain = NOT_NUMBERS.get(value, value)
        try:
            number = float(plain) if plain != value or set(value) <= set("0123456789+-.eE") else ""
        except ValueError:
            number = ""
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise _WrongError("a number")
    return struct.pack("<d", number)


ANY: dict[str, Write] = {}
KEY_VALUE = _message({"key": _one(1, _text), "value": _one(2, _message(ANY))})
ANY.update(
    stringValue=_one(1, _text),
    boolValue=_tagged(2, 0, _truth),
    intValue=_tagged(3, 0, _int64),
    doubleValue=_tagged(4, 1, _double),
    arrayValue=_one(5, _message({"values": _many(1, _message(ANY))})),
    kvlistValue=_one(6, _message({"values": _many(1, KEY_VALUE)})),
    bytesValue=_one(7, _base64),
)
TIMES = {"startTimeUnixNano": _tagged(2, 1, _fixed64), "timeUnixNano": _tagged(3, 1, _fixed64)}
NUMBER = _message(
    {
        **TIMES,
        "attributes": _many(7, KEY_VALUE),
        "asDouble": _tagged(4, 1, _double),
        "asInt": _tagged(6, 1, _sfixed64),
        "flags": _tagged(8, 0, _uint32),
    }
)
TOTALS = {**TIMES, "count": _tagged(4, 1, _fixed64), "sum": _tagged(5, 1, _double)}
HISTOGRAM = _message(
    {
        **TOTALS,
        "attributes": _many(9, KEY_VALUE),
        "bucketCounts": _packed(6, _fixed64),
        "explicitBounds": _packed(7, _double),
        "flags": _tagged(10, 0, _uint32),
        "min": _tagged(11, 1, _double),
        "max": _tagged(12, 1, _double),
    }
)
EXPONENTIAL = _message(
    {
        **TOTALS,
        "attributes": _many(1, KEY_VALUE),
        "flags": _tagged(10, 0, _uint32),
        "min": _tagged(12, 1, _double),
        "max": _tagged(13, 1, _double),
    }
)
QUANTILE = _message({"quantile": _tagged(1, 1, _double), "value": _tagged(2, 1, _double)})
SUMMARY = _message(
    {
        **TOTALS,
        "attributes": _many(7, KEY_VALUE),
        "quantileValues": _many(6, QUANTILE),
        "flags": _tagged(8, 0, _uint32),
    }
)
TEMPORALITY = {"aggregationTemporality": _tagged(2, 0, _temporality)}
METRIC = _message(
    {
        "name": _one(1, _text),
        "unit": _one(3, _text),
        "gauge": _one(5, _message({"dataPoints": _many(1, NUMBER)})),
        "sum": _one(
            7,
            _message(
                {
                    "dataPoints": _many(1, NUMBER),
                    **TEMPORALITY,
                    "isMonotonic": _tagged(3, 0, _truth),
                }
            ),
        ),
        "histogram": _one(9, _message({"dataPoints": _many(1, HISTOGRAM), **TEMPORALITY})),
        "exponentialHistogram": _one(
            10, _message({"dataPoints": _many(1, EXPONENTIAL), **TEMPORALITY})
        ),
        "summary": _one(11, _message({"dataPoints": _many(1, SUMMARY)})),
    }
)
ATTRIBUTES = {"attributes": _many(1, KEY_VALUE)}
SCOPE = _message(
    {
        "name": _one(1, _text),
        "version": _one(2, _text),
        "attributes": _many(3, KEY_VALUE),
    }
)
SCOPE_METRICS = _message({"scope": _one(1, SCOPE), "metrics": _many(2, METRIC)})
RESOURCE_METRICS = _message(
    {"resource": _one(1, _message(ATTRIBUTES)), "scopeMetrics": _many(2, SCOPE_METRICS)}
)
REQUEST = _message({"resourceMetrics": _many(1, RESOURCE_METRICS)})
