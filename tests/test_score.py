"""The whole pipeline over files: what it writes, and what must not show in it."""

import json
import re
import signal

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests import golden
from tests.commands import digest, finished, left_in, process, read_run, rows, simulated, wk

from watchkeeper.results import Results

FILES = [
    "decisions.jsonl", "health.parquet", "quarantine.parquet", "report.html", "report.json",
    "run.json", "scores.parquet",
]  # fmt: skip


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("fleet") / "fleet.parquet")


@pytest.fixture(scope="module")
def out(fleet):
    out = fleet.parent / "out"
    assert wk("score", fleet, "--out", out) == 0
    return out


def test_the_folder_holds_exactly_the_documented_files(out):
    assert left_in(out) == FILES


def test_the_tables_have_exactly_the_documented_columns(out):
    assert pq.read_schema(out / "scores.parquet").names == [
        "entity", "metric", "attributes", "time", "value", "expected", "lower", "upper", "score",
        "onset",
    ]  # fmt: skip
    health = pq.read_schema(out / "health.parquet")
    assert health.names == [
        "entity", "time", "health", "state", "coverage", "score", "contributions",
    ]  # fmt: skip
    cell = health.field("contributions").type.value_type
    assert [field.name for field in cell] == ["metric", "attributes", "share"]


def test_every_sample_is_accounted_for(fleet, out):
    counts = read_run(out)["counts"]
    assert counts["offered"] == pq.read_metadata(fleet).num_rows
    assert counts["offered"] == counts["accepted"] + counts["rejected"]
    assert counts["accepted"] == counts["scored"] + counts["duplicate"] + counts["late"]
    assert pq.read_metadata(out / "scores.parquet").num_rows == counts["scored"]
    assert pq.read_metadata(out / "quarantine.parquet").num_rows == counts["rejected"] > 0


def test_health_is_told_once_for_each_entity_and_tick(out):
    told = pq.read_table(out / "health.parquet")
    counts = read_run(out)["counts"]
    pairs = set(zip(told["entity"].to_pylist(), told["time"].to_pylist(), strict=True))
    assert len(pairs) == told.num_rows <= counts["entities"] * counts["ticks"]
    assert counts["entities"] == len({entity for entity, _ in pairs}) == 4
    assert pc.min(told["health"]).as_py() >= 0
    assert pc.max(told["health"]).as_py() <= 100


def test_contributions_explain_all_that_is_lost_largest_first(out):
    lost = 0
    for row in rows(out / "health.parquet"):
        shares = [one["share"] for one in row["contributions"]]
        assert shares == sorted(shares, reverse=True)
        if row["health"] is not None and row["health"] < 100:
            lost += 1
            assert sum(shares) == pytest.approx(1)
    assert lost


def test_decisions_are_told_in_order_with_their_trace(out):
    told = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    assert told
    assert [one["at"] for one in told] == sorted(one["at"] for one in told)
    assert all(one["reason"] and one["outcome"] and one["trace"] for one in told)


def test_the_inputs_are_named_by_their_digests(fleet, out):
    import hashlib

    sha = hashlib.sha256(fleet.read_bytes()).hexdigest()
    assert read_run(out)["inputs"] == [
        {"name": "fleet.parquet", "sha256": sha, "size": fleet.stat().st_size}
    ]


@pytest.mark.parametrize(
    "how",
    [
        ("--workers", 1),
        ("--workers", 3, "--batch", 1000),
        ("--batch", 9999),
        ("--batch", 10_000_000),
    ],
)
def test_workers_and_batches_do_not_show(how, fleet, out, tmp_path):
    assert wk("score", fleet, "--out", tmp_path / "out", *how) == 0
    assert digest(tmp_path / "out") == digest(out)
    for name in ("scores.parquet", "health.parquet"):
        mine, theirs = (polars.read_parquet(place / name) for place in (tmp_path / "out", out))
        assert mine.equals(theirs)  # polars holds NaN for equal to NaN


def test_the_folder_and_the_hash_seed_do_not_show(fleet, out, tmp_path):
    for seed in ("1", "4711"):
        folder = tmp_path / seed
        folder.mkdir()
        (folder / "fleet.parquet").write_bytes(fleet.read_bytes())
        code, _, err = finished(
            "score", "fleet.parquet", "--out", "out", cwd=folder, env={"PYTHONHASHSEED": seed}
        )
        assert code == 0, err
        assert digest(folder / "out") == digest(out)


def test_how_the_rows_were_shuffled_and_split_into_files_does_not_show(fleet, out, tmp_path):
    table = pq.read_table(fleet)
    mixed = table.take(np.random.default_rng(1).permutation(table.num_rows))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    pq.write_table(mixed.slice(0, 10_000), tmp_path / "in" / "deep" / "z.parquet")
    pq.write_table(mixed.slice(10_000, 1), tmp_path / "in" / "b.parquet")
    pa.csv.write_csv(mixed.slice(10_001), tmp_path / "in" / "a.csv")
    assert wk("score", tmp_path / "in", "--out", tmp_path / "out") == 0
    assert digest(tmp_path / "out") == digest(out)


@pytest.mark.parametrize("name", ["fleet.csv.gz", "fleet.jsonl"])
def test_the_format_of_a_file_does_not_show(name, out, tmp_path):
    simulated(tmp_path / name)
    assert wk("score", tmp_path / name, "--out", tmp_path / "out") == 0
    assert digest(tmp_path / "out") == digest(out)


def test_the_order_on_the_command_line_does_not_show(fleet, tmp_path):
    table = pq.read_table(fleet)
    for name, start in (("a", 0), ("b", 20_000)):
        pq.write_table(table.slice(start, 22_480), tmp_path / f"{name}.parquet")  # they overlap
    found = []
    for order in ("ab", "ba"):
        files = [tmp_path / f"{name}.parquet" for name in order]
        assert wk("score", *files, "--out", tmp_path / order) == 0
        found.append(read_run(tmp_path / order))
    assert found[0]["digest"] == found[1]["digest"]
    assert found[0]["counts"] == found[1]["counts"]
    assert found[0]["counts"]["duplicate"] > 0


def test_one_value_changed_by_the_last_bit_shows(fleet, out, tmp_path):
    table = pq.read_table(fleet)
    value = table["value"].to_numpy().copy()
    value[4242] = np.nextafter(value[4242], np.inf)
    at = table.schema.get_field_index("value")
    pq.write_table(table.set_column(at, "value", pa.array(value)), tmp_path / "fleet.parquet")
    assert wk("score", tmp_path / "fleet.parquet", "--out", tmp_path / "out") == 0
    assert digest(tmp_path / "out") != digest(out)


def test_a_failure_in_the_middle_leaves_the_earlier_run_and_nothing_else(
    fleet, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    assert wk("score", fleet, "--out", out, "--pack", "generic@1") == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def broken(*_args, **_options):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(Results, "report", broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        wk("score", fleet, "--out", out)
    assert left_in(tmp_path) == ["out"]
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_an_interrupt_leaves_nothing(fleet, tmp_path, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Results, "add", interrupted)
    assert wk("score", fleet, "--out", tmp_path / "out") == 130
    assert left_in(tmp_path) == []


STALL = """
import sys, time
from watchkeeper.results import Results
def stalled(*_):
    print("stalled", flush=True)
    time.sleep(60)
Results.settle = stalled
from watchkeeper.cli import main
main()
"""


def test_a_termination_leaves_nothing(fleet, tmp_path):
    with process("score", fleet, "--out", tmp_path / "out", code=STALL) as one:
        assert one.stdout.readline() == "stalled\n"
        assert left_in(tmp_path) != []
        one.send_signal(signal.SIGTERM)
        assert one.wait(30) == 143
    assert left_in(tmp_path) == []


FULL = """
import atexit, resource, signal
from watchkeeper.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
without = (resource.RLIM_INFINITY,) * 2  # what measures coverage writes its own file at the end
atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, without)
main()
"""


def test_a_disk_that_refuses_more_bytes_is_told_and_nothing_is_left(fleet, out, tmp_path):
    code, _, err = finished("score", fleet, "--out", tmp_path / "out", code=FULL)
    assert code == 1
    assert "WK600" in err
    assert "Traceback" not in err
    assert left_in(tmp_path) == []


def test_an_earlier_run_is_replaced_whole(fleet, out, tmp_path):
    assert wk("score", fleet, "--out", tmp_path / "out") == 0
    (tmp_path / "out" / "notes.txt").write_text("of the earlier run")
    assert wk("score", fleet, "--out", tmp_path / "out") == 0
    assert left_in(tmp_path / "out") == FILES
    assert left_in(tmp_path) == ["out"]


def test_a_folder_that_is_not_a_run_is_never_touched(fleet, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("photos", "file"):
        assert wk("score", fleet, "--out", tmp_path / name) == 1
        assert "WK600" in capsys.readouterr().err
    assert left_in(tmp_path) == ["file", "photos"]
    assert left_in(tmp_path / "photos") == ["one.jpg"]


def test_the_report_fetches_nothing(out):
    html = (out / "report.html").read_text()
    assert len(html) > 10_000
    assert not re.findall(r"https?://(?!www\.w3\.org/)", html)
    assert not re.findall(
        r"""(?:src|href)\s*=\s*["'](?!#|data:)[^"']*|url\((?!["']?(?:#|data:))""", html
    )
    assert "@import" not in html
    assert "fetch(" not in html


def test_duckdb_reads_the_tables(out):
    with duckdb.connect() as database:
        worst = database.execute(
            f"select entity, min(health) from '{out}/health.parquet' group by 1 order by 2 limit 1"
        ).fetchone()
        count = database.execute(
            f"select count(*) from '{out}/scores.parquet' where score > 1 and time >= '2026-01-05'"
        ).fetchone()
        cells = database.execute(
            f"select unnest(contributions).share from '{out}/health.parquet'"
        ).fetchall()
    assert worst[0].startswith("host:")
    assert worst[1] < 60
    assert count[0] > 0
    assert cells


def test_polars_reads_the_tables(out):
    scores = polars.read_parquet(out / "scores.parquet")
    health = polars.read_parquet(out / "health.parquet")
    assert scores.height == read_run(out)["counts"]["scored"]
    assert scores["time"].dtype == polars.Datetime("ms", "UTC")
    assert health.explode("contributions").height >= health.height
    assert polars.read_parquet(out / "quarantine.parquet")["reason"].unique().to_list()


def test_what_a_policy_file_adds_is_judged_too(fleet, tmp_path):
    policy = tmp_path / "trial.yaml"
    policy.write_text(
        "policies:\n  - {name: trial, match: {types: [host]}, when: 'health < 101.0', for: 0s}\n"
    )
    assert wk("score", fleet, "--policy", policy, "--out", tmp_path / "out", "--tick", "5m") == 0
    told = (tmp_path / "out" / "decisions.jsonl").read_text()
    assert '"policy":"trial"' in told
    assert read_run(tmp_path / "out")["counts"]["ticks"] == 73


@pytest.mark.parametrize("seed", golden.SEEDS)
def test_the_results_of_three_fleets_are_locked(seed, tmp_path):
    """When they were meant to move: `python -m tests.golden`, and say why in the commit."""
    locked = json.loads(golden.LOCKED.read_text())
    assert golden.golden(seed, tmp_path) == locked[str(seed)]
