import gzip
import io
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from watchkeeper.errors import InputError, OutputError
from watchkeeper.simulate import Block, Fleet, parse, preset
from watchkeeper.simulate.truth import read_truth, truth
from watchkeeper.simulate.writing import FORMATS, truth_path, write

FAULTS = [
    {"kind": "bad_sensor", "mode": "nan", "signal": "cpu", "onset": "10m", "duration": "1h"},
    {"kind": "missing_data", "onset": "20m", "duration": "1h"},
]
SCENARIO = parse({"entities": {"count": 3}, "duration": "2h", "faults": FAULTS}, "test")


def samples():
    """Each sample as (timestamp, entity, metric, attributes, value), as the fleet makes it."""
    fleet = Fleet(SCENARIO, 5)
    columns = fleet.block(Block(0, fleet.ticks))
    keys = fleet.keys.to_pylist()
    return [
        (time, keys[series]["entity"], keys[series]["metric"], keys[series]["attributes"], value)
        for series, time, value in zip(
            columns.series.tolist(), columns.time.tolist(), columns.value.tolist(), strict=True
        )
    ]


def told(rows):
    """The same from rows of the long layout."""
    found = []
    for row in rows:
        stamp = np.datetime64(row.pop("timestamp").removesuffix("Z"), "ms").astype(int)
        entity, metric, value = row.pop("entity"), row.pop("metric"), row.pop("value")
        value = math.nan if value in (None, "nan") else float(value)
        attributes = {name: word for name, word in sorted(row.items()) if word}
        text = json.dumps(attributes, separators=(",", ":"))
        found.append((int(stamp), entity, metric, text, value))
    return found


def read_back(path):
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        stamps = pa.compute.strftime(table.column("timestamp"), format="%Y-%m-%dT%H:%M:%S")
        rows = table.set_column(0, "timestamp", stamps).to_pylist()
        return told([{k: v for k, v in row.items() if v is not None} for row in rows])
    data = path.read_bytes()
    with io.StringIO((gzip.decompress(data) if path.suffix == ".gz" else data).decode()) as lines:
        if ".csv" in path.name:
            header = next(lines).rstrip("\n").split(",")
            return told(
                [dict(zip(header, line.rstrip("\n").split(","), strict=True)) for line in lines]
            )
        return told([json.loads(line) for line in lines])


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_holds_every_sample_exactly(tmp_path, suffix):
    out = tmp_path / f"fleet{suffix}"
    count = write(SCENARIO, 5, out)
    expected = samples()
    assert count == len(expected) < 3 * 30 * 120
    assert str(read_back(out)) == str(expected)  # as text, because NaN is not equal to NaN


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_fleet_gives_the_same_file(tmp_path, suffix):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(SCENARIO, 5, tmp_path / name / f"fleet{suffix}")
    a, b = ((tmp_path / name / f"fleet{suffix}").read_bytes() for name in ("a", "b"))
    assert a == b


def test_parquet_has_utc_milliseconds_and_dictionaries(tmp_path):
    write(SCENARIO, 5, tmp_path / "fleet.parquet")
    schema = pq.read_schema(tmp_path / "fleet.parquet")
    assert schema.field("timestamp").type == pa.timestamp("ms", tz="UTC")
    text = pa.dictionary(pa.int32(), pa.string())
    assert {schema.field(name).type for name in ("entity", "metric", "cpu.mode")} == {text}


def test_the_truth_lies_beside_the_data_and_reads_back(tmp_path):
    out = tmp_path / "fleet.csv.gz"
    write(SCENARIO, 5, out)
    known = read_truth(truth_path(out))
    fresh = truth(Fleet(SCENARIO, 5))
    assert (known.faults, known.seed, known.start) == (fresh.faults, 5, fresh.start)
    assert parse(known.scenario, "truth") == SCENARIO
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "fleet.csv.gz",
        "fleet.csv.gz.truth.json",
    ]


def test_progress_ends_at_the_number_of_samples_written(tmp_path):
    steps = []
    scenario = preset("quiet", hosts=5, duration="12h")
    count = write(
        scenario, 1, tmp_path / "x.parquet", lambda done, whole: steps.append((done, whole))
    )
    assert len(steps) == 3
    assert steps[-1] == (count, count) == (108_000, 108_000)


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    with pytest.raises(OutputError, match=r"\.parquet, \.csv"):
        write(SCENARIO, 5, tmp_path / "fleet.xlsx")


def test_a_folder_that_is_not_there_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(OutputError, match="choose a folder"):
        write(SCENARIO, 5, tmp_path / "none" / "fleet.csv")


def test_a_write_that_is_cut_short_leaves_what_was_there_before(tmp_path):
    out = tmp_path / "fleet.parquet"
    out.write_text("before")

    def stop(done, whole):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(SCENARIO, 5, out, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.parquet"]
    assert out.read_text() == "before"


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2}', '{"schema": 1, "faults": [{}]}'])
def test_what_is_no_truth_file_is_refused(tmp_path, text):
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a truth file"):
        read_truth(path)
