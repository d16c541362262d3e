"""Line protocol: what clients write is understood, bit for bit; what is wrong costs itself."""

import gzip
import json
import math
import re
import struct
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from influxdb_client import Point, WritePrecision

from watchkeeper.errors import Malformed, Overloaded, OverQuota, RequestError, TooLarge, Unsupported
from watchkeeper.identity import Identity
from watchkeeper.key_table import KeyTable
from watchkeeper.model import STALE_BITS, Millis
from watchkeeper.receivers import Delivery, Limits, Received
from watchkeeper.receivers.influx import Influx
from watchkeeper.testing.receivers import Examples, receiver_checks

NOW = Millis(1_700_000_000_123)
RECEIVER = Influx()


def delivery(body=b"", path="/write", *, method="POST", headers=None, number=7, tenant="", **query):
    body = body.encode() if isinstance(body, str) else body
    return Delivery(method, path, query, headers or {}, body, NOW, tenant, number)


def opened(**limits):
    return RECEIVER.open(Limits(**limits), Identity())


def read(body, decoder=None, **query):
    """Return (entity, metric, attributes) -> [(time, value)], and the refused records."""
    batch = (decoder or opened()).decode(delivery(body, **query))
    return ({}, []) if batch is None else (told(batch), batch.unread.to_pylist())


def told(batch):
    keys = [tuple(row.values()) for row in batch.keys.since(0).to_pylist()]
    found = {}
    for row in batch.samples.to_pylist():
        found.setdefault(keys[row["series"]], []).append((row["time"], row["value"]))
    return found


def one(line, **query):
    """Return the only sample of a body, or the only refused record."""
    found, refused = read(line, **query)
    if refused:
        assert not found
        assert len(refused) == 1
        return refused[0]
    ((key, samples),) = found.items()
    ((time, value),) = samples
    return key, time, value


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


EXAMPLES = Examples(
    RECEIVER,
    good=[
        delivery("cpu,host=a idle=1.5,busy=2i 1700000000000000000\nmem,host=b value=t"),
        delivery("m,t=x v=1 1700000000", path="/api/v2/write", precision="s"),
    ],
    partial=[
        delivery('cpu,host=a idle=1.5,name="x"\nbad\nm,a= v=1\nm v=1 x\nm v=1,w=x'),
    ],
    broken=[
        delivery("m v=1", headers={"content-encoding": "gzip"}),
        delivery("m v=1", headers={"content-encoding": "br"}),
        delivery("m v=1", precision="d"),
        delivery(path="/query", q="SHOW QUERIES"),
    ],
)


@pytest.mark.parametrize("check", list(receiver_checks()), ids=lambda check: check.__name__)
def test_it_is_a_receiver(check):
    check(EXAMPLES)


# What a line says


def test_measurement_and_field_make_the_metric_and_tags_are_labels():
    key, time, value = one("cpu,host=web-1,core=0 usage_idle=97.5 1700000000000000000")
    assert key == ("host:web-1", "cpu_usage_idle", '{"core":"0"}')
    assert (time, value) == (1_700_000_000_000, 97.5)


def test_a_field_named_value_adds_nothing_to_the_name():
    assert one("temperature,host=a value=1")[0][1] == "temperature"


def test_a_line_without_tags_is_about_the_receiver_and_without_a_time_about_now():
    key, time, _ = one("uptime value=1")
    assert key == ("source:influx", "uptime", "{}")
    assert time == NOW


def test_the_same_tags_in_another_order_are_the_same_key():
    found, _ = read("m,host=a,x=1,y=2 f=1 1000000\nm,y=2,x=1,host=a f=2 2000000")
    assert found == {("host:a", "m_f", '{"x":"1","y":"2"}'): [(1, 1.0), (2, 2.0)]}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1.0), ("-1.5", -1.5), ("+2", 2.0), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0),
        ("1E-3", 0.001), ("2e+2", 200.0), ("5i", 5.0), ("-9223372036854775808i", -(2.0**63)),
        ("9007199254740993i", 9007199254740992.0), ("18446744073709551615u", 2.0**64),
        ("t", 1.0), ("T", 1.0), ("true", 1.0), ("True", 1.0), ("TRUE", 1.0), ("f", 0.0),
        ("F", 0.0), ("false", 0.0), ("False", 0.0), ("FALSE", 0.0), ("5e-324", 5e-324),
        ("2.2250738585072011e-308", 2.2250738585072011e-308), ("1e308", 1e308), ("0e999", 0.0),
        ("97.89473684210526", 97.89473684210526), ("1e-400", 0.0), ("1e400", math.inf),
        ("123456789012345678901234567890.5", 123456789012345678901234567890.5),
        ("0.000000000000000000000000000012345678901234567890123", 1.2345678901234567890123e-29),
        ("-inf", -math.inf), ("+Inf", math.inf), ("1e99999999999999999999", math.inf),
        ("1e-99999999999999999999", 0.0), ("184467440737095516150", 184467440737095516150.0),
    ],
)  # fmt: skip
def test_a_value_is_the_nearest_double(written, value):
    assert one(f"m value={written} 1")[2] == value


def test_not_a_number_and_minus_zero_keep_their_meaning():
    assert math.isnan(one("m value=NaN")[2])
    assert math.isnan(one("m value=nan")[2])
    assert bits(one("m value=nan")[2]) != STALE_BITS
    assert bits(one("m value=-0.0")[2]) == 1 << 63


@pytest.mark.parametrize(
    "written",
    ["", "abc", "1_000", "0x10", "1i2", "1.5i", "9223372036854775808i", "-1u", "1e", "1e+", "--1",
     "18446744073709551616u", "nano", "truth", "1.2.3", "true1", '"a"b', "i", "-", ".",
     "-t", "+true", "x", "nan5"],
)  # fmt: skip
def test_a_value_that_is_no_number_costs_its_field_only(written):
    found, refused = read(f"m,host=a x=1,bad={written},y=2 5000000\nm,host=a x=3 6000000")
    assert {key[1]: samples for key, samples in found.items()} == {
        "m_x": [(5, 1.0), (6, 3.0)],
        "m_y": [(5, 2.0)],
    }
    (record,) = refused
    assert record["reason"] == "not_a_number"
    assert record["origin"] == "influx request 7:line 1"
    assert "'bad'" in record["detail"]


def test_a_field_that_is_text_is_counted_and_its_neighbours_are_kept():
    found, refused = read('m,host=a s="x, y=\\"1\\" z\\\\",v=1 1000000\nm,host=a v=2 2000000')
    assert found == {("host:a", "m_v", "{}"): [(1, 1.0), (2, 2.0)]}
    assert [(r["reason"], r["origin"]) for r in refused] == [
        ("unsupported", "influx request 7:line 1")
    ]


def test_text_may_hold_line_feeds_and_lines_are_counted_through_it():
    found, refused = read('m s="one\ntwo x=1\n",v=1 1000000\nbad\n')
    assert list(found.values()) == [[(1, 1.0)]]
    assert [(r["reason"], r["origin"][-6:]) for r in refused] == [
        ("unsupported", "line 1"),
        ("malformed", "line 4"),
    ]


def test_escapes_are_undone_and_other_backslashes_kept():
    key, _, _ = one("a\\ b\\,c,t\\=g=\\ x\\,\\=\\y\\\\z f\\ g\\=h=1")
    assert key == ("source:influx", "a b,c_f g=h", '{"t=g":" x,=\\\\y\\\\\\\\z"}')


def test_comments_blank_lines_and_carriage_returns_are_passed_over():
    body = "# note\r\n\r\n  \t\nm,host=a value=1 1000000\r\n\n  m,host=a value=2\t2000000  \r\n#"
    found, refused = read(body.replace("\t", " "))
    assert list(found.values()) == [[(1, 1.0), (2, 2.0)]]
    assert refused == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m", "malformed"), ("m,a=b", "malformed"), ("m ", "malformed"), ("m =1", "malformed"),
        ("m a", "malformed"), ("m a=1,", "malformed"), ("m a=1,,b=2", "malformed"),
        ("m a=1, b=2", "malformed"), ('m a="open', "malformed"), ("m a=1 x", "no_time"),
        ("m a=1 1 2", "no_time"), ("m a=1 -", "no_time"), ("m a=1 1.5", "no_time"),
        ("m a=1 9223372036854775808", "no_time"), ("m a=1 99999999999999999999", "no_time"),
        (",a=b x=1", "malformed"), ("m,a x=1", "malformed"), ("m,a= x=1", "malformed"),
        ("m,=b x=1", "malformed"), ("m,a=b=c x=1", "malformed"), ("m,a=b,a=c x=1", "malformed"),
        ("m, x=1", "malformed"), (b"m,a=\xff x=1", "bad_name"), (b"m \xff\xfe=1", "bad_name"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_never_costs_its_neighbours(line, reason):
    line = line.encode() if isinstance(line, str) else line
    found, refused = read(b"n,host=a v=1 1000000\n" + line + b"\nn,host=a v=2 2000000")
    assert found == {("host:a", "n_v", "{}"): [(1, 1.0), (2, 2.0)]}
    assert [(r["reason"], r["origin"]) for r in refused] == [(reason, "influx request 7:line 2")]


def test_a_line_refused_in_a_text_of_many_lines_does_not_let_the_text_speak():
    found, refused = read('m s="\nevil v=1\n" junk junk\nn v=2 1')
    assert {key[1] for key in found} == {"n_v"}
    assert [r["reason"] for r in refused] == ["no_time"]


@pytest.mark.parametrize(
    ("precision", "time"),
    [("", 1), ("ns", 1), ("n", 1), ("us", 1500), ("u", 1500), ("ms", 1_500_000),
     ("s", 1_500_000_000), ("m", 90_000_000_000), ("h", 5_400_000_000_000)],
)  # fmt: skip
def test_the_precision_says_what_a_time_counts(precision, time):
    query = {"precision": precision} if precision else {}
    assert one("m value=1 1500000", **query)[1] == time


def test_times_before_1970_round_down_and_the_farthest_stay_far():
    assert one("m value=1 -1")[1] == -1
    assert one("m value=1 -9223372036854775807")[1] == -9_223_372_036_855
    for precision in ("s", "m", "h"):
        assert one("m value=1 9223372036854775807", precision=precision)[1] > 4e18
        assert one("m value=1 -9223372036854775807", precision=precision)[1] < -4e18


# Clients


@given(
    st.text("ab ,=\\x", min_size=1, max_size=6).filter(lambda s: not s.endswith("\\")),
    st.dictionaries(
        st.text("xyz =,\"'é", min_size=1, max_size=4).map(lambda s: s + "k"),
        st.text("abc =,:/\"é", min_size=1, max_size=8),
        max_size=4,
    ),
    st.dictionaries(
        st.text("fgh =,", min_size=1, max_size=4).map(lambda s: s + "k"),
        st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
        | st.integers(-(2**63), 2**63 - 1),
        min_size=1, max_size=5,
    ),
    st.integers(0, 2**62),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_what_the_clients_library_writes_is_read_as_it_was_meant(measurement, tags, fields, time):
    point = Point(measurement).time(time, WritePrecision.NS)
    for name, value in tags.items():
        point.tag(name, value)
    for name, value in fields.items():
        point.field(name, value)
    found, refused = read(point.to_line_protocol())
    assert refused == []
    assert {key[1]: samples for key, samples in found.items()} == {
        f"{measurement}_{name}": [(time // 1_000_000, float(value))]
        for name, value in fields.items()
    }
    for _, _, attributes in found:
        assert json.loads(attributes) == tags


@given(st.floats(allow_nan=False), st.sampled_from(["r", ".17e", ".18e", ".25e", ".40f", ".3f"]))
@settings(max_examples=300, deadline=None)
@example(9007199254740993.0, ".25e")
@example(1.7976931348623157e308, ".18e")
def test_every_spelling_of_a_double_reads_as_python_reads_it(value, form):
    written = repr(value) if form == "r" else f"{value:{form}}"
    assert bits(one(f"m value={written} 1")[2]) == bits(float(written))


@given(st.integers(0, 10**20), st.integers(-360, 320), st.booleans())
@settings(max_examples=300, deadline=None)
@example(18446744073709551615, -27, False)
@example(129731767497762790, -1, False)  # exactly between two doubles
@example(9007199254740993, 0, True)
def test_digits_and_a_power_of_ten_read_as_python_reads_them(digits, power, negative):
    written = f"{'-' * negative}{digits}e{power}"
    assert bits(one(f"m value={written} 1")[2]) == bits(float(written))


# What is remembered


def test_a_series_keeps_its_row_and_a_refused_one_stays_refused():
    decoder = opened()
    body = "a,host=x v=1,w=2 1\nb,host=y v=3 1\nc,t= v=1 1\n"
    first, second = (decoder.decode(delivery(body, number=n)) for n in (1, 2))
    assert isinstance(first.keys, KeyTable)
    assert first.keys is second.keys
    assert first.samples.equals(second.samples)
    assert len(first.keys) == 3
    for batch in (first, second):
        (refused,) = batch.unread.to_pylist()
        assert (refused["reason"], refused["value"], refused["time"]) == ("malformed", 1.0, 0)


@given(st.lists(st.lists(st.integers(0, 400), max_size=60), max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_row_never_depends_on_what_came_before(requests):
    decoder = opened()
    for numbers in requests:
        names = [f"{'long name of a tag value ' * (n % 3)}{n}".replace(" ", "\\ ") for n in numbers]
        lines = [
            f"m{n % 7},t={name} f{n % 5}={n} 1" for n, name in zip(numbers, names, strict=True)
        ]
        found, refused = read("\n".join(lines), decoder)
        fresh, _ = read("\n".join(lines))
        assert found == fresh
        assert refused == []


def test_more_than_the_known_series_are_forgotten_and_learnt_anew():
    decoder = opened(known=3)
    first = decoder.decode(delivery("".join(f"m,t={n} v=1 1\n" for n in range(5))))
    again = decoder.decode(delivery("m,t=0 v=1 1"))
    assert again.keys is not first.keys
    assert len(again.keys) == 1


def test_fifty_thousand_series_of_long_names_are_told_apart():
    lines = [f"m,t={'x' * (n % 40)}{n} f{n % 3}={n} 1000000" for n in range(50_000)]
    decoder = opened()
    for _ in range(2):
        batch = decoder.decode(delivery("\n".join(lines)))
        assert len(batch.keys) == 50_000
        assert (batch.samples["series"].to_numpy() == np.arange(50_000)).all()
        assert (batch.samples["value"].to_numpy() == np.arange(50_000)).all()


def test_a_tenant_has_its_name_in_source_and_origin():
    batch = opened().decode(delivery("m v=1", tenant="blue"))
    assert (batch.source, batch.cursor, batch.origin) == (
        "influx/blue", "", "influx/blue request 7",
    )  # fmt: skip


# Limits


def test_a_request_of_too_many_series_is_refused_and_the_next_is_read():
    decoder = opened(series=100)
    many = "".join(f"m,t={n} v=1 1\n" for n in range(101))
    with pytest.raises(TooLarge, match="100 series"):
        decoder.decode(delivery(many))
    assert len(read("m,t=5 v=1 1", decoder)[0]) == 1


def test_known_series_count_as_much_as_new_ones():
    decoder = opened(series=100)
    for half in (range(60), range(60, 120)):
        decoder.decode(delivery("".join(f"m,t={n} v=1 1\n" for n in half)))
    with pytest.raises(TooLarge):
        decoder.decode(delivery("".join(f"m,t={n} v=1 1\n" for n in range(120))))


def test_a_request_of_too_many_faults_is_refused():
    for body in ("m\n" * 101, "m,t= v=1\n" * 101, 'm s=""\n' * 101, "m v=x\n" * 101):
        with pytest.raises(TooLarge, match="cannot be kept"):
            opened(series=100).decode(delivery(body))
    assert len(read("m\n" * 100, opened(series=100))[1]) == 100


def test_too_many_tags_and_too_long_names_cost_their_series_only():
    tags = ",".join(f"t{n}=x" for n in range(65))
    lines = [f"m,{tags} v=1 1", f"m,{'n' * 201}=x v=1 1", f"m,t={'é' * 2049} v=1 1",
             f"{'m' * 199}é v=1 1", f"m {'f' * 201}=1 1", "good v=1 1"]  # fmt: skip
    found, refused = read("\n".join(lines))
    assert [key[1] for key in found] == ["good_v"]
    assert [(r["reason"], r["origin"][-1]) for r in refused] == [
        ("too_large", str(n)) for n in range(1, 6)
    ]


def test_one_line_of_far_too_many_fields_costs_itself_only():
    wide = ",".join(["f=1"] * 70_000)
    found, refused = read(f"a v=1 1\nm {wide} 1\nb v=2 1")
    assert {key[1] for key in found} == {"a_v", "b_v"}
    assert [(r["reason"], len(r["offered"])) for r in refused] == [("too_large", 200)]
    texts = ",".join(['f=""'] * 70_000)
    found, refused = read(f"a v=1 1\nm {texts} 1\nb v=2 1")
    assert [r["reason"] for r in refused] == ["too_large"]


def test_a_body_of_many_portions_is_read_whole():
    fields = ",".join(f"f{n}={n}" for n in range(100))
    batch = opened().decode(delivery("\n".join([f"m,host=a {fields} 1"] * 1500)))
    assert batch.samples.num_rows == 150_000
    assert (batch.samples["value"].to_numpy().reshape(1500, 100) == np.arange(100)).all()


def test_packed_bodies_are_unpacked_within_the_limit():
    headers = {"content-encoding": "gzip"}
    packed = gzip.compress(b"m v=1 1")
    assert opened().decode(delivery(packed, headers=headers)).offered == 1
    with pytest.raises(TooLarge):
        opened(body=1 << 20).decode(delivery(gzip.compress(bytes(2 << 20)), headers=headers))
    with pytest.raises(Malformed):
        opened().decode(delivery(b"m v=1 1", headers=headers))
    with pytest.raises(Unsupported):
        opened().decode(delivery(b"m v=1 1", headers={"content-encoding": "br"}))


@pytest.mark.parametrize(
    "label",
    ["__proto__", "constructor", "\u202e", "\u200b", "a\u0000b", "\u2066x\u2069", "entity"],
)
def test_names_that_harm_others_are_data_here(label):
    found, refused = read(f"m,{label}=x,host=a v=1 1\nn v=2 1")
    assert len(found) + len(refused) == 2
    assert any(key[1] == "n_v" for key in found)


# Answers


def test_all_that_was_written_is_answered_with_204_and_nothing_else():
    for path in ("/write", "/api/v2/write"):
        answer = RECEIVER.answer(delivery(path=path), Received(3, 3, 0))
        assert (answer.status, answer.body) == (204, b"")


def test_what_was_refused_is_answered_with_400_as_each_version_writes_it():
    faults = ("line 3: field=value", "line 9: a closing quote")
    partial = Received(5, 3, 2, {"malformed": 2}, faults)
    second = RECEIVER.answer(delivery(path="/api/v2/write"), partial)
    assert second.status == 400
    said = json.loads(second.body)
    assert said["code"] == "invalid"
    told = "2 of 5 refused: malformed 2; line 3: field=value; line 9: a closing quote"
    assert said["message"] == f"partial write: {told}"
    many = RECEIVER.answer(delivery(), Received(50, 9, 41, {"malformed": 41}, faults))
    assert json.loads(many.body)["error"].endswith("line 9: a closing quote; and 39 more")
    first = RECEIVER.answer(delivery(), partial)
    assert first.status == 400
    assert json.loads(first.body)["error"] == said["message"]


def test_a_client_that_writes_text_fields_is_not_told_it_failed():
    outcome = Received(5, 3, 2, {"unsupported": 2})
    assert RECEIVER.answer(delivery(), outcome).status == 204
    outcome = Received(5, 3, 2, {"unsupported": 1, "below_bound": 1})
    assert RECEIVER.answer(delivery(), outcome).status == 204
    both = Received(5, 3, 2, {"unsupported": 1, "malformed": 1})
    assert RECEIVER.answer(delivery(), both).status == 400


@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        (Malformed("no"), 400, "invalid", None),
        (Unsupported("no"), 415, "unsupported media type", None),
        (TooLarge("no"), 413, "request too large", None),
        (OverQuota("no", retry_after=2.6), 429, "too many requests", "3"),
        (Overloaded("no", retry_after=0.1), 503, "unavailable", "1"),
    ],
)
def test_a_request_that_was_not_taken_in_says_why_and_when_to_come_back(error, status, code, wait):
    answer = RECEIVER.answer(delivery(path="/api/v2/write"), error)
    assert answer.status == status
    assert answer.headers.get("Retry-After") == wait
    assert json.loads(answer.body) == {"code": code, "message": str(error)}
    assert json.loads(RECEIVER.answer(delivery(), error).body) == {"error": str(error)}


def test_ping_and_create_database_are_answered_as_old_clients_expect():
    decoder = opened()
    for method in ("GET", "HEAD"):
        ping = delivery(path="/ping", method=method)
        assert decoder.decode(ping) is None
        answer = RECEIVER.answer(ping, Received())
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["X-Influxdb-Version"] == "1.8.10"
    for query in (
        delivery(path="/query", q='CREATE DATABASE "telegraf"'),
        delivery(b"q=CREATE+DATABASE+%22telegraf%22", path="/query"),
    ):
        assert decoder.decode(query) is None
        answer = RECEIVER.answer(query, Received())
        assert (answer.status, json.loads(answer.body)) == (
            200, {"results": [{"statement_id": 0}]},
        )  # fmt: skip


def test_another_question_is_refused_not_answered_with_nothing():
    with pytest.raises(Malformed, match="CREATE DATABASE"):
        opened().decode(delivery(path="/query", q="SELECT * FROM cpu"))


def test_an_unknown_precision_is_refused():
    with pytest.raises(Malformed, match="precision 'days'"):
        opened().decode(delivery("m v=1", precision="days"))


def test_nothing_to_store_is_nothing():
    for body in ("", "\n\n", "# only a comment", " \r\n\t"):
        assert opened().decode(delivery(body)) is None


# Any bytes

VALID = (
    b'cpu,host=a,dc=x\\ y usage=1.5,n=3i,ok=t,s="q\\"\n" 1700000000000000000\n'
    b"mem,host=b used=12345678901234567890.5e-3,free=nan\r\n# c\nm v=1 -5\n"
)
PIECES = st.sampled_from(
    [b"m", b",", b"=", b" ", b"\n", b"\\", b'"', b"1", b"e", b"-", b".", b"i", b"u", b"t", b"#",
     b"\r", b"\t", b"\xff", b"\x00", b'="', b"a=1", b"m,t=v ", b"9" * 20, b" 17\n"],
)  # fmt: skip


BLOCK, BLANK = re.compile(rb"(?:\\ |[^ \n])*"), re.compile(rb"[ \t\r]*")
NAME, VALUE = re.compile(rb"(?:\\[,= ]|(?!\\[,= ])[^,= \n])+="), re.compile(rb"[^, \n\r]*")
TEXT = re.compile(rb'"(?:\\["\\]|[^"\\]|\\(?!["\\]))*"')
TIME = re.compile(rb"[ \t\r]*(-?[0-9]+)?[ \t\r]*(?=\n|\Z)")


def slow(body):
    """Count what every line of a body holds, one byte after another: the twin of the kernel."""
    good = bad = at = 0
    while at < len(body):
        while at < len(body) and body[at] in b" \t\r":
            at += 1
        start = at
        if at == len(body) or body[at] in b"\n#":
            at = (body.find(b"\n", at) + 1) or len(body)
            continue
        found, lost, ends = line_of(body, start)
        if ends < 0:
            lost, found, ends = 1, 0, end_of(body, start)
        good, bad, at = good + found, bad + lost, ends + 1
    return good, bad


def line_of(body, at):
    """Return how many fields of the line are read and how many not, and its end; -1: none of it."""
    at = BLANK.match(body, BLOCK.match(body, at).end()).end()
    good = bad = 0
    while True:
        name = NAME.match(body, at)
        if not name:
            return 0, 0, -1
        at = name.end()
        if body[at : at + 1] == b'"':
            text = TEXT.match(body, at)
            if not text:
                return 0, 0, -1
            at, bad = VALUE.match(body, text.end()).end(), bad + 1
        else:
            value = VALUE.match(body, at)
            at = value.end()
            if number_of(value[0]):
                good += 1
            else:
                bad += 1
        if body[at : at + 1] != b",":
            break
        at += 1
    rest = TIME.match(body, at)
    if not rest or (rest[1] and abs(int(rest[1])) >= 2**63):
        return 0, 0, -1
    return good, bad, rest.end()


def number_of(text):
    if re.fullmatch(rb"t|f|true|false", text.lower()):
        return True
    if re.fullmatch(rb"[+-]?[0-9]+i", text):
        return -(2**63) <= int(text[:-1]) < 2**63
    if re.fullmatch(rb"\+?[0-9]+u", text):
        return int(text[:-1]) < 2**64
    return bool(
        re.fullmatch(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
        or re.fullmatch(rb"[+-]?(nan|inf|infinity)", text.lower())
    )


def end_of(body, at):
    at = BLOCK.match(body, at).end()
    while at < len(body) and body[at] != 10:
        text = TEXT.match(body, at) if body[at - 1 : at] == b"=" else None
        at = text.end() if text else at + 1
    return at


DECODER = opened()


def check(body):
    """Whatever the bytes: all is counted, and the kernel agrees with its slow twin."""
    try:
        batch = DECODER.decode(delivery(body))
    except RequestError:
        return
    refused = [] if batch is None else batch.unread.to_pylist()
    named = sum(1 for record in refused if record["value"] is not None)  # series that have no name
    good, bad = (0, 0) if batch is None else (batch.samples.num_rows + named, len(refused) - named)
    assert (good, bad) == slow(body)


@given(st.lists(PIECES, max_size=40).map(b"".join))
@settings(max_examples=600, deadline=None)
@example(b'm a="\\')
@example(b'm a="\\"')
@example(b"\\")
@example(b"m\\ ")
@example(b"m 1=-")
@example(b'm a=1,b="x"y 1')
def test_pieces_of_lines_are_read_as_the_slow_twin_reads_them(body):
    check(body)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_spoilt_requests_are_read_as_the_slow_twin_reads_them(data):
    body = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        kind = data.draw(st.sampled_from(["cut", "put", "drop"]))
        if kind == "cut":
            del body[at:]
        elif kind == "put":
            body[at:at] = data.draw(PIECES | st.binary(max_size=3))
        else:
            del body[at : at + data.draw(st.integers(1, 8))]
    check(bytes(body))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_as_the_slow_twin_reads_them(body):
    check(body)


def test_a_date_as_clients_write_it_is_that_date():
    moment = datetime(2024, 2, 29, 12, 30, 15, 250_000, UTC)
    line = Point("m").field("v", 1.0).time(moment, WritePrecision.NS).to_line_protocol()
    assert one(line)[1] == int(moment.timestamp() * 1000)
