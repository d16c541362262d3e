"""What is sent: a fleet of node exporters, as Prometheus would write it.

All of a fleet's series say something once a tick. A request is one tick of one shard of the fleet,
one sample a series, every label repeated; values are counters, byte gauges, loads and constants.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np

STEP = 10  # seconds of telemetry between two ticks
SHARD = 5_000  # series in one request
HOST = 200  # series of one host
SERIES = 20_000  # of the fleet that is compared with
WARM = 64  # ticks: detectors score from the 17th on, and the newest ten minutes are kept in memory
KINDS = ("count", "seconds", "bytes", "load", "constant")


@dataclass(frozen=True)
class Request:
    """One body. :param tick: counted from 0. :param samples: how many are in it."""

    shard: int
    tick: int
    body: bytes
    samples: int


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: bytes) -> bytes:
    """Return a field of bytes as protobuf writes it."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def _metrics() -> list[tuple[str, str, dict[str, str]]]:
    """Return name, kind and own labels of each series of a host."""
    out: list[tuple[str, str, dict[str, str]]] = []
    for cpu in range(8):
        for mode in ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"):
            out.append(("node_cpu_seconds_total", "seconds", {"cpu": str(cpu), "mode": mode}))
    for device in ("nvme0n1", "nvme1n1", "sda", "sdb", "sdc"):
        for what in ("reads_completed", "writes_completed", "read_bytes", "written_bytes"):
            out.append((f"node_disk_{what}_total", "count", {"device": device}))
        for what in ("read_time", "write_time", "io_time"):
            out.append((f"node_disk_{what}_seconds_total", "seconds", {"device": device}))
    for device in ("eth0", "eth1", "bond0", "docker0", "lo"):
        for way in ("receive", "transmit"):
            for what in ("bytes", "packets"):
                out.append((f"node_network_{way}_{what}_total", "count", {"device": device}))
            out.append((f"node_network_{way}_errs_total", "constant", {"device": device}))
        out.append(("node_network_up", "constant", {"device": device}))
    for device, at in (("nvme0n1p1", "/"), ("sda1", "/srv"), ("sdb1", "/var/lib/postgresql")):
        where = {"device": f"/dev/{device}", "fstype": "ext4", "mountpoint": at}
        out.append(("node_filesystem_size_bytes", "constant", where))
        out.append(("node_filesystem_avail_bytes", "bytes", where))
        out.append(("node_filesystem_files_free", "bytes", where))
    for what in ("MemFree", "MemAvailable", "Buffers", "Cached", "Active", "Dirty", "Slab"):
        out.append((f"node_memory_{what}_bytes", "bytes", {}))
    out += [(f"node_load{minutes}", "load", {}) for minutes in (1, 5, 15)]
    while len(out) < HOST:
        out.append((f"node_vmstat_counter_{len(out)}", "count", {}))
    return out[:HOST]


METRICS = _metrics()


def labels(series: int) -> list[tuple[str, str]]:
    """Return the labels of one series of the fleet, by name."""
    host, own = divmod(series, HOST)
    name, _, more = METRICS[own]
    place = {
        "cluster": f"production-{host % 5}",
        "datacenter": f"dc{host % 3 + 1}",
        "instance": f"machine-{host:05d}.dc{host % 3 + 1}.example.net:9100",
        "job": "node",
        "rack": f"r{host % 40:02d}",
    }
    return sorted({"__name__": name, **place, **more}.items())


class Shard:
    """The requests of some series, tick by tick: written once, then only time and value change."""

    def __init__(self, number: int, series: range) -> None:
        self.number, self._random = number, np.random.default_rng(number)
        whole, holes = bytearray(), []
        for one in series:
            named = b"".join(
                field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in labels(one)
            )
            told = field(2, b"\x09" + bytes(8) + b"\x10" + bytes(6))
            head = b"\x0a" + varint(len(named) + len(told))
            holes.append(len(whole) + len(head) + len(named) + 3)
            whole += head + named + told
        self._whole = np.frombuffer(bytes(whole), np.uint8).copy()
        at = np.array(holes)[:, None]
        self._value_at, self._time_at = at + np.arange(8), at + 9 + np.arange(6)
        kinds = np.array([KINDS.index(METRICS[one % HOST][1]) for one in series])
        self._rows = {kind: np.flatnonzero(kinds == n) for n, kind in enumerate(KINDS)}
        self._values = np.floor(self._random.uniform(1e4, 1e9, len(kinds)))
        for kind in ("load", "constant"):
            self._values[self._rows[kind]] = 1.0

    def request(self, tick: int, begin: int) -> Request:
        """Return the next request; its samples are of `begin` plus so many steps, ms."""
        self._move()
        at = struct.unpack("6B", varint(begin + tick * STEP * 1000))
        self._whole[self._value_at] = self._values.view(np.uint8).reshape(-1, 8)
        self._whole[self._time_at] = at
        body = bytes(cramjam.snappy.compress_raw(self._whole.tobytes()))
        return Request(self.number, tick, body, len(self._values))

    def _move(self) -> None:
        values, random = self._values, self._random
        for kind, rows in self._rows.items():
            many = len(rows)
            if kind == "count":
                values[rows] += np.floor(1e4 * random.gamma(4, 0.25, many))
            elif kind == "seconds":
                values[rows] = np.round(values[rows] + 5 * random.gamma(8, 0.125, many), 2)
            elif kind == "bytes":
                values[rows] = abs(values[rows] + 4096 * np.round(random.normal(0, 500, many)))
            elif kind == "load":
                values[rows] = np.round(abs(values[rows] * 0.9 + random.normal(0.1, 0.2, many)), 2)


def requests(series: int, ticks: int) -> Iterator[Request]:
    """Yield the requests of a fleet, tick after tick; the last one is of about now."""
    begin = (int(time.time()) // STEP - ticks) * STEP * 1000
    shards = [
        Shard(number, range(first, min(first + SHARD, series)))
        for number, first in enumerate(range(0, series, SHARD))
    ]
    for tick in range(ticks):
        for shard in shards:
            yield shard.request(tick, begin)


def probe(entity: str, value: float) -> bytes:
    """Return one JSON line that says how long a host has waited for its disk, as a share."""
    line: dict[str, Any] = {
        "timestamp": int(time.time() * 1000),
        "entity": entity,
        "metric": "system.cpu.utilization",
        "cpu.mode": "iowait",
        "value": value,
    }
    return json.dumps(line).encode() + b"\n"
