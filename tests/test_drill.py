"""A simulated fleet, scored and held against its truth, through the commands."""

import json

import pytest
from tests.commands import digest, simulated, wk


def test_faults_of_a_fleet_are_noticed(tmp_path, capsys):
    fleet = simulated(tmp_path / "fleet.parquet")
    truth = tmp_path / "fleet.parquet.truth.json"
    assert wk("score", fleet, "--out", tmp_path / "out") == 0
    capsys.readouterr()
    assert wk("drill", tmp_path / "out", "--truth", truth, "--output", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["faults"] == len([one for one in facts["findings"] if not one["benign"]]) > 8
    assert facts["noticed"] >= 0.8 * facts["faults"]
    assert wk("drill", tmp_path / "out", "--truth", truth) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"noticed {facts['noticed']} of {facts['faults']} faults")
    assert "disk_fill" in text


def test_a_quiet_fleet_stays_quiet(tmp_path, capsys):
    quiet = tmp_path / "quiet.parquet"
    made = ("--scenario", "quiet", "--hosts", 3, "--duration", "12h", "--out", quiet)
    assert wk("simulate", *made) == 0
    assert wk("score", quiet, "--out", tmp_path / "out") == 0
    capsys.readouterr()
    truth = tmp_path / "quiet.parquet.truth.json"
    assert wk("drill", tmp_path / "out", "--truth", truth, "--output", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["faults"] == 0
    assert facts["false_incidents"] <= 1


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        simulated(tmp_path / f"{name}.csv", "--seed", seed)
        assert wk("score", tmp_path / f"{name}.csv", "--out", tmp_path / name) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff\xfe"])
def test_a_file_that_is_no_truth_is_told(content, tmp_path, capsys):
    (tmp_path / "truth.json").write_bytes(content)
    assert wk("drill", tmp_path, "--truth", tmp_path / "truth.json") == 1
    assert "WK200" in capsys.readouterr().err


def test_a_folder_without_results_is_told(tmp_path, capsys):
    fleet = tmp_path / "x.csv"
    assert wk("simulate", "--hosts", 1, "--duration", "1h", "--out", fleet) == 0
    capsys.readouterr()
    assert wk("drill", tmp_path, "--truth", tmp_path / "x.csv.truth.json") == 1
    assert "WK200" in capsys.readouterr().err
