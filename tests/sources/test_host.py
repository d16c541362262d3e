"""This very host, read the way the service reads it."""

import socket
import time

import psutil
import pytest
from tests.test_contracts import HOST as CONTRACT

from watchkeeper.contracts import check
from watchkeeper.model import Cursor, Millis
from watchkeeper.sources import _readings
from watchkeeper.sources.host import Host


@pytest.fixture
def reader():
    return Host().open(None)


def readings(batch):
    keys = batch.keys.to_pylist()
    values = batch.samples["value"].to_pylist()
    return {(k["metric"], k["attributes"]): v for k, v in zip(keys, values, strict=True)}


def test_every_reading_fits_the_contract_of_the_host_pack(reader):
    batch = next_batch(reader)
    now = Millis(time.time_ns() // 1_000_000)
    checked = check([CONTRACT], batch, now)
    assert checked.rejected.to_pylist() == []
    assert set(checked.keys["entity"].to_pylist()) == {f"host:{socket.gethostname()}"}
    assert not any("unit" in text for text in checked.keys["attributes"].to_pylist())


def next_batch(reader):
    while (batch := reader.poll()) is None:
        pass  # within the same millisecond
    return batch


def test_readings_are_those_of_this_host(reader):
    found = readings(next_batch(reader))
    assert found["system.memory.limit", '{"unit":"By"}'] == psutil.virtual_memory().total
    assert 0 <= found["system.memory.utilization", '{"unit":"1"}'] <= 1
    assert found["system.uptime", '{"unit":"s"}'] == pytest.approx(
        time.time() - psutil.boot_time(), abs=120
    )
    assert any(metric == "system.filesystem.utilization" for metric, _ in found)


def test_shares_of_processor_time_need_two_looks(monkeypatch):
    looks = iter([(10.0, 80.0, 5.0), (16.0, 82.0, 7.0)])

    class Times:
        def _asdict(self):
            user, idle, iowait = next(looks)
            return {"user": user, "idle": idle, "iowait": iowait, "guest": user}

    monkeypatch.setattr(psutil, "cpu_times", Times)
    found = readings(next_batch(Host().open(None)))
    assert found["system.cpu.utilization", '{"unit":"1"}'] == pytest.approx(0.6)
    assert found["system.cpu.utilization", '{"cpu.mode":"iowait","unit":"1"}'] == pytest.approx(0.2)


def test_nothing_is_sampled_at_or_before_the_cursor():
    reader = Host().open(Cursor(str(time.time_ns() // 1_000_000 + 60_000)))
    assert reader.poll() is None
    batch = next_batch(Host().open(Cursor("1")))
    assert int(batch.cursor) == batch.samples["time"].to_pylist()[0] > 1


def test_the_entity_may_be_named():
    batch = next_batch(Host(entity="host:db-1").open(None))
    assert set(batch.keys["entity"].to_pylist()) == {"host:db-1"}


def test_a_subject_the_system_cannot_answer_about_costs_only_itself(reader, monkeypatch):
    monkeypatch.setattr(_readings, "PROC", _readings.Path("/nowhere"))
    found = readings(next_batch(reader))
    assert set(reader.missing) == {"paging", "pressure", "whole"}
    assert any(metric == "system.memory.limit" for metric, _ in found)


def test_sensors_of_real_machines(reader, monkeypatch):
    heat = psutil._ntuples.shwtemp if hasattr(psutil, "_ntuples") else psutil._common.shwtemp
    fan = psutil._ntuples.sfan if hasattr(psutil, "_ntuples") else psutil._common.sfan
    chips = {"coretemp": [heat("Core 0", 51.0, 80, 100), heat("", 49.5, None, None)]}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: chips)
    monkeypatch.setattr(psutil, "sensors_fans", lambda: {"dell": [fan("CPU Fan", 0)]})
    found = readings(next_batch(reader))
    assert found["hw.temperature", '{"hw.id":"Core 0","hw.parent":"coretemp","unit":"Cel"}'] == 51.0
    assert found["hw.temperature", '{"hw.id":"1","hw.parent":"coretemp","unit":"Cel"}'] == 49.5
    assert found["hw.fan.speed", '{"hw.id":"CPU Fan","hw.parent":"dell","unit":"rpm"}'] == 0.0


def test_latency_is_the_mean_of_the_operations_since_the_poll_before(monkeypatch):
    class Counters:
        read_count, write_count, read_bytes, write_bytes = 10, 0, 4096, 0
        read_time, write_time = 500, 0

    counters = {"vdz": Counters()}
    monkeypatch.setattr(psutil, "disk_io_counters", lambda perdisk: counters)
    monkeypatch.setattr(_readings.Path, "exists", lambda self: True)
    memory = {}
    list(_readings.disks(memory))
    counters["vdz"].read_count, counters["vdz"].read_time = 14, 900
    found = {(one.metric, *one.attributes.values()): one.value for one in _readings.disks(memory)}
    assert found["system.disk.latency", "vdz"] == pytest.approx(0.1)
    assert found["system.disk.operation_time", "vdz", "read"] == pytest.approx(0.9)
