import importlib.util
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from watchkeeper.model import KEYS
from watchkeeper.simulate import Block, Fleet, blocks, digest, generate, parse, preset
from watchkeeper.simulate._host import HOST

_spec = importlib.util.spec_from_file_location("naive", Path(__file__).with_name("naive.py"))
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

SMALL = preset("small", hosts=8, duration="12h")
WHOLE = Fleet(SMALL, 3).block(Block(0, SMALL.ticks))


def rows(columns):
    """The samples as comparable rows; NaN equals NaN."""
    bits = columns.value.view("i8").tolist()
    return list(zip(columns.series.tolist(), columns.time.tolist(), bits, strict=True))


def test_a_fleet_reports_thirty_series_a_host_in_canonical_keys():
    fleet = Fleet(preset("quiet", hosts=3), 1)
    assert fleet.keys.schema.equals(KEYS)
    assert fleet.keys.num_rows == 90
    assert len({tuple(row.values()) for row in fleet.keys.to_pylist()}) == 90
    assert fleet.keys.column("entity")[89].as_py() == "host:node-3"


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_slice_in_any_order_is_cut_from_the_same_whole(data):
    fleet = Fleet(SMALL, 3)
    expected = {row[:2]: row for row in rows(WHOLE)}
    for _ in range(3):
        first = data.draw(st.integers(0, SMALL.ticks - 1))
        last = data.draw(st.integers(first, min(first + 300, SMALL.ticks)))
        low = data.draw(st.integers(0, 7))
        high = data.draw(st.integers(low, 8))
        found = rows(fleet.block(Block(first, last, low, high)))
        times = {SMALL.origin + tick * SMALL.interval for tick in range(first, last)}
        wanted = [
            row
            for place, row in expected.items()
            if place[1] in times and low * 30 <= place[0] < high * 30
        ]
        assert found == wanted


@pytest.mark.parametrize("size", [1, 5_000, 77_777, 10**9])
def test_the_size_of_blocks_does_not_show(size):
    found = [row for columns in blocks(SMALL, 3, rows=size) for row in rows(columns)]
    assert found == rows(WHOLE)


def test_counters_are_right_read_backwards_one_tick_at_a_time():
    fleet = Fleet(SMALL, 3)
    found = [rows(fleet.block(Block(tick, tick + 1))) for tick in reversed(range(300))]
    assert [row for tick in reversed(found) for row in tick] == rows(WHOLE)[: 300 * 240]


def test_samples_come_sorted_by_time_then_series():
    order = np.lexsort((WHOLE.series, WHOLE.time))
    assert (order == np.arange(order.size)).all()


def test_a_host_is_the_same_in_a_larger_fleet():
    few, many = (preset("quiet", hosts=n, duration="3h") for n in (10, 60))
    a = Fleet(few, 5).block(Block(0, 180, 2, 3)).value
    b = Fleet(many, 5).block(Block(0, 180, 2, 3)).value
    assert a.tobytes() == b.tobytes()


def test_leaving_metrics_out_changes_no_other():
    names = ["hw.temperature", "system.memory.linux.available", "system.network.io"]
    chosen = parse(SMALL.model_dump(mode="json") | {"metrics": names}, "test")
    part = Fleet(chosen, 3)
    assert {signal.metric for signal in part.signals} == set(names)
    keys = {tuple(row.values()): place for place, row in enumerate(WHOLE.keys.to_pylist())}
    kept = [keys[tuple(row.values())] for row in part.keys.to_pylist()]
    few = part.block(Block(0, part.ticks))
    expected = WHOLE.value[np.isin(WHOLE.series, kept)]
    assert few.value.tobytes() == expected.tobytes()


def test_another_seed_gives_another_fleet():
    assert digest(SMALL, 3) != digest(SMALL, 4)


def test_generate_is_the_same_function_as_the_fleet():
    assert rows(generate(SMALL, 3, Block(0, SMALL.ticks))) == rows(WHOLE)


@pytest.mark.parametrize("block", [Block(-1, 5), Block(5, 4), Block(0, 721), Block(0, 1, 0, 9)])
def test_a_slice_outside_the_fleet_is_refused(block):
    with pytest.raises(IndexError):
        Fleet(SMALL, 3).block(block)


def test_gauges_follow_the_documented_formula():
    scenario = preset("quiet", hosts=4, duration="6d")
    fleet = Fleet(scenario, 9)
    for tick in (0, 255, 256, 5000, 8111):
        values = fleet.block(Block(tick, tick + 1, 2, 3)).value
        for m, signal in enumerate(HOST):
            if signal.counter or signal.mirror:
                continue
            expected = naive.gauge(signal, "host:node-3", 9, scenario, tick)
            grain = 1.0 / signal.per_unit
            assert values[m] == pytest.approx(expected, rel=1e-5, abs=0.51 * grain), signal.id


def test_healthy_values_stay_within_the_contract_and_counters_only_grow():
    document = YAML(typ="safe").load(
        (files("watchkeeper") / "packs/host/contract.yaml").read_text("utf-8")
    )
    fleet = Fleet(preset("quiet", hosts=20, duration="3d"), 2)
    values = fleet.block(Block(0, fleet.ticks)).value.reshape(fleet.ticks, 20, -1)
    for m, signal in enumerate(fleet.signals):
        rule = next(
            rule
            for rule in document["metrics"]
            if rule["name"] == signal.metric
            and all(
                dict(signal.attributes).get(name) in ([word] if isinstance(word, str) else word)
                for name, word in rule.get("where", {}).items()
            )
        )
        assert rule["unit"] == signal.unit, signal.id
        assert (rule.get("kind", "gauge") == "counter") == signal.counter, signal.id
        x = values[:, :, m]
        assert x.min() >= rule.get("low", -np.inf), signal.id
        assert x.max() <= rule.get("high", np.inf), signal.id
        if signal.counter:
            assert np.diff(x, axis=0).min() >= 0, signal.id
            assert (x == np.round(x * signal.per_unit) / signal.per_unit).all()


def test_signals_of_a_host_move_with_its_load_and_weekends_are_calm():
    fleet = Fleet(preset("quiet", hosts=10, duration="7d"), 4)
    values = fleet.block(Block(0, fleet.ticks)).value.reshape(7, 1440, 10, 30)
    place = {signal.id: m for m, signal in enumerate(fleet.signals)}
    cpu, heat = values[..., place["cpu"]], values[..., place["temp_cpu"]]
    together = [np.corrcoef(cpu[..., e].ravel(), heat[..., e].ravel())[0, 1] for e in range(10)]
    assert min(together) > 0.6
    swing = cpu.reshape(7, 24, 60, 10).mean(axis=(2, 3)).std(axis=1)
    assert swing[5:].mean() < 0.75 * swing[:5].mean()


def test_memory_in_bytes_and_as_a_share_tell_one_story():
    fleet = Fleet(preset("small"), 1)
    values = fleet.block(Block(0, 300)).value.reshape(300, 24, 30)
    place = {signal.id: m for m, signal in enumerate(fleet.signals)}
    total = values[..., place["available"]] / (1.0 - values[..., place["memory"]])
    sizes = np.round(total / 1024**3)
    assert set(np.unique(sizes)) <= {64.0, 128.0, 256.0, 512.0}
    assert (sizes == sizes[0]).all()
