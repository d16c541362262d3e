"""A data folder in use: status, report, replay and explanation of what a service left behind."""

import json
import shutil
import time

import duckdb
import polars
import pyarrow.parquet as pq
import pytest
from tests.commands import digest, finished, left_in, read_run, rows, wk

CONFIG = """
version: 1
sources: [{type: file, paths: [now.csv]}]
policies:
  - {name: any-loss, match: {types: [host]}, when: "health < 99.0", for: 0s}
"""


def lines():
    begin = int(time.time()) - 240 * 60  # what is older than a day is refused
    yield "timestamp,entity,metric,value"
    for minute in range(240):
        at = begin + 60 * minute
        yield f"{at},host:web-1,system.filesystem.utilization,{0.4 + minute % 7 / 1000}"
        full = 0.985 if minute > 200 else 0.5
        yield f"{at},host:web-2,system.filesystem.utilization,{full + minute % 7 / 1000}"
        yield f"{at},host:web-2,system.cpu.utilization,{-1 if minute == 9 else 0.2}"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Four hours of two hosts, one of which fills up its disk, taken in by two short runs."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "wk.yaml").write_text(CONFIG)
    (folder / "now.csv").write_text("\n".join(lines()) + "\n")
    given = ("run", "--once", "--config", "wk.yaml", "--data", "data", "--listen", "127.0.0.1:0")
    for _ in range(2):
        code, out, err = finished(*given, cwd=folder)
        assert (code, out) == (0, ""), err
        assert "page" not in err  # one round needs no port
    return folder


def shown(capsys, *arguments, code=0):
    capsys.readouterr()
    assert wk(*arguments) == code
    return capsys.readouterr().out


def test_a_second_run_takes_nothing_twice_and_the_ledger_is_proven(site, capsys):
    facts = json.loads(shown(capsys, "verify", "--data", site / "data", "--output", "json"))
    assert facts["ok"] is True
    assert facts["samples"]["accepted"] + facts["samples"]["rejected"] == 720
    assert facts["samples"]["duplicate"] == 0
    assert facts["samples"]["rejected"] == 1
    text = shown(capsys, "verify", "--data", site / "data")
    assert text.startswith("proven: ")
    assert "719 accepted = " in text


def test_status_tells_the_worst_first(site, capsys):
    facts = json.loads(shown(capsys, "status", "--data", site / "data", "--output", "json"))
    assert [one["entity"] for one in facts["entities"]] == ["host:web-2", "host:web-1"]
    sick, well = facts["entities"]
    assert sick["health"] < 60 < 99 < well["health"]
    assert sick["contributions"][0]["metric"] == "system.filesystem.utilization"
    assert facts["open_orders"] == 0
    text = shown(capsys, "status", "--data", site / "data")
    assert "samples 719 accepted, 1 rejected" in text
    assert text.index("host:web-2") < text.index("host:web-1")
    *table, command = text.splitlines()
    assert all(len(line) <= 100 for line in table)
    assert command == f"why, in full: watchkeeper explain host:web-2 --data {site / 'data'}"


def test_status_speaks_to_nagios(site, tmp_path, capsys):
    told = shown(capsys, "status", "--data", site / "data", "--nagios", code=2)
    assert told == "CRITICAL - 1 fail: host:web-2 | entities=2\n"
    told = shown(capsys, "status", "--data", tmp_path / "none", "--nagios", code=3)
    assert told.startswith("UNKNOWN - WK300")


def test_replay_gives_the_same_results_every_time(site, tmp_path, capsys):
    for name in ("one", "two"):
        assert wk("replay", "--data", site / "data", "--out", tmp_path / name) == 0
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    counts = read_run(tmp_path / "one")["counts"]
    assert counts["offered"] == counts["accepted"] + counts["rejected"] == 720
    assert len(rows(tmp_path / "one" / "scores.parquet")) == counts["scored"]
    told = shown(
        capsys, "replay", "--data", site / "data", "--out", tmp_path / "two", "--output", "json"
    )
    assert json.loads(told)["digest"] == digest(tmp_path / "one")
    assert left_in(tmp_path) == ["one", "two"]


def test_replay_needs_no_configuration_and_no_source(site, tmp_path):
    shutil.copytree(site / "data", tmp_path / "elsewhere")
    assert wk("replay", "--data", tmp_path / "elsewhere", "--out", tmp_path / "out") == 0
    assert wk("replay", "--data", site / "data", "--out", tmp_path / "here") == 0
    assert digest(tmp_path / "out") == digest(tmp_path / "here")


def test_a_report_is_written_in_every_format(site, tmp_path):
    for name in ("report.html", "report.json", "report.txt"):
        assert wk("report", "--data", site / "data", "--out", tmp_path / name) == 0
    assert left_in(tmp_path) == ["report.html", "report.json", "report.txt"]
    html = (tmp_path / "report.html").read_text()
    assert html.lower().startswith("<!doctype html>")
    assert "host:web-2" in html
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["states"]["fail"] == 1
    assert facts["run"]["since"].startswith("20")
    assert not facts["run"]["since"].startswith("1970")
    text = (tmp_path / "report.txt").read_text()
    assert text.startswith("1 of 2 entities is unhealthy")


def test_a_report_may_be_of_a_part_of_the_fleet_and_of_the_time(site, tmp_path, capsys):
    def told(*part):
        said = shown(capsys, "report", "--data", site / "data", "--format", "json", *part)
        return json.loads(said)

    whole = told()
    names = [one["entity"] for one in whole["entities"]]
    assert whole["run"]["scope"] == ""
    one = told("--entity", "host:web-2")
    assert [entity["entity"] for entity in one["entities"]] == ["host:web-2"] != names
    assert {decision["entity"] for decision in one["decisions"]} == {"host:web-2"}
    assert one["run"]["scope"] == "host:web-2"
    assert one["run"]["digest"] == whole["run"]["digest"]
    assert [e["entity"] for e in told("--group", "host")["entities"]] == names
    last = told("--last", "2s")["run"]
    assert last["until"] == whole["run"]["until"] > last["since"] > whole["run"]["since"]
    for wrong in (("--entity", "host:web-9"), ("--group", "rack=1"), ("--last", "soon")):
        assert wk("report", "--data", site / "data", *wrong) == 1
        assert "WK200" in capsys.readouterr().err


def test_a_report_for_tables_is_read_by_others(site, tmp_path):
    file = tmp_path / "report.parquet"
    assert wk("report", "--data", site / "data", "--out", file) == 0
    read = polars.read_parquet(file)
    asked = "select entity, state, health from read_parquet(?) order by health"
    (worst, *_) = duckdb.execute(asked, [str(file)]).fetchall()
    assert worst == read.select("entity", "state", "health").row(0)
    assert worst[:2] == ("host:web-2", "fail")
    about = json.loads(pq.read_schema(file).metadata[b"watchkeeper"])
    assert about["schema"] == "watchkeeper.report-entities/1"


def test_a_report_goes_to_stdout_for_pipes(site):
    for format, begins in (("text", "1 of 2"), ("json", "{"), ("html", "<!doctype html>")):
        code, out, err = finished("report", "--data", site / "data", "--output", format)
        assert (code, err) == (0, "")
        assert out.lower().startswith(begins)


def test_a_report_that_cannot_be_written_is_told(site, tmp_path, capsys):
    assert wk("report", "--data", site / "data", "--out", tmp_path / "no" / "r.html") == 1
    assert "WK600" in capsys.readouterr().err


def test_explain_derives_the_latest_moment_from_the_journal(site, capsys):
    told = shown(capsys, "explain", "host:web-2", "--data", site / "data", "--output", "json")
    facts = json.loads(told, parse_constant=pytest.fail)
    assert facts["state"] == "fail"
    assert facts["signals"][0]["metric"] == "system.filesystem.utilization"
    (mine,) = [one for one in facts["policies"] if one["policy"] == "any-loss"]
    assert mine["phase"] == "firing"
    assert [one["phase"] for one in facts["decisions"] if one["policy"] == "any-loss"]
    assert wk("explain", "host:web-3", "--data", site / "data") == 1
    assert "known: host:web-1, host:web-2" in capsys.readouterr().err


def test_reading_beside_a_data_folder_changes_nothing_in_it(site, tmp_path):
    before = {path.name: path.read_bytes() for path in (site / "data").iterdir() if path.is_file()}
    for command in ("status", "verify"):
        wk(command, "--data", site / "data")
    after = {path.name: path.read_bytes() for path in (site / "data").iterdir() if path.is_file()}
    assert after == before
