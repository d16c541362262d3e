"""Rejected samples: listed with reason and place, offered again, proven like all others."""

import json

import pytest
from tests.commands import finished, read_run, wk

CONTRACT = """
name: pump
version: 1
entities: [pump]
metrics:
  - {{name: flow, unit: "1", low: 0, high: {high}, worse: both}}
  - {{name: pressure, unit: "1", low: 0, high: {high}, worse: high}}
"""
CONFIG = """
version: 1
packs: [./pump]
sources: [{type: file, paths: [pumps.csv]}]
"""


def once(folder):
    code, _, err = finished(
        "run", "--once", "--config", "wk.yaml", "--data", "data", "--listen", "127.0.0.1:0",
        cwd=folder,
    )  # fmt: skip
    assert code == 0, err
    return err


def counted(capsys, data):
    capsys.readouterr()
    assert wk("verify", "--data", data, "--output", "json") == 0
    return json.loads(capsys.readouterr().out)["samples"]


@pytest.fixture
def site(tmp_path):
    """An hour of one pump under a contract that is too narrow, journalled and decided.

    All of pressure is refused and so is every tenth sample of flow; one line is broken.
    """
    (tmp_path / "pump").mkdir()
    (tmp_path / "pump" / "contract.yaml").write_text(CONTRACT.format(high=1))
    (tmp_path / "wk.yaml").write_text(CONFIG)
    lines = ["timestamp,entity,metric,value"]
    for minute in range(60):
        flow = 0.5 if minute % 10 else 5
        lines.append(f"2026-01-05 00:{minute:02}:00,pump:a,flow,{flow}")
        lines.append(f"2026-01-05 00:{minute:02}:00,pump:a,pressure,{2 + minute / 100}")
    lines.append("2026-01-05 01:00:00,pump:a,flow,broken")
    (tmp_path / "pumps.csv").write_text("\n".join(lines) + "\n")
    once(tmp_path)
    return tmp_path


def listed(site, capsys, *more):
    capsys.readouterr()
    assert wk("quarantine", "list", "--data", site / "data", "--output", "json", *more) == 0
    return json.loads(capsys.readouterr().out)


def offered_again(site, capsys, *more):
    capsys.readouterr()
    given = ("--data", site / "data", "--config", site / "wk.yaml", "--output", "json")
    assert wk("quarantine", "replay", *given, *more) == 0
    return json.loads(capsys.readouterr().out)


def test_rejected_samples_go_the_whole_way_once_the_contract_is_right(site, capsys):
    facts = listed(site, capsys)
    assert facts["count"] == 67
    assert facts["reasons"] == {"above_bound": 66, "not_a_number": 1}
    (broken,) = listed(site, capsys, "--reason", "not_a_number")["samples"]
    assert (broken["offered"], broken["origin"]) == ("broken", "pumps.csv:122")

    assert offered_again(site, capsys) == {"offered": 66, "released": 0}
    (site / "pump" / "contract.yaml").write_text(CONTRACT.format(high=100))
    assert offered_again(site, capsys) == {"offered": 66, "released": 66}
    assert offered_again(site, capsys) == {"offered": 0, "released": 0}
    once(site)

    samples = counted(capsys, site / "data")
    assert samples["accepted"] == 54 + 66
    assert samples["scored"] == 54 + 60  # all of pressure is news
    assert samples["late"] == 6  # of flow, newer samples were scored before
    assert samples["rejected"] == 67  # what was refused stays on record
    assert wk("replay", "--data", site / "data", "--out", site / "out") == 0
    counts = read_run(site / "out")["counts"]
    assert {name: counts[name] for name in samples} == samples


def test_only_the_reason_asked_for_is_offered_again(site, capsys):
    (site / "pump" / "contract.yaml").write_text(CONTRACT.format(high=100))
    found = offered_again(site, capsys, "--reason", "below_bound")
    assert found == {"offered": 0, "released": 0}
    found = offered_again(site, capsys, "--reason", "above_bound")
    assert found == {"offered": 66, "released": 66}


def test_the_list_reads_well(site, capsys):
    capsys.readouterr()
    assert wk("quarantine", "--data", site / "data") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["66", "above_bound"]
    assert "pump:a flow {} = 5.0 at 2026-01-05T00:00:00Z: value <= 1" in "\n".join(lines)
    assert len(lines) == 2 + 67


def test_a_corrected_contract_without_a_run_leaves_the_proof_whole(site, capsys):
    (site / "pump" / "contract.yaml").write_text(CONTRACT.format(high=100))
    offered_again(site, capsys)
    assert wk("verify", "--data", site / "data") == 0


@pytest.mark.parametrize("action", ["list", "replay"])
def test_a_data_folder_that_is_not_there_is_told_and_not_made(action, tmp_path, capsys):
    assert wk("quarantine", action, "--data", tmp_path / "nowhere") == 1
    assert "WK300" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_without_results_is_told(tmp_path, capsys):
    assert wk("quarantine", "list", "--results", tmp_path) == 1
    assert "WK200" in capsys.readouterr().err


def test_values_that_json_cannot_hold_are_spelled(tmp_path, capsys):
    lines = ["timestamp,entity,metric,value", *(f"{i + 1_000_000},host:a,x,1" for i in range(9))]
    lines += ["2000000,host:a,x,nan", "2000001,host:a,x,-inf"]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    assert wk("score", tmp_path / "in.csv", "--pack", "generic@1", "--out", tmp_path / "out") == 0
    capsys.readouterr()
    assert wk("quarantine", "--results", tmp_path / "out", "--output", "json") == 0
    text = capsys.readouterr().out
    facts = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert sorted(row["offered"] for row in facts["samples"]) == ["-inf", "nan"]


def test_an_empty_quarantine_is_told(tmp_path, capsys):
    (tmp_path / "in.csv").write_text("timestamp,value\n1000000,1\n1000060,1\n")
    assert wk("score", tmp_path / "in.csv", "--out", tmp_path / "out") == 0
    capsys.readouterr()
    assert wk("quarantine", "--results", tmp_path / "out") == 0
    assert capsys.readouterr().out == "quarantine is empty\n"
