"""The gate of performance: ratios are held to a baseline, shares to budgets, memory to limits."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import pytest
from benchmarks import gate
from benchmarks.gate import BASELINE, BUDGET, PARTS, Told, compared

from watchkeeper import config

ROOT = Path(__file__).parents[1]
EVEN = Told(dict.fromkeys(PARTS, 1.0), dict.fromkeys(PARTS, 4.0))
KEPT = dict.fromkeys(PARTS, 4.0)


def slower(name: str, times: float) -> Told:
    return Told(EVEN.ours | {name: times}, EVEN.beside)


def test_the_baseline_has_every_ratio_and_the_machine_beside_it():
    kept = json.loads(BASELINE.read_text(encoding="utf-8"))
    assert set(kept["ratios"]) == set(PARTS)
    assert all(ratio > 0 for ratio in kept["ratios"].values())
    assert set(kept["limits"]) == {"machine", "processors", "memory_copy_gb_s", "sha256_gb_s"}


@pytest.mark.parametrize("name", PARTS)
def test_a_stage_that_became_slower_than_its_part_is_a_regression(name):
    assert min(compared(EVEN, KEPT).values()) >= 2.0
    held = compared(slower(name, 1.01 / PARTS[name]), KEPT)
    assert {one for one, share in held.items() if share < 1.0} == {name}


def test_a_machine_that_is_slower_in_everything_is_none():
    slow = Told(
        {n: 9 * s for n, s in EVEN.ours.items()}, {n: 9 * s for n, s in EVEN.beside.items()}
    )
    assert compared(slow, KEPT) == pytest.approx(compared(EVEN, KEPT))


def test_shares_add_up_and_every_stage_has_a_budget():
    assert sum(EVEN.shares().values()) == pytest.approx(1.0)
    assert set(BUDGET) == set(PARTS) - {"sync", "parallel"}
    assert sum(BUDGET.values()) > 1.0


@pytest.fixture
def noted(monkeypatch):
    kept = {}
    monkeypatch.setattr(gate, "note", lambda name, holds, **_: kept.update({name: holds}))
    monkeypatch.setattr("sys.argv", ["gate"])
    return kept


def test_what_holds_is_kept_as_evidence(monkeypatch, noted, capsys):
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))["ratios"]
    monkeypatch.setattr(gate, "measured", lambda: Told(EVEN.ours, baseline))
    gate.main()
    assert set(noted) == {"bench", "bench-stages", "bench-parallel"}
    assert min(noted.values()) >= 1.0
    assert "reached" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "fact"), [("score", "bench"), ("parallel", "bench-parallel")])
def test_a_regression_fails_the_gate_and_is_kept_as_evidence_too(monkeypatch, noted, name, fact):
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))["ratios"]
    slow = Told(slower(name, 1.1 / PARTS[name]).ours, baseline)
    monkeypatch.setattr(gate, "measured", lambda: slow)
    with pytest.raises(SystemExit, match="slower"):
        gate.main()
    assert noted[fact] < 1.0


def test_a_stage_beyond_its_share_fails_the_gate(monkeypatch, noted):
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))["ratios"]
    ours = EVEN.ours | {"check": 1.5}
    beside = {name: ours[name] * baseline[name] for name in ours}
    monkeypatch.setattr(gate, "measured", lambda: Told(ours, beside))
    with pytest.raises(SystemExit, match="share"):
        gate.main()
    assert (noted["bench"] >= 1.0, noted["bench-stages"] < 1.0) == (True, True)


def test_the_gate_measures_every_stage(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "ROUNDS", 1)
    monkeypatch.setattr(gate, "WARM", 1)
    monkeypatch.setattr(gate, "SERIES", 50)
    told = gate.stages(tmp_path)
    assert set(told.ours) == set(told.beside) == set(PARTS) - {"parallel"}
    assert all(seconds > 0 for seconds in told.beside.values())


def test_the_service_is_held_to_more_memory_than_its_own_limits_ask_for():
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(ROOT / "deploy/systemd/watchkeeper.service")
    most = unit["Service"]["MemoryMax"]
    assert most.endswith("G")
    limits = config.load((), {}).limits
    assert limits.waiting + limits.body <= int(most[:-1]) * (1 << 30) / 4
