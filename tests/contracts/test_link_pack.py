"""The link pack: what it takes, what it refuses, and what it decides."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from tests.contracts.test_check import NOW, batch

import watchkeeper
from watchkeeper.contracts import check, read
from watchkeeper.model import Batch, Cursor, Reason
from watchkeeper.policies import _columns, judge, nothing_held
from watchkeeper.policies import read as read_policy
from watchkeeper.policies._cel import condition
from watchkeeper.sources import _snmp_interfaces as interfaces
from watchkeeper.sources import _snmp_sensors as sensors
from watchkeeper.sources._devices import Device, Said
from watchkeeper.sources._found import collected
from watchkeeper.sources._sonic_tables import Port, tell
from watchkeeper.testing.policies import Table

PACK = Path(watchkeeper.__file__).parent / "packs" / "link"
DOCS = Path(__file__).parents[2] / "docs"
MINUTE = 60_000
OPTICS = "hw.network.transceiver."
LEAF = Device("leaf1", "leaf1", 161)


def load(file: str):
    return YAML(typ="safe").load((PACK / file).read_text(encoding="utf-8"))


LINK = read(load("contract.yaml"), "link")
POLICIES = [read_policy(one, "link") for one in load("policies.yaml")["policies"]]


def one(metric, value, attributes=None, entity="link:leaf1/Ethernet0"):
    """Return (metric, attributes, value) as accepted, or (reason, detail)."""
    checked = check([LINK], batch([(entity, metric, attributes or {}, NOW, value)]), NOW)
    if checked.rejected.num_rows:
        row = checked.rejected.to_pylist()[0]
        return row["reason"], row["detail"]
    key = checked.keys.to_pylist()[0]
    return key["metric"], key["attributes"], checked.samples["value"][0].as_py()


def test_it_speaks_about_links_and_devices():
    assert (LINK.label, LINK.closed, LINK.entities) == ("link@1", True, ("link", "device"))


@pytest.mark.parametrize("metric", LINK.metrics, ids=lambda metric: metric.name)
def test_every_metric_is_bounded_and_every_threshold_is_possible(metric):
    assert metric.description.endswith(".")
    assert metric.low is not None
    if metric.kind == "counter":
        assert (metric.low, metric.high) == (0, None)
    else:
        for threshold in (metric.warn, metric.crit):
            assert threshold is None or metric.low <= threshold <= metric.high


SPELLINGS = [(m, alias) for m in LINK.metrics for alias in m.aliases]


@pytest.mark.parametrize(("metric", "alias"), SPELLINGS, ids=lambda one: one.name)
def test_every_alias_becomes_its_metric(metric, alias):
    value = 1.0 if metric.unit != "1" else 0.5
    renamed = dict.fromkeys(alias.attributes, "3")
    found, attributes, converted = one(alias.name, value, renamed)
    assert (found, converted) == (metric.name, value * alias.scale)
    for name in (*alias.attributes.values(), *alias.add):
        assert f'"{name}"' in attributes


# C3: units


def test_milliwatts_that_say_so_are_a_wrong_unit_where_dbm_belong():
    found = one(f"{OPTICS}rx_power", 0.5, {"unit": "mW"})
    assert found == (Reason.WRONG_UNIT, "unit dBm, not mW")


@pytest.mark.parametrize(
    ("metric", "value", "reason"),
    [
        ("rx_power", 562.0, Reason.ABOVE_BOUND),  # microwatts
        ("rx_power", -245.0, Reason.BELOW_BOUND),  # hundredths of a dBm
        ("temperature", 190.0, Reason.ABOVE_BOUND),  # Fahrenheit
        ("temperature", 304.65, Reason.ABOVE_BOUND),  # Kelvin
        ("supply_voltage", 3300.0, Reason.ABOVE_BOUND),  # millivolts
        ("bias_current", 6500.0, Reason.ABOVE_BOUND),  # microamperes
    ],
)
def test_another_unit_that_is_not_stated_is_caught_by_the_bounds(metric, value, reason):
    assert one(OPTICS + metric, value)[0] == reason


@pytest.mark.parametrize(
    ("metric", "value", "unit", "right"),
    [
        ("rx_power", -245.0, "0.01dBm", -2.45),
        ("temperature", 88.7, "[degF]", 31.5),
        ("temperature", 304.65, "K", 31.5),
        ("supply_voltage", 3300.0, "mV", 3.3),
        ("bias_current", 6500.0, "uA", 6.5),
        ("bias_current", 0.0065, "A", 6.5),
    ],
)
def test_another_unit_that_is_stated_is_converted(metric, value, unit, right):
    found = one(OPTICS + metric, value, {"unit": unit})
    assert found == (OPTICS + metric, "{}", pytest.approx(right))


@pytest.mark.parametrize("value", [-math.inf, math.inf, math.nan])
def test_an_infinite_light_from_elsewhere_is_not_finite(value):
    assert one(f"{OPTICS}rx_power", value)[0] == Reason.NOT_FINITE


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("rx1power", "-inf", -40.0),
        ("rx1power", "0mW", -40.0),
        ("rx1power", "0.5mW", pytest.approx(-3.0103)),
        ("rx1power", "9.5", Reason.ABOVE_BOUND),
        ("rx1power", "-245", Reason.BELOW_BOUND),
        ("rx1power", "-1mW", Reason.NOT_FINITE),
        ("temperature", "88.7F", pytest.approx(31.5)),
        ("temperature", "3.3Volts", Reason.WRONG_UNIT),
        ("voltage", "3.3Volts", pytest.approx(3.3)),
        ("voltage", "", Reason.NOT_A_NUMBER),
    ],
)
def test_what_a_switch_writes_is_a_value_in_our_unit_or_in_quarantine(field, text, expected):
    said = Said(NOW)
    tell(said, LEAF, Port("Ethernet0", {}, {}, {}, {field: text}, {}, {}))
    checked = judged(said)
    if isinstance(expected, Reason):
        assert checked.rejected["reason"].to_pylist() == [expected]
        assert checked.samples.num_rows == 0
    else:
        assert checked.samples["value"].to_pylist() == [expected]


def judged(said: Said):
    found = collected(said.readings, said.unread, "test")
    return check([LINK], Batch("test", Cursor("1"), found.keys, found.samples, found.unread), NOW)


def test_everything_the_collectors_say_is_in_the_contract():
    said = Said(NOW)
    sai = "SAI_PORT_STAT_IF_IN_"
    tell(
        said,
        LEAF,
        Port(
            "Ethernet0",
            {"admin_status": "up", "oper_status": "up", "flap_count": "1", "speed": "1"},
            {f"{sai}OCTETS": "1", f"{sai}UCAST_PKTS": "1", f"{sai}ERRORS": "1",
             f"{sai}DISCARDS": "1", "SAI_PORT_STAT_ETHER_STATS_CRC_ALIGN_ERRORS": "1",
             f"{sai}FEC_CORRECTABLE_FRAMES": "1", f"{sai}FEC_NOT_CORRECTABLE_FRAMES": "1",
             f"{sai}FEC_SYMBOL_ERRORS": "1", f"{sai}FEC_CORRECTED_BITS": "1",
             f"{sai}FEC_CODEWORD_ERRORS_S0": "1", f"{sai}FEC_CODEWORD_ERRORS_S15": "1"},
            {"FEC_PRE_BER": "1e-9", "FEC_POST_BER": "0"},
            {"temperature": "1", "voltage": "1", "laser_temperature": "1", "rx1power": "1",
             "tx1power": "1", "tx1bias": "1"},
            {"rx1powerLAlarm": "False", "tempHWarn": "False"},
            {"serial": "A1"},
        ),
    )  # fmt: skip
    tables = {column: {} for column in (*interfaces.NARROW, *sensors.PARTS)}
    for column in (*interfaces.WHOLE, *interfaces.FIXED, *interfaces.EXTENDED):
        tables[column] = {(0,): 1}
    tables[interfaces.NAME] = {(0,): b"e0"}
    tables[interfaces.ALIAS] = {(0,): b"to spine1"}
    kinds = (3, 4, 5, 6, 8, 9, 10, 14)
    types = {(n,): n for n in kinds} | {(n + 100,): n for n in (4, 5, 6, 8, 14)}
    ones = dict.fromkeys(types, 1)
    columns = (types, dict.fromkeys(types, 8), {}, ones, ones)
    tables |= dict(zip(sensors.SENSORS, columns, strict=True))
    tables[sensors.PARTS[2]] = {index: b"Power of e0" for index in types if index > (100,)}
    interfaces.tell(said, LEAF, tables)
    sensors.tell(said, LEAF, tables)
    checked = judged(said)
    assert checked.rejected.to_pylist() == []
    told = {key["metric"] for key in checked.keys.to_pylist()}
    asked = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
    never = {"hw.network.bandwidth.utilization"}
    assert told == {metric.name for metric in LINK.metrics} - asked - never
    for metric in asked:
        assert one(metric, 1.0, entity="device:leaf1")[0] == metric


# Policies


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_policies_are_harmless_documented_and_read_only_what_the_contract_names(policy):
    assert (policy.mode, policy.action) == ("dry_run", ("log",))
    assert policy.description.endswith(".")
    assert policy.matches("link:leaf1/Ethernet0")
    assert not policy.matches("device:leaf1")
    known = {metric.name for metric in LINK.metrics}
    for text in filter(None, (policy.when, policy.clear)):
        assert _columns.vectorised(condition(text)), text
        assert set(condition(text).metrics) <= known
    headings = re.findall(r"^### (\S+)$", (DOCS / "policies.md").read_text(), re.MULTILINE)
    assert policy.runbook == f"docs/policies.md#{policy.name}"
    assert policy.name in headings


def decided(health, **signals):
    """Return (policy, minute, phase) of one link, judged once a minute."""
    columns = {name: np.array(scores)[:, None] for name, scores in signals.items()}
    ticks = MINUTE * np.arange(1, len(health) + 1)
    view = Table(ticks, ["link:leaf1/Ethernet0"], np.array(health)[:, None], signals=columns)
    _, found, orders = judge(POLICIES, nothing_held(), view)
    assert orders == []
    return [(d.policy, d.at // MINUTE, d.phase.value) for d in found]


def test_a_link_that_goes_down_is_decided_though_its_device_counts_no_flaps():
    up = [0.0] * 2 + [2.0] * 10 + [0.0] * 15
    assert decided([99.0] * 27, **{"hw.network.up": up}) == [
        ("link-down", 3, "pending"),
        ("link-down", 5, "firing"),
        ("link-down", 23, "resolved"),
    ]


def test_a_link_that_somebody_switches_off_is_let_go():
    up = [2.0] * 5 + [math.nan] * 15
    assert decided([99.0] * 20, **{"hw.network.up": up})[-1] == ("link-down", 16, "resolved")


def test_a_link_of_which_nothing_is_known_any_more_is_not_let_go():
    up = [2.0] * 5 + [math.nan] * 15
    phases = [
        phase for _, _, phase in decided([99.0] * 5 + [math.nan] * 15, **{"hw.network.up": up})
    ]
    assert phases == ["pending", "firing"]


def test_a_lane_that_loses_light_is_decided_after_a_quarter_of_an_hour():
    light = [0.0] * 2 + [1.2] * 20 + [0.8] * 5 + [0.1] * 5
    assert decided([99.0] * 32, **{f"{OPTICS}rx_power": light}) == [
        ("link-light-low", 3, "pending"),
        ("link-light-low", 18, "firing"),
        ("link-light-low", 28, "resolved"),
    ]


def test_light_of_which_nothing_is_told_any_more_is_let_go():
    light = [1.2] * 20 + [math.nan] * 5
    found = decided([99.0] * 25, **{f"{OPTICS}rx_power": light})
    assert found[-1] == ("link-light-low", 21, "resolved")


@pytest.mark.parametrize("metric", ["hw.errors", "hw.network.fec.uncorrectable"])
def test_errors_that_stay_are_decided_whichever_counter_tells_them(metric):
    found = decided([99.0] * 10, **{metric: [0.0] * 2 + [1.5] * 8})
    assert found == [("link-errors", 3, "pending"), ("link-errors", 8, "firing")]
