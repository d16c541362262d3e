"""JSON lines: the same layouts, with fields that come and go."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.reading import faults, read, written

from watchkeeper.errors import UnknownLayout

T0 = 1_704_067_200_000


def row(value, entity="a", time="2024-01-01T00:00:00Z", **more):
    return json.dumps({"timestamp": time, "entity": entity, "metric": "m", "value": value, **more})


def test_long_with_attributes_beside_or_inside(tmp_path):
    path = written(
        tmp_path, "a.jsonl",
        row(1, device="sda"), row(2, attributes={"device": "sdb", "rack": 7}),
        row(3, rack="r1", unit=None), row(4, time=1704067200), row(5, time=1704067200.5),
    )  # fmt: skip
    samples, unread, errors = read(path)
    assert [(s[2], s[3], s[4]) for s in samples] == [
        ({"device": "sda"}, T0, 1.0),
        ({"device": "sdb", "rack": "7"}, T0, 2.0),
        ({"rack": "r1"}, T0, 3.0),
        ({}, T0, 4.0),
        ({}, T0 + 500, 5.0),
    ]
    assert (unread, errors) == ([], [])


def test_wide_metrics_may_appear_later(tmp_path):
    path = written(
        tmp_path, "web-3.ndjson", '{"ts": 1704067200, "cpu": 1}',
        '{"ts": 1704067260, "cpu": null, "mem": 2}', '{"ts": 1704067320, "cpu": "3"}',
    )  # fmt: skip
    samples, unread, _ = read(path)
    assert [(s[0], s[1], s[3], s[4]) for s in samples] == [
        ("host:web-3", "cpu", T0, 1.0),
        ("host:web-3", "cpu", T0 + 120_000, 3.0),
        ("host:web-3", "mem", T0 + 60_000, 2.0),
    ]
    assert unread == []


def test_a_bad_line_is_set_aside_with_its_number_and_its_neighbours_are_kept(tmp_path):
    path = written(
        tmp_path, "a.jsonl", row(1), row("n/a"), "{oops", "", "[1]", row(None), row(6, time=None),
        row(7) + row(7), row(True), row(9), '{"entity": "a"}',
    )  # fmt: skip
    samples, unread, errors = read(path)
    assert [s[4] for s in samples] == [1.0, 9.0]
    assert sorted((origin, reason) for origin, reason, _ in faults(unread)) == [
        ("a.jsonl:11", "no_time"),
        ("a.jsonl:2", "not_a_number"),
        ("a.jsonl:3", "not_a_number"),
        ("a.jsonl:5", "not_a_number"),
        ("a.jsonl:6", "not_a_number"),
        ("a.jsonl:7", "no_time"),
        ("a.jsonl:8", "not_a_number"),
        ("a.jsonl:9", "not_a_number"),
    ]
    assert errors == []


def test_one_bad_line_among_thousands_is_found(tmp_path):
    lines = [row(n, device="sda") for n in range(5000)]
    lines[3210] = "{"
    samples, unread, _ = read(written(tmp_path, "a.jsonl", *lines))
    assert len(samples) == 4999
    assert [origin for origin, _, _ in faults(unread)] == ["a.jsonl:3211"]


def test_fields_arrow_learns_late_read_as_those_it_knew(tmp_path):
    lines = [row(n) for n in range(3000)] + [row(n, late="x") for n in range(3000)]
    lines += [row(n, attributes={"in": "y"}) for n in range(3000)]
    samples, unread, _ = read(written(tmp_path, "a.jsonl", *lines), batch_rows=1000)
    assert [sum(s[2] == a for s in samples) for a in ({}, {"late": "x"}, {"in": "y"})] == [3000] * 3
    assert unread == []


def test_what_is_no_table_of_objects_is_refused(tmp_path):
    array = written(tmp_path, "a.json", "[", row(1), "]")
    text = written(tmp_path, "b.jsonl", '{"timestamp": 1, "region": "eu"}')
    other = written(tmp_path, "c.jsonl", "{}", '{"a": 1}')
    broken = written(tmp_path, "d.jsonl", "{oops}")
    for path, says in [
        (array, "a JSON array"), (text, "unknown column 'region'"), (other, "no time column"),
        (broken, "no line is a JSON object"),
    ]:  # fmt: skip
        error = read(path)[2][0]
        assert isinstance(error, UnknownLayout)
        assert says in str(error)


VALUES = st.sampled_from(["1", "2.5", '"3"', "null", "true", "NaN", '"x"', "1e400", "[]", "{"])
TIMES = st.sampled_from(["1704067200", '"2024-01-01T00:00:00Z"', '"soon"', "null", "1.5e9"])


@given(st.lists(st.tuples(TIMES, VALUES, st.sampled_from(["", ', "k": "v"', ', "k": 1'])),
                min_size=1, max_size=20))  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_what_becomes_of_a_line_never_depends_on_its_neighbours(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    lines = [
        f'{{"timestamp": {time}, "entity": "a", "metric": "m", "value": {value}{more}}}'
        for time, value, more in rows
    ]
    first = row(0)  # a file needs one good line to be told apart
    whole = read(written(folder, "whole.jsonl", first, *lines))
    samples, unread = [], []
    for number, line in enumerate(lines):
        alone = read(written(folder, f"{number}.jsonl", first, line))
        samples += alone[0][1:]
        unread += alone[1]
    assert list(map(repr, whole[0][1:])) == list(map(repr, samples))
    strip = [{k: v for k, v in one.items() if k != "origin"} for one in (*whole[1], *unread)]
    texts = [repr(one) for one in strip]
    assert sorted(texts[: len(whole[1])]) == sorted(texts[len(whole[1]) :])
