"""Prometheus remote write, versions 1.0 and 2.0, as Prometheus, agents and collectors send it.

Samples are read by a kernel straight from the bytes (`_wire`); the series they belong to are found
by the bytes of their labels (`_seen`), which are read once (`_labels`). Of a native histogram its
count and its sum are kept, as `<name>_count` and `<name>_sum`; exemplars and metadata are passed
over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cramjam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.errors import Malformed, RequestError, TooLarge, Unsupported
from watchkeeper.identity import Identity, Key
from watchkeeper.key_table import KeyTable
from watchkeeper.model import (
    KEYS,
    REJECTS,
    Batch,
    Cursor,
    Floats,
    Millis,
    Reason,
    Rows,
    Times,
)
from watchkeeper.receivers import (
    Answer,
    Decoder,
    Delivery,
    Limits,
    Outcome,
    Received,
    Route,
    Turns,
    _rows,
    at_once,
    refusal,
    told,
)
from watchkeeper.receivers._labels import UNREAD, Refused, longest, read, read_all, shown
from watchkeeper.receivers._seen import REFUSED, Seen, place
from watchkeeper.receivers._symbols import written_out
from watchkeeper.receivers._unpack import unpacked_array
from watchkeeper.receivers._wire import (
    LONG,
    OTHER,
    SAMPLES,
    SERIES,
    SYMBOLS,
    Bits,
    Bytes,
    Found,
    Places,
    Scanned,
    scan,
)
from watchkeeper.slots import ABSENT

SYMBOLS_MAX = 1_000_000
TURN = 128  # new series that are read before others have their turn
SAMPLE_BYTES = 18  # of a sample as all senders write it
VERSIONS = {"": 1, "prometheus.writerequest": 1, "io.prometheus.write.v2.request": 2}
USUAL_TYPE = "application/x-protobuf"  # of version 1, as Prometheus names it
ENCODINGS = ("snappy", "zstd", "gzip")
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class RemoteWrite:
    """Takes what Prometheus writes.

    :param name: its name in the journal.
    :param path: where it listens.
    """

    name: str = "remote_write"
    path: str = "/api/v1/write"

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return the one route."""
        return (Route("POST", self.path),)

    def open(self, limits: Limits, identity: Identity) -> Decoder:
        """Return a decoder that has seen nothing yet."""
        return _Decoder(self.name, limits, identity)

    def examples(self) -> tuple[Delivery, ...]:
        """Return two series in a request of either version."""
        return tuple(
            Delivery(
                "POST",
                self.path,
                {},
                {
                    "content-type": f"application/x-protobuf;proto={name}",
                    "content-encoding": "snappy",
                },
                bytes(cramjam.snappy.compress_raw(body)),
                Millis(0),
            )
            for name, body in (
                ("prometheus.WriteRequest", _example(FIRST, _NAMED)),
                ("io.prometheus.write.v2.Request", _SYMBOLS + _example(SECOND, _REFERRED)),
            )
        )

    def answer(self, delivery: Delivery, outcome: Outcome) -> Answer:
        """Return 204, or 400 when the protocol was broken; for version 2 with what was written."""
        headers = _written(delivery, outcome) if _is_second(delivery) else {}
        if isinstance(outcome, RequestError):
            status, more = refusal(outcome)
            return Answer(status, {**PLAIN, **more, **headers}, f"{outcome}\n".encode())
        if outcome.faulty:
            return Answer(400, {**PLAIN, **headers}, f"{told(outcome)}\n".encode())
        return Answer(204, headers, b"")


def _field(number: int, value: bytes) -> bytes:
    """Return a short field of protobuf."""
    return bytes((number << 3 | 2, len(value))) + value


def _label(name: bytes, value: bytes) -> bytes:
    return _field(1, _field(1, name) + _field(2, value))


FIRST, SECOND = 1, 5  # the field that holds a series
_JOBS = (b"a", "é".encode())  # one that is read at a glance, and one that is not
_NAMED = [_label(b"__name__", b"up") + _label(b"job", job) for job in _JOBS]
_SYMBOLS = b"".join(_field(4, word) for word in (b"", b"__name__", b"up", b"job", *_JOBS))
_REFERRED = [_field(1, b"\x01\x02\x03\x04"), _field(1, b"\x01\x02\x03\x05")]
_SAMPLE = _field(2, b"\x09" + bytes(8) + b"\x10\x80\xd0\x95\xff\xbc\x31")  # 0, late in 2023


def _example(number: int, labels: Sequence[bytes]) -> bytes:
    return b"".join(_field(number, each + _SAMPLE) for each in labels)


def _version(headers: Mapping[str, str]) -> int:
    """Return 1 or 2. :raises Unsupported: the content type is another."""
    content_type = headers.get("content-type", "")
    return 1 if content_type == USUAL_TYPE else _version_of(content_type)


def _version_of(content_type: str) -> int:
    kind, _, rest = content_type.partition(";")
    parameters = dict(_pair(each) for each in rest.split(";"))
    version = VERSIONS.get(parameters.get("proto", "").lower())
    if kind.strip().lower() != "application/x-protobuf" or version is None:
        hint = "remote write sends application/x-protobuf, with proto=prometheus.WriteRequest"
        hint += " (or none) or proto=io.prometheus.write.v2.Request"
        raise Unsupported(f"Content-Type {content_type[:100]!r} is not understood", hint=hint)
    return version


def _pair(parameter: str) -> tuple[str, str]:
    name, _, value = parameter.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _is_second(delivery: Delivery) -> bool:
    try:
        return _version(delivery.headers) == 2
    except Unsupported:
        return False


def _written(delivery: Delivery, outcome: Outcome) -> dict[str, str]:
    """Return how much was written, which version 2 wants to be told.

    A native histogram became two samples. When a request with both histograms and samples was
    refused in part, the parts are taken to have lost alike; nothing written is always zero.
    """
    samples = histograms = 0
    if isinstance(outcome, Received) and outcome.accepted:
        limits = Limits(body=1 << 62, series=1 << 30, samples=1 << 40)
        version, data = _unpacked(delivery, limits)
        _, found = _scanned(data, version, limits)
        histograms = -(-outcome.accepted * found.histograms // found.samples)
        samples = max(0, outcome.accepted - 2 * histograms)
    prefix = "X-Prometheus-Remote-Write"
    return {
        f"{prefix}-Samples-Written": str(samples),
        f"{prefix}-Histograms-Written": str(histograms),
        f"{prefix}-Exemplars-Written": "0",
    }


def _unpacked(delivery: Delivery, limits: Limits) -> tuple[int, Bytes]:
    """Return the version of a request, and its bytes.

    :raises RequestError: it is none, or is too large.
    """
    version = _version(delivery.headers)
    encoding = delivery.headers.get("content-encoding", "").strip().lower()
    if encoding not in ENCODINGS:
        hint = f"remote write is packed with {' or '.join(ENCODINGS)}"
        raise Unsupported(f"Content-Encoding {encoding[:40]!r} is not understood", hint=hint)
    return version, unpacked_array(delivery.body, encoding, limits.body)


def _scanned(data: Bytes, version: int, limits: Limits) -> tuple[Found, Scanned]:
    """Read the samples of a request.

    :raises RequestError: it is none, breaks off, or is too large.
    """
    room = len(data) // 2 + 2  # nothing takes less than two bytes
    samples = min(room, limits.samples + 2)  # one more than may be, or a histogram
    found = Found(
        np.empty((min(room, limits.series), 3), dtype=np.int64),
        np.empty(samples, dtype=np.uint32),
        np.empty(samples, dtype=np.int64),
        np.empty(samples, dtype=np.uint64),
        np.empty((min(room, SYMBOLS_MAX) if version == 2 else 0, 2), dtype=np.int64),
    )
    scanned = Scanned(*scan(data, version, limits.series, found))
    most = {
        SERIES: f"{limits.series} series",
        SAMPLES: f"{limits.samples} samples",
        SYMBOLS: f"{SYMBOLS_MAX} symbols",
    }
    if scanned.samples > limits.samples:
        scanned = scanned._replace(status=SAMPLES)
    if scanned.status in most:
        hint = "send smaller requests, or raise the limit"
        raise TooLarge(f"the request has more than {most[scanned.status]}", hint=hint)
    if scanned.status == OTHER:
        hint = "name the message that is sent in the Content-Type"
        message = f"the request is not of version {version} of remote write (byte {scanned.at})"
        raise Malformed(message, hint=hint)
    if scanned.status:
        raise Malformed(f"the request cannot be read from byte {scanned.at} of {len(data)} on")
    return found, scanned


class _Decoder:
    """Remembers the label blocks of one tenant, and the keys they stand for."""

    def __init__(self, name: str, limits: Limits, identity: Identity) -> None:
        self._name, self._limits, self._identity = name, limits, identity
        self._seen, self._table = Seen(limits.remembered), KeyTable(KEYS)

    def decode(self, delivery: Delivery) -> Batch | None:
        """Return the samples of a request, good or not; None when it has none."""
        return at_once(self.turns(delivery))

    def turns(self, delivery: Delivery) -> Turns:
        """Do the same, a TURN of new series at a time."""
        version, data = _unpacked(delivery, self._limits)
        if self._seen.full:
            self._seen, self._table = Seen(self._limits.remembered), KeyTable(KEYS)
        again = self._again(data, delivery) if version == 1 else None
        return again if again is not None else (yield from self._read(data, version, delivery))

    def _again(self, data: Bytes, delivery: Delivery) -> Batch | None:
        """Return the samples of a request of series that are all known; None when it is none."""
        room = min(len(data) // SAMPLE_BYTES, self._limits.samples)
        rows: Rows = np.empty(room, dtype=np.uint32)
        time: Times = np.empty(room, dtype=np.int64)
        bits: Bits = np.empty(room, dtype=np.uint64)
        count = self._seen.again(data, self._limits.series, rows, time, bits)
        if count < 1:
            return None
        value = bits[:count].view(np.float64)
        return self._batch(delivery, rows[:count].copy(), time[:count].copy(), value.copy())

    def _read(self, data: Bytes, version: int, delivery: Delivery) -> Turns:
        """Return the samples of any request."""
        found, scanned = _scanned(data, version, self._limits)
        if scanned.samples == 0:
            return None
        labels, slot = found.labels[: scanned.series], found.slot[: scanned.samples]
        if version == 2:
            symbols = found.symbol[: scanned.symbols]
            data, fits = written_out(data, labels, symbols, self._limits)
            if not fits:
                hint = "send smaller requests, or raise the limit"
                raise TooLarge(f"labels are more than {self._limits.body} bytes", hint=hint)
        too_long = labels[:, 1] - labels[:, 0] > longest(self._limits)
        labels[too_long & (labels[:, 2] == 0), 2] = LONG
        numbers = self._seen.resolve(data, labels)
        rows: Rows = np.empty(scanned.samples, dtype=np.uint32)
        wanted, without = place(slot, numbers, self._seen.rows, rows)
        learned, turn = 0, TURN
        while learned < len(wanted):
            self._learn(wanted[learned : learned + turn])
            learned += turn
            if learned < len(wanted):
                turn = (yield self._table) or TURN
        if len(wanted):
            _, without = place(slot, numbers, self._seen.rows, rows)
        time = found.time[: scanned.samples]
        value = found.bits[: scanned.samples].view(np.float64)
        if not without:
            return self._batch(delivery, rows, time.copy(), value.copy())
        bad = rows >= REFUSED
        whys = self._whys(slot[bad] >> np.uint32(2), labels, numbers)
        origin = self._origin(delivery)
        unread = _unread(whys, pa.array(time[bad]), pa.array(value[bad]), origin)
        return self._batch(delivery, rows[~bad], time[~bad], value[~bad], unread)

    def _batch(
        self,
        delivery: Delivery,
        rows: Rows,
        time: Times,
        value: Floats,
        unread: pa.RecordBatch = _rows.NO_REJECTS,
    ) -> Batch:
        """Return a batch of arrays that hold no more than themselves, not the room of a scan."""
        samples, origin = _rows.samples(rows, time, value), self._origin(delivery)
        return Batch(
            self._source(delivery), Cursor(""), self._table, samples, unread, origin=origin
        )

    def _source(self, delivery: Delivery) -> str:
        return f"{self._name}/{delivery.tenant}" if delivery.tenant else self._name

    def _origin(self, delivery: Delivery) -> str:
        return f"{self._source(delivery)} request {delivery.number}"

    def _learn(self, wanted: Rows) -> None:
        """Read the labels of blocks not asked for so far, and give them rows of the table."""
        keys, at = list[Key](), len(self._table)
        rows, otherwise = self._seen.rows, f"source:{self._name}"
        named = read_all(self._seen, wanted >> np.uint32(1), self._limits)
        for place_of, labels in zip(wanted.tolist(), named, strict=True):
            if labels is None:
                rows[place_of] = REFUSED
                continue
            rows[place_of] = at + len(keys)
            for suffix in ("_count", "_sum") if place_of & 1 else ("",):
                keys.append(self._identity.key(labels[0] + suffix, labels[1], otherwise))
        if keys:
            columns = [pa.array(each, pa.string()) for each in zip(*keys, strict=True)]
            self._table.add(pa.RecordBatch.from_arrays(columns, schema=KEYS))

    def _whys(self, series: Rows, labels: Places, numbers: Rows) -> _Whys:
        """Say once for each series why its samples are refused, and which sample is whose."""
        distinct, first, whose = np.unique(series, return_index=True, return_inverse=True)
        whys = list[tuple[Reason, str, str | None]]()
        for s in distinct.tolist():
            number = int(numbers[s])
            if number == ABSENT:
                whys.append((*UNREAD[int(labels[s, 2])], None))
                continue
            block = self._seen.block(number)
            try:
                read(block, self._limits)
            except Refused as refused:
                whys.append((refused.reason, refused.detail, shown(block)))
        return _Whys(whys, whose.astype(np.uint32), first)


class _Whys(NamedTuple):
    """Why samples are refused: reason, detail and labels of each series, and whose each is."""

    said: list[tuple[Reason, str, str | None]]
    whose: Rows  # by sample
    first: npt.NDArray[np.intp]  # by series: its first sample


def _unread(whys: _Whys, time: pa.Array, value: pa.Array, origin: str) -> pa.RecordBatch:
    """Return REJECTS; the labels are shown once a series, or a request could become gigabytes."""
    count = len(whys.whose)
    nothing = pa.array([""]).take(pa.array(np.zeros(count, dtype=np.uint32)))
    reasons, details, labels = zip(*whys.said, strict=True)
    offered = np.full(count, len(labels), dtype=np.uint32)
    offered[whys.first] = np.arange(len(labels), dtype=np.uint32)
    shown_once = pa.array(
        [*(text and text[: _rows.OFFERED_MAX] for text in labels), None], pa.string()
    )
    origins = pa.array([origin]).take(pa.array(np.zeros(count, dtype=np.uint32)))
    reason = pa.array([str(each) for each in reasons]).take(pa.array(whys.whose))
    detail = pa.array(details).take(pa.array(whys.whose))
    columns = [nothing, nothing, nothing, time, value, shown_once.take(pa.array(offered))]
    columns += [origins, reason, detail]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTS)


plugin = RemoteWrite
