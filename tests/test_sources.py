"""Every source behaves like a source."""

import gzip
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from watchkeeper import plugins
from watchkeeper.sources.file import File
from watchkeeper.sources.host import Host
from watchkeeper.testing.sources import sampler_checks, source_checks

ROWS = 420


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    columns = {
        "timestamp": pa.array([1_704_067_200 + n // 7 for n in range(ROWS)]),
        "entity": pa.array([f"host:{n % 7}" for n in range(ROWS)]),
        "metric": pa.array(["m", "k"] * (ROWS // 2)),
        "value": pa.array([n * 0.5 for n in range(ROWS)]),
        "device": pa.array([("sda", "")[n % 2] for n in range(ROWS)]),
    }
    table = pa.table(columns)
    pq.write_table(table, folder / "a.parquet", row_group_size=97)
    pyarrow.csv.write_csv(table, folder / "b.csv")
    text = (folder / "b.csv").read_text().splitlines()
    text[50], text[60], text[333] = "x,host:1,m,1,", "", "1704067200,host:1,m"
    (folder / "c.csv").write_text("\n".join(text))
    (folder / "d.csv.gz").write_bytes(gzip.compress("\n".join(text).encode()))
    (folder / "e.csv.gz").write_bytes(gzip.compress("\n".join(text).encode())[:-900])
    lines = [json.dumps(row) for row in table.to_pylist()]
    lines[17] = "oops"
    (folder / "f.jsonl").write_text("\n".join(lines) + "\n")
    wide = pa.table({"time": [1_704_067_200 + n for n in range(90)], "x": [1.0] * 90,
                     "y": [None, 2.0] * 45})  # fmt: skip
    pyarrow.csv.write_csv(wide, folder / "g.csv")
    (folder / "h.csv").write_text("no,layout\n1,2\n")
    return folder


FILES = ["a.parquet", "b.csv", "c.csv", "d.csv.gz", "e.csv.gz", "f.jsonl", "g.csv", ""]


@pytest.mark.parametrize("check", list(source_checks()), ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", FILES, ids=lambda name: name or "all")
@pytest.mark.parametrize("follow", [False, True], ids=["finished", "growing"])
def test_files(folder, check, name, follow):
    rows = 60 if name else 400
    check(File(paths=(str(folder / name),), batch_rows=rows, follow=follow))


@pytest.mark.parametrize("check", list(sampler_checks()), ids=lambda check: check.__name__)
def test_host(check):
    check(Host())


@pytest.mark.parametrize("kind", ["file", "host"])
def test_sources_are_found_by_their_file(kind):
    assert plugins.load("sources", kind).__name__ == kind.capitalize()
