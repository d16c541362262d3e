"""OpenTelemetry metrics over HTTP, protobuf and JSON (OTLP 1.x).

Warm, a request is read by one kernel (`_otlp_scan`) that finds each point's series in a tree of
what the sender said before (`_otlp_tree`); only what is new is named in Python (`_otlp_names`).
JSON is written as protobuf first (`_otlp_json`), so both mean the same. How each kind of metric
becomes samples is a table in docs/receivers.md.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from watchkeeper.errors import Malformed, Overloaded, OverQuota, RequestError, TooLarge, Unsupported
from watchkeeper.identity import Identity, Key
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, Batch, Cursor, Flags, Millis, Reason, Rows
from watchkeeper.receivers import (
    Answer,
    Delivery,
    Limits,
    Outcome,
    Received,
    Route,
    refusal,
    told,
)
from watchkeeper.receivers._otlp_json import as_protobuf
from watchkeeper.receivers._otlp_names import Named, Names
from watchkeeper.receivers._otlp_points import (
    BAD_BUCKETS,
    BITS,
    DONE,
    FAULT,
    FINE,
    NO_START,
    NO_TEMPORALITY,
    NO_TIME,
    NO_VALUE,
    NODE,
    OUT_ROOM,
    ROWS,
    TIME,
    TOO_MANY,
    UNUSUAL,
    Found,
)
from watchkeeper.receivers._otlp_scan import scan
from watchkeeper.receivers._otlp_tree import BYTE_ROOM, COLLIDING, NODE_ROOM, Tree
from watchkeeper.receivers._rows import Rejects, samples
from watchkeeper.receivers._unpack import unpack
from watchkeeper.slots import ABSENT

PROTOBUF, JSON = "application/x-protobuf", "application/json"
REFUSED = 0xFFFFFFFE  # in place of a row: a series of which nothing is taken in
SAMPLE_BYTES = 4  # no honest encoder tells a sample in less, even of empty histograms
ROOM, ROOM_KEPT = 4096, 1 << 18  # samples of one request: at first; from one request to the next
BYTES_KNOWN = 256  # of the tree, for each series that may be remembered

FAULTS: Mapping[int, tuple[Reason, str]] = {
    NO_TIME: (Reason.NO_TIME, "time_unix_nano is not 0"),
    NO_VALUE: (Reason.MALFORMED, "a data point has as_double or as_int"),
    NO_TEMPORALITY: (Reason.UNSUPPORTED, "aggregation_temporality is delta or cumulative"),
    NO_START: (Reason.UNSUPPORTED, "a delta has a start_time_unix_nano before its time"),
    BAD_BUCKETS: (Reason.MALFORMED, "there is one explicit bound fewer than bucket counts"),
}
# Codes of google.rpc.Code. An answer may be RESOURCE_EXHAUSTED only when a later attempt can
# succeed, because clients try those again; so what is too large is an invalid argument.
INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE = 3, 8, 14
CODES: Mapping[type[RequestError], int] = {OverQuota: RESOURCE_EXHAUSTED, Overloaded: UNAVAILABLE}


_AT = {"startTimeUnixNano": "1700000000000000000", "timeUnixNano": "1700000001000000000"}
_COUNTED = {**_AT, "count": "2", "sum": 3.0}
_KINDS: Mapping[str, dict[str, Any]] = {
    "gauge": {"dataPoints": [{**_AT, "asDouble": 1.5}]},
    "sum": {
        "dataPoints": [{**_AT, "asInt": "1"}],
        "aggregationTemporality": 2,
        "isMonotonic": True,
    },
    "histogram": {
        "dataPoints": [{**_COUNTED, "bucketCounts": ["1", "1"], "explicitBounds": [1.0]}],
        "aggregationTemporality": 2,
    },
    "exponentialHistogram": {
        "dataPoints": [
            {**_COUNTED, "scale": 1, "zeroCount": "1", "positive": {"bucketCounts": ["1"]}}
        ],
        "aggregationTemporality": 2,
    },
    "summary": {"dataPoints": [{**_COUNTED, "quantileValues": [{"quantile": 0.5, "value": 1.0}]}]},
}
_METRICS = [{"name": kind, kind: said} for kind, said in _KINDS.items()]
_NAME = {"key": "service.name", "value": {"stringValue": "a"}}
_EXAMPLE = {
    "resourceMetrics": [
        {"resource": {"attributes": [_NAME]}, "scopeMetrics": [{"metrics": _METRICS}]}
    ]
}


@dataclass(frozen=True)
class Otlp:
    """Takes OTLP metrics over HTTP, protobuf and JSON, and over gRPC where that is asked for.

    :param name: the receiver's name in the journal.
    :param buckets: whether each bucket of a histogram becomes a series of its own (attribute `le`).
    :param keep: attributes of resource and scope that become attributes of every series; also
        `otel.scope.name` and `otel.scope.version`.
    :param grpc_port: where OTLP over gRPC is taken in too, on the address of `listen`; 4317 is
        usual, 0 is not at all.
    """

    name: str = "otlp"
    buckets: bool = False
    keep: tuple[str, ...] = ()
    grpc_port: int = 0

    @property
    def routes(self) -> tuple[Route, ...]:
        """Where OTLP exporters send, and where Prometheus takes OTLP."""
        return Route("POST", "/v1/metrics"), Route("POST", "/api/v1/otlp/v1/metrics")

    def open(self, limits: Limits, identity: Identity) -> _Decoder:
        """Return a decoder that has seen nothing yet."""
        return _Decoder(self, limits, identity)

    def examples(self) -> tuple[Delivery, ...]:
        """Return metrics of every kind in both forms."""
        path, said = self.routes[0].path, orjson.dumps(_EXAMPLE)
        return tuple(
            Delivery("POST", path, {}, {"content-type": kind}, body, Millis(0))
            for kind, body in ((JSON, said), (PROTOBUF, as_protobuf(said)))
        )

    def answer(self, delivery: Delivery, outcome: Outcome) -> Answer:
        """Return ExportMetricsServiceResponse, or google.rpc.Status, in the sender's own form."""
        in_json = _content_type(delivery) == JSON
        headers = {"Content-Type": JSON if in_json else PROTOBUF}
        if isinstance(outcome, Received):
            return Answer(200, headers, _response(outcome, in_json))
        status, more = refusal(outcome)
        code, message = status_of(outcome)
        if in_json:
            body = orjson.dumps({"code": code, "message": message})
        else:
            body = status_bytes(code, message)
        return Answer(status, {**headers, **more}, body)


def status_of(error: RequestError) -> tuple[int, str]:
    """Return the google.rpc.Code of a refusal, and what people are told."""
    return CODES.get(type(error), INVALID_ARGUMENT), str(error)


def status_bytes(code: int, message: str, retry_after: float | None = None) -> bytes:
    """Return a google.rpc.Status; with `retry_after` seconds, its details hold a RetryInfo.

    Written here because the messages' package (googleapis) is 5 MB for three fields.
    """
    status = b"\x08" + bytes((code,)) + _text(2, message.encode())
    if retry_after is None:
        return status
    seconds = min(max(1, round(retry_after)), 127)  # one byte; OTLP clients cap it below that
    delay = _text(1, b"\x08" + bytes((seconds,)))
    kind = b"type.googleapis.com/google.rpc.RetryInfo"
    return status + _text(3, _text(1, kind) + _text(2, delay))


def _text(number: int, content: bytes) -> bytes:
    length = len(content)
    if length < 128:
        return bytes((number << 3 | 2, length)) + content
    return bytes((number << 3 | 2, length & 127 | 128, length >> 7)) + content


def _response(outcome: Received, in_json: bool) -> bytes:
    """Return what was refused; nothing at all when nothing was, as the specification asks."""
    if not outcome.rejected:
        return b"{}" if in_json else b""
    message = told(outcome)
    if in_json:
        count = str(outcome.rejected)  # protobuf's JSON writes 64-bit integers as texts
        return orjson.dumps(
            {"partialSuccess": {"rejectedDataPoints": count, "errorMessage": message}}
        )
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = outcome.rejected
    response.partial_success.error_message = message
    return response.SerializeToString()


def _content_type(delivery: Delivery) -> str:
    return delivery.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Decoder:
    """The requests of one tenant. See `receivers.Decoder`."""

    def __init__(self, plug: Otlp, limits: Limits, identity: Identity) -> None:
        self._plug, self._limits, self._identity = plug, limits, identity
        self._out = _found(ROOM)
        self._forget()

    def _forget(self) -> None:
        self._tree = Tree()
        self._row: Rows = np.full(1024, ABSENT, np.uint32)  # node -> row of the table
        self._refused: dict[int, Named] = {}
        self._table = KeyTable(KEYS)
        self._rows: dict[bytes, int] = {}  # digest of a key -> row

    def decode(self, delivery: Delivery) -> Batch | None:
        """Return what the request says. See `receivers.Decoder`."""
        kind = _content_type(delivery)
        if kind not in (PROTOBUF, JSON):
            raise Unsupported(
                f"Content-Type {kind[:80]!r} is not understood", hint=f"use {PROTOBUF} or {JSON}"
            )
        encoding = delivery.headers.get("content-encoding", "")
        body = unpack(delivery.body, encoding, self._limits.body)
        if kind == JSON:
            body = as_protobuf(body)
        self._forget_if_full()
        mark = len(self._tree)
        try:
            self._scan(body)
            return self._batch(delivery)
        except RequestError:
            self._tree.prune(mark)
            raise
        finally:
            if len(self._out) > ROOM_KEPT:
                self._out = _found(ROOM)

    def _forget_if_full(self) -> None:
        nodes, size = len(self._tree), self._tree.size
        known = self._limits.remembered
        if len(self._table) > known or nodes > 2 * known or size > BYTES_KNOWN * known:
            self._forget()

    def _scan(self, body: bytes) -> None:
        """Read the body into columns, making room as it goes; what was found is found again."""
        data, tree, rewritten = np.frombuffer(body, np.uint8), self._tree, False
        ended = self._run(data)
        while ended != DONE:
            if ended == OUT_ROOM:
                self._out = _found(self._more_samples(len(data)))
            elif ended == NODE_ROOM:
                tree.make_room(2 * len(tree.nodes), 0)
            elif ended == BYTE_ROOM:
                tree.make_room(0, 2 * len(tree.data) + len(data))
            elif ended == UNUSUAL and not rewritten:
                data, rewritten = np.frombuffer(_usual(body), np.uint8), True
            elif ended == TOO_MANY:
                most = self._limits.series
                raise TooLarge(f"more than {most} data points of one request give no sample")
            elif ended == COLLIDING:
                raise TooLarge("attributes are chosen so that their hashes collide")
            else:
                raise Malformed("the body is not an ExportMetricsServiceRequest")
            ended = self._run(data)

    def _run(self, data: Any) -> int:
        tree, buckets, most = self._tree, self._plug.buckets, self._limits.series
        return int(scan(tree.slots, tree.nodes, tree.data, self._out, data, buckets, most))

    def _more_samples(self, size: int) -> int:
        room, most = len(self._out), max(ROOM, min(size // SAMPLE_BYTES, self._limits.samples))
        if room > most:
            raise TooLarge(f"more than {most} samples in {size} bytes")
        return min(4 * room, most + 1)

    def _batch(self, delivery: Delivery) -> Batch | None:
        plug, out = self._plug, self._out[1 : int(self._out[0, ROWS]) + 1]
        if not len(out):
            return None
        if len(out) > self._limits.samples:
            raise TooLarge(f"more than {self._limits.samples} samples in one request")
        node, fine = out[:, NODE].astype(np.uint32), out[:, FAULT] == FINE
        time, value = out[:, TIME].astype(np.int64), out[:, BITS].copy().view(np.float64)
        names = Names(self._tree, self._limits, self._identity, plug.keep, f"source:{plug.name}")
        rows = self._resolve(node, fine, names)
        source = f"{plug.name}/{delivery.tenant}" if delivery.tenant else plug.name
        origin = f"{source} request {delivery.number}"
        rejects = Rejects(origin)
        good = fine & (rows != REFUSED)
        for place in np.flatnonzero(~good).tolist():
            self._reject(rejects, names, place)
        if len(rejects):
            rows, time, value = rows[good], time[good], value[good]
        kept = samples(rows, time, value)
        return Batch(source, Cursor(""), self._table, kept, rejects.columns(), origin=origin)

    def _resolve(self, node: Rows, fine: Flags, names: Names) -> Rows:
        """Return each sample's row of the table, REFUSED, or anything where it is not fine.

        :raises TooLarge: more series than a request may have.
        """
        most = self._limits.series
        if len(node) > most and len(np.unique(node)) > most:
            raise TooLarge(f"more than {most} series in one request")
        nodes = len(self._tree)
        if nodes > len(self._row):
            more = np.full(2 * nodes - len(self._row), ABSENT, np.uint32)
            self._row = np.concatenate((self._row, more))
        rows = self._row[node]
        unknown = (rows == ABSENT) & fine
        if unknown.any():
            self._learn(np.unique(node[unknown]).tolist(), names)
            rows = self._row[node]
        return rows

    def _learn(self, nodes: list[int], names: Names) -> None:
        """Give rows to new nodes, in the order in which they came.

        Two nodes may be one series: attributes in another order, a resource whose process
        restarted.
        """
        keys: list[Key] = []
        for node in nodes:
            named = names.name(node)
            if named.reason is not None:
                self._row[node], self._refused[node] = REFUSED, named
                continue
            text = "\0".join(named.key).encode()
            digest = hashlib.blake2b(text, digest_size=16).digest()
            row = self._rows.setdefault(digest, len(self._rows))
            if row == len(self._table) + len(keys):
                keys.append(named.key)
            self._row[node] = row
        columns_of = [pa.array(column, pa.string()) for column in zip(*keys, strict=True)]
        if keys:
            self._table.add(pa.RecordBatch.from_arrays(columns_of, schema=KEYS))

    def _reject(self, rejects: Rejects, names: Names, place: int) -> None:
        """Say why one sample is not taken in."""
        node, time, bits, fault = self._out[place + 1].tolist()
        spot = f"sample {place + 1}"
        if fault == FINE:
            named, value = self._refused[node], struct.unpack("<d", struct.pack("<Q", bits))[0]
            assert named.reason is not None
            rejects.add(
                named.reason, named.detail, key=named.key, time=time, value=value, place=spot
            )
            return
        reason, detail = FAULTS[fault]
        when = None if fault == NO_TIME else time
        rejects.add(reason, detail, key=names.name(node).key, time=when, place=spot)


def _usual(body: bytes) -> bytes:
    """Return the same request as protobuf's own encoder writes it.

    :raises Malformed: protobuf cannot read it either.
    """
    request = ExportMetricsServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise Malformed(f"the body is not an ExportMetricsServiceRequest: {error}") from None
    request.DiscardUnknownFields()
    return request.SerializeToString(deterministic=True)


def _found(room: int) -> Found:
    """Return columns of a scan for so many samples, and the row before them."""
    return np.zeros((room + 1, 4), np.uint64)


plugin = Otlp
