"""Measure the receivers: from the bytes of a request to columns, on one core.

Run `python -m benchmarks.decode`. Requests are like those of node exporters, made here. Figures are
CPU seconds of this process, the best of several rounds, beside what the same bytes cost with
Google's protobuf library (upb) and a walk over its messages, in the same run; and for line protocol
with `str.split` and `float`.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import cast

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from benchmarks.neighbours import flood
from watchkeeper import config
from watchkeeper.contracts import Known
from watchkeeper.identity import Identity
from watchkeeper.receivers import Decoder, Delivery, Limits, Patient
from watchkeeper.receivers._unpack import unpack
from watchkeeper.receivers.influx import Influx
from watchkeeper.receivers.remote_write import RemoteWrite
from watchkeeper.traffic import Quota

SERIES, ROUNDS, REPEATS = 5_000, 7, 20
NEW = 40_000  # series that nobody has seen before
START = 1_700_000_000_000
V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: bytes) -> bytes:
    return varint(8 * number + 2) + varint(len(value)) + value


def labels(k: int) -> dict[str, str]:
    """Return the labels of one series of a fleet of node exporters with 250 series each."""
    return {
        "__name__": f"node_filesystem_device_metric_{k % 50:02d}_bytes_total",
        "device": f"/dev/mapper/vg0-volume{k % 250 // 50}",
        "fstype": "ext4",
        "instance": f"rack-{k // 250:03d}.machines.example.net:9100",
        "job": "node-exporter",
        "mountpoint": f"/var/lib/containers/storage/{k % 250 // 50}",
    }


def sample(k: int, at: int) -> bytes:
    return field(2, b"\x09" + struct.pack("<d", 1.5 * k) + b"\x10" + varint(START + 15_000 * at))


def first(series: int, at: int) -> bytes:
    """Return a WriteRequest of version 1, a sample each."""
    out = []
    for k in range(series):
        told = sorted(labels(k).items())
        pairs = b"".join(field(1, field(1, n.encode()) + field(2, v.encode())) for n, v in told)
        out.append(field(1, pairs + sample(k, at)))
    return b"".join(out)


def second(series: int, at: int) -> bytes:
    """Return the same as a Request of version 2."""
    symbols, out = {"": 0}, []
    for k in range(series):
        words = [word for pair in sorted(labels(k).items()) for word in pair]
        references = b"".join(varint(symbols.setdefault(w, len(symbols))) for w in words)
        out.append(field(5, field(1, references) + sample(k, at)))
    return b"".join(field(4, word.encode()) for word in symbols) + b"".join(out)


def delivery(raw: bytes, kind: str) -> Delivery:
    return pushed(bytes(cramjam.snappy.compress_raw(raw)), kind)


def pushed(body: bytes, kind: str) -> Delivery:
    headers = {"content-type": kind, "content-encoding": "snappy"}
    return Delivery("POST", "/api/v1/write", {}, headers, body, START)  # type: ignore[arg-type]


def cost(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the CPU seconds of one call: the best round of several."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(repeats):
            work()
        rounds.append((time.process_time() - begun) / repeats)
    return min(rounds)


def message_of_upb() -> type:
    """Return a class for WriteRequest, as protoc would make it."""
    file = descriptor_pb2.FileDescriptorProto(name="w.proto", package="w", syntax="proto3")
    kinds = {"string": 9, "double": 1, "int64": 3}
    shapes = {
        "Label": [("name", "string", 1), ("value", "string", 1)],
        "Sample": [("value", "double", 1), ("timestamp", "int64", 1)],
        "TimeSeries": [("labels", "Label", 3), ("samples", "Sample", 3)],
        "WriteRequest": [("timeseries", "TimeSeries", 3)],
    }
    for name, fields in shapes.items():
        message = file.message_type.add(name=name)
        for number, (called, kind, label) in enumerate(fields, 1):
            added = message.field.add(name=called, number=number, label=label)
            added.type = kinds.get(kind, 11)
            if kind not in kinds:
                added.type_name = f".w.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found: type = message_factory.GetMessageClass(pool.FindMessageTypeByName("w.WriteRequest"))
    return found


def walk(message: type, raw: bytes) -> list[tuple[tuple[tuple[str, str], ...], int, float]]:
    """Return what a straightforward receiver would: labels, time and value of each sample."""
    request = message.FromString(raw)  # type: ignore[attr-defined]
    return [
        (tuple((pair.name, pair.value) for pair in series.labels), each.timestamp, each.value)
        for series in request.timeseries
        for each in series.samples
    ]


def opened() -> Decoder:
    return RemoteWrite().open(Limits(), Identity())


def told(name: str, seconds: float, samples: int, beside: float = 0.0) -> None:
    """Print one line: samples a second, CPU seconds a million, and how much faster it is."""
    ratio = f"{beside / seconds:8.1f} x" if beside else ""
    rate, each = samples / seconds / 1e6, 1e6 * seconds / samples
    print(f"{name:46s} {rate:8.2f} M/s {each:8.3f} CPU-s/M {ratio}")


def remote_write() -> None:
    """Print the table of remote write."""
    raw = first(SERIES, 0)
    one, two = delivery(raw, V1), delivery(second(SERIES, 0), V2)
    print(f"remote write, {SERIES} series x 1 sample, {len(raw) / SERIES:.0f} bytes each unpacked")
    message = message_of_upb()
    naive = cost(lambda: walk(message, unpack(one.body, "snappy", 1 << 25)), 2)
    told("upb ParseFromString + walk, with snappy", naive, SERIES)
    told("unpack alone", cost(lambda: unpack(one.body, "snappy", 1 << 25)), SERIES)
    for name, request in (("version 1", one), ("version 2", two)):
        decoder = opened()
        seconds = cost(lambda d=decoder, r=request: d.decode(r))  # type: ignore[misc]
        told(f"{name}: unpack, scan, resolve", seconds, SERIES, naive)
    backwards = delivery(b"".join(reversed(pieces(raw))), V1)
    decoder, turns = opened(), [one, backwards]

    def in_turn() -> None:
        turns.reverse()
        decoder.decode(turns[0])

    told("version 1, order reversed every time", cost(in_turn), SERIES, naive)
    told(
        "version 1, series never seen before", cost(lambda: opened().decode(one), 1), SERIES, naive
    )
    for turn in (64, 128):
        new_series(turn)


def new_series(turn: int) -> None:
    """Print what series cost that nobody has seen, and that their sender may not add.

    :param turn: how many are read, and looked up, before others have their turn.
    """
    known = Known(config.load((), {}).rules.contracts)
    limits = Limits(tenant_series=0)
    decoder, share = cast("Patient", RemoteWrite().open(limits, Identity())), Quota(limits)
    bodies, taken = list(flood(0, 2 * NEW, NEW // REPEATS)), list[float]()
    for body in bodies:
        begun = time.process_time()
        turns = decoder.turns(pushed(body, V1))
        more: int | None = None
        while True:
            try:
                known.lookup(turns.send(more), share)
            except StopIteration:
                break
            more = turn
        taken.append(time.process_time() - begun)
    warm = taken[REPEATS:]
    told(f"series that may not be added, {turn} in a turn", sum(warm), NEW)


def pieces(raw: bytes) -> list[bytes]:
    """Return a request of version 1 cut into its series."""
    cut, at = [], 0
    while at < len(raw):
        length, shift, end = 0, 0, at + 1
        while True:
            length |= (raw[end] & 127) << shift
            end, shift = end + 1, shift + 7
            if raw[end - 1] < 128:
                break
        cut.append(raw[at : end + length])
        at = end + length
    return cut


def lines(fields: int) -> bytes:
    """Return line protocol as an agent writes it: 8 tags a line."""
    out = []
    for k in range(SERIES):
        tags = f"host=web-{k},region=eu-west-1,zone=b,rack=r{k % 40},os=linux,arch=x64,team=a,svc=s"
        if fields == 1:
            told = f"value={k % 1000}.45"
        else:
            told = ",".join(f"usage_{n}={k / (n + 7)!r}" for n in range(fields))
        out.append(f"cpu,{tags} {told} {START * 1_000_000 + k}")
    return "\n".join(out).encode()


def split(body: bytes) -> list[tuple[str, str, float, int]]:
    """Return what a straightforward reader would, which knows no escapes."""
    found = []
    for line in body.decode().split("\n"):
        block, fields, at = line.split(" ")
        for one in fields.split(","):
            name, value = one.split("=")
            found.append((block, name, float(value), int(at)))
    return found


def line_protocol() -> None:
    """Print the table of line protocol."""
    for fields in (1, 10):
        body = lines(fields)
        samples = SERIES * fields
        print(
            f"line protocol, {SERIES} lines x {fields} fields, {len(body) / samples:.0f} bytes each"
        )
        naive = cost(lambda b=body: split(b), 2)  # type: ignore[misc]
        told("str.split and float, no series", naive, samples)
        request = Delivery("POST", "/write", {}, {}, body, START)  # type: ignore[arg-type]
        decoder = Influx().open(Limits(), Identity())
        seconds = cost(lambda d=decoder, r=request: d.decode(r))  # type: ignore[misc]
        told("decode: scan, resolve", seconds, samples, naive)
        if fields == 1:
            new = cost(lambda r=request: Influx().open(Limits(), Identity()).decode(r), 1)  # type: ignore[misc]
            told("series never seen before", new, samples, naive)


if __name__ == "__main__":
    remote_write()
    line_protocol()
