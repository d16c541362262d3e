"""What a house costs is measured on it; what cannot be known is said and not guessed."""

import dataclasses
import json
import os

import pytest
from tests.commands import wk
from tests.test_pipeline import ENGINE
from tests.upkeep.houses import a_house, opened

from watchkeeper import config
from watchkeeper.upkeep.capacity import DAY, History, Machine, capacity, history

PAST = History(
    entries=8_640, samples=864_000, series=1_000, entities=100, disk=86_400_000, ledger=8_640_000,
    first=1, lived=DAY, window=DAY, rate=10.0, entries_a_day=8_640.0, series_a_day=100.0,
    score_cost=1e-6,
)  # fmt: skip
HERE = Machine(cores=2, disk_free=864_000_000, memory=2 << 30, busy=0.5, resident=1 << 30)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return a_house(tmp_path_factory.mktemp("capacity") / "data")


def test_costs_are_what_was_taken_divided_by_what_it_was_taken_for():
    costs = capacity(PAST, HERE).costs
    assert costs["disk_bytes_per_sample"] == 100
    assert costs["cpu_seconds_per_million_samples"] == 50_000
    assert costs["score_cpu_seconds_per_million_samples"] == pytest.approx(1.0)
    assert costs["memory_bytes_per_series"] == pytest.approx((1 << 30) / 1_000)
    assert costs["memory_bytes_per_entity"] == pytest.approx((1 << 30) / 100)


def test_the_limit_that_is_reached_first_is_named_with_what_to_add():
    told = capacity(PAST, HERE)
    days = {one.name: one.days for one in told.limits}
    assert days["disk"] == pytest.approx(10)
    assert days["memory"] == pytest.approx(10)
    assert days["processors"] is None
    sooner = dataclasses.replace(HERE, disk_free=86_400_000)
    assert capacity(PAST, sooner).first.name == "disk"
    assert "larger disk" in capacity(PAST, sooner).first.advice


def test_a_journal_that_retention_cuts_grows_no_further_and_the_ledger_does():
    cut = dataclasses.replace(PAST, first=5_000)
    told = capacity(cut, HERE)
    assert {one.name: one.days for one in told.limits}["disk"] == pytest.approx(100)
    assert told.costs["disk_bytes_per_sample"] is None
    assert any("retention" in one for one in told.unknown)


def test_what_does_not_grow_reaches_no_limit():
    still = dataclasses.replace(PAST, entries_a_day=0.0, series_a_day=0.0)
    assert capacity(still, HERE).first is None


def test_a_house_that_does_not_run_says_what_cannot_be_known():
    told = capacity(PAST, Machine(cores=2, disk_free=1))
    assert {one.name for one in told.limits} == {"disk", "processors"}
    assert told.costs["memory_bytes_per_series"] is None
    assert any("memory" in one for one in told.unknown)
    assert any("scoring only" in one for one in told.unknown)


def test_from_minutes_nothing_is_forecast():
    told = capacity(dataclasses.replace(PAST, lived=60_000), HERE)
    assert all(one.days is None for one in told.limits)
    assert any("ten minutes" in one for one in told.unknown)


def test_history_is_that_of_the_journal(house):
    journal, ledger = opened(house)
    try:
        past = history(journal, ledger, (800, 200), config.read_rulebook, ENGINE)
        assert past.entries == journal.head()
        assert (past.series, past.entities) == (2, 2)
        assert past.lived == 24_000
        assert past.rate == pytest.approx(2.0, rel=0.1)
        assert past.entries_a_day == pytest.approx(86_400, rel=0.1)
        assert past.score_cost > 0
    finally:
        ledger.close()
        journal.close()


def test_the_command_tells_it_as_text_and_json(house, capsys):
    assert wk("capacity", "--data", house) == 0
    text = capsys.readouterr().out
    assert "unknown  memory: no house runs on this folder" in text
    assert wk("capacity", "--data", house, "--output", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["history"]["series"] == 2
    assert facts["first"] is None
    (house / "journal.sqlite.lock").write_text(f"{os.getpid()}\n")
    assert wk("capacity", "--data", house, "--output", "json") == 0
    machine = json.loads(capsys.readouterr().out)["machine"]
    assert 0 < machine["resident"] < machine["memory"]
    assert machine["busy"] > 0


def test_an_empty_folder_has_no_history_and_says_so(tmp_path, capsys):
    from tests.test_pipeline import Stores, rules

    Stores(tmp_path / "data", rules()).close()
    assert wk("capacity", "--data", tmp_path / "data", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out)["costs"]["disk_bytes_per_sample"] is None
