"""The contracts we ship."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.contracts.test_check import NOW, batch

import watchkeeper
from watchkeeper.contracts import check, read, traits

PACKS = Path(watchkeeper.__file__).parent / "packs"


def shipped(name):
    text = (PACKS / name / "contract.yaml").read_text()
    return read(YAML(typ="safe", pure=True).load(text), name)


HOST, GENERIC = shipped("host"), shipped("generic")


def test_host_speaks_about_hosts_and_generic_about_anything():
    assert (HOST.label, HOST.closed, HOST.entities) == ("host@1", True, ("host",))
    assert (GENERIC.label, GENERIC.closed, GENERIC.entities) == ("generic@1", False, ("*",))
    assert HOST.future_skew == GENERIC.future_skew == 600_000


def test_every_counter_of_host_is_bounded_below_and_every_threshold_is_possible():
    for metric in HOST.metrics:
        assert metric.low is not None, metric.name
        if metric.kind == "counter":
            assert metric.low == 0, metric.name
        else:
            for threshold in (metric.warn, metric.crit):
                assert threshold is None or metric.low <= threshold <= metric.high, metric.name


@pytest.mark.parametrize(
    ("node", "attributes", "metric", "canonical"),
    [
        ("node_load1", "{}", "system.cpu.load_average.1m", "{}"),
        ("node_memory_MemAvailable_bytes", "{}", "system.memory.linux.available", "{}"),
        (
            "node_network_receive_errs_total", '{"device":"eth0"}', "system.network.errors",
            '{"network.interface.name":"eth0","network.io.direction":"receive"}',
        ),
        (
            "node_hwmon_temp_celsius", '{"chip":"c","sensor":"s"}', "hw.temperature",
            '{"hw.id":"s","hw.parent":"c"}',
        ),
        (
            "node_vmstat_pgmajfault", "{}", "system.paging.faults",
            '{"system.paging.fault.type":"major"}',
        ),
    ],
)  # fmt: skip
def test_node_exporter_names_become_open_telemetry_names(node, attributes, metric, canonical):
    checked = check([HOST], batch([("host:a", node, attributes, NOW, 20.0)]), NOW)
    assert checked.keys.to_pylist() == [
        {"entity": "host:a", "metric": metric, "attributes": canonical}
    ]


def test_an_idle_processor_is_healthy_and_a_busy_one_is_not():
    rows = [("host:a", "system.cpu.utilization", a, NOW, 0.5)
            for a in ('{"state":"idle"}', '{"cpu.mode":"idle"}', "{}")]  # fmt: skip
    assert traits([HOST], batch(rows[1:]).keys).worse.tolist() == [-1, 1]
    checked = check([HOST], batch(rows), NOW)
    assert sorted(checked.keys["attributes"].to_pylist()) == ['{"cpu.mode":"idle"}', "{}"]


@pytest.mark.parametrize(
    ("value", "unit", "canonical"),
    [(91.0, "%", 0.91), (0.91, "1", 0.91), (95.0, "[degF]", None)],
)
def test_units_people_use_are_converted(value, unit, canonical):
    rows = [("host:a", "system.filesystem.utilization", f'{{"unit":"{unit}"}}', NOW, value)]
    checked = check([HOST], batch(rows), NOW)
    if canonical is None:
        assert checked.rejected["reason"].to_pylist() == ["wrong_unit"]
    else:
        assert checked.samples["value"].to_pylist() == pytest.approx([canonical])


def test_fahrenheit_is_a_temperature():
    rows = [("host:a", "hw.temperature", '{"unit":"[degF]"}', NOW, 212.0)]
    assert check([HOST], batch(rows), NOW).samples["value"].to_pylist() == pytest.approx([100.0])
