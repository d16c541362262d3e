"""A batch is split by the contracts into what is accepted and what is refused, with reasons."""

import gc
import json
import math
import struct
import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.contracts import Known, check, read, traits
from watchkeeper.contracts._lookup import FOR_NOW, TOO_MANY
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Cursor, Millis, Reason
from watchkeeper.receivers import Limits
from watchkeeper.traffic import Quota

NOW = Millis(1_700_000_000_000)
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]

HOST = read(
    {
        "name": "host",
        "version": 2,
        "entities": ["host"],
        "max_age": "1h",
        "units": [{"unit": "%", "to": "1", "scale": 0.01}],
        "metrics": [
            {
                "name": "cpu",
                "low": 0,
                "high": 1,
                "worse": "low",
                "where": {"cpu.mode": "idle"},
                "weight": "low",
                "aliases": [{"name": "cpu", "attributes": {"state": "cpu.mode"}}],
            },
            {
                "name": "cpu",
                "low": 0,
                "high": 1,
                "worse": "high",
                "warn": 0.9,
                "crit": 0.98,
                "aliases": [{"name": "cpu", "attributes": {"state": "cpu.mode"}}],
            },
            {
                "name": "temperature",
                "unit": "Cel",
                "low": -40,
                "high": 150,
                "aliases": [
                    {"name": "temp_f", "unit": "[degF]", "scale": 5 / 9, "offset": -160 / 9},
                    {"name": "temp_c", "attributes": {"chip": "hw.id"}, "add": {"by": "node"}},
                ],
                "upcasts": [
                    {"name": "temperature", "unit": "K", "offset": -273.15, "version": 1},
                ],
            },
            {"name": "errors", "unit": "{error}", "kind": "counter", "low": 0, "worse": "high",
             "warn": 1, "crit": 100, "weight": "high", "max_age": "1d"},
        ],
    },
    "host",
)  # fmt: skip
GENERIC = read({"name": "generic", "version": 1, "entities": ["*"], "closed": False}, "generic")
BOTH = (HOST, GENERIC)


def batch(rows, unread=()):
    """Build a batch of (entity, metric, attributes, time, value)."""
    keys = list(dict.fromkeys((e, m, json.dumps(a) if isinstance(a, dict) else a)
                              for e, m, a, _, _ in rows))  # fmt: skip
    number = {key: n for n, key in enumerate(keys)}
    series = [number[e, m, json.dumps(a) if isinstance(a, dict) else a] for e, m, a, _, _ in rows]
    columns = list(zip(*keys, strict=True)) or [[], [], []]
    return Batch(
        "test",
        Cursor("1"),
        pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in columns], schema=KEYS),
        pa.RecordBatch.from_arrays(
            [
                pa.array(series, pa.uint32()),
                pa.array([row[3] for row in rows], pa.int64()),
                pa.array(np.array([row[4] for row in rows], np.float64)),
            ],
            schema=SAMPLES,
        ),
        pa.RecordBatch.from_pylist(list(unread), REJECTS),
    )


def accepted(checked):
    keys = checked.keys.to_pylist()
    return [
        (keys[s]["entity"], keys[s]["metric"], json.loads(keys[s]["attributes"]), t, v)
        for s, t, v in zip(*(column.to_pylist() for column in checked.samples.columns), strict=True)
    ]


def one(metric, value, attributes=None, *, entity="host:a", time=NOW, contracts=BOTH, **more):
    """Return the accepted sample, or (reason, detail)."""
    checked = check(
        contracts, batch([(entity, metric, attributes or {}, time, value)]), NOW, **more
    )
    if checked.rejected.num_rows:
        row = checked.rejected.to_pylist()[0]
        return row["reason"], row["detail"]
    return accepted(checked)[0]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (("cpu", 1.5), Reason.ABOVE_BOUND, "value <= 1"),
        (("cpu", -0.5), Reason.BELOW_BOUND, "value >= 0"),
        (("cpu", float("nan")), Reason.NOT_FINITE, "a finite value, or the stale marker"),
        (("cpu", float("inf")), Reason.NOT_FINITE, "a finite value, or the stale marker"),
        (("cpu", float("-inf")), Reason.NOT_FINITE, "a finite value, or the stale marker"),
        (("cpu", 1.0, {"unit": "By"}), Reason.WRONG_UNIT, "unit 1, not By"),
        (("temperature", 1.0, {"unit": "V"}), Reason.WRONG_UNIT, "unit Cel or K, not V"),
        (("", 1.0), Reason.BAD_NAME, "a name is not empty"),
        (("a\nb", 1.0), Reason.BAD_NAME, "a name has no control characters"),
        (("x\u202ey", 1.0), Reason.BAD_NAME, "a name has no control characters"),
        (("x" * 256, 1.0), Reason.BAD_NAME, "a name has at most 255 characters"),
        (("x", 1.0, {"k": "\x00"}), Reason.BAD_NAME, "a name has no control characters"),
        (("x", 1.0, {"": "v"}), Reason.BAD_NAME, "a name is not empty"),
        (("x", 1.0, {f"k{n}": "" for n in range(33)}), Reason.BAD_NAME, "at most 32 attributes"),
    ],
)
def test_each_fault_has_its_reason_and_says_what_was_expected(row, reason, detail):
    assert one(*row) == (reason, detail)


@pytest.mark.parametrize(
    ("entity", "detail"),
    [
        ("web-1", "an entity is type:name"),
        (":x", "an entity is type:name"),
        ("host:", "an entity is type:name"),
        ("host:a\tb", "a name has no control characters"),
        ("host:" + "x" * 251, "a name has at most 255 characters"),
    ],
)
def test_an_entity_without_type_or_with_a_bad_name_is_refused(entity, detail):
    assert one("x", 1.0, entity=entity) == (Reason.BAD_NAME, detail)


@pytest.mark.parametrize("attributes", ["", "[]", "{", '{"a":1}', "null"])
def test_attributes_that_are_no_object_of_texts_are_refused(attributes):
    checked = check(BOTH, batch([("host:a", "cpu", attributes, NOW, 0.5)]), NOW)
    assert checked.rejected["reason"].to_pylist() == [Reason.BAD_NAME]
    assert checked.rejected["attributes"].to_pylist() == [attributes]


@pytest.mark.parametrize(
    ("time", "live", "reason"),
    [
        (-1, False, Reason.TOO_OLD),
        (0, False, None),
        (7_258_118_399_999, False, None),
        (7_258_118_400_000, False, Reason.IN_THE_FUTURE),
        (NOW + 600_000, True, None),
        (NOW + 600_001, True, Reason.IN_THE_FUTURE),
        (NOW - 3_600_000, True, None),
        (NOW - 3_600_001, True, Reason.TOO_OLD),
        (NOW + 10_000_000, False, None),
        (NOW - 86_400_000 * 365, False, None),
        (-(2**63), True, Reason.TOO_OLD),
        (2**63 - 1, True, Reason.IN_THE_FUTURE),
    ],
)
def test_times_lie_between_1970_and_2200_and_live_ones_near_their_arrival(time, live, reason):
    found = one("cpu", 0.5, time=time, live=live)
    assert found[0] == (reason or "host:a")


def test_a_metric_may_allow_another_age_than_its_contract():
    assert one("errors", 1.0, time=NOW - 7_200_000)[0] == "host:a"
    assert "at most 86400 s before it arrived" in one("errors", 1.0, time=NOW - 90_000_000)[1]


def test_the_exact_stale_marker_passes_bounds_and_conversions_bit_for_bit():
    rows = [("host:a", "cpu", {}, NOW, STALE), ("host:a", "temp_f", {}, NOW, STALE)]
    checked = check(BOTH, batch(rows), NOW)
    bits = checked.samples["value"].to_numpy().view(np.uint64).tolist()
    assert bits == [0x7FF0000000000002] * 2


def test_an_offered_unit_is_dropped_when_it_is_the_contracts():
    assert one("cpu", 0.5, {"unit": "1", "k": "v"}) == ("host:a", "cpu", {"k": "v"}, NOW, 0.5)
    assert one("errors", 2.0, {"unit": "{errors}"})[2] == {}
    assert one("errors", 2.0, {"unit": "1"})[2] == {}


def test_a_unit_with_a_conversion_is_converted_before_the_bounds_are_held_against_it():
    assert one("cpu", 50.0, {"unit": "%"}) == ("host:a", "cpu", {}, NOW, 0.5)
    assert one("cpu", 150.0, {"unit": "%"}) == (Reason.ABOVE_BOUND, "value <= 1")


def test_aliases_and_upcasts_become_the_contracts_metric():
    assert one("temp_f", 212.0)[1:] == ("temperature", {}, NOW, pytest.approx(100))
    assert one("temp_f", 212.0, {"unit": "[degF]"})[4] == pytest.approx(100)
    assert one("temp_c", 30.0, {"chip": "cpu0"})[1:4] == (
        "temperature", {"hw.id": "cpu0", "by": "node"}, NOW,
    )  # fmt: skip
    assert one("temperature", 300.0, {"unit": "K"})[4] == pytest.approx(26.85)


def test_where_lets_one_name_be_judged_in_two_ways():
    keys = batch(
        [("host:a", "cpu", a, NOW, 0.5) for a in ({"cpu.mode": "idle"}, {"cpu.mode": "user"})]
    ).keys
    assert traits(BOTH, keys).worse.tolist() == [-1, 1]
    assert one("cpu", 0.5, {"state": "idle"})[2] == {"cpu.mode": "idle"}


def test_an_open_contract_takes_what_closed_ones_do_not_name():
    assert one("mine", 1e300)[1] == "mine"
    assert one("mine", 1.0, {"unit": "By"})[2] == {"unit": "By"}
    assert one("cpu", 5.0, entity="link:x")[4] == 5.0  # host@2 does not speak about links
    assert one("mine", 1.0, contracts=(HOST,)) == (Reason.UNKNOWN_METRIC, "not named by host@2")
    assert one("cpu", 1.0, entity="link:x", contracts=(HOST,))[0] == Reason.UNKNOWN_METRIC


def test_refused_samples_keep_what_was_offered():
    rows = [("host:a", "temp_f", {"unit": "[degF]"}, NOW, 9999.0)]
    row = check(BOTH, batch(rows), NOW).rejected.to_pylist()[0]
    assert (row["metric"], json.loads(row["attributes"])) == ("temp_f", {"unit": "[degF]"})
    assert (row["time"], row["value"], row["offered"], row["origin"]) == (NOW, 9999.0, None, "test")


def test_what_could_not_be_read_is_refused_beside_the_rest():
    unread = {
        "entity": "host:a", "metric": "cpu", "attributes": "{}", "time": NOW, "value": None,
        "offered": "N/A", "origin": "f.csv:2", "reason": "not_a_number", "detail": "a number",
    }  # fmt: skip
    good, bad = ("host:a", "cpu", {}, NOW, 0.5), ("host:a", "cpu", {}, NOW, 7.0)
    checked = check(BOTH, batch([good, bad], [unread]), NOW)
    assert checked.rejected["reason"].to_pylist() == ["not_a_number", "above_bound"]
    assert (checked.offered, checked.samples.num_rows) == (3, 1)
    assert check(BOTH, batch([], [unread]), NOW).rejected.num_rows == 1


def test_two_spellings_of_one_series_become_one_series_in_order_of_offer():
    rows = [
        ("host:a", "temp_f", {}, NOW, 212.0),
        ("host:a", "temperature", {}, NOW, 20.0),
        ("host:a", "temperature", {}, NOW - 1, 10.0),
    ]
    checked = check(BOTH, batch(rows), NOW)
    assert checked.keys.num_rows == 1
    assert checked.samples["time"].to_pylist() == [NOW - 1, NOW, NOW]
    assert checked.samples["value"].to_pylist() == pytest.approx([10.0, 100.0, 20.0])


def test_keys_without_an_accepted_sample_are_not_handed_on():
    rows = [("host:a", "cpu", {}, NOW, 9.0), ("host:b", "cpu", {}, NOW, 0.5)]
    checked = check(BOTH, batch(rows), NOW)
    assert checked.keys["entity"].to_pylist() == ["host:b"]
    assert checked.samples["series"].to_pylist() == [0]


def test_many_series_are_sorted_like_few():
    count = 70_000  # beyond 16 bits, where sorting takes a second pass
    keys = pa.RecordBatch.from_arrays(
        [pa.array([f"x:{n}" for n in range(count)]), pa.array(["m"] * count),
         pa.array(["{}"] * count)], schema=KEYS,
    )  # fmt: skip
    series = np.random.default_rng(3).permutation(np.repeat(np.arange(count, dtype=np.uint32), 2))
    time = np.random.default_rng(4).integers(0, 50, len(series))
    samples = pa.RecordBatch.from_arrays(
        [pa.array(series), pa.array(time), pa.array(np.arange(len(series), dtype=float))],
        schema=SAMPLES,
    )
    empty = pa.RecordBatch.from_pylist([], REJECTS)
    checked = check(BOTH, Batch("t", Cursor(""), keys, samples, empty), NOW, live=False)
    order = np.lexsort((np.arange(len(series)), time, series))
    assert checked.samples["value"].to_numpy().tolist() == order.tolist()


def test_the_number_of_series_is_limited_over_all_batches():
    limited = read({"name": "l", "version": 1, "entities": ["*"], "closed": False,
                    "series_max": 2}, "l")  # fmt: skip
    known = Known([limited])
    known.learn(batch([("host:z", "m", {}, NOW, 1.0)]).keys)
    rows = [(f"host:{name}", "m", {}, NOW, 1.0) for name in "abz"]
    checked = check([limited], batch(rows), NOW, known=known)
    assert checked.keys["entity"].to_pylist() == ["host:a", "host:z"]
    refused = checked.rejected.to_pylist()[0]
    assert (refused["entity"], refused["reason"], refused["detail"]) == (
        "host:b", Reason.TOO_MANY_SERIES, "at most 2 series",
    )  # fmt: skip
    again = check([limited], batch(rows), NOW, known=known)
    assert again.rejected.num_rows == 1


def test_traits_say_nan_where_the_contracts_are_silent():
    rows = [("host:a", "cpu", {}, 0, 0), ("host:a", "errors", {}, 0, 0), ("host:a", "x", {}, 0, 0)]
    found = traits(BOTH, batch(rows).keys)
    assert found.counter.tolist() == [False, True, False]
    assert found.worse.tolist() == [1, 1, 0]
    assert found.low.tolist()[:2] == [0, 0]
    assert found.high.tolist()[0] == 1
    assert np.isnan(found.high[1:]).all()
    assert np.isnan(found.low[2])
    assert found.warn.tolist()[:2] == [0.9, 1]
    assert found.crit.tolist()[:2] == [0.98, 100]
    assert np.isnan(found.warn[2])
    assert found.weight.tolist() == [0.3, 0.6, 0.3]
    empty = traits(BOTH, batch([]).keys)
    assert all(len(column) == 0 for column in empty)


def test_a_flood_of_new_names_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("watchkeeper.contracts._lookup.RULES_MAX", 2)
    known = Known(BOTH)
    for n in range(10):
        rows = [(f"host:{n}", f"m{n}", {}, NOW, 1.0), (f"host:{n}", "cpu", {}, NOW, 0.5)]
        assert check(BOTH, batch(rows), NOW, known=known).samples.num_rows == 2
    assert len(known._rules) <= 2


def test_series_their_sender_may_not_add_leave_a_number_each_and_no_rule():
    known, table, many = Known(BOTH), KeyTable(KEYS), 5_000

    def flood():
        first = len(table)
        names = [f"m{n}" for n in range(first, first + many)]
        table.add(pa.RecordBatch.from_arrays(
            [pa.array(["host:a"] * many), pa.array(names), pa.array(["{}"] * many)], schema=KEYS
        ))  # fmt: skip
        return known.lookup(table, quota)

    quota = Quota(Limits(tenant_series=0))
    flood()
    gc.collect()
    tracemalloc.start()
    for _ in range(4):
        found = flood()
    gc.collect()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 40 * 4 * many, "an object of its own takes more"
    assert not known._rules
    assert len(found.says) == 2, "of all that are refused alike, and of such as are not"
    assert (found.refused[: len(table)] == TOO_MANY).all()


def test_series_that_waited_are_taken_in_in_order_as_they_would_have_been_at_once():
    known, table = Known(BOTH), KeyTable(KEYS)
    names = [("host:a", "temp_f"), ("nobody", "cpu"), ("host:a", "m"), ("host:a", "n")]
    table.add(pa.RecordBatch.from_pylist(
        [{"entity": e, "metric": m, "attributes": "{}"} for e, m in names], KEYS
    ))  # fmt: skip
    at_once = Known(BOTH).lookup(table)

    def said(found, row):
        return found.refused[row], found.says[found.rule[row]], *found.limits[found.rule[row]]

    def waits(found):
        return [said(found, row)[1] == FOR_NOW for row in range(len(names))]

    none, two = (Quota(Limits(tenant_series=most)) for most in (0, 2))
    assert waits(known.lookup(table, none)) == [True, False, True, True]
    assert waits(known.lookup(table, two)) == [False, False, False, True]
    found = known.lookup(table)
    assert [said(found, row) for row in range(4)] == [said(at_once, row) for row in range(4)]


def test_a_series_that_waited_is_refused_for_good_once_there_are_enough_of_its_metric():
    known, table = Known([GENERIC]), KeyTable(KEYS)
    quota = Quota(Limits(tenant_series=2, tenant_metric_series=2))

    def told(*names):
        table.add(pa.RecordBatch.from_pylist(
            [{"entity": e, "metric": m, "attributes": "{}"} for e, m in names], KEYS
        ))  # fmt: skip
        found = known.lookup(table, quota)
        return [found.says[rule] for rule in found.rule[: len(table)]]

    enough = "at most 2 series of one metric from one sender"
    assert told(("host:a", "m"), ("host:a", "n"), ("host:b", "m"), ("host:c", "m")) == [
        "", "", FOR_NOW, FOR_NOW,
    ]  # fmt: skip
    quota.limits = Limits(tenant_series=4, tenant_metric_series=2)
    assert told() == ["", "", "", enough]
    assert told(("host:d", "m"), ("host:d", "n")) == ["", "", "", enough, enough, ""]
    assert told() == ["", "", "", enough, enough, ""], "and is asked about no more"


def test_what_one_sender_may_not_add_another_may_though_it_sends_the_very_same():
    known, rows = Known([GENERIC]), [(f"host:{n}", "m", {}, NOW, 1.0) for n in range(3)]
    for most in (1, 2, 0, 0):
        quota = Quota(Limits(tenant_metric_series=most))
        checked = check([GENERIC], batch(rows), NOW, known=known, allow=quota)
    assert checked.samples.num_rows == 3, "they are held: whoever sends them adds none"


def test_a_source_with_one_series_too_many_has_its_names_looked_up_once():
    head = {"name": "few", "version": 1, "entities": ["*"], "closed": False}
    few = read({**head, "series_max": 2}, "few")
    known, one = Known([few]), batch([(f"host:{n}", "m", {}, NOW, 1.0) for n in range(3)])
    found = known.lookup(one.keys)
    assert (found.refused == TOO_MANY).sum() == 1
    assert known.lookup(one.keys) is found


NAMES = st.sampled_from(
    [
        ("host:a", "cpu", '{"cpu.mode":"idle"}'),
        ("host:a", "cpu", '{"state":"idle"}'),  # the same series, spelled as its senders may
        ("host:b", "temp_f", "{}"),
        ("host:b", "errors", '{"unit":"{error}"}'),
        ("link:x", "anything", "{}"),
        ("nobody", "cpu", "{}"),
    ]
)
ROWS = st.tuples(
    NAMES,
    st.integers(-2, 2).map(lambda n: int(NOW) + n * 7_200_000),
    st.sampled_from([0.5, 0.0, -1.0, 900.0, math.nan, math.inf, STALE]),
)


def outcome(checked):
    rows = checked.samples["series"].to_numpy()
    keys = checked.keys.take(rows if isinstance(checked.keys, KeyTable) else pa.array(rows))
    bits = checked.samples["value"].to_numpy().view(np.uint64).tolist()
    named = zip(*(column.to_pylist() for column in keys.columns), strict=True)
    accepted = Counter(zip(named, checked.samples["time"].to_pylist(), bits, strict=True))
    facts = ("entity", "metric", "attributes", "time", "reason", "detail", "origin")
    refused = Counter(tuple(row[f] for f in facts) for row in checked.rejected.to_pylist())
    return accepted, refused


@settings(deadline=None)
@given(st.lists(st.lists(ROWS, max_size=12), max_size=4))
def test_a_table_of_keys_changes_no_answer(batches):
    table, number = KeyTable(KEYS), {}
    known = {kind: Known(BOTH) for kind in ("plain", "table")}
    for rows in batches:
        plain = batch([(*key, time, value) for key, time, value in rows])
        for key in dict.fromkeys(key for key, _, _ in rows):
            if key not in number:
                number[key] = table.add(
                    pa.RecordBatch.from_pylist([dict(zip(KEYS.names, key, strict=True))], KEYS)
                )
        series = pa.array([number[key] for key, _, _ in rows], pa.uint32())
        columns = [series, plain.samples["time"], plain.samples["value"]]
        told = replace(
            plain, keys=table, samples=pa.RecordBatch.from_arrays(columns, schema=SAMPLES)
        )
        expected = check(BOTH, plain, NOW, known=known["plain"])
        assert outcome(check(BOTH, told, NOW, known=known["table"])) == outcome(expected)
