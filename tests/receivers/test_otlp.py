"""OTLP over HTTP: what is sent is what is stored, in both encodings, and nothing breaks it."""

import contextlib
import gzip
import json
import struct
import zlib

import cramjam
import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from tests.receivers import otlp_naive as naive

from watchkeeper.errors import (
    Malformed,
    Overloaded,
    OverQuota,
    RequestError,
    TooLarge,
    Unsupported,
)
from watchkeeper.identity import Identity
from watchkeeper.model import STALE_BITS, Reason
from watchkeeper.receivers import Delivery, Limits, Received
from watchkeeper.receivers.otlp import Otlp
from watchkeeper.testing.receivers import Examples, receiver_checks

NOW = 1_700_000_000_000_000_000
PROTOBUF, JSON = "application/x-protobuf", "application/json"


def delivery(body, kind=PROTOBUF, encoding="", **more):
    headers = {"content-type": kind, "content-encoding": encoding}
    return Delivery("POST", "/v1/metrics", {}, headers, body, 0, **more)


def opened(limits=None, **fields):
    return Otlp(**fields).open(limits or Limits(), Identity())


def keys(batch):
    rows = batch.keys.take(batch.samples["series"].to_numpy()).to_pylist()
    return [(row["entity"], row["metric"], row["attributes"]) for row in rows]


def read(batch):
    """Return the samples of a batch and the reasons of what was refused, as the twin does."""
    if batch is None:
        return [], []
    bits = batch.samples["value"].to_numpy().view("u8").tolist()
    times = batch.samples["time"].to_pylist()
    reasons = [Reason(reason) for reason in batch.unread["reason"].to_pylist()]
    return list(zip(keys(batch), times, bits, strict=True)), reasons


def same(found, wanted):
    """NaNs that came out of a division are NaNs; every other bit counts."""

    def plain(samples):
        return [
            (*sample[:2], "NaN" if nan(sample[2]) and sample[2] != STALE_BITS else sample[2])
            for sample in samples
        ]

    def nan(bits):
        value = struct.unpack("<d", struct.pack("<Q", bits))[0]
        return value != value

    assert (plain(found[0]), found[1]) == (plain(wanted[0]), wanted[1])


def request(*metrics, **resource):
    """Return a request of one resource, as a message."""
    attributes = [{"key": k, "value": {"string_value": v}} for k, v in resource.items()]
    return ExportMetricsServiceRequest(
        resource_metrics=[
            {
                "resource": {"attributes": attributes},
                "scope_metrics": [{"metrics": list(metrics)}],
            }
        ]
    )


def gauge(name="load", value=1.5, time=NOW, **more):
    attributes = [{"key": k, "value": {"string_value": v}} for k, v in more.items()]
    point = {"time_unix_nano": time, "as_double": value, "attributes": attributes}
    return {"name": name, "gauge": {"data_points": [point]}}


def decode(message, limits=None, **fields):
    return opened(limits, **fields).decode(delivery(message.SerializeToString()))


@settings(deadline=None, max_examples=60)
@given(naive.requests, st.booleans(), st.sampled_from([(), ("cpu", "state")]))
def test_every_point_becomes_what_the_slow_reading_says(message, buckets, keep):
    decoder = opened(buckets=buckets, keep=keep)
    body = delivery(message.SerializeToString())
    wanted = naive.read(message, buckets, keep)
    same(read(decoder.decode(body)), wanted)
    same(read(decoder.decode(body)), wanted)  # from memory


@settings(deadline=None, max_examples=60)
@given(naive.requests)
def test_json_says_the_same_as_protobuf(message):
    text = json_format.MessageToJson(message, use_integers_for_enums=True)
    decoder = opened(buckets=True)
    binary = read(decoder.decode(delivery(message.SerializeToString())))
    same(read(decoder.decode(delivery(text.encode(), JSON))), binary)
    same(read(opened(buckets=True).decode(delivery(text.encode(), JSON))), binary)


@settings(deadline=None, max_examples=60)
@given(st.lists(naive.requests, min_size=2, max_size=4), st.data())
def test_what_was_seen_before_does_not_show_in_a_batch(messages, data):
    decoder = opened(Limits(known=data.draw(st.sampled_from([2, 20, 1000]))), buckets=True)
    for message in messages:
        found = read(decoder.decode(delivery(message.SerializeToString())))
        same(found, naive.read(message, buckets=True))


@settings(deadline=None, max_examples=60)
@given(naive.requests, st.data())
def test_mutated_bytes_are_read_as_protobuf_reads_them_or_refused(message, data):
    body = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if body:
            at = data.draw(st.integers(0, len(body) - 1))
            body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    decoder = opened(buckets=True)
    try:
        wanted = ExportMetricsServiceRequest.FromString(bytes(body))
    except Exception:
        wanted = None
    try:
        found = read(decoder.decode(delivery(bytes(body))))
    except Malformed:
        assert wanted is None
        found = None
    if wanted is not None:
        same(found, naive.read(wanted, buckets=True))
    same(read(decoder.decode(delivery(message.SerializeToString()))),
         naive.read(message, buckets=True))  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.sampled_from([PROTOBUF, JSON]))
def test_arbitrary_bytes_raise_nothing_but_a_refusal(body, kind):
    with contextlib.suppress(RequestError):
        opened().decode(delivery(body, kind))


any_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(
                ["resourceMetrics", "resource", "scopeMetrics", "metrics", "name", "gauge", "sum",
                 "dataPoints", "attributes", "key", "value", "stringValue", "asInt", "histogram",
                 "bucketCounts", "bytesValue", "aggregationTemporality", "timeUnixNano"]
            ),
            inner,
            max_size=3,
        ),
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(any_json)
def test_any_json_raises_nothing_but_a_refusal(document):
    body = json.dumps({"resourceMetrics": [document]}).encode()
    with contextlib.suppress(RequestError):
        opened().decode(delivery(body, JSON))


def test_a_field_given_twice_or_apart_is_merged_as_protobuf_merges_it():
    one = request(gauge(cpu="0"), **{"host.name": "web-1"}).SerializeToString()
    two = request(gauge("other", cpu="1"), **{"host.id": "7"}).SerializeToString()
    merged = one[1:], two[1:]
    inner = b"".join(part[1:] if part[0] < 128 else part[2:] for part in merged)
    body = b"\x0a" + _length(len(inner)) + inner  # one ResourceMetrics with two resources
    wanted = naive.read(ExportMetricsServiceRequest.FromString(body))
    assert len(wanted[0]) == 2
    same(read(opened().decode(delivery(body))), wanted)


def _length(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])


def test_a_group_nobody_knows_is_stepped_over():
    body = request(gauge()).SerializeToString() + b"\x9b\x06\x08\x01\x9c\x06"
    assert opened().decode(delivery(body)).samples.num_rows == 1


def test_the_resource_names_the_entity_and_only_points_speak_in_the_series():
    message = request(gauge("system.load", cpu="0"), **{"host.name": "web-1", "os.type": "linux"})
    assert keys(decode(message)) == [("host:web-1", "system.load", '{"cpu":"0"}')]
    kept = keys(decode(message, keep=("os.type",)))
    assert kept == [("host:web-1", "system.load", '{"cpu":"0","os.type":"linux"}')]


def test_the_scope_is_kept_when_it_is_asked_for():
    message = request(gauge())
    message.resource_metrics[0].scope_metrics[0].scope.name = "lib"
    message.resource_metrics[0].scope_metrics[0].scope.version = "2"
    fields = {"keep": ("otel.scope.name", "otel.scope.version")}
    assert keys(decode(message)) == [("source:otlp", "load", "{}")]
    assert json.loads(keys(decode(message, **fields))[0][2]) == {
        "otel.scope.name": "lib",
        "otel.scope.version": "2",
    }


def test_two_spellings_of_one_series_are_one_series():
    decoder = opened()
    first = request(gauge(cpu="0", state="idle"), **{"host.name": "a", "process.pid": "1"})
    second = request(gauge(state="idle", cpu="0"), **{"host.name": "a", "process.pid": "2"})
    one = decoder.decode(delivery(first.SerializeToString()))
    two = decoder.decode(delivery(second.SerializeToString()))
    assert one.keys is two.keys
    assert len(two.keys) == 1
    assert one.samples.equals(two.samples)


def test_a_stale_marker_keeps_its_bits_and_other_nans_theirs():
    message = request(gauge("a"), gauge("b"))
    points = [m.gauge.data_points[0] for m in message.resource_metrics[0].scope_metrics[0].metrics]
    points[0].flags = 1
    body = message.SerializeToString().replace(
        struct.pack("<d", 1.5), struct.pack("<Q", 0x7FF8000000000001)
    )
    found = opened().decode(delivery(body)).samples["value"].to_numpy().view("u8").tolist()
    assert found == [STALE_BITS, 0x7FF8000000000001]


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate", "zstd"])
def test_packed_bodies_are_read(encoding):
    pack = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": lambda body: bytes(cramjam.zstd.compress(body)),
    }.get(encoding, bytes)
    body = pack(request(gauge()).SerializeToString())
    assert opened().decode(delivery(body, encoding=encoding)).samples.num_rows == 1


def test_the_tenant_and_the_request_are_named():
    body = request(gauge(time=0)).SerializeToString()
    batch = opened().decode(delivery(body, tenant="blue", number=7))
    assert (batch.source, batch.origin) == ("otlp/blue", "otlp/blue request 7")
    refused = batch.unread.to_pylist()[0]
    assert refused["origin"] == "otlp/blue request 7:sample 1"
    assert (refused["metric"], refused["reason"], refused["time"]) == ("load", "no_time", None)


def test_an_empty_request_holds_nothing_to_store():
    assert opened().decode(delivery(b"")) is None
    assert opened().decode(delivery(b"{}", JSON)) is None


BAD = {
    "no name": (gauge(""), "bad_name"),
    "name too long": (gauge("x" * 201), "too_large"),
    "attribute too long": (gauge(x="y" * 5000), "too_large"),
    "attribute's name too long": (gauge(**{"x" * 201: "y"}), "too_large"),
    "too many attributes": (gauge(**{f"a{n}": "b" for n in range(65)}), "too_large"),
    "attribute without a name": (gauge(**{"": "x"}), "bad_name"),
    "no time": (gauge(time=0), "no_time"),
    "no value": ({"name": "m", "gauge": {"data_points": [{"time_unix_nano": NOW}]}}, "malformed"),
    "no temporality": (
        {"name": "m", "sum": {"data_points": [{"time_unix_nano": NOW, "as_int": 1}]}},
        "unsupported",
    ),
    "delta without start": (
        {
            "name": "m",
            "sum": {
                "aggregation_temporality": 1,
                "data_points": [{"time_unix_nano": NOW, "as_int": 1}],
            },
        },
        "unsupported",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_point_is_refused_and_its_neighbours_are_kept(name):
    metric, reason = BAD[name]
    decoder = opened()
    body = delivery(request(gauge("before"), metric, gauge("after")).SerializeToString())
    for _ in range(2):  # a refusal is remembered, too
        batch = decoder.decode(body)
        assert [key[1] for key in keys(batch)] == ["before", "after"]
        assert batch.unread["reason"].to_pylist() == [reason]


@pytest.mark.parametrize("place", [b"before", b"os.type", b"cpu-0", b"cores"])
def test_text_that_is_not_utf8_costs_only_what_it_names(place):
    message = request({**gauge("before", cores="cpu-0")}, **{"host.name": "a", "os.type": "linux"})
    message.resource_metrics.add().CopyFrom(request(gauge("after")).resource_metrics[0])
    body = message.SerializeToString().replace(place, b"\xff" * len(place))
    batch = opened().decode(delivery(body))
    assert [key[1] for key in keys(batch)] == ["after"]
    assert batch.unread.num_rows == 1


def test_a_long_command_line_of_a_process_costs_nothing():
    long = {"process.command_line": "java " * 2000, "service.name": "shop"}
    assert keys(decode(request(gauge(), **long))) == [("service:shop", "load", "{}")]
    assert keys(decode(request(gauge(), **long), keep=("process.command_line",))) == [
        ("service:shop", "load", "{}")
    ]


def test_a_request_of_too_many_series_is_refused_whole_and_forgotten():
    decoder = opened(Limits(series=10))
    many = request(*(gauge(f"m{n}") for n in range(11))).SerializeToString()
    with pytest.raises(TooLarge, match="more than 10 series"):
        decoder.decode(delivery(many))
    few = request(*(gauge(f"m{n}") for n in range(10)))
    same(read(decoder.decode(delivery(few.SerializeToString()))), naive.read(few))


def test_a_million_empty_points_are_refused():
    points = b"\x0a\x00" * 1_000_000
    body = _nested(points, 0x2A)
    with pytest.raises(TooLarge, match="give no sample"):
        opened().decode(delivery(body))


def test_a_million_empty_quantiles_are_refused():
    point = b"\x19" + struct.pack("<Q", NOW) + b"\x32\x00" * 1_000_000
    body = _nested(_wrapped(0x0A, point), 0x5A)
    with pytest.raises(TooLarge, match="samples in"):
        opened().decode(delivery(body))


def _wrapped(tag, content):
    length, n = b"", len(content)
    while n > 127:
        length, n = length + bytes([n & 127 | 128]), n >> 7
    return bytes([tag]) + length + bytes([n]) + content


def _nested(points, kind):
    metric = _wrapped(0x0A, b"m") + _wrapped(kind, points)
    return _wrapped(0x0A, _wrapped(0x12, _wrapped(0x12, metric)))


def test_many_empty_resources_say_nothing():
    assert opened().decode(delivery(b"\x0a\x00" * 100_000)) is None


def test_deep_values_are_refused_without_their_neighbours():
    value = {"string_value": "x"}
    shallow = request(gauge("before"), gauge("after"), gauge("deep"))
    point = shallow.resource_metrics[0].scope_metrics[0].metrics[2].gauge.data_points[0]
    point.attributes.add(key="k", value=value)
    inner = point.attributes[0].value.SerializeToString()
    for _ in range(10_000):
        inner = _wrapped(0x2A, _wrapped(0x0A, inner))
    attribute = _wrapped(0x3A, _wrapped(0x0A, b"k") + _wrapped(0x12, inner))
    content = b"\x19" + struct.pack("<Q", NOW) + b"\x21" + struct.pack("<d", 1.0) + attribute
    deep = _nested(_wrapped(0x0A, content), 0x2A)
    fine = request(gauge("before")).SerializeToString()
    batch = opened().decode(delivery(fine + deep))
    assert [key[1] for key in keys(batch)] == ["before"]
    assert batch.unread.num_rows == 1


def test_deep_json_is_refused():
    for deep in (b'{"resourceMetrics":' + b"[" * 50_000, _deep_json(200), _deep_json(20_000)):
        with pytest.raises(Malformed):
            opened().decode(delivery(deep, JSON))


def _deep_json(depth):
    value = '{"arrayValue":{"values":[' * depth + "{}" + "]}}" * depth
    attribute = '{"key":"k","value":' + value + "}"
    text = '{"resourceMetrics":[{"resource":{"attributes":[' + attribute + "]}}]}"
    return text.encode()


def point_json(**fields):
    point = {"timeUnixNano": str(NOW), "asDouble": 1, **fields}
    metric = {"name": "m", "gauge": {"dataPoints": [point]}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"timeUnixNano": NOW, "asDouble": None, "asInt": "-3"}, -3.0),
        ({"asDouble": None, "asInt": 9007199254740993}, 9007199254740992.0),
        ({"asDouble": None, "asInt": 4.0}, 4.0),
        ({"asDouble": "-Infinity"}, -float("inf")),
        ({"asDouble": "1e3"}, 1000.0),
        ({"asDouble": 0}, 0.0),
        ({"unknownField": {"a": [1]}, "time_unix_nano": "x", "exemplars": [{"traceId": "0"}]}, 1.0),
    ],
)
def test_json_numbers_are_read_as_protobufs_json_defines_them(fields, wanted):
    batch = opened().decode(delivery(point_json(**fields), JSON))
    assert batch.samples["value"].to_pylist() == [wanted]


@pytest.mark.parametrize(
    "fields",
    [
        {"asInt": "0x10"},
        {"asInt": "1_0"},
        {"asInt": True},
        {"asInt": 1.5},
        {"asInt": 2**63},
        {"asInt": "-9999999999999999999"},
        {"asDouble": "nan"},
        {"asDouble": "1..2"},
        {"asDouble": True},
        {"asDouble": []},
        {"timeUnixNano": -1},
        {"flags": "many"},
        {"attributes": {}},
        {"attributes": [{"key": 1}]},
        {"attributes": [{"key": "k", "value": {"bytesValue": "*"}}]},
        {"attributes": [{"key": "k", "value": {"boolValue": 1}}]},
        {"attributes": [{"key": "k", "value": "text"}]},
    ],
)
def test_json_that_is_not_what_its_name_says_is_malformed_and_names_the_place(fields):
    with pytest.raises(Malformed, match=r"resourceMetrics\.0\.scopeMetrics\.0\.metrics\.0\.gauge"):
        opened().decode(delivery(point_json(**fields), JSON))


def test_json_names_of_temporality_are_understood():
    point = {"timeUnixNano": NOW, "asInt": 3}
    total = {
        "dataPoints": [point],
        "aggregationTemporality": "AGGREGATION_TEMPORALITY_CUMULATIVE",
        "isMonotonic": True,
    }
    metrics = [{"name": "m", "sum": total}]
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()
    assert keys(opened().decode(delivery(body, JSON))) == [
        ("source:otlp", "m", '{"metric.kind":"counter"}')
    ]


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "error"),
    [
        (b"\xff", PROTOBUF, "", Malformed),
        (b"\x0a\x05ab", PROTOBUF, "", Malformed),
        (b"[1", JSON, "", Malformed),
        (b"7", JSON, "", Malformed),
        (b"{}", "text/plain", "", Unsupported),
        (b"", "", "", Unsupported),
        (b"", PROTOBUF, "br", Unsupported),
        (b"not gzip", PROTOBUF, "gzip", Malformed),
        (gzip.compress(bytes(1 << 20)), PROTOBUF, "gzip", TooLarge),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(body, kind, encoding, error):
    with pytest.raises(error):
        opened(Limits(body=1 << 16)).decode(delivery(body, kind, encoding))


def test_full_success_is_answered_with_nothing():
    outcome = Received(offered=3, accepted=3)
    answer = Otlp().answer(delivery(b""), outcome)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == PROTOBUF
    answer = Otlp().answer(delivery(b"", f"{JSON}; charset=utf-8"), outcome)
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["Content-Type"] == JSON


def test_partial_success_says_how_many_and_why():
    outcome = Received(5, 3, 2, {"no_time": 2}, ("load: time_unix_nano is not 0",))
    answer = Otlp().answer(delivery(b""), outcome)
    partial = ExportMetricsServiceResponse.FromString(answer.body).partial_success
    assert (answer.status, partial.rejected_data_points) == (200, 2)
    assert "no_time 2" in partial.error_message
    document = json.loads(Otlp().answer(delivery(b"", JSON), outcome).body)
    assert document["partialSuccess"]["rejectedDataPoints"] == "2"
    assert document["partialSuccess"]["errorMessage"] == partial.error_message


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Malformed("broken"), 400, 3),
        (TooLarge("x" * 300), 413, 3),
        (Unsupported("what"), 415, 3),
        (OverQuota("slower", retry_after=7), 429, 8),
        (Overloaded("later", retry_after=0.2), 503, 14),
    ],
)
def test_a_refusal_is_a_status_in_the_senders_own_encoding(error, status, code):
    answer = Otlp().answer(delivery(b""), error)
    said = Status.FromString(answer.body)
    assert (answer.status, said.code, said.message) == (status, code, str(error))
    assert ("Retry-After" in answer.headers) == (error.retry_after is not None)
    answer = Otlp().answer(delivery(b"", JSON), error)
    assert json.loads(answer.body) == {"code": code, "message": str(error)}
    assert answer.headers["Content-Type"] == JSON


def test_keys_that_collide_are_refused_and_forgotten(monkeypatch):
    from watchkeeper.receivers import otlp

    ended = []
    real = otlp.scan
    monkeypatch.setattr(otlp, "scan", lambda *given: ended.append(real(*given)) or otlp.COLLIDING)
    decoder = opened()
    with pytest.raises(TooLarge, match="collide"):
        decoder.decode(delivery(request(gauge()).SerializeToString()))
    assert ended == [otlp.DONE]
    monkeypatch.undo()
    batch = decoder.decode(delivery(request(gauge("other")).SerializeToString()))
    assert keys(batch) == [("source:otlp", "other", "{}")]


def _examples():
    several = request(gauge(cpu="0"), gauge("other"), **{"host.name": "a"}).SerializeToString()
    text = json_format.MessageToJson(ExportMetricsServiceRequest.FromString(several)).encode()
    some = request(gauge(), gauge("late", time=0), gauge("")).SerializeToString()
    return Examples(
        Otlp(),
        good=(
            delivery(several),
            delivery(gzip.compress(several), encoding="gzip"),
            delivery(text, JSON),
        ),
        partial=(delivery(some),),
        broken=(
            delivery(several[:-1]),
            delivery(text[:-1], JSON),
            delivery(several, "text/plain"),
            delivery(several, encoding="gzip"),
        ),
    )


@pytest.mark.parametrize("check", list(receiver_checks()), ids=lambda check: check.__name__)
def test_otlp_is_a_receiver(check):
    check(_examples())


def test_a_sender_of_many_series_is_remembered_as_it_grows():
    decoder = opened()
    for series in (10, 1500, 5000):
        message = request(*(gauge(f"m{n}", float(n), place="x" * 40) for n in range(series)))
        body = delivery(message.SerializeToString())
        for _ in range(2):
            same(read(decoder.decode(body)), naive.read(message))
    assert len(decoder.decode(body).keys) == 5000


def test_edges_and_quantiles_are_written_as_prometheus_writes_them():
    summary = {
        "time_unix_nano": NOW,
        "quantile_values": [{"quantile": q, "value": 1.0} for q in (0.0, 0.5, 0.99, 1.0)],
    }
    histogram = {
        "time_unix_nano": NOW,
        "bucket_counts": [1, 1, 1, 1],
        "explicit_bounds": [0.005, 10.0, float("inf")],
    }
    message = request(
        {"name": "s", "summary": {"data_points": [summary]}},
        {"name": "h", "histogram": {"data_points": [histogram], "aggregation_temporality": 2}},
    )
    texts = [json.loads(attributes) for _, _, attributes in keys(decode(message, buckets=True))]
    assert [a["quantile"] for a in texts if "quantile" in a] == ["0", "0.5", "0.99", "1"]
    assert [a["le"] for a in texts if "le" in a] == ["0.005", "10", "+Inf", "+Inf"]


def test_values_that_are_not_text_are_written_as_json():
    nested = {"values": [{"key": "b", "value": {"double_value": float("inf")}},
                         {"key": "a", "value": {"array_value": {"values": [{}]}}}]}  # fmt: skip
    point = {
        "time_unix_nano": NOW,
        "as_int": 1,
        "attributes": [
            {"key": "bool", "value": {"bool_value": True}},
            {"key": "bytes", "value": {"bytes_value": b"\x00\xff"}},
            {"key": "double", "value": {"double_value": 0.1}},
            {"key": "int", "value": {"int_value": -7}},
            {"key": "map", "value": {"kvlist_value": nested}},
            {"key": "none"},
        ],
    }
    message = request({"name": "m", "gauge": {"data_points": [point]}})
    assert json.loads(keys(decode(message))[0][2]) == {
        "bool": "true",
        "bytes": "AP8=",
        "double": "0.1",
        "int": "-7",
        "map": '{"a":[null],"b":"Infinity"}',
        "none": "",
    }
