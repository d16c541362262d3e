"""Parquet: any column type a tool may write."""

import datetime as dt
import decimal
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.sources.reading import faults, read

from watchkeeper.errors import InputError, NothingToRead, Truncated, UnknownLayout
from watchkeeper.sources.file import File

T0 = 1_704_067_200_000
UTC = dt.UTC


def write(folder, name="a.parquet", **columns):
    path = folder / name
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def long(folder, **more):
    count = len(next(iter(more.values())))
    base = {"timestamp": pa.array([T0] * count, pa.timestamp("ms", "UTC")),
            "entity": ["a"] * count, "metric": ["m"] * count, "value": [1.0] * count}  # fmt: skip
    return write(folder, **{**base, **more})


@pytest.mark.parametrize(
    "time",
    [
        pa.array([T0 // 1000], pa.timestamp("s")),
        pa.array([T0], pa.timestamp("ms", "UTC")),
        pa.array([T0 * 1000], pa.timestamp("us", "Europe/Berlin")),
        pa.array([T0 * 1_000_000], pa.timestamp("ns")),
        pa.array([dt.date(2024, 1, 1)], pa.date32()),
        pa.array([T0 // 1000], pa.int32()),
        pa.array([T0], pa.int64()),
        pa.array([T0 * 1_000_000], pa.uint64()),
        pa.array([T0 / 1000], pa.float64()),
        pa.array(["2024-01-01T00:00:00Z"]),
        pa.array(["2024-01-01 00:00:00"], pa.large_string()),
        pa.array(["2024-01-01 00:00:00"]).dictionary_encode(),
    ],
)
def test_any_type_of_time(tmp_path, time):
    assert read(long(tmp_path, timestamp=time))[0] == [("host:a", "m", {}, T0, 1.0)]


@pytest.mark.parametrize(
    "value",
    [
        pa.array([2], pa.int8()),
        pa.array([2], pa.uint64()),
        pa.array([2.0], pa.float32()),
        pa.array([decimal.Decimal("2.00")]),
        pa.array(["2"]),
        pa.array(["2"]).dictionary_encode(),
    ],
)
def test_any_type_of_number(tmp_path, value):
    assert read(long(tmp_path, value=value))[0][0][4] == 2.0


def test_truth_values_are_states(tmp_path):
    assert [s[4] for s in read(long(tmp_path, value=[True, False]))[0]] == [1.0, 0.0]


def test_attributes_as_columns_a_struct_or_json(tmp_path):
    found = [
        read(long(tmp_path, **columns))[0][0][2]
        for columns in (
            {"device": ["sda"], "slot": [3], "hot": [True]},
            {"attributes": [{"device": "sda", "slot": 3}]},
            {"attributes": ['{"device":"sda","slot":3,"none":null}']},
            {"attributes": [""], "device": [None]},
        )
    ]
    assert found == [
        {"device": "sda", "slot": "3", "hot": "true"}, {"device": "sda", "slot": "3"},
        {"device": "sda", "slot": "3"}, {},
    ]  # fmt: skip


def test_rows_that_cannot_be_read_are_named_by_number(tmp_path):
    path = long(
        tmp_path, timestamp=pa.array([T0, None, T0, T0, T0], pa.timestamp("ms")),
        value=["1", "2", "x", None, "5"],
    )  # fmt: skip
    samples, unread, _ = read(path, batch_rows=2)
    assert [s[4] for s in samples] == [1.0, 5.0]
    assert faults(unread) == [
        ("a.parquet:2", "no_time", ""),
        ("a.parquet:3", "not_a_number", "x"),
        ("a.parquet:4", "not_a_number", ""),
    ]


def test_wide_and_nab(tmp_path):
    wide = write(tmp_path, "web-1.parquet", timestamp=[1704067200, 1704067260], x=[1, None],
                 y=[2.0, 3.0])  # fmt: skip
    assert [(s[0], s[1], s[4]) for s in read(wide)[0]] == [
        ("host:web-1", "x", 1.0), ("host:web-1", "y", 2.0), ("host:web-1", "y", 3.0),
    ]  # fmt: skip
    nab = write(tmp_path, "n.parquet", timestamp=[1704067200], value=[1])
    assert read(nab)[0][0][0] == "series:n"


def test_the_stale_marker_keeps_its_bits(tmp_path):
    stale = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
    reader = File(paths=(str(long(tmp_path, value=np.array([stale]))),)).open(None)
    bits = reader.poll().samples["value"].to_numpy().view(np.uint64)
    reader.close()
    assert bits.tolist() == [0x7FF0000000000002]


def test_the_size_of_batches_does_not_show(tmp_path):
    path = long(tmp_path, value=[float(n) for n in range(11)])
    whole = read(path)
    assert all(read(path, batch_rows=rows) == whole for rows in (1, 2, 3, 5, 100))


def test_a_file_cut_anywhere_says_so(tmp_path):
    whole = long(tmp_path, value=[1.0, 2.0]).read_bytes()
    for length in (8, 100, len(whole) - 1):
        path = tmp_path / "cut.parquet"
        path.write_bytes(whole[:length])
        samples, _, errors = read(path)
        assert samples == []
        assert [type(error) for error in errors] == [Truncated]


def test_what_comes_before_damage_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    columns = {"timestamp": [T0 + n for n in range(4)], "entity": ["a"] * 4, "metric": ["m"] * 4,
               "value": [float(n) for n in range(4)]}  # fmt: skip
    pq.write_table(pa.table(columns), path, row_group_size=2, use_dictionary=False,
                   compression="zstd")  # fmt: skip
    metadata = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = metadata.data_page_offset
    data[start : start + metadata.total_compressed_size] = b"\xff" * metadata.total_compressed_size
    path.write_bytes(bytes(data))
    samples, _, errors = read(path, batch_rows=2)
    assert [s[4] for s in samples] == [0.0, 1.0]
    assert isinstance(errors[0], InputError)
    assert "a.parquet: damaged after row 2" in str(errors[0])


def test_tables_without_rows_or_with_other_things_are_refused(tmp_path):
    empty = write(tmp_path, "e.parquet", timestamp=pa.array([], pa.int64()), x=pa.array([], "f8"))
    text = write(tmp_path, "t.parquet", timestamp=[1], region=["eu"])
    nested = write(tmp_path, "n.parquet", timestamp=[1], x=[[1, 2]])
    kinds = [NothingToRead, UnknownLayout, UnknownLayout]
    errors = [read(path)[2][0] for path in (empty, text, nested)]
    assert [type(error) for error in errors] == kinds
    assert "'region'" in str(errors[1])
    assert "'x'" in str(errors[2])
