"""Pages of Prometheus' text format and of OpenMetrics, with prometheus_client as the oracle."""

import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families

from watchkeeper.errors import InputError
from watchkeeper.model import attributes_text
from watchkeeper.sources import _exposition
from watchkeeper.sources._exposition import Reader

NOW = 1_700_000_000_000
LABELS = ",".join(f'l{n}="1"' for n in range(65))


def reader(**limits):
    return Reader(lambda metric, labels: ("e", metric, attributes_text(labels)), **limits)


def read(page, of=None, **how):
    """Return samples (metric, attributes, time, bits of the value) and what could not be read."""
    page = page if isinstance(page, bytes) else page.encode()
    found = (of or reader()).read(page, NOW, "t", **how)
    keys = found.keys.to_pylist()
    assert len({tuple(key.values()) for key in keys}) == len(keys)
    rows = zip(*(column.to_pylist() for column in found.samples.columns), strict=True)
    samples = [(keys[s]["metric"], keys[s]["attributes"], t, bits(v)) for s, t, v in rows]
    return samples, found.unread.to_pylist()


def bits(value):
    return "nan" if math.isnan(value) else struct.pack(">d", value)


def faults(page, of=None, **how):
    return [(row["origin"], row["reason"], row["offered"]) for row in read(page, of, **how)[1]]


def oracle(page, parse=families, unit=1):
    return [
        (s.name, attributes_text(s.labels), time_of(s, unit), bits(s.value))
        for family in parse(page)
        for s in family.samples
    ]


def time_of(sample, unit):
    return NOW if sample.timestamp is None else round(float(sample.timestamp) * 1000 / unit * unit)


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", fullmatch=True)
labels = st.dictionaries(
    st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,10}", fullmatch=True),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30)
    | st.sampled_from(['"', "\\", "\n", "\\n", 'a"b} 1', " # ", "}", "{,=", "é\\"]),
    max_size=5,
)
values = st.floats(allow_nan=True, allow_infinity=True)
lines = st.lists(st.tuples(names, labels, values, st.none() | st.integers(0, 2**41)), max_size=20)


def escaped(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def written(rows):
    page = ""
    for name, pairs, value, time in rows:
        inside = ",".join(f'{label}="{escaped(text)}"' for label, text in pairs.items())
        number = {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, repr(value))
        page += f"{name}{'{' + inside + '}' if pairs else ''} {number}"
        page += "\n" if time is None else f" {time}\n"
    return page


@settings(max_examples=150, deadline=None)
@given(lines)
def test_what_is_written_is_read_bit_for_bit_the_first_time_and_again(rows):
    page, of = written(rows), reader()
    expected = [
        (name, attributes_text(pairs), NOW if time is None else time, bits(value))
        for name, pairs, value, time in rows
    ]
    for _ in range(3):
        samples, unread = read(page, of)
        assert not unread
        assert samples == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(names, labels, values), max_size=10, unique_by=lambda row: row[0]))
def test_the_reference_parser_reads_the_same(rows):
    page = written([(*row, None) for row in rows])
    assert sorted(read(page)[0]) == sorted(oracle(page))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_the_reader_and_every_line_is_accounted_for(page, is_open):
    try:
        samples, unread = read(page, openmetrics=is_open)
    except InputError:
        assert is_open, "only a missing end refuses so short a page"
        return
    parts = page.split(b"\n")
    said = [line for line in parts[:-1] if line.lstrip()[:1] not in (b"", b"#")] + (
        [parts[-1]] if parts[-1] else []
    )
    assert is_open or len(samples) + len(unread) == len(said)


@settings(max_examples=100, deadline=None)
@given(lines, st.integers(0, 19), st.binary(max_size=40).filter(lambda b: b"\n" not in b))
def test_a_bad_line_never_costs_its_neighbours(rows, place, junk):
    before = written(rows[:place]).encode()
    after = written(rows[place:]).encode()
    whole = read(before + after)[0]
    samples, unread = read(before + b"} " + junk + b"\n" + after)
    assert samples == whole
    assert [row["origin"] for row in unread] == [f"t:line {before.count(10) + 1}"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('a{x="1" 2', "malformed"),
        ('a{x="1"}', "malformed"),
        ("a", "malformed"),
        ("a+5", "malformed"),
        ("5 5", "malformed"),
        ("a 1 2 3", "malformed"),
        ('a{x="1",x="2"} 1', "malformed"),
        ('a{,x="1"} 1', "malformed"),
        ("a{x=1} 1", "malformed"),
        ("a one", "not_a_number"),
        ("a 1_000", "not_a_number"),
        ("a 0x1p3", "not_a_number"),
        ("a 1 noon", "no_time"),
        ("a 1 1.5", "no_time"),
        ("a 1 1_0", "no_time"),
        ("a 1 99999999999999999999", "no_time"),
        (f"{'n' * 201} 1", "too_large"),
        ('a{x="%s"} 1' % ("v" * 4097), "too_large"),
        (f"a{{{LABELS}}} 1", "too_large"),
        ("a 1" + " " * 600_000, "too_large"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line, reason):
    of = reader()
    for _ in range(2):
        samples, unread = read(f"ok 1\n{line}\nok 2\n", of)
        assert [bits(1.0), bits(2.0)] == [sample[3] for sample in samples]
        assert [(row["origin"], row["reason"]) for row in unread] == [("t:line 2", reason)]
        assert unread[0]["detail"]


def test_a_line_seen_before_is_held_to_the_same_rules():
    of = reader()
    read("a 1\n", of)
    assert faults("a 1_0\na x\na 2\n", of) == [
        ("t:line 1", "not_a_number", "a 1_0"),
        ("t:line 2", "not_a_number", "a x"),
    ]


def test_a_label_that_is_not_utf8_is_a_bad_name():
    assert faults(b'a{x="\xff"} 1\n') == [("t:line 1", "bad_name", 'a{x="�"} 1')]


def test_spaces_tabs_comments_and_line_ends_of_other_systems_are_read():
    page = (
        ' # a remark\n\n  \n# HELP a b\na\t1\n b { x = "1" , y="2", } 2 \n c  3  5\r\n# 1\nd{} 4\n'
    )
    samples, unread = read(page)
    assert not unread
    assert samples == [
        ("a", "{}", NOW, bits(1.0)),
        ("b", '{"x":"1","y":"2"}', NOW, bits(2.0)),
        ("c", "{}", 5, bits(3.0)),
        ("d", "{}", NOW, bits(4.0)),
    ]


def test_unknown_escapes_stay_as_they_are():
    assert read('a{x="\\t\\\\\\"\\n"} 1\n')[0][0][1] == attributes_text({"x": '\\t\\"\n'})


def test_a_line_without_its_end_is_no_sample_because_digits_may_be_missing():
    samples, unread = read("a 1\nb 12")
    assert len(samples) == 1
    assert [(row["origin"], row["reason"], row["offered"]) for row in unread] == [
        ("t:line 2", "malformed", "b 12")
    ]


def test_beyond_the_limit_of_samples_what_fits_is_kept():
    page = "# HELP a b\na 1\nb 2\n# c\nc 3\nd 4\n"
    for of in (reader(samples=2), reader(samples=2)):
        for _ in range(2):
            samples, unread = read(page, of)
            assert [name for name, *_ in samples] == ["a", "b"]
            (row,) = unread
            assert (row["reason"], row["origin"]) == ("too_many_series", "t:line 5")
            assert "2 lines were left" in row["detail"]
    assert not read(page, reader(samples=4))[1]
    of = reader(samples=2)
    read("a 1\nd 4\n", of)
    assert [row["origin"] for row in read("a 1\nd 4\nd 5\n", of)[1]] == ["t:line 3"]


def test_a_page_that_was_cut_keeps_its_whole_lines():
    samples, unread = read("a 1\nb 2\nc 3", cut=True)
    assert [name for name, *_ in samples] == ["a", "b"]
    assert [(row["reason"], row["origin"]) for row in unread] == [("too_large", "t:line 3")]
    assert read("a 1\n", cut=True, openmetrics=True)[0]


def test_a_page_of_something_else_is_refused_as_a_whole():
    with pytest.raises(InputError, match="no page of metrics"):
        read("one two three\n" * 5000)
    samples, unread = read("a 1\n" * 5000 + "one two three\n" * 2000)
    assert (len(samples), len(unread)) == (5000, 2000)


def test_what_is_remembered_of_a_page_that_never_repeats_is_bounded():
    of = reader()
    for round_ in range(30):
        read("".join(f'a{{request="{round_}-{n}"}} 1\n' for n in range(1000)), of)
    assert len(of._heads) < 25_000
    assert len(of._numbers) < 25_000


def test_a_page_that_is_known_needs_no_turn_however_large():
    of = reader()
    page = "".join(f'a{{x="{n}"}} {n}.5\nb{{x="{n}"}} NaN\n' for n in range(5000))
    first = read(page, of)
    with _exposition._LEARNING:  # somebody else's turn, for ever
        assert read(page, of) == first


class Late:
    """A clock that goes on by a second whenever it is read, and rests that take no time."""

    now = 0.0

    def monotonic(self):
        self.now += 1.0
        return self.now

    def sleep(self, _):
        pass


def test_a_page_that_cannot_be_read_in_time_is_refused_and_what_was_read_is_known(monkeypatch):
    monkeypatch.setattr(_exposition, "time", Late())
    of, count = reader(), 3 * _exposition.PORTION
    page = "".join(f"a_{n} {n}\n" for n in range(count))
    for _ in range(2):
        with pytest.raises(InputError, match=f"{count} lines, too many of them new"):
            read(page, of, deadline=_exposition.time.now + 1.5)
    assert len(read(page, of, deadline=_exposition.time.now + 1.5)[0]) == count


def test_what_is_remembered_of_pages_that_are_never_read_in_time_is_bounded(monkeypatch):
    for name, value in {"time": Late(), "PORTION": 100, "SPARE": 500}.items():
        monkeypatch.setattr(_exposition, name, value)
    of = reader(samples=1000)
    for round_ in range(40):
        page = "".join(f"a_{round_}_{n} 1\n" for n in range(900))
        with pytest.raises(InputError, match="in time"):
            read(page, of, deadline=_exposition.time.now + 1.5)
    assert len(of._heads) <= 2 * 1000 + 500
    assert len(of._numbers) <= 2 * 1000 + 500


def test_the_same_series_is_the_same_however_its_labels_are_ordered():
    found = reader().read(b'a{x="1",y="2"} 1\na{y="2",x="1"} 2\n', NOW, "t")
    assert found.keys.num_rows == 1
    assert found.samples["series"].to_pylist() == [0, 0]


def test_openmetrics_ends_with_eof():
    page = "# TYPE a gauge\na 1\n"
    with pytest.raises(InputError, match="EOF"):
        read(page, openmetrics=True)
    for end in ("# EOF", "# EOF\n"):
        samples, unread = read(page + end, openmetrics=True)
        assert len(samples) == 1
        assert not unread
    assert faults(page + "# EOF\n\nb 1\nc 1\n", openmetrics=True) == [
        ("t:line 4", "malformed", "b 1")
    ]
    assert not faults(page + "# EOF\nb 1\n"), "elsewhere it is a remark"


def test_openmetrics_has_seconds_and_exemplars():
    page = (
        'a_bucket{le="+Inf"} 5 1700000000.123 # {trace_id="x y # z"} 0.67 1700000000\n'
        "a_total 7 # {} 1\na_created 1.5\nb 1 nan\nc 1 1e300\n# EOF\n"
    )
    samples, unread = read(page, openmetrics=True)
    assert samples == [
        ("a_bucket", '{"le":"+Inf"}', 1_700_000_000_123, bits(5.0)),
        ("a_total", "{}", NOW, bits(7.0)),
        ("a_created", "{}", NOW, bits(1.5)),
    ]
    assert [row["reason"] for row in unread] == ["no_time", "no_time"]
    assert faults("a 1 # {} 1\n") == [("t:line 1", "malformed", "a 1 # {} 1")], "only there"


def test_pages_of_the_official_client_are_read_whole_in_both_formats():
    registry = CollectorRegistry()
    Gauge("g", "a gauge", ["x"], registry=registry).labels('quo"te\\and\nline').set(1e-300)
    Counter("c", "counts", registry=registry).inc(2**53 + 1, exemplar={"id": "7"})
    Info("i", "infos", registry=registry).info({"version": "1"})
    Summary("s", "sums", registry=registry).observe(0.1)
    Histogram("h", "spread", registry=registry).observe(0.1, exemplar={"id": "8"})
    page = generate_latest(registry).decode()
    assert sorted(read(page)[0]) == sorted(oracle(page))
    page = openmetrics.generate_latest(registry).decode()
    samples, unread = read(page, openmetrics=True)
    assert not unread
    assert sorted(samples) == sorted(oracle(page, open_families))
