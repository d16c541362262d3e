"""Requests that push telemetry, made ahead and patched: pure, and as fast as memory.

A request for many series is laid out once, as its protocol's own encoder would; only the bytes of
values and times change from one to the next. So a generator of load costs little beside the server
that it shares a machine with.

    series = fleet(entities=100, series=10_000)
    one = template("remote_write", series[:5_000])
    body = one.body(Course(5_000, seed=7).next(), Millis(1_700_000_000_000))
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cramjam
import numpy as np
import numpy.typing as npt

from watchkeeper.model import Millis

Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

MILLION = 1_000_000  # values are millionths, so that text and binary say the same
DIGITS = 6  # of a value behind its point
PROTOBUF = "application/x-protobuf"


class Series(NamedTuple):
    """What one series is about."""

    host: str
    metric: str
    device: str


def fleet(entities: int, series: int) -> list[Series]:
    """Return so many series of so many hosts, spread evenly, those of a host together."""
    each, more = divmod(series, entities)
    return [
        Series(f"load-{host:05d}", f"load_signal_{number // 8:03d}", f"dev{number % 8}")
        for host in range(entities)
        for number in range(each + (host < more))
    ]


class Course:
    """The values of some series, tick after tick, in millionths; the same for the same seed."""

    def __init__(self, count: int, *seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._middle = self._random.uniform(0.3, 0.7, count)

    def next(self) -> Numbers:
        """Return the next value of each: calm, around a middle of its own."""
        moved = self._middle + self._random.normal(0.0, 0.01, len(self._middle))
        return (np.clip(moved, 0.0, 0.999) * MILLION).astype(np.int64)


@dataclass(frozen=True)
class Template:
    """A request whose values and times are still open.

    :param path: where it goes. :param headers: what is said of it.
    :param fill: writes values in millionths and a time in milliseconds into the bytes.
    :param pack: makes the body of those bytes.
    """

    path: str
    headers: Mapping[str, str]
    samples: int
    raw: Bytes
    fill: Callable[[Bytes, Numbers, int], None]
    pack: Callable[[Bytes], bytes] = field(default=lambda raw: raw.tobytes())

    def body(self, values: Numbers, at: Millis) -> bytes:
        """Return the body for these values at this time."""
        self.fill(self.raw, values, at)
        return self.pack(self.raw)


def template(protocol: str, series: Sequence[Series]) -> Template:
    """Return the request of a protocol (one of PROTOCOLS) with a sample of each series."""
    return PROTOCOLS[protocol](series)


class _Piece(NamedTuple):
    """Bytes, and where in them the 8 bytes of each value are."""

    data: bytes
    holes: tuple[int, ...] = ()


def _number(value: int) -> bytes:
    """Return a base-128 varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _joined(pieces: Sequence[_Piece]) -> _Piece:
    holes: list[int] = []
    start = 0
    for data, inside in pieces:
        holes += [start + hole for hole in inside]
        start += len(data)
    return _Piece(b"".join(piece.data for piece in pieces), tuple(holes))


def _field(number: int, piece: _Piece) -> _Piece:
    """Return a field of length-delimited bytes."""
    head = _number(8 * number + 2) + _number(len(piece.data))
    return _Piece(head + piece.data, tuple(len(head) + hole for hole in piece.holes))


def _text(number: int, text: str) -> _Piece:
    return _field(number, _Piece(text.encode()))


def _binary(
    piece: _Piece, time_at: int, time_bytes: int, time_of: Callable[[int], bytes]
) -> tuple[Bytes, Callable[[Bytes, Numbers, int], None]]:
    """Return the bytes of a whole request, and what fills them.

    :param time_at: where a sample's time is, from its value on.
    """
    holes = np.array(piece.holes, np.int64)[:, None]
    values_at, times_at = holes + np.arange(8), holes + time_at + np.arange(time_bytes)

    def fill(raw: Bytes, values: Numbers, at: int) -> None:
        raw[values_at] = (values / MILLION).astype("<f8").view(np.uint8).reshape(-1, 8)
        raw[times_at] = np.frombuffer(time_of(at), np.uint8)

    return np.frombuffer(piece.data, np.uint8).copy(), fill


_STILL = 1_700_000_000_000  # a time as long as all times until the year 2109 are, as a varint
_SAMPLE = _Piece(b"\x09" + bytes(8) + b"\x10" + _number(_STILL), (1,))


def _labels(one: Series) -> list[tuple[str, str]]:
    return [
        ("__name__", one.metric),
        ("device", one.device),
        ("host", one.host),
        ("job", "watchkeeper-load"),
    ]


def _snappy(raw: Bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(raw.data))


def _written(version: str, proto: str, request: _Piece, samples: int) -> Template:
    raw, fill = _binary(request, 9, len(_number(_STILL)), _number)
    headers = {
        "Content-Type": f"{PROTOBUF};proto={proto}" if version == "2.0.0" else PROTOBUF,
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": version,
    }
    return Template("/api/v1/write", headers, samples, raw, fill, _snappy)


def _remote_write(series: Sequence[Series]) -> Template:
    def told(one: Series) -> _Piece:
        pairs = [_field(1, _joined([_text(1, n), _text(2, v)])) for n, v in _labels(one)]
        return _field(1, _joined([*pairs, _field(2, _SAMPLE)]))

    request = _joined([told(one) for one in series])
    return _written("0.1.0", "prometheus.WriteRequest", request, len(series))


def _remote_write_2(series: Sequence[Series]) -> Template:
    symbols = {"": 0}

    def told(one: Series) -> _Piece:
        words = [word for pair in _labels(one) for word in pair]
        references = b"".join(_number(symbols.setdefault(w, len(symbols))) for w in words)
        gauge = _field(5, _Piece(b"\x08\x02"))
        return _field(5, _joined([_field(1, _Piece(references)), _field(2, _SAMPLE), gauge]))

    all_told = [told(one) for one in series]
    request = _joined([*(_text(4, word) for word in symbols), *all_told])
    return _written("2.0.0", "io.prometheus.write.v2.Request", request, len(series))


def _otlp(series: Sequence[Series]) -> Template:
    def pair(number: int, name: str, text: str) -> _Piece:
        return _field(number, _joined([_text(1, name), _field(2, _text(1, text))]))

    def metric(name: str, members: Sequence[Series]) -> _Piece:
        empty = b"\x19" + bytes(8) + b"\x21" + bytes(8)  # time_unix_nano, as_double
        points = [
            _field(1, _joined([pair(7, "device", one.device), _Piece(empty, (10,))]))
            for one in members
        ]
        return _field(2, _joined([_text(1, name), _text(3, "1"), _field(5, _joined(points))]))

    hosts: dict[str, dict[str, list[Series]]] = {}
    for one in series:
        hosts.setdefault(one.host, {}).setdefault(one.metric, []).append(one)
    request = _joined([
        _field(1, _joined([
            _field(1, pair(1, "host.name", host)),
            _field(2, _joined([_field(1, _text(1, "watchkeeper-load")),
                               *(metric(*named) for named in metrics.items())])),
        ]))
        for host, metrics in hosts.items()
    ])  # fmt: skip
    raw, fill = _binary(request, -9, 8, lambda at: struct.pack("<Q", at * MILLION))
    return Template("/v1/metrics", {"Content-Type": PROTOBUF}, len(series), raw, fill)


_POWERS = 10 ** np.arange(DIGITS - 1, -1, -1)


def _lines(
    path: str, kind: str, lines: Sequence[tuple[str, str, str]], time_of: Callable[[int], str]
) -> Template:
    """Return a request of text: a line is what stands before the value, between, and after.

    :param time_of: writes a time, always as long.
    """
    blank = "0" * len(time_of(_STILL))
    texts = [f"{a}0.{'0' * DIGITS}{b}{blank}{c}\n".encode() for a, b, c in lines]
    starts = np.cumsum([0, *(len(text) for text in texts[:-1])])
    before = np.array([len(a.encode()) + 2 for a, _, _ in lines])
    between = np.array([DIGITS + len(b.encode()) for _, b, _ in lines])
    values_at = (starts + before)[:, None] + np.arange(DIGITS)
    times_at = (starts + before + between)[:, None] + np.arange(len(blank))

    def fill(raw: Bytes, values: Numbers, at: int) -> None:
        raw[values_at] = values[:, None] // _POWERS % 10 + ord("0")
        raw[times_at] = np.frombuffer(time_of(at).encode(), np.uint8)

    raw = np.frombuffer(b"".join(texts), np.uint8).copy()
    return Template(path, {"Content-Type": kind}, len(lines), raw, fill)


def _influx(series: Sequence[Series]) -> Template:
    lines = [
        (f"{one.metric},device={one.device},host={one.host} value=", " ", "") for one in series
    ]
    path = "/api/v2/write?org=load&bucket=load&precision=ns"
    return _lines(path, "text/plain; charset=utf-8", lines, lambda at: f"{at * MILLION:019d}")


def _json_lines(series: Sequence[Series]) -> Template:
    def told(one: Series) -> tuple[str, str, str]:
        key = {"entity": f"host:{one.host}", "metric": one.metric, "device": one.device}
        head = json.dumps(key, separators=(",", ":"))[:-1]
        return f'{head},"value":', ',"timestamp":', "}"

    lines = [told(one) for one in series]
    return _lines("/api/v1/samples", "application/x-ndjson", lines, lambda at: f"{at:013d}")


PROTOCOLS: Mapping[str, Callable[[Sequence[Series]], Template]] = {
    "remote_write": _remote_write,
    "remote_write_2": _remote_write_2,
    "otlp": _otlp,
    "influx": _influx,
    "json_lines": _json_lines,
}
