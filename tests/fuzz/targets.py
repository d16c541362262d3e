"""What is fuzzed: each target takes any bytes, and may raise nothing but what it promises to."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import cramjam

from watchkeeper import config
from watchkeeper.errors import ConfigError, InputError, RequestError
from watchkeeper.identity import Identity
from watchkeeper.journal import _samples
from watchkeeper.model import Millis
from watchkeeper.policies._cel import condition
from watchkeeper.receivers import Delivery, Limits, Received, Receiver
from watchkeeper.receivers.alerts import Alerts
from watchkeeper.receivers.influx import Influx
from watchkeeper.receivers.json_lines import JsonLines
from watchkeeper.receivers.otlp import Otlp
from watchkeeper.receivers.remote_write import RemoteWrite
from watchkeeper.sources import _snmp_interfaces as interfaces
from watchkeeper.sources import _snmp_sensors as sensors
from watchkeeper.sources._devices import Device, Said
from watchkeeper.sources._exposition import Reader
from watchkeeper.sources._found import collected
from watchkeeper.sources._snmp_walk import Tables, whole

AT = 1_750_000_000_000
FIRST = {"content-type": "application/x-protobuf"}
SECOND = {"content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
LIMITS = Limits(body=1 << 20, series=10_000)

Target = Callable[[bytes], None]


def pushed(
    receiver: Receiver, path: str, headers: dict[str, str], *, packed: bool = False
) -> Target:
    """Return a target: one request to a receiver that has seen none. Its answer is made, too."""

    def take(data: bytes) -> None:
        body = bytes(cramjam.snappy.compress_raw(data)) if packed else data
        named = {**headers, "content-encoding": "snappy"} if packed else headers
        delivery = Delivery("POST", path, {}, named, body, AT)
        decoder = receiver.open(LIMITS, Identity())
        try:
            batch = decoder.decode(delivery)
        except RequestError as error:
            batch, outcome = None, receiver.answer(delivery, error)
        else:
            outcome = receiver.answer(delivery, Received())
        assert outcome.status < 500
        if batch is not None:
            assert batch.samples.num_rows + batch.unread.num_rows == batch.offered
            rows = len(batch.keys)
            assert all(row < rows for row in batch.samples["series"].to_pylist())

    return take


def exposition(data: bytes) -> None:
    """Read a page as 0.0.4, and as OpenMetrics."""
    for openmetrics in (False, True):
        reader = Reader(lambda metric, labels: ("e", metric, str(sorted(labels.items()))))
        try:
            reader.read(data, AT, "target", openmetrics=openmetrics)
        except InputError:
            continue


COLUMNS = (
    *interfaces.WHOLE, *interfaces.FIXED, *interfaces.EXTENDED, *interfaces.NARROW,
    *sensors.SENSORS, *sensors.PARTS,
)  # fmt: skip


def snmp(data: bytes) -> None:
    """Make readings of what an agent answered: any value in any column, of any row.

    A value is written as its column, its row, its kind, its length, and its bytes.
    """
    tables: Tables = {column: {} for column in COLUMNS}
    while len(data) > 4:
        column, first, second, kind, length = data[:5]
        raw, data = data[5 : 5 + length], data[5 + length :]
        value = (whole(int.from_bytes(raw, signed=True)), raw, tuple(raw))[kind % 3]
        index = (first, second) if second else (first,)
        tables[COLUMNS[column % len(COLUMNS)]][index] = value
    said, leaf = Said(Millis(AT)), Device("leaf1", "127.0.0.1", 161)
    interfaces.tell(said, leaf, tables)
    sensors.tell(said, leaf, tables)
    for reading in said.readings:  # light below zero is told as NaN, which no contract accepts
        assert math.isfinite(reading.value) or (
            math.isnan(reading.value) and '"unit":"dBm"' in reading.attributes
        )
    collected(said.readings, said.unread, "snmp: leaf1")


def journal_record(data: bytes) -> None:
    """Read samples as the journal packs them; whatever their bytes are, memory is safe."""
    try:
        found = _samples.unpack(data[1:], data[0] if data else 0)
    except (ValueError, OSError):
        return
    assert found.num_rows == (data[0] if data else 0)


def configuration(data: bytes) -> None:
    """Read YAML that somebody wrote into a file, whose name is not chance's."""
    with os.fdopen(os.memfd_create("configuration"), "wb") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(ConfigError):
            config.load((Path(f"/proc/self/fd/{file.fileno()}"),), {})


def policy(data: bytes) -> None:
    """Compile a condition."""
    with contextlib.suppress(ValueError):
        condition(data.decode(errors="replace"))


JSON = {"content-type": "application/json"}
TARGETS: dict[str, Target] = {
    "snappy": pushed(RemoteWrite(), "/api/v1/write", {**FIRST, "content-encoding": "snappy"}),
    "remote_write_1": pushed(RemoteWrite(), "/api/v1/write", FIRST, packed=True),
    "remote_write_2": pushed(RemoteWrite(), "/api/v1/write", SECOND, packed=True),
    "otlp_protobuf": pushed(Otlp(buckets=True), "/v1/metrics", FIRST),
    "otlp_json": pushed(Otlp(buckets=True), "/v1/metrics", JSON),
    "line_protocol": pushed(Influx(), "/api/v2/write", {}),
    "json_lines": pushed(JsonLines(), "/api/v1/samples", {}),
    "alerts": pushed(Alerts(), "/api/v1/alerts/webhook", JSON),
    "exposition": exposition,
    "snmp": snmp,
    "journal_record": journal_record,
    "configuration": configuration,
    "policy": policy,
}
