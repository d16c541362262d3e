"""CSV files: layouts, times, and rows that are wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.reading import faults, read, written

from watchkeeper.errors import NothingToRead, UnknownLayout

T0 = 1_704_067_200_000  # 2024-01-01T00:00:00Z
LONG = "timestamp,entity,metric,value"


def test_long(tmp_path):
    path = written(
        tmp_path, "a.csv", LONG + ",device,unit",
        "2024-01-01T00:00:00Z,host:web-1,io,1.5,sda,By",
        "2024-01-01T00:00:01Z,link:l1,io,2,,",
        "2024-01-01T00:00:02Z,web-2,io,-3e2,sda,By",
    )  # fmt: skip
    samples, unread, errors = read(path)
    assert samples == [
        ("host:web-1", "io", {"device": "sda", "unit": "By"}, T0, 1.5),
        ("link:l1", "io", {}, T0 + 1000, 2.0),
        ("host:web-2", "io", {"device": "sda", "unit": "By"}, T0 + 2000, -300.0),
    ]
    assert (unread, errors) == ([], [])


def test_wide_takes_the_entity_from_a_column_an_option_or_the_files_name(tmp_path):
    plain = written(tmp_path, "web-7.csv", "time,cpu,mem", "1704067200,1,2", "1704067260,3,")
    assert read(plain)[0] == [
        ("host:web-7", "cpu", {}, T0, 1.0),
        ("host:web-7", "cpu", {}, T0 + 60_000, 3.0),
        ("host:web-7", "mem", {}, T0, 2.0),
    ]
    assert {row[0] for row in read(plain, entity="service:x")[0]} == {"service:x"}
    assert {row[0] for row in read(plain, entity_type="gpu")[0]} == {"gpu:web-7"}
    named = written(tmp_path, "b.csv", "time,host,cpu", "1704067200,a,1", "1704067200,vm:b,2")
    assert [row[0] for row in read(named)[0]] == ["host:a", "vm:b"]


def test_wide_columns_may_describe_instead_of_measure(tmp_path):
    path = written(tmp_path, "a.csv", "time,region,cpu", "1704067200,eu,1", "1704067200,us,2")
    assert [row[2] for row in read(path, attribute_columns=("region",))[0]] == [
        {"region": "eu"}, {"region": "us"},
    ]  # fmt: skip


def test_nab_is_named_after_its_place_below_the_input_folder(tmp_path):
    written(tmp_path, "in/real/ec2.csv", "timestamp,value", "2024-01-01 00:00:00,20.5")
    assert read(tmp_path / "in")[0] == [("series:real/ec2", "value", {}, T0, 20.5)]


@pytest.mark.parametrize(
    ("entity", "named"),
    [
        ("web-1", "host:web-1"),
        ("vm:web-1", "vm:web-1"),
        ("localhost:9100", "host:localhost:9100"),
        ("fe80::1", "host:fe80::1"),
        ("10.0.0.1:9100", "host:10.0.0.1:9100"),
        ("link:leaf1/Ethernet8", "link:leaf1/Ethernet8"),
    ],
)
def test_an_entity_keeps_its_type_or_gets_one(tmp_path, entity, named):
    path = written(tmp_path, "a.csv", LONG, f"1704067200,{entity},m,1")
    assert read(path)[0][0][0] == named


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-01-01T00:00:00Z", T0),
        ("2024-01-01T00:00:00.5Z", T0 + 500),
        ("2024-01-01T00:00:00.123456789Z", T0 + 123),
        ("2024-01-01T02:00:00+02:00", T0),
        ("2024-01-01t00:00:00z", T0),
        ("2024-01-01 00:00:00", T0),
        ("2024-01-01 00:00:00.250", T0 + 250),
        (" 2024-01-01 00:00:00 ", T0),
        ("1704067200", T0),
        ("1704067200.75", T0 + 750),
        ("1704067200000", T0),
        ("1704067200000000", T0),
        ("1704067200000000999", T0),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("9999-12-31T00:00:00Z", 253_402_214_400_000),
        ("-1", -1000),
    ],
)
@pytest.mark.parametrize("beside", ["2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "1704067200"])
def test_times_mean_the_same_whatever_stands_beside_them(tmp_path, text, time, beside):
    first = written(tmp_path, "a.csv", LONG, f"{text},a,m,1", f"{beside},a,m,2")
    second = written(tmp_path, "b.csv", LONG, f"{beside},a,m,2", f"{text},a,m,1", "x,a,m,0")
    assert sorted(row[3] for row in read(first)[0]) == sorted([time, T0])
    samples, unread, _ = read(second)
    assert sorted(row[3] for row in samples) == sorted([time, T0])
    assert faults(unread) == [("b.csv:4", "no_time", "x")]


def test_a_bad_row_is_set_aside_with_its_line_and_its_neighbours_are_kept(tmp_path):
    path = written(
        tmp_path, "a.csv", LONG,
        "1704067200,a,m,1", "1704067201,a,m,N/A", "yesterday,a,m,3", "1704067203,a,m", "",
        "1704067204,a,m,5,6", "1704067205,a,m,", ",a,m,7", "1704067206,a,m,8",
    )  # fmt: skip
    samples, unread, errors = read(path)
    assert [row[4] for row in samples] == [1.0, 8.0]
    assert sorted(faults(unread)) == [
        ("a.csv:3", "not_a_number", "N/A"),
        ("a.csv:4", "no_time", "yesterday"),
        ("a.csv:5", "not_a_number", "1704067203,a,m"),
        ("a.csv:7", "not_a_number", "1704067204,a,m,5,6"),
        ("a.csv:8", "not_a_number", ""),
        ("a.csv:9", "no_time", ""),
    ]
    known = next(row for row in unread if row["origin"] == "a.csv:3")
    assert (known["entity"], known["metric"], known["time"]) == ("host:a", "m", T0 + 1000)
    assert next(row for row in unread if row["origin"] == "a.csv:4")["value"] == 3.0
    assert errors == []


def test_a_bad_cell_of_a_wide_row_costs_only_that_cell(tmp_path):
    path = written(tmp_path, "a.csv", "time,x,y", "1704067200,1,2", "1704067260,oops,4", "t,5,")
    samples, unread, _ = read(path)
    assert [(row[1], row[4]) for row in samples] == [("x", 1.0), ("y", 2.0), ("y", 4.0)]
    assert faults(unread) == [("a.csv:3", "not_a_number", "oops"), ("a.csv:4", "no_time", "t")]


def test_names_that_are_not_utf8_are_set_aside(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(LONG.encode() + b"\n1704067200,a,m,1\n1704067200,\xff,m,2\n")
    samples, unread, _ = read(path)
    assert len(samples) == 1
    assert faults(unread) == [("a.csv:3", "bad_name", "2")]


def test_nan_and_infinities_are_numbers_for_the_contract_to_refuse(tmp_path):
    path = written(tmp_path, "a.csv", LONG, "1,a,m,nan", "1,a,m,-Inf", "1,a,m,Infinity")
    assert [repr(row[4]) for row in read(path)[0]] == ["nan", "-inf", "inf"]


def test_a_quote_that_is_not_closed_does_not_swallow_the_rows_behind_it(tmp_path):
    path = written(
        tmp_path, "a.csv", LONG, "1,a,m,1", '2,"a,m,2', '3,"b,c",m,3', "", "4,a,m,4", '5,"a,m,5',
    )  # fmt: skip
    samples, unread, _ = read(path)
    assert [(row[0], row[4]) for row in samples] == [
        ("host:a", 1.0), ("host:b,c", 3.0), ("host:a", 4.0),
    ]  # fmt: skip
    assert [row["origin"] for row in unread] == ["a.csv:3", "a.csv:7"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_delimiters_line_endings_and_byte_order_marks_of_other_tools(
    tmp_path, delimiter, ending, bom
):
    rows = [LONG, "1,a,m,1", "", "2,a,m,2", "3,a,m,x", "4,a,m,4"]
    path = tmp_path / "a.csv"
    path.write_bytes(bom + ending.join(rows).replace(",", delimiter).encode())
    samples, unread, errors = read(path)
    assert [row[4] for row in samples] == [1.0, 2.0, 4.0]
    assert faults(unread) == [("a.csv:5", "not_a_number", "x")]
    assert errors == []


@pytest.mark.parametrize(
    ("header", "row", "options", "says"),
    [
        ("a,b,c", "1,2,3", {}, "a.csv: no time column"),
        ("time", "1", {}, "no column holds a metric"),
        ("time,x,x", "1,2,3", {}, "every column needs a name of its own"),
        ("time,,x", "1,2,3", {}, "every column needs a name of its own"),
        ("time,x,region", "1,2,eu", {}, "unknown column 'region': text, and no attribute"),
        ("time,x", "1,2", {"layout": "long"}, "long needs a column metric and a column value"),
        ("time,value,x", "1,2,3", {"layout": "nab"}, "NAB has the columns timestamp and value"),
        ("time,x", "1,2", {"value_column": "y"}, "no column 'y'"),
    ],
)
def test_columns_that_fit_no_layout_are_named_with_the_layouts_known(
    tmp_path, header, row, options, says
):
    samples, _, errors = read(written(tmp_path, "a.csv", header, row), **options)
    assert samples == []
    assert isinstance(errors[0], UnknownLayout)
    assert says in str(errors[0])
    if "unknown column" not in says:
        assert "the columns are 'time'" in str(errors[0]) or "are 'a', 'b', 'c'" in str(errors[0])
    assert "long: timestamp,entity,metric,value" in errors[0].hint


def test_the_operator_may_say_which_column_is_which(tmp_path):
    path = written(tmp_path, "a.csv", "when;who;what;how much", "1;x;m;2")
    options = {
        "time_column": "when", "entity_column": "who", "metric_column": "what",
        "value_column": "how much", "delimiter": ";",
    }  # fmt: skip
    assert read(path, **options)[0] == [("host:x", "m", {}, 1000, 2.0)]


def test_a_sensor_that_is_not_there_is_no_unknown_column(tmp_path):
    path = written(tmp_path, "a.csv", "time,x,y", "1,2,N/A", "2,3,N/A")
    samples, unread, errors = read(path)
    assert (len(samples), len(unread), errors) == (2, 2, [])


@pytest.mark.parametrize("text", ["", "\n\n", LONG + "\n", "\ufeff"])
def test_a_file_without_rows_says_so(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text)
    samples, unread, errors = read(path)
    assert (samples, unread) == ([], [])
    assert [type(error) for error in errors] == [NothingToRead]


CELLS = st.sampled_from(
    ["1", "2.5", " 3", "+4", "1e3", "nan", "N/A", "", "0x1", '"5"', "6 ", "é", "1,5", "--"]
)
TIMES = st.sampled_from(
    ["1704067200", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "1704067200.5", "", "soon",
     "2024-02-30 00:00:00", "1704067200123456789", "0x10"]
)  # fmt: skip


@given(st.lists(st.tuples(TIMES, CELLS), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_what_becomes_of_a_row_never_depends_on_its_neighbours(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    lines = [f"{time},a,m,{cell}" for time, cell in rows]
    whole = read(written(folder, "whole.csv", LONG, *lines), batch_rows=1)
    alone_samples, alone_unread = [], []
    for number, line in enumerate(lines):
        samples, unread, _ = read(written(folder, f"{number}.csv", LONG, line))
        alone_samples += samples
        alone_unread += unread
    assert list(map(repr, whole[0])) == list(map(repr, alone_samples))
    assert sorted(map(without_origin, whole[1])) == sorted(map(without_origin, alone_unread))


def without_origin(row):
    return repr({name: value for name, value in row.items() if name != "origin"})
