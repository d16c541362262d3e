"""JSON lines: our own long layout, pushed; read as files are, and answered with counts."""

import contextlib
import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from watchkeeper.errors import Malformed, Overloaded, OverQuota, RequestError, TooLarge, Unsupported
from watchkeeper.identity import Identity
from watchkeeper.model import Millis
from watchkeeper.receivers import Delivery, Limits, Received
from watchkeeper.receivers.json_lines import LINE_MAX, PATH, JsonLines
from watchkeeper.testing.receivers import Examples, receiver_checks

NOW = Millis(1_700_000_000_123)
RECEIVER = JsonLines()
GOOD = {"timestamp": 1_700_000_000, "entity": "host:a", "metric": "m", "value": 1.5}


def delivery(body=b"", kind="application/x-ndjson", tenant="", **headers):
    headers = {"content-type": kind, **headers} if kind else headers
    return Delivery("POST", PATH, {}, headers, body, NOW, tenant, 7)


def lines(*records):
    return b"\n".join(
        one if isinstance(one, bytes) else json.dumps(one).encode() for one in records
    )


def decode(*records, **limits):
    return RECEIVER.open(Limits(**limits), Identity()).decode(delivery(lines(*records)))


def told(batch):
    keys = [tuple(row.values()) for row in batch.keys.to_pylist()]
    return [(*keys[row["series"]], row["time"], row["value"]) for row in batch.samples.to_pylist()]


def refused(batch):
    return [(row["reason"], row["origin"].partition(":")[2]) for row in batch.unread.to_pylist()]


def one(**fields):
    batch = decode({**GOOD, **fields})
    assert batch.unread.num_rows == 0, batch.unread.to_pylist()
    return told(batch)[0]


EXAMPLES = Examples(
    RECEIVER,
    good=[
        delivery(lines(GOOD, {**GOOD, "metric": "n"}, {**GOOD, "value": "NaN"})),
        delivery(json.dumps([GOOD, {**GOOD, "x": "y"}]).encode(), "application/json"),
    ],
    partial=[delivery(lines(GOOD, b"bad", {**GOOD, "value": "x"}, {**GOOD, "timestamp": None}))],
    broken=[
        delivery(b"{}", "application/json"),
        delivery(lines(GOOD), "text/csv"),
        delivery(lines(GOOD), **{"content-encoding": "gzip"}),
    ],
)


@pytest.mark.parametrize("check", list(receiver_checks()), ids=lambda check: check.__name__)
def test_it_is_a_receiver(check):
    check(EXAMPLES)


def test_a_line_is_a_sample_and_a_series_is_named_once():
    batch = decode(GOOD, {**GOOD, "timestamp": 1_700_000_001, "attributes": {"b": "2", "a": 1}},
                   {**GOOD, "value": 2})  # fmt: skip
    assert told(batch) == [
        ("host:a", "m", "{}", 1_700_000_000_000, 1.5),
        ("host:a", "m", '{"a":"1","b":"2"}', 1_700_000_001_000, 1.5),
        ("host:a", "m", "{}", 1_700_000_000_000, 2.0),
    ]
    assert batch.keys.num_rows == 2
    assert (batch.source, batch.cursor, batch.origin) == (
        "json_lines", "", "json_lines request 7",
    )  # fmt: skip


def test_fields_go_by_the_names_files_use_in_any_case():
    batch = decode({"TS": 5, "Hostname": "web-1", "__name__": "m", "VALUE": 1, "zone": "z"})
    assert told(batch) == [("host:web-1", "m", '{"zone":"z"}', 5000, 1.0)]


@pytest.mark.parametrize(
    ("entity", "key"),
    [("web-1", "host:web-1"), ("db:x", "db:x"), ("localhost:9100", "host:localhost:9100"),
     ("fe80::1", "host:fe80::1"), (5, "host:5")],
)  # fmt: skip
def test_an_entity_without_a_type_is_a_host(entity, key):
    assert one(entity=entity)[0] == key


@pytest.mark.parametrize(
    ("written", "millis"),
    [
        (5, 5000), (1_700_000_000.25, 1_700_000_000_250), (1_700_000_000_123, 1_700_000_000_123),
        (1_700_000_000_123_456, 1_700_000_000_123), (1_700_000_000_123_456_789, 1_700_000_000_123),
        ("1700000000", 1_700_000_000_000), (" +5 ", 5000), ("5.5", 5500), (-5, -5000), (0, 0),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14 22:13:20.123456789", 1_700_000_000_123),
        ("2023-11-15T00:13:20.1+02:00", 1_700_000_000_100),
        ("2023-11-14", 1_699_920_000_000), ("1969-12-31T23:59:59.999Z", -1),
    ],
)  # fmt: skip
def test_a_time_is_read_as_in_files(written, millis):
    assert one(timestamp=written)[3] == millis


@pytest.mark.parametrize(
    ("written", "value"),
    [(1, 1.0), ("1.5", 1.5), (" -2e3 ", -2000.0), (True, 1.0), (False, 0.0), ("inf", math.inf),
     ("-Infinity", -math.inf), (2**53 + 1, 2.0**53), (1e308, 1e308), (5e-324, 5e-324)],
)  # fmt: skip
def test_a_value_is_read_and_infinities_are_left_to_the_contracts(written, value):
    assert one(value=written)[4] == value


def test_not_a_number_and_minus_zero_keep_their_meaning():
    assert math.isnan(one(value="NaN")[4])
    assert math.copysign(1, one(value=-0.0)[4]) == -1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "malformed"), (b"[1]", "malformed"), (b"5", "malformed"), (b"{}x", "malformed"),
        (b'{"value":NaN}', "malformed"), (b"\xff", "malformed"), (b'"\\ud800"', "malformed"),
        ({**GOOD, "attributes": "x"}, "malformed"), ({**GOOD, "attributes": [1]}, "malformed"),
        ({}, "bad_name"), ({**GOOD, "entity": ""}, "bad_name"),
        ({**GOOD, "metric": None}, "bad_name"),
        ({**GOOD, "timestamp": None}, "no_time"), ({**GOOD, "timestamp": True}, "no_time"),
        ({**GOOD, "timestamp": "01/02/2023"}, "no_time"), ({**GOOD, "timestamp": 1e19}, "no_time"),
        ({**GOOD, "timestamp": "2023-13-01"}, "no_time"), ({**GOOD, "timestamp": "nan"}, "no_time"),
        ({**GOOD, "timestamp": "9999999999999999999"}, "no_time"),
        ({**GOOD, "value": None}, "not_a_number"), ({**GOOD, "value": "N/A"}, "not_a_number"),
        ({**GOOD, "value": "1_0"}, "not_a_number"), ({**GOOD, "value": [1]}, "not_a_number"),
        ({"timestamp": 1, "entity": "a", "metric": "m"}, "not_a_number"),
        ({"value": 1, "entity": "a", "metric": "m"}, "no_time"),
        ({**GOOD, "attributes": {f"a{n}": 1 for n in range(65)}}, "too_large"),
        ({**GOOD, "attributes": {"n" * 201: 1}}, "too_large"),
        ({**GOOD, "x": "é" * 2049}, "too_large"),
        ({**GOOD, "metric": "m" * 201}, "too_large"), ({**GOOD, "entity": "e" * 4097}, "too_large"),
        (b'"' + b"x" * LINE_MAX + b'"', "too_large"),
        (b'{"value":' + b"[" * 600 + b"]" * 600 + b"}", "bad_name"),
        (b'{"value":' + b"[" * 100_000, "malformed"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_sample_costs_itself_only(line, reason):
    batch = decode(GOOD, b"", line, GOOD)
    assert len(told(batch)) == 2
    assert refused(batch) == [(reason, "line 3")]
    assert len(batch.unread["offered"][0].as_py()) <= 200


def test_what_is_known_of_a_refused_sample_is_kept():
    row = decode({**GOOD, "value": "N/A"}).unread.to_pylist()[0]
    assert (row["entity"], row["metric"], row["attributes"]) == ("host:a", "m", "{}")
    assert row["time"] == 1_700_000_000_000
    assert json.loads(row["offered"])["value"] == "N/A"


def test_attributes_may_be_text_that_holds_an_object_and_empty_ones_are_none():
    assert one(attributes='{"a":"b"}')[2] == '{"a":"b"}'
    assert one(attributes={"a": None, "b": "", "c": [1, {"d": 2}]}, e=None)[2] == (
        '{"c":"[1,{\\"d\\":2}]"}'
    )
    assert one(attributes={"a": "inner"}, a="outer")[2] == '{"a":"outer"}'


@pytest.mark.parametrize("name", ["__proto__", "constructor", "\u202e", "\u200b", "a\x00b"])
def test_names_that_harm_others_are_data_here(name):
    assert json.loads(one(attributes={name: "x"})[2]) == {name: "x"}


def test_carriage_returns_blank_lines_and_a_byte_order_mark_are_passed_over():
    batch = decode(b"\xef\xbb\xbf\r", b"  \r", json.dumps(GOOD).encode() + b"\r", b"bad", b"")
    assert len(told(batch)) == 1
    assert refused(batch) == [("malformed", "line 4")]


def test_an_array_is_read_item_by_item():
    decoder = RECEIVER.open(Limits(), Identity())
    body = json.dumps([GOOD, 5, {**GOOD, "value": "x"}]).encode()
    batch = decoder.decode(delivery(body, "application/json; charset=utf-8"))
    assert len(told(batch)) == 1
    assert refused(batch) == [("malformed", "item 2"), ("not_a_number", "item 3")]


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"5", b"[" * 100_000])
def test_what_says_it_is_an_array_and_is_none_is_refused_whole(body):
    with pytest.raises(Malformed):
        RECEIVER.open(Limits(), Identity()).decode(delivery(body, "application/json"))


def test_an_array_that_would_take_too_much_memory_is_refused():
    body = b"[" + b"[]," * 3_000_000 + b"[]]"
    with pytest.raises(TooLarge):
        RECEIVER.open(Limits(), Identity()).decode(delivery(body, "application/json"))


def test_another_content_type_is_refused_and_none_means_lines():
    decoder = RECEIVER.open(Limits(), Identity())
    with pytest.raises(Unsupported, match=r"text/csv.*x-ndjson"):
        decoder.decode(delivery(lines(GOOD), "text/csv"))
    assert decoder.decode(delivery(lines(GOOD), "")).offered == 1


def test_too_many_series_or_faults_are_refused():
    for records in ([{**GOOD, "n": n} for n in range(11)], [b"x"] * 11):
        with pytest.raises(TooLarge, match="more than 10"):
            decode(*records, series=10)


def test_nothing_to_store_is_nothing():
    decoder = RECEIVER.open(Limits(), Identity())
    assert decoder.decode(delivery(b"\n \n")) is None
    assert decoder.decode(delivery(b"[]", "application/json")) is None


def test_a_tenant_has_its_name_in_source_and_origin():
    batch = RECEIVER.open(Limits(), Identity()).decode(delivery(lines(GOOD), tenant="blue"))
    assert (batch.source, batch.origin) == ("json_lines/blue", "json_lines/blue request 7")


def test_what_was_taken_is_counted_in_the_answer():
    answer = RECEIVER.answer(delivery(), Received(3, 3, 0))
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "status": "success", "data": {"accepted": 3, "rejected": 0},
    }  # fmt: skip


def test_what_was_refused_is_counted_with_its_reasons():
    answer = RECEIVER.answer(delivery(), Received(3, 1, 2, {"no_time": 2}, ("line 2: RFC 3339",)))
    assert answer.status == 400
    said = json.loads(answer.body)
    assert (said["status"], said["errorType"]) == ("error", "bad_data")
    assert "2 of 3 refused: no_time 2; first: line 2" in said["error"]
    assert said["data"] == {
        "accepted": 1, "rejected": 2, "reasons": {"no_time": 2}, "first": "line 2: RFC 3339",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "kind", "wait"),
    [(Malformed("no"), 400, "bad_data", None), (Unsupported("no"), 415, "bad_data", None),
     (TooLarge("no"), 413, "bad_data", None),
     (OverQuota("no", retry_after=2), 429, "unavailable", "2"),
     (Overloaded("no", retry_after=5), 503, "unavailable", "5")],
)  # fmt: skip
def test_a_request_that_was_not_taken_in_says_why_and_when_to_come_back(error, status, kind, wait):
    answer = RECEIVER.answer(delivery(), error)
    assert (answer.status, answer.headers.get("Retry-After")) == (status, wait)
    said = json.loads(answer.body)
    assert (said["status"], said["errorType"], said["error"]) == ("error", kind, str(error))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
FIELDS = st.sampled_from([*GOOD, "attributes", "time", "host", "x", "Value"])


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=6), min_size=1, max_size=5), st.booleans())
@settings(max_examples=100, deadline=None)
@example([{**GOOD, "attributes": {"a": {"b": math.nan}}}], False)
def test_every_record_is_a_sample_or_a_fault_and_lines_equal_items(records, spoilt):
    kinds = [({**GOOD, **record} if not spoilt else record) for record in records]
    text = [json.dumps(one).replace("Infinity", "1e999").replace("NaN", "null") for one in kinds]
    decoder = RECEIVER.open(Limits(), Identity())
    by_line = decoder.decode(delivery("\n".join(text).encode()))
    assert by_line.offered == len(records)
    try:
        by_item = decoder.decode(delivery(f"[{','.join(text)}]".encode(), "application/json"))
    except Malformed:  # one value that is not JSON, such as half a character, spoils an array
        assert "malformed" in [reason for reason, _ in refused(by_line)]
    else:
        assert [reason for reason, _ in refused(by_line)] == [r for r, _ in refused(by_item)]
        assert by_item.samples.equals(by_line.samples)


@given(st.binary(max_size=120), st.integers(0, 120), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_raise_nothing_but_a_refusal(noise, at, array):
    good = json.dumps([GOOD] if array else GOOD).encode()
    decoder = RECEIVER.open(Limits(), Identity())
    for body in (noise, good[:at] + noise + good[at:], good[:at]):
        with contextlib.suppress(RequestError):
            decoder.decode(delivery(body, "application/json" if array else "application/x-ndjson"))
