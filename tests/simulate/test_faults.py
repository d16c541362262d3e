import math
from typing import get_args

import numpy as np
import pytest

from watchkeeper.simulate import Block, Fleet, parse, preset
from watchkeeper.simulate._effects import Op, Shape
from watchkeeper.simulate._host import AMBIENT, HOST, LOAD
from watchkeeper.simulate.faults import AnyFault
from watchkeeper.simulate.truth import truth

KINDS = {
    get_args(kind.model_fields["kind"].annotation)[0]: kind
    for kind in get_args(get_args(AnyFault)[0])
}
PLACE = {signal.id: m for m, signal in enumerate(HOST)}


def fleet_with(*faults, hosts=4, duration="1d", rack=2, **more):
    document = {"entities": {"count": hosts, "rack": rack}, "duration": duration, "faults": faults}
    return Fleet(parse(document | more, "test"), 11)


def seen(fleet, entity):
    """What is read from one host, by signal id; and the same host without faults."""
    told, heard = fleet.told(entity, 0, fleet.ticks)
    calm, _ = fleet.only(()).told(entity, 0, fleet.ticks)
    return (
        {name: told[:, m] for name, m in PLACE.items()},
        {name: calm[:, m] for name, m in PLACE.items()},
        heard,
    )


def test_there_are_at_least_ten_faults_and_four_benign_twins():
    benign = {kind for kind, fault in KINDS.items() if fault.benign}
    assert len(KINDS) - len(benign) >= 10
    assert benign == {"hot_day", "deploy_wave", "traffic_peak", "module_swap"}
    assert all((fault.action == "none") == fault.benign for fault in KINDS.values())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_fault_shows_in_its_metrics_and_only_in_its_time(kind):
    fleet = fleet_with({"kind": kind, "onset": "8h", "duration": "4h"})
    facts = truth(fleet).faults
    struck = {one.entity for one in fleet.incidents}
    assert len(struck) == {"hosts": 1, "racks": 2, "all": 4}[KINDS[kind].among]
    for one, fact in zip(fleet.incidents, facts, strict=True):
        told, calm, heard = seen(fleet, one.entity)
        onset = one.onset // 60_000
        end = one.end // 60_000
        shown = {fleet.signals[m].metric for m in range(30) if _differs(told, calm, m)}
        if not heard.all():
            shown |= {signal.metric for signal in HOST}
        assert set(fact.metrics) & shown
        assert shown <= set(fact.metrics) | _follows(one.fault)
        for name in PLACE:
            assert (told[name][:onset] == calm[name][:onset]).all(), name
        assert heard[:onset].all()
        assert heard[end:].all()


def _differs(told, calm, m):
    name = HOST[m].id
    return not np.array_equal(told[name], calm[name], equal_nan=True)


def _follows(fault):
    """Metrics that follow from the latents a fault moves; the truth names only the main ones."""
    moved = {effect.signal for effect in fault.effects()}
    found = {s.metric for s in HOST if LOAD in moved and (s.gain or s.queue)}
    found |= {s.metric for s in HOST if AMBIENT in moved and s.ambient}
    return found | {s.metric for s in HOST if s.mirror and (LOAD in moved or s.mirror in moved)}


def test_a_memory_leak_runs_dry_is_killed_and_leaks_again():
    fleet = fleet_with({"kind": "memory_leak", "onset": "4h", "duration": "12h", "oom_after": "5h"})
    told, calm, _ = seen(fleet, fleet.incidents[0].entity)
    fact = truth(fleet).faults[0]
    dry = (fact.fail - fleet.scenario.origin) // 60_000
    assert dry == 9 * 60
    assert told["memory"][dry - 1] > 0.99
    assert told["available"][dry - 1] < 0.01 * calm["available"][dry - 1] * 2
    assert told["memory"][dry] == calm["memory"][dry]
    assert told["memory"][14 * 60 - 1] > 0.99
    assert np.diff(told["faults"])[dry - 5] > 100 * 60
    assert fact.onset < fact.detectable < fact.fail


@pytest.mark.parametrize(
    ("growth", "middle"), [("linear", (0.7, 0.8)), ("exponential", (0.45, 0.62))]
)
def test_a_disk_fills_straight_or_ever_faster_and_stays_full(growth, middle):
    fleet = fleet_with(
        {
            "kind": "disk_fill",
            "onset": "2h",
            "duration": "20h",
            "full_after": "10h",
            "growth": growth,
        }
    )
    told, _, _ = seen(fleet, fleet.incidents[0].entity)
    assert middle[0] < told["fs_var"][7 * 60] < middle[1]
    assert (told["fs_var"][12 * 60 : 22 * 60] == 1.0).all()
    assert truth(fleet).faults[0].fail == fleet.scenario.origin + 12 * 3_600_000


def test_log_rotation_gives_back_a_part_each_day_and_fills_all_the_same():
    fault = {"kind": "disk_fill", "duration": "6d", "full_after": "5d", "logrotate": 0.5}
    fleet = fleet_with(fault, duration="6d")
    told, _, _ = seen(fleet, fleet.incidents[0].entity)
    daily = told["fs_var"].reshape(6, 1440)
    assert (daily[1:4, 0] < daily[:3, -1] - 0.03).all()
    fail = truth(fleet).faults[0].fail
    tick = (fail - fleet.scenario.origin) // 60_000
    assert told["fs_var"][tick] == 1.0
    assert told["fs_var"][tick - 10] < 1.0


def test_a_dead_fan_stands_while_the_others_race_and_the_processor_heats_with_tau():
    fleet = fleet_with({"kind": "fan_fail", "onset": "8h", "duration": "4h", "heat": 30})
    told, calm, _ = seen(fleet, fleet.incidents[0].entity)
    assert told["fan"][8 * 60 + 2] == 0
    assert told["fan_ratio"][8 * 60 + 10] == 1.0
    rise = (told["temp_cpu"] - calm["temp_cpu"])[8 * 60 :]
    assert rise[5] == pytest.approx(30 * (1 - math.exp(-1)), abs=0.11)
    assert rise[100] == pytest.approx(30, abs=0.11)
    assert rise[240 + 5] == pytest.approx(30 * math.exp(-1), abs=0.11)


def test_a_clock_drifts_by_its_ppm_and_is_stepped_back():
    fleet = fleet_with({"kind": "clock_drift", "onset": "1h", "duration": "10h", "ppm": -100})
    told, calm, _ = seen(fleet, fleet.incidents[0].entity)
    off = told["clock"] - calm["clock"]
    assert off[11 * 60 - 1] == pytest.approx(-100e-6 * (36_000 - 60), abs=1e-5)
    assert (off[11 * 60 :] == 0).all()


def test_a_flapping_link_changes_carrier_in_the_ticks_in_which_traffic_dips():
    fleet = fleet_with({"kind": "nic_flap", "onset": "2h", "duration": "8h"})
    told, calm, _ = seen(fleet, fleet.incidents[0].entity)
    flaps = np.diff(told["carrier"]) > 0
    dips = np.diff(told["net_in"]) < 0.5 * np.diff(calm["net_in"])
    assert 60 < flaps.sum() < 180
    assert (flaps == dips).mean() > 0.99


def test_shared_failures_strike_whole_racks_as_one_incident():
    fleet = fleet_with({"kind": "shared_failure", "onset": "2h"}, hosts=9, rack=3)
    struck = [one.entity for one in fleet.incidents]
    assert struck in ([0, 1, 2], [3, 4, 5], [6, 7, 8])
    assert len({fact.incident for fact in truth(fleet).faults}) == 1
    assert {fact.correct_action for fact in truth(fleet).faults} == {"open_one_case"}


def test_a_deploy_wave_rolls_over_the_hosts_one_after_the_other():
    fleet = fleet_with({"kind": "deploy_wave", "onset": "2h", "every": "10m"})
    onsets = [one.onset // 60_000 for one in fleet.incidents]
    assert onsets == [120, 130, 140, 150]


def test_a_module_swap_is_for_ever():
    fleet = fleet_with({"kind": "module_swap", "onset": "2h", "duration": "1h"})
    told, calm, _ = seen(fleet, fleet.incidents[0].entity)
    assert told["temp_cpu"][-1] == pytest.approx(calm["temp_cpu"][-1] - 5, abs=0.11)


def test_a_stuck_sensor_repeats_its_value_of_the_onset():
    fleet = fleet_with({"kind": "stuck_sensor", "onset": "3h", "duration": "5h"})
    told, calm, _ = seen(fleet, fleet.incidents[0].entity)
    assert (told["temp_cpu"][180:480] == calm["temp_cpu"][180]).all()
    assert (told["temp_cpu"][480:] == calm["temp_cpu"][480:]).all()


@pytest.mark.parametrize(
    ("mode", "signal", "true"),
    [
        ("spikes", "temp_inlet", lambda x, y: ((x == y) | (x == 1001.0)).all()),
        ("spikes", "load1", lambda x, y: ((x == y) | (x == 100001.0)).all()),
        ("nan", "cpu", lambda x, y: ((x == y) | np.isnan(x)).all() and np.isnan(x).any()),
        ("unit_swap", "cpu", lambda x, y: (x == y * 100).all()),
        ("unit_swap", "temp_cpu", lambda x, y: (x == y * 1.8 + 32).all()),
        ("unit_swap", "disk_latency", lambda x, y: (x == y * 1000).all()),
        ("wrap", "net_in", lambda x, y: (x == y % 2**32).all()),
        ("reset", "packets", lambda x, y: (x == y - y[0]).all()),
    ],
)
def test_a_bad_sensor_lies_in_its_own_way(mode, signal, true):
    fleet = fleet_with(
        {"kind": "bad_sensor", "mode": mode, "signal": signal, "onset": "3h", "duration": "5h"}
    )
    told, calm, _ = seen(fleet, fleet.incidents[0].entity)
    x, y = told[signal][180:480], calm[signal][180:480]
    assert not np.array_equal(x, y)
    assert true(x, y)


def test_only_bad_sensors_leave_the_physical_bounds():
    kinds = [kind for kind in KINDS if kind != "bad_sensor"]
    faults = [{"kind": kind, "onset": "6h", "duration": "8h"} for kind in kinds]
    fleet = fleet_with(*faults, hosts=24)
    columns = fleet.block(Block(0, fleet.ticks))
    for m, signal in enumerate(HOST):
        x = columns.value[columns.series % 30 == m]
        assert x.min() >= signal.low, signal.id
        assert signal.counter or x.max() <= signal.high, signal.id


def test_missing_data_leaves_out_whole_ticks_in_bursts_and_blackouts_everything():
    bursts = fleet_with({"kind": "missing_data", "onset": "2h", "duration": "20h"})
    _, _, heard = seen(bursts, bursts.incidents[0].entity)
    assert not heard[120]
    assert 0.2 < 1 - heard[120:1320].mean() < 0.5
    runs = np.diff(np.flatnonzero(np.diff(heard.astype(int))))
    assert runs.mean() > 5
    black = fleet_with({"kind": "missing_data", "mode": "blackout", "onset": "2h", "racks": 2})
    columns = black.block(Block(0, 240))
    assert np.unique(columns.time).size == 180
    assert columns.value.size == 180 * 4 * 30


def test_hosts_are_drawn_so_that_few_have_two_faults():
    fleet = Fleet(preset("small"), 21)
    real = [one.entity for one in fleet.incidents if not one.fault.benign]
    assert len(real) == len(set(real))


def test_named_hosts_are_struck_as_named():
    fault = {"kind": "nic_errors", "entities": ["host:node-2", "host:node-4"]}
    assert [one.entity for one in fleet_with(fault).incidents] == [1, 3]


def test_random_faults_strike_as_often_as_asked():
    chance = {"fault": {"kind": "nic_errors", "duration": "2h"}, "per_entity_day": 0.1}
    fleet = fleet_with(hosts=200, duration="10d", random=[chance])
    assert 150 < len(fleet.incidents) < 250
    assert len({one.number for one in fleet.incidents}) == len(fleet.incidents)
    assert all(one.onset % 60_000 == 0 and one.end <= 864_000_000 for one in fleet.incidents)


def test_what_cannot_be_seen_has_no_detectable_moment():
    faint = {"kind": "fan_fail", "onset": "2h", "duration": "1h", "heat": 30}
    chosen = fleet_with(faint, metrics=["system.network.io"])
    assert truth(chosen).faults[0].detectable is None
    assert truth(chosen).faults[0].metrics == ()
    short = fleet_with({"kind": "stuck_sensor", "onset": "2h", "duration": "5m"})
    assert truth(short).faults[0].detectable is None
    unwrapped = {"kind": "bad_sensor", "mode": "wrap", "signal": "faults", "onset": "2h"}
    assert truth(fleet_with(unwrapped)).faults[0].detectable is None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_truth_is_in_order(seed):
    known = truth(Fleet(preset("fleet", hosts=40), seed))
    assert known.entity_days == 40
    for fact in known.faults:
        assert known.start <= fact.onset < fact.end <= known.end
        if fact.benign:
            assert fact.detectable is None
            assert fact.fail is None
        else:
            assert fact.onset <= fact.detectable < fact.end, fact
            assert fact.fail is None or fact.onset <= fact.fail <= fact.end
            assert fact.metrics


def test_every_shape_and_operation_is_used_by_some_fault():
    used = [effect for kind in KINDS for effect in KINDS[kind](kind=kind).effects()]
    used += KINDS["disk_fill"](kind="disk_fill", growth="exponential").effects()
    assert {effect.shape for effect in used} == set(Shape)
    assert {effect.op for effect in used} == set(Op)
