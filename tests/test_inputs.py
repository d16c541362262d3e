"""Bad input from end to end: the documented reason or code, and nothing else is lost."""

import gzip
import math
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.commands import left_in, read_run, rows, wk

from watchkeeper.model import STALE_BITS

CPU = "system.cpu.utilization"
HEAD = "timestamp,entity,metric,value,unit"
GOOD = [f"2026-01-05 00:{minute:02}:00,host:web-1,{CPU},0.25,1" for minute in range(60)]
NOBODY = 65534

BAD = {
    "2026-01-05 01:00:00,host:web-1,{cpu},NaN,1": "not_finite",
    "2026-01-05 01:00:01,host:web-1,{cpu},inf,1": "not_finite",
    "2026-01-05 01:00:02,host:web-1,{cpu},-Infinity,1": "not_finite",
    "2026-01-05 01:00:03,host:web-1,{cpu},busy,1": "not_a_number",
    "2026-01-05 01:00:04,host:web-1,{cpu},0x10,1": "not_a_number",
    ",host:web-1,{cpu},0.5,1": "no_time",
    "yesterday,host:web-1,{cpu},0.5,1": "no_time",
    "1969-12-31 23:59:59,host:web-1,{cpu},0.5,1": "too_old",
    "2200-01-01 00:00:01,host:web-1,{cpu},0.5,1": "in_the_future",
    "2026-01-05 01:00:05,host:web-1,{cpu},-0.5,1": "below_bound",
    "2026-01-05 01:00:06,host:web-1,{cpu},25,1": "above_bound",
    "2026-01-05 01:00:07,host:web-1,{cpu},0.5,furlong": "wrong_unit",
    "2026-01-05 01:00:08,host:web-1,system.horoscope,0.5,1": "unknown_metric",
    f"2026-01-05 01:00:09,host:{'x' * 2000},{{cpu}},0.5,1": "bad_name",
    "2026-01-05 01:00:10,host:web\x07,{cpu},0.5,1": "bad_name",
}


def written(path, *lines):
    path.write_text("".join(f"{line}\n" for line in (HEAD, *lines)))
    return path


def score(folder, *inputs, code=0, pack="host@1"):
    assert wk("score", *inputs, "--pack", pack, "--out", folder / "out") == code
    return folder / "out"


def scored_hours(out):
    """How many of the sixty good samples were scored."""
    return sum(row["value"] == 0.25 for row in rows(out / "scores.parquet"))


@pytest.mark.parametrize("line", BAD, ids=lambda line: f"{BAD[line]}: {line[:60]!r}")
def test_each_bad_sample_gets_its_reason_and_place_and_its_neighbours_are_scored(line, tmp_path):
    source = written(tmp_path / "in.csv", *GOOD[:30], line.format(cpu=CPU), *GOOD[30:])
    out = score(tmp_path, source)
    (row,) = rows(out / "quarantine.parquet")
    assert row["reason"] == BAD[line]
    unread = BAD[line] in ("not_a_number", "no_time")  # of what was read, key and time tell
    assert row["origin"] == ("in.csv:32" if unread else "in.csv")
    assert row["detail"]
    assert scored_hours(out) == 60


def test_many_bad_samples_at_once_are_all_kept_apart(tmp_path, capsys):
    lines = [line.format(cpu=CPU) for line in BAD]
    out = score(tmp_path, written(tmp_path / "in.csv", *lines, *GOOD, *lines))
    counts = read_run(out)["counts"]
    assert (counts["offered"], counts["accepted"]) == (60 + 2 * len(BAD), 60)
    found = sorted(row["reason"] for row in rows(out / "quarantine.parquet"))
    assert found == sorted([*BAD.values(), *BAD.values()])
    assert scored_hours(out) == 60
    capsys.readouterr()
    assert wk("quarantine", "list", "--results", out, "--reason", "not_finite") == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0].split() == ["6", "not_finite"]
    assert "inf" in told
    assert "[in.csv]" in told


def test_a_known_unit_is_converted_instead(tmp_path):
    line = f"2026-01-05 01:00:00,host:web-1,{CPU},50,%"
    out = score(tmp_path, written(tmp_path / "in.csv", *GOOD, line))
    assert rows(out / "scores.parquet")[-1]["value"] == 0.5
    assert rows(out / "quarantine.parquet") == []


def parquet(path, values, metric=CPU):
    count = len(values)
    columns = {
        "timestamp": pa.array(1_767_571_200_000 + 60_000 * np.arange(count), pa.timestamp("ms")),
        "entity": ["host:web-1"] * count,
        "metric": [metric] * count,
        "value": pa.array(values),
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_a_stale_marker_ends_its_series_and_any_other_nan_is_refused(tmp_path):
    stale, other = np.array([STALE_BITS, 0x7FF8000000000000], np.uint64).view(np.float64)
    values = np.full(60, 0.25)
    values[20], values[40] = stale, other
    out = score(tmp_path, parquet(tmp_path / "in.parquet", values))
    (row,) = rows(out / "quarantine.parquet")
    assert (row["reason"], math.isnan(row["value"])) == ("not_finite", True)
    assert row["time"] == 1_767_571_200_000 + 40 * 60_000
    counts = read_run(out)["counts"]
    assert (counts["accepted"], counts["scored"]) == (59, 59)  # the marker says something too
    assert scored_hours(out) == 58
    coverage = {
        int(row["time"].timestamp() - 1_767_571_200) // 60: row["coverage"]
        for row in rows(out / "health.parquet")
    }
    assert coverage[20] < coverage[19]
    assert coverage[21] == coverage[19]


def test_infinities_in_parquet_are_refused(tmp_path):
    values = np.full(60, 0.25)
    values[[3, 5]] = np.inf, -np.inf
    out = score(tmp_path, parquet(tmp_path / "in.parquet", values))
    assert [row["reason"] for row in rows(out / "quarantine.parquet")] == ["not_finite"] * 2
    assert scored_hours(out) == 58


def test_a_truncated_gzip_is_told_and_all_before_the_cut_is_scored(tmp_path, capsys):
    lines = [f"{HEAD}\n", *(f"{line}\n" for line in GOOD)]
    noise = np.random.default_rng(1).random(20_000)
    lines += [f"{1_767_600_000 + i},host:web-2,{CPU},{v},1\n" for i, v in enumerate(noise)]
    whole = gzip.compress("".join(lines).encode())
    (tmp_path / "in.csv.gz").write_bytes(whole[: len(whole) // 2])
    written(tmp_path / "other.csv", f"2026-01-05 02:00:00,host:web-3,{CPU},0.25,1")
    out = score(tmp_path, tmp_path / "in.csv.gz", tmp_path / "other.csv", code=1)
    err = capsys.readouterr().err
    assert "WK202 in.csv.gz" in err
    assert scored_hours(out) == 61
    run = read_run(out)
    assert 5_000 < run["counts"]["scored"] < 15_000
    assert [problem[:5] for problem in run["problems"]] == ["WK202"]
    assert "WK202" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("strange.csv", b"when,what\nnow,much\n", "WK201"),
        ("empty.csv", b"", "WK203"),
        ("header.csv", b"timestamp,entity,metric,value\n", "WK203"),
        ("cut.parquet", b"PAR1\x15\x04\x15\x10", "WK202"),
        ("cut.csv.gz", gzip.compress(b"timestamp,value\n" * 99, mtime=0)[:-9], "WK202"),
    ],
    ids=["strange", "empty", "header", "cut-parquet", "cut-gzip"],
)
def test_a_file_that_cannot_be_read_is_told_and_the_others_are_scored(
    name, content, code, tmp_path, capsys
):
    (tmp_path / "in").mkdir()
    written(tmp_path / "in" / "good.csv", *GOOD)
    (tmp_path / "in" / name).write_bytes(content)
    out = score(tmp_path, tmp_path / "in", code=1)
    assert f"{code} {name}" in capsys.readouterr().err
    assert scored_hours(out) == 60


def test_a_file_alone_that_cannot_be_read_leaves_nothing_but_the_reason(tmp_path, capsys):
    (tmp_path / "empty.csv").write_text("")
    assert wk("score", tmp_path / "empty.csv", "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert "WK203 empty.csv" in err
    assert "no input holds a sample" in err
    assert left_in(tmp_path) == ["empty.csv"]


def test_nothing_but_bad_samples_is_told_with_the_reasons(tmp_path, capsys):
    bad = [line.format(cpu=CPU) for line in list(BAD)[:4]]
    source = written(tmp_path / "in.csv", *bad)
    assert wk("score", source, "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert "none of 4 samples was accepted: 3 not_finite such as in.csv, 1 not_a_number" in err
    assert "in.csv:5" in err
    assert left_in(tmp_path) == ["in.csv"]


def test_an_unknown_column_of_a_wide_file_is_refused_by_a_closed_contract_alone(tmp_path):
    lines = [f"2026-01-05 00:{minute:02}:00,0.25,7" for minute in range(60)]
    text = "\n".join((f"timestamp,{CPU},colour", *lines))
    (tmp_path / "web-1.csv").write_text(text)
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    out = score(tmp_path / "closed", tmp_path / "web-1.csv")
    assert {row["reason"] for row in rows(out / "quarantine.parquet")} == {"unknown_metric"}
    assert {row["metric"] for row in rows(out / "quarantine.parquet")} == {"colour"}
    assert scored_hours(out) == 60
    out = score(tmp_path / "open", tmp_path / "web-1.csv", pack="generic@1")
    assert rows(out / "quarantine.parquet") == []
    assert {row["metric"] for row in rows(out / "scores.parquet")} == {CPU, "colour"}


@pytest.fixture
def anybody():
    """A folder that everybody can reach, and a process without the rights of root."""
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-test-"))
    folder.chmod(0o755)
    (folder / "results").mkdir()
    root = os.geteuid() == 0
    if root:
        os.chown(folder / "results", NOBODY, NOBODY)
        warm = written(folder / "warm.csv", *GOOD)
        assert wk("score", warm, "--pack", "host@1", "--out", folder / "warm") == 0
        os.seteuid(NOBODY)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


@pytest.fixture
def closed(tmp_path_factory):
    """Files of which one folder and one file may not be read."""
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-test-"))
    folder.chmod(0o755)
    (folder / "secret").mkdir()
    for name in ("good.csv", "private.csv", "secret/other.csv"):
        written(folder / name, *GOOD)
    (folder / "private.csv").chmod(0)
    (folder / "secret").chmod(0)
    yield folder
    (folder / "secret").chmod(0o700)
    shutil.rmtree(folder)


def test_a_folder_without_permission_is_told_and_the_others_are_scored(closed, anybody, capsys):
    out = score(anybody / "results", closed, code=1)
    err = capsys.readouterr().err
    assert "WK204" in err
    assert "Permission denied" in err
    problems = read_run(out)["problems"]
    assert sorted("secret" in one or "private.csv" in one for one in problems) == [True, True]
    assert scored_hours(out) == 60


def test_an_output_folder_without_permission_is_told(anybody, capsys):
    source = written(anybody / "results" / "in.csv", *GOOD)
    assert wk("score", source, "--out", anybody / "out") == 1
    assert "WK600" in capsys.readouterr().err
