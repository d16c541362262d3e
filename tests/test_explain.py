"""Why: an entity at a moment, and what every policy made of it."""

import json
from datetime import datetime

import pytest
from tests.commands import rows, simulated, wk


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    fleet = simulated(folder / "fleet.parquet")
    assert wk("score", fleet, "--out", folder / "out") == 0
    return folder / "out"


def explained(capsys, *arguments):
    capsys.readouterr()
    assert wk("explain", *arguments, "--output", "json") == 0
    return json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))


def told(out, entity):
    return [row for row in rows(out / "health.parquet") if row["entity"] == entity]


def test_without_a_time_it_tells_the_worst_moment(out, capsys):
    facts = explained(capsys, "host:node-2", "--results", out)
    worst = min(row["health"] for row in told(out, "host:node-2") if row["health"] is not None)
    assert facts["health"] == worst < 60
    assert facts["state"] == "fail"


def test_what_the_signals_took_adds_up_to_what_is_lost(out, capsys):
    facts = explained(capsys, "host:node-2", "--results", out)
    took = [one["points"] for one in facts["signals"]]
    assert took == sorted(took, reverse=True)
    row = next(
        row for row in told(out, "host:node-2")
        if row["time"].strftime("%Y-%m-%dT%H:%M:%SZ") == facts["at"]
    )  # fmt: skip
    whole = 100 - row["health"]
    assert sum(took) <= whole + 1e-9
    assert took[0] == pytest.approx(whole * row["contributions"][0]["share"])
    assert facts["signals"][0]["metric"] == row["contributions"][0]["metric"]


@pytest.mark.parametrize("at", ["2026-01-05T01:00:00Z", "2026-01-05 01:00", "1767574800"])
def test_a_time_is_taken_as_operators_write_it(at, out, capsys):
    facts = explained(capsys, "host:node-2", "--results", out, "--at", at)
    assert facts["at"] == "2026-01-05T01:00:00Z"
    (row,) = [row for row in told(out, "host:node-2") if row["time"].timestamp() == 1_767_574_800]
    assert (facts["health"], facts["coverage"]) == (row["health"], row["coverage"])
    assert all(one["time"] <= 1_767_574_800_000 for one in facts["signals"])


def test_every_policy_says_where_it_stands_and_why(out, capsys):
    facts = explained(capsys, "host:node-2", "--results", out)
    stands = {one["policy"]: one for one in facts["policies"]}
    assert stands["host-failing"]["phase"] in ("pending", "firing")
    assert all(one["why"] for one in facts["policies"])
    until = datetime.fromisoformat(facts["at"]).timestamp()
    lines = (out / "decisions.jsonl").read_text().splitlines()
    decided = [json.loads(line) for line in lines]
    mine = [
        one for one in decided
        if one["entity"] == "host:node-2" and one["at"] / 1000 <= until
    ]  # fmt: skip
    assert [one["key"] for one in facts["decisions"]] == [one["key"] for one in mine]


def test_why_nothing_happened_has_an_answer(out, capsys):
    facts = explained(capsys, "host:node-2", "--results", out, "--at", "2026-01-05 00:30")
    failing = next(one for one in facts["policies"] if one["policy"] == "host-failing")
    assert failing["phase"] == "inactive"
    assert "does not hold" in failing["why"]
    assert facts["decisions"] == []


def test_the_text_reads_well(out, capsys):
    capsys.readouterr()
    assert wk("explain", "host:node-2", "--results", out) == 0
    text = capsys.readouterr().out
    assert text.startswith("host:node-2 at 2026-01-05T")
    for part in ("\nsignals\n", "\npolicies\n", "took ", "expected ", "decisions until then"):
        assert part in text
    assert "the policy does not look at this entity" not in text
    assert "of other entities: entity-failing" in text


def test_an_unknown_entity_is_told_with_the_known_ones(out, capsys):
    assert wk("explain", "host:node-99", "--results", out) == 1
    err = capsys.readouterr().err
    assert "WK200 host:node-99" in err
    assert "host:node-1" in err


def test_a_time_before_everything_is_told(out, capsys):
    assert wk("explain", "host:node-1", "--results", out, "--at", "2001-01-01") == 1
    assert "nothing is known of it at that time" in capsys.readouterr().err


def test_a_folder_without_results_is_told(tmp_path, capsys):
    assert wk("explain", "host:node-1", "--results", tmp_path) == 1
    assert "name a folder that `score` wrote" in capsys.readouterr().err


@pytest.mark.parametrize("at", ["garbage", "2026-13-01", "99999999999999999", "1900-01-01"])
def test_a_time_that_is_none_is_a_mistake_of_usage(at, out, capsys):
    assert wk("explain", "host:node-1", "--results", out, "--at", at) == 2
    assert at in capsys.readouterr().err
