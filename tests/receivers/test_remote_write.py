"""Remote write, both versions: nothing lost, nothing invented, and nothing but refusals."""

import struct
from collections import Counter

import cramjam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.receivers.prometheus_naive import (
    NAN,
    double,
    field,
    first,
    histogram,
    label,
    read,
    sample,
    second,
    varint,
)

from watchkeeper.errors import Malformed, RequestError, TooLarge, Unsupported
from watchkeeper.identity import Identity
from watchkeeper.model import STALE_BITS
from watchkeeper.receivers import Delivery, Limits, Received, _seen, remote_write
from watchkeeper.receivers.remote_write import SYMBOLS_MAX, RemoteWrite
from watchkeeper.testing.receivers import Examples, contents, receiver_checks

V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
T = 1_700_000_000_000
WROTE = "X-Prometheus-Remote-Write-"


def delivery(raw, version=1, packed="snappy", **headers):
    packer = {
        "snappy": cramjam.snappy.compress_raw,
        "zstd": cramjam.zstd.compress,
        "gzip": cramjam.gzip.compress,
    }[packed]
    said = {"content-type": V1 if version == 1 else V2, "content-encoding": packed, **headers}
    return Delivery("POST", "/api/v1/write", {}, said, bytes(packer(raw)), T, number=7)


def written(series, version, **more):
    return delivery((first if version == 1 else second)(series, **more), version)


def opened(**limits):
    return RemoteWrite().open(Limits(**limits), Identity())


def decode(raw, version=1, **limits):
    return opened(**limits).decode(delivery(raw, version))


def named(metric, **labels):
    return sorted({"__name__": metric, "instance": "web-1:9100", **labels}.items())


def key(labels, suffix=""):
    rest = {name: value for name, value in labels.items() if name != "__name__"}
    return Identity().key(labels["__name__"] + suffix, rest, "source:remote_write")


def reasons(batch):
    return Counter(row["reason"] for row in batch.unread.to_pylist())


def values(batch):
    keys = batch.keys.since(0)["metric"].to_pylist()
    bits = batch.samples["value"].to_numpy().view(np.uint64).tolist()
    rows = zip(
        batch.samples["series"].to_pylist(), batch.samples["time"].to_pylist(), bits, strict=True
    )
    return [(keys[row], time, bit) for row, time, bit in rows]


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


FLEET = [
    (named("node_load1", cpu=str(k % 3), host=f"h{k}"), [(T + j, 0.5 * k) for j in range(k % 4)])
    for k in range(40)
]
HISTOGRAMS = [
    (named("latency"), [], [(T, 12, 3.5), (T + 1, 13.0, 4.5)]),
    (named("up"), [(T, 1.0), (T, STALE_BITS)], []),
]
BAD = [
    (named("good"), [(T, 1.0)]),
    ([("__name__", "bad"), ("a", "")], [(T, 2.0), (T + 1, 3.0)]),
    (named("good", other="x"), [(T, 4.0)]),
]


def examples(version):
    write = first if version == 1 else second
    whole = delivery(write(FLEET), version)
    return Examples(
        RemoteWrite(),
        good=[whole, delivery(write(HISTOGRAMS), version), delivery(write(FLEET[::-1]), version)],
        partial=[delivery(write(BAD), version)],
        broken=[
            delivery(write(FLEET)[:-1], version),
            delivery(write(FLEET), 3 - version),
            delivery(b"\x0b\x0c", version),
            Delivery("POST", "/api/v1/write", {}, whole.headers, b"junk", T),
            Delivery("POST", "/api/v1/write", {}, {}, whole.body, T),
        ],
    )


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("check", list(receiver_checks()), ids=lambda check: check.__name__)
def test_it_is_a_receiver(check, version):
    check(examples(version))


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9)
label_sets = st.dictionaries(texts, texts, max_size=5).flatmap(
    lambda rest: texts.map(lambda name: sorted({**rest, "__name__": name}.items()))
)
times = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(T, T + 1000))
numbers = st.one_of(
    st.floats(allow_nan=False), st.sampled_from([STALE_BITS, NAN, 1 << 63, 0x7FF << 52])
)
samples = st.lists(st.tuples(times, numbers), max_size=4)
counts = st.one_of(st.integers(0, (1 << 64) - 1), st.floats(0, allow_nan=False))
histograms = st.lists(st.tuples(times, counts, numbers), max_size=2)
requests = st.lists(st.tuples(label_sets, samples, histograms), max_size=8)


def expected(raw, version):
    good, bad = read(raw, version)
    return Counter((*key(labels, suffix), *rest) for labels, suffix, *rest in good), bad


def agrees(decoder, raw, version):
    """Hold the decoder to the slow reader, on what is taken in and on what is not."""
    try:
        good, bad = expected(raw, version)
    except ValueError:
        with pytest.raises(Malformed):
            decoder.decode(delivery(raw, version))
        return
    batch = decoder.decode(delivery(raw, version))
    if not good and not bad:
        assert batch is None
        return
    assert batch.unread.num_rows == bad
    unread = contents(batch.__class__(**{**fields_of(batch), "samples": batch.samples.slice(0, 0)}))
    assert contents(batch) - unread == good


def fields_of(batch):
    return {name: getattr(batch, name) for name in batch.__slots__}


@pytest.mark.parametrize("version", [1, 2])
@settings(max_examples=60, deadline=None)
@given(series=requests)
def test_any_request_is_read_as_the_specification_has_it(version, series):
    agrees(opened(), (first if version == 1 else second)(series), version)


SHARED = {1: opened(), 2: opened()}  # what was damaged before must not show either


@pytest.mark.parametrize("version", [1, 2])
@settings(max_examples=150, deadline=None)
@given(series=requests, data=st.data())
def test_any_damage_is_found_or_harmless(version, series, data):
    raw = bytearray((first if version == 1 else second)([*HISTOGRAMS, *series, FLEET[2]]))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        what = data.draw(st.sampled_from(["change", "cut", "add", "drop"]))
        if what == "change":
            raw[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del raw[at + 1 :]
        elif what == "add":
            raw[at:at] = data.draw(st.binary(min_size=1, max_size=3))
        else:
            del raw[at]
        raw = raw or bytearray(b"\0")
    agrees(SHARED[version], bytes(raw), version)


KNOWN = [(labels, samples or [(T, 1.0)]) for labels, samples in FLEET]


@settings(max_examples=150, deadline=None)
@given(
    order=st.lists(st.integers(0, 39), max_size=12),
    damage=st.lists(
        st.tuples(st.integers(0, 2_000), st.binary(min_size=1, max_size=2)), max_size=2
    ),
)
def test_what_a_sender_says_again_is_read_as_if_it_were_new(order, damage):
    raw = bytearray(first([KNOWN[k] for k in order]))
    for at, instead in damage:
        raw[at : at + len(instead)] = instead
    agrees(KNOWING, bytes(raw), 1)


KNOWING = opened()
KNOWING.decode(delivery(first(KNOWN)))


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=60), version=st.sampled_from([1, 2]))
def test_any_bytes_are_read_or_refused(raw, version):
    agrees(SHARED[version], raw, version)


def test_the_same_series_has_the_same_row_in_both_versions_and_however_symbols_are_numbered():
    decoder = opened()
    words = sorted({word for labels, _ in FLEET for pair in labels for word in pair})
    ways = [
        delivery(first(FLEET)),
        delivery(second(FLEET), 2),
        delivery(second(FLEET, packed=False, order=words), 2),
        delivery(second(FLEET, order=words[::-1]), 2),
    ]
    rows = [decoder.decode(each).samples["series"].to_pylist() for each in ways]
    assert rows == [rows[0]] * 4
    assert len(decoder.decode(ways[0]).keys) == len({str(each[0]) for each in FLEET if each[1]})


def test_a_new_series_is_given_the_next_row_and_old_ones_keep_theirs():
    decoder = opened()
    one = decoder.decode(delivery(first([(named("a"), [(T, 1.0)])])))
    two = decoder.decode(delivery(first([(named(m), [(T, 1.0)]) for m in ("b", "a", "b", "c")])))
    assert one.keys is two.keys
    assert two.samples["series"].to_pylist() == [1, 0, 1, 2]
    assert two.origin == "remote_write request 7"


@pytest.mark.parametrize("length", [1, 9, 40, 71])
def test_series_that_differ_in_any_one_byte_are_told_apart(length):
    decoder, same = opened(), "a" * length
    others = [same[:k] + "b" + same[k + 1 :] for k in range(length)]
    for row, value in enumerate([same, *others]):
        assert [*saw(decoder, same), *saw(decoder, value)] == [0, row]


def saw(decoder, value):
    raw = first([([("__name__", "a"), ("b", value)], [(T, 1.0)])])
    return decoder.decode(delivery(raw)).samples["series"].to_pylist()


@pytest.mark.parametrize("version", [1, 2])
def test_values_keep_their_bits(version):
    odd = [STALE_BITS, NAN, 1 << 63, 0x7FF << 52, 1, bits(2.0**53 + 2), bits(1e308)]
    batch = opened().decode(written([(named("m"), [(T, each) for each in odd])], version))
    assert [bit for _, _, bit in values(batch)] == odd


@pytest.mark.parametrize("version", [1, 2])
def test_a_native_histogram_becomes_its_count_and_its_sum(version):
    series = [
        (named("lat"), [(T, 9.0)], [(T, 12, 3.5), (T + 1, 2.5, -1.0), (T + 2, 0, STALE_BITS)])
    ]
    assert values(opened().decode(written(series, version))) == [
        ("lat", T, bits(9.0)),
        ("lat_count", T, bits(12.0)),
        ("lat_sum", T, bits(3.5)),
        ("lat_count", T + 1, bits(2.5)),
        ("lat_sum", T + 1, bits(-1.0)),
        ("lat_count", T + 2, STALE_BITS),
        ("lat_sum", T + 2, STALE_BITS),
    ]


LABELS = b"".join(label(*pair) for pair in named("m"))
ONE = field(2, sample(T, 1.5))


@pytest.mark.parametrize(
    ("why", "series"),
    [
        ("samples come first", ONE + LABELS),
        ("time before value", LABELS + field(2, field(2, T) + field(1, double(1.5)))),
        ("the last of two counts", LABELS + field(2, sample(3, 4.0) + sample(T, 1.5))),
        ("a later version", field(99, b"x") + LABELS + field(2, sample(T, 1.5) + field(7, 1))),
        ("fixed 32", LABELS + ONE + varint(8 * 50 + 5) + b"abcd"),
        ("an exemplar", LABELS + ONE + field(3, LABELS + sample(T, 0.1))),
        ("a length in more bytes than needed", LABELS + b"\x12\x90\x00" + sample(T, 1.5)),
        ("labels of more than 127 bytes", LABELS + ONE),
    ],
)  # fmt: skip
def test_other_spellings_of_a_series_say_the_same(why, series):
    assert values(decode(field(1, series))) == [("m", T, bits(1.5))], why


def test_zeros_that_are_left_out_are_zeros():
    assert values(decode(field(1, LABELS + field(2, b"")))) == [("m", 0, 0)]
    assert values(decode(field(1, LABELS + field(4, b"")))) == [("m_count", 0, 0), ("m_sum", 0, 0)]


def test_long_labels_are_read_as_well_as_short_ones():
    labels = named("m", path="/" + "x" * 300)
    batch = decode(first([(labels, [(T, 1.0)])]))
    assert "x" * 300 in batch.keys.since(0)["attributes"][0].as_py()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0a", b"\x0a\x05ab", b"\x0a" + b"\xff" * 10, b"\x0a" + b"\xff" * 9 + b"\x01",
        b"\x00", b"\x0b", b"\x0c", b"\x02\x01a", b"\xff" * 11,
        field(1, LABELS + varint(18) + varint(40) + sample(T, 1.0)),
        field(1, LABELS + field(2, b"\x09abc")), field(1, LABELS + field(2, b"\x10\xff")),
        field(1, LABELS + field(2, b"\x08\x01")), field(1, LABELS + field(2, b"\x11" + bytes(8))),
        field(1, LABELS + field(2, b"\xff")), field(1, LABELS + field(2, b"\x1b")),
        field(1, LABELS + field(4, b"\x09" + bytes(8))), field(1, LABELS + field(4, b"\xff")),
        field(1, LABELS + field(4, b"\x19abc")), field(1, LABELS + field(4, b"\x23")),
        field(1, b"\x08\x01"), field(1, b"\x10\x01"), field(1, b"\xff"), field(1, b"\x0a\x7f"),
        field(1, LABELS + ONE + b"\x65abc"),
        first(FLEET) + b"\x20\x01", first(FLEET) + b"\x1a\x05abc",
    ],
)  # fmt: skip
def test_what_breaks_off_or_is_no_protobuf_is_refused_whole(raw):
    with pytest.raises(Malformed, match=r"from byte|version"):
        decode(raw)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([("a", "b")], "bad_name"),
        ([], "bad_name"),
        ([("__name__", "")], "bad_name"),
        ([("__name__", "m"), ("", "x")], "bad_name"),
        ([("__name__", "m"), ("a", "")], "bad_name"),
        ([("__name__", "m"), ("b", "1"), ("a", "2")], "bad_name"),
        ([("__name__", "m"), ("a", "1"), ("a", "1")], "bad_name"),
        ([("__name__", "m"), ("a", b"\xff\xfe")], "bad_name"),
        ([("__name__", b"\xc0\x80")], "bad_name"),
        ([("__name__", "m" * 201)], "too_large"),
        ([("__name__", "m"), ("a" * 201, "1")], "too_large"),
        ([("__name__", "m"), ("a", "1" * 4097)], "too_large"),
        ([("__name__", "m"), ("a", "1" * (1 << 20))], "too_large"),
        ([("__name__", "m"), *((f"a{k:06}", "1") for k in range(64))], "too_large"),
        ([("__name__", "m"), *((f"a{k:06}", "1") for k in range(100_000))], "too_large"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_bad_series_is_refused_with_its_reason_and_costs_its_neighbours_nothing(
    version, labels, reason
):
    good = (named("good"), [(T, 1.0)])
    request = written([good, (labels, [(T, 2.0), (T + 1, 3.0)]), good], version)
    decoder = opened()
    for _ in range(2):  # and it is refused again when its bytes are known
        batch = decoder.decode(request)
        assert reasons(batch) == {reason: 2}
        assert [metric for metric, _, _ in values(batch)] == ["good", "good"]
        rows = batch.unread.to_pylist()
        assert [(row["time"], row["value"]) for row in rows] == [(T, 2.0), (T + 1, 3.0)]
        assert all(len(row["offered"] or "") <= 200 for row in rows)
        assert rows[1]["offered"] is None, "what was offered is shown once"


@pytest.mark.parametrize("labels", [b"\x0a\x7f", b"\x0a\x01", b"\x10\x01", b"\x1a\x00", b"\x0b"])
def test_labels_that_cannot_be_read_cost_their_series_only(labels):
    broken = field(1, field(1, labels) + ONE)
    batch = decode(first([(named("good"), [(T, 1.0)])], more=broken))
    assert reasons(batch) == {"malformed": 1}
    assert batch.samples.num_rows == 1


def test_labels_on_both_sides_of_the_samples_are_refused():
    apart = field(1, LABELS + ONE + label("z", "z"))
    assert reasons(decode(apart + first(FLEET[3:4]))) == {"malformed": 1}


@pytest.mark.parametrize(
    ("references", "reason"),
    [
        (varint(1) + varint(99), "malformed"),
        (varint(1) + varint(1 << 40), "malformed"),
        (varint(1), "malformed"),
        (varint(1) + b"\xff", "malformed"),
        (b"", "bad_name"),
        (varint(1) * 130, "too_large"),
    ],
)
def test_references_that_lead_nowhere_cost_their_series_only(references, reason):
    bad = field(5, field(1, references) + ONE)
    good = (named("good"), [(T, 1.0)])
    batch = decode(bad + second([good]) + bad, 2)
    assert reasons(batch) == {reason: 2}
    assert values(batch) == [("good", T, bits(1.0))]


@pytest.mark.parametrize("symbols", [2, 130, 300, 20_000])
def test_references_of_every_length_lead_to_their_symbol(symbols):
    words = [f"s{k}" for k in range(symbols - 4)]
    good = (named("good", a="1"), [(T, 1.0)])
    raw = second([good], order=words)
    assert [*decode(raw, 2).keys.since(0)["attributes"].to_pylist()] == ['{"a":"1"}']
    for cut in (b"\x81", b"\x01\x02\x85", b"\x01\x80\x81"):  # the last breaks off
        batch = decode(raw + field(5, field(1, cut) + ONE), 2)
        assert reasons(batch) == {"malformed": 1}
        assert values(batch) == [("good", T, bits(1.0))]


def test_symbols_may_come_after_the_series_that_use_them():
    raw = second([(named("good"), [(T, 1.0)])])
    at = raw.index(varint(42))
    assert values(decode(raw[at:] + raw[:at], 2)) == [("good", T, bits(1.0))]


def test_limits_of_a_request_are_kept():
    with pytest.raises(TooLarge, match="39 series"):
        decode(first(FLEET), series=39)
    assert decode(first(FLEET), series=40).samples.num_rows
    with pytest.raises(TooLarge, match="100000 series"):
        decode(field(1, b"") * 1_000_000)
    with pytest.raises(TooLarge, match="samples"):
        decode(field(1, LABELS + field(2, b"") * (Limits().samples + 1)))
    with pytest.raises(TooLarge, match="symbols"):
        decode(field(4, b"") * (SYMBOLS_MAX + 1), 2)


def test_limits_of_a_request_hold_for_series_that_are_known():
    decoder = opened(series=2, samples=4)
    for at in range(2):
        raw = first([(labels, [(T + at, 1.0), (T + at + 2, 1.0)]) for labels, _ in KNOWN[:2]])
        assert decoder.decode(delivery(raw)).samples.num_rows == 4
    with pytest.raises(TooLarge, match="more than 2 series"):
        decoder.decode(delivery(first([*KNOWN[:2], KNOWN[0]])))
    with pytest.raises(TooLarge, match="more than 4 samples"):
        decoder.decode(delivery(first([(KNOWN[0][0], [(T + at, 1.0) for at in range(5)])])))


def test_a_turn_is_as_long_as_is_asked_for(monkeypatch):
    monkeypatch.setattr(remote_write, "TURN", 3)
    series = [([("__name__", f"m{n}")], [(1_000, 1.0)], []) for n in range(20)]
    turns = opened().turns(delivery(first(series)))
    assert [len(next(turns)), len(turns.send(5)), len(next(turns))] == [3, 8, 11]


@pytest.mark.parametrize("turn", [1, 3, 100])
def test_in_however_many_turns_new_series_are_read_they_are_read_alike(monkeypatch, turn):
    series = [([("__name__", f"m{n % 4}"), ("k", str(n))], [(1_000, float(n))]) for n in range(10)]
    series[4] = ([("k", "no name")], [(1_000, 4.0)])
    request = delivery(first([(*one, []) for one in series]))
    monkeypatch.setattr(remote_write, "TURN", 1_000)
    whole = opened().decode(request)
    monkeypatch.setattr(remote_write, "TURN", turn)
    decoder, lengths = opened(), []
    turns = decoder.turns(request)
    while True:
        try:
            lengths.append(len(next(turns)))
        except StopIteration as end:
            batch = end.value
            break
    assert len(lengths) == -(-10 // turn) - 1
    assert lengths == sorted(lengths)
    assert batch.samples.equals(whole.samples)
    assert batch.unread.equals(whole.unread)
    assert batch.keys.since(0).equals(whole.keys.since(0))
    assert list(decoder.turns(request)) == [], "what is known needs one turn"


def test_a_sender_of_ever_new_series_is_remembered_by_its_share():
    decoder = opened(series=4, tenant_series=2)
    tables = [
        decoder.decode(written([(named("m", k=f"{n} {k}"), [(T, 1.0)]) for k in range(3)], 1)).keys
        for n in range(8)
    ]
    assert max(map(len, tables)) <= 4 * 2 + 3, "of four times its share, and one request more"
    again = decoder.decode(written([(named("m", k="7 0"), [(T, 2.0)])], 1))
    assert again.keys is tables[-1]


def test_labels_may_not_become_more_by_writing_them_out():
    labels = [("__name__", "m"), ("a", "v" * 4000), ("b", "v" * 4000)]
    raw = second([(labels, [(T, 1.0)])] * 200)
    assert len(raw) < 20_000
    with pytest.raises(TooLarge, match="labels are more than 1000000 bytes"):
        decode(raw, 2, body=1_000_000)
    assert decode(raw, 2, body=2_000_000).samples.num_rows == 200


def test_names_chosen_to_lie_in_one_place_are_told_apart_all_the_same():
    """Blocks whose hash, with the seed everybody knows, ends alike."""
    blocks = []
    for k in range(1_000_000):
        block = np.frombuffer(b"%015d" % k, dtype=np.uint8)
        if int(_seen._hashed(block, 0, 15, np.uint64(0))) % 1024 < 2:
            blocks.append(block)
        if len(blocks) == 400:
            break
    data = np.concatenate(blocks)
    places = np.array([(15 * k, 15 * k + 15, 0) for k in range(400)])
    seen = _seen.Seen(1_000)
    for _ in range(2):
        assert seen.resolve(data, places).tolist() == list(range(400))
    assert seen.resolve(data, places[::-1].copy()).tolist() == list(range(400))[::-1]
    assert seen.block(399) == blocks[399].tobytes()


def test_a_request_without_samples_says_nothing():
    assert decode(b"") is None
    assert decode(field(3, b"metadata")) is None
    assert decode(field(1, LABELS)) is None
    assert decode(second([(named("m"), [])]), 2) is None


@pytest.mark.parametrize("packed", ["snappy", "zstd", "gzip"])
@pytest.mark.parametrize(
    "kind",
    [
        V1,
        "Application/X-Protobuf; proto=prometheus.WriteRequest",
        'application/x-protobuf ; charset=utf-8 ; proto="prometheus.WriteRequest"',
    ],
)
def test_it_is_known_by_its_content_type(kind, packed):
    request = delivery(first(FLEET), packed=packed, **{"content-type": kind})
    assert opened().decode(request).samples.num_rows


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json"},
        {"content-type": ""},
        {"content-type": "application/x-protobuf;proto=prometheus.ReadRequest"},
        {"content-encoding": ""},
        {"content-encoding": "identity"},
        {"content-encoding": "deflate"},
    ],
)
def test_other_types_and_encodings_are_refused(headers):
    request = delivery(first(FLEET), **headers)
    with pytest.raises(Unsupported) as caught:
        opened().decode(request)
    answer = RemoteWrite().answer(request, caught.value)
    assert answer.status == 415
    assert b"remote write" in answer.body


def test_version_one_is_answered_with_nothing_or_with_what_was_refused():
    request, answer = written(FLEET, 1), RemoteWrite().answer
    assert answer(request, Received(60, 60)) == (204, {}, b"")
    partly = answer(request, Received(60, 58, 2, {"bad_name": 2}, ("labels are sorted by name",)))
    assert partly.status == 400
    assert partly.body == b"2 of 60 refused: bad_name 2; first: labels are sorted by name\n"
    assert not [name for name in partly.headers if name.startswith(WROTE)]
    judged = {"below_bound": 1, "not_finite": 1}
    assert answer(request, Received(60, 58, 2, judged)) == (204, {}, b"")
    assert answer(request, Received(60, 57, 3, {**judged, "bad_name": 1})).status == 400


@pytest.mark.parametrize(
    ("series", "outcome", "told"),
    [
        (FLEET, Received(60, 60), (60, 0)),
        (FLEET, Received(60, 58, 2), (58, 0)),
        (HISTOGRAMS, Received(6, 6), (2, 2)),
        (HISTOGRAMS, Received(6, 3, 3), (1, 1)),
        (HISTOGRAMS, Received(6, 0, 6), (0, 0)),
        (HISTOGRAMS[:1], Received(4, 1, 3), (0, 1)),
        ([], Received(), (0, 0)),
        (FLEET, TooLarge("it is"), (0, 0)),
    ],
)
def test_version_two_is_told_what_was_written(series, outcome, told):
    answer = RemoteWrite().answer(written(series, 2), outcome)
    names = ("Samples-Written", "Histograms-Written", "Exemplars-Written")
    assert tuple(answer.headers[WROTE + name] for name in names) == (*map(str, told), "0")
    refused = isinstance(outcome, RequestError) or outcome.rejected
    assert answer.status == (413 if isinstance(outcome, RequestError) else 400 if refused else 204)


def test_histograms_are_refused_by_count_and_sum():
    bad = [([("__name__", "h"), ("b", "1"), ("a", "1")], [], [(T, 1, 2.0)])]
    assert reasons(decode(first(bad))) == {"bad_name": 2}
    assert histogram(T, 1, 2.0) in first(bad)
