"""The slow, obvious check agrees with the fast one, however the batch was cut or mixed."""

import json
import math
from collections import Counter
from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.test_check import BOTH, HOST, NOW, accepted, batch

from watchkeeper.contracts import Known, check, joined, read
from watchkeeper.contracts._rules import bad_name
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Cursor, Reason, attributes_text
from watchkeeper.receivers import Limits
from watchkeeper.traffic import Quota

METRICS = ("cpu", "temperature", "errors", "other")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["host:a", "host:b", "link:c"]),
        st.sampled_from(METRICS),
        st.sampled_from([{}, {"k": "v"}]),
        st.integers(NOW - 5_000_000, NOW + 700_000) | st.sampled_from([-1, 0, 2**62]),
        st.sampled_from([0.0, 0.5, 1.0, -0.1, 1.1, 200.0, math.nan, math.inf]),
    ),
    max_size=40,
)
BOUNDS = {"cpu": (0, 1), "temperature": (-40, 150), "errors": (0, math.inf)}
AGES = {"cpu": 3_600_000, "temperature": 3_600_000, "errors": 86_400_000}


def fits(row):
    """Say by hand whether a sample is accepted."""
    entity, metric, _, time, value = row
    known = entity.startswith("host:") and metric in BOUNDS
    low, high = BOUNDS[metric] if known else (-math.inf, math.inf)
    age = AGES[metric] if known else math.inf
    return (
        math.isfinite(value)
        and low <= value <= high
        and 0 <= time < 7_258_118_400_000
        and NOW - age <= time <= NOW + 600_000
    )


@given(ROWS)
@settings(deadline=None)
def test_what_is_accepted_is_what_one_would_accept_by_hand(rows):
    checked = check(BOTH, batch(rows), NOW)
    good = [row for row in rows if fits(row)]
    assert sorted(map(repr, accepted(checked))) == sorted(map(repr, good))
    assert checked.offered == checked.samples.num_rows + checked.rejected.num_rows == len(rows)


WORDS = st.text(
    st.sampled_from(["a", "Z", " ", ":", ",", "{", "}", "~", "\\", '"', "é", "\x00", "\u202e"]),
    max_size=3,
) | st.sampled_from(["x" * 20, "unit", "metric.kind", "counter"])
SPELLINGS = [
    attributes_text,
    json.dumps,
    lambda given: json.dumps(given, separators=(",", ":")),
    lambda given: '{"a":"0",' + attributes_text({"b": "1", **given})[1:],
]


@given(st.dictionaries(WORDS, WORDS, max_size=3), st.sampled_from(SPELLINGS))
def test_attributes_are_read_and_judged_alike_however_they_are_written(given, spelled):
    contract = read({"name": "any", "version": 1, "entities": ["*"], "name_length_max": 19,
                     "attributes_max": 2, "closed": False, "metrics": []}, "test")  # fmt: skip
    text = spelled(given)
    found = Known([contract]).index.rule("host", "m", text)
    meant = json.loads(text)
    names = [*meant, *(value for value in meant.values() if value)]
    fine = len(meant) <= 2 and not any(bad_name(name, 19) for name in names)
    assert found.reason is (None if fine else Reason.BAD_NAME)
    assert found.attributes == (attributes_text(meant) if fine else text)
    assert found.counter == (fine and meant.get("metric.kind") == "counter")


@given(ROWS)
@settings(deadline=None)
def test_accepted_samples_are_sorted_and_ties_keep_their_order(rows):
    got = accepted(check(BOTH, batch(rows), NOW))
    order = {}
    for entity, metric, attributes, _, _ in rows:
        order.setdefault((entity, metric, str(attributes)), len(order))
    good = [row for row in rows if fits(row)]
    assert got == sorted(good, key=lambda row: (order[row[0], row[1], str(row[2])], row[3]))


@given(ROWS, st.integers(0, 40), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_neither_cutting_nor_mixing_nor_memory_shows(rows, cut, random):
    whole = check(BOTH, batch(rows), NOW)
    known = Known(BOTH)
    parts = [check(BOTH, batch(part), NOW, known=known) for part in (rows[:cut], rows[cut:])]
    together = [row for part in parts for row in accepted(part)]
    assert sorted(map(repr, together)) == sorted(map(repr, accepted(whole)))
    mixed = list(rows)
    random.shuffle(mixed)
    again = check(BOTH, batch(mixed), NOW)
    assert sorted(map(repr, accepted(again))) == sorted(map(repr, accepted(whole)))
    reasons = sorted(again.rejected["reason"].to_pylist())
    assert reasons == sorted(whole.rejected["reason"].to_pylist())


def test_a_closed_contract_alone_refuses_the_rest():
    checked = check([HOST], batch([("host:a", "other", {}, NOW, 1.0)]), NOW)
    assert checked.rejected["reason"].to_pylist() == ["unknown_metric"]


SENT = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=8)


@given(st.lists(SENT, min_size=1, max_size=5))
@settings(deadline=None)
def test_requests_put_together_are_what_one_request_of_all_of_them_would_be(requests):
    table = KeyTable(KEYS)
    keys = [{"entity": f"host:{n}", "metric": "free", "attributes": "{}"} for n in range(10)]
    table.add(pa.RecordBatch.from_pylist(keys, KEYS))
    offered = [
        [{"series": row, "time": NOW + time, "value": n + k / 100} for k, (row, time) in each]
        for n, each in enumerate(map(enumerate, requests))  # no two values are alike
    ]
    parts = [check(BOTH, tabled(table, rows), NOW) for rows in offered]
    whole = check(BOTH, tabled(table, [row for rows in offered for row in rows]), NOW)
    assert joined(parts).samples.equals(whole.samples)
    assert joined(parts).offered == whole.offered


def tabled(table, rows):
    samples = pa.RecordBatch.from_pylist(rows, SAMPLES)
    return Batch("test", Cursor(""), table, samples, pa.RecordBatch.from_pylist([], REJECTS))


MOST = 4  # series a contract admits
NEW = st.lists(
    st.tuples(
        st.sampled_from(["host:a", "host:b", "link:c"]),
        st.sampled_from(["m", "n", "o"]),
        st.sampled_from([{}, {"k": "v"}, {"k": "w"}]),
    ),
    unique_by=repr,
)
HOSTS, OTHERS = (
    read(
        {"name": name, "version": 1, "entities": [kind], "closed": False, "series_max": MOST}, name
    )
    for name, kind in (("hosts", "host"), ("others", "*"))
)


def admitted_by_hand(keys, of_metric, in_all):
    """Take in one series after the other, as long as no limit is reached."""
    held = []
    for entity, metric, attributes in keys:
        like = [one for one in held if one[0].startswith("host:") == entity.startswith("host:")]
        same = [one for one in held if one[1] == metric]
        if len(like) < MOST and len(same) < of_metric and len(held) < in_all:
            held.append((entity, metric, attributes))
    return held


def taken_in(keys, ends, known, quota, table):
    """Offer a sample of each series, cut at these places; return the series of what is accepted."""
    found = []
    for first, last in pairwise(ends):
        one = batch([(*key, NOW, 1.0) for key in keys[first:last]])
        if table is not None:
            if len(table) == first:
                table.add(one.keys)
            rows = [{"series": n, "time": NOW, "value": 1.0} for n in range(first, last)]
            one = tabled(table, rows)
        checked = check([HOSTS, OTHERS], one, NOW, known=known, allow=quota)
        rows = checked.samples["series"]
        named = checked.keys.take(rows if table is None else rows.to_numpy()).to_pylist()
        found += [(k["entity"], k["metric"], json.loads(k["attributes"])) for k in named]
    return found


@given(NEW, st.lists(st.integers(0, 27)), st.integers(0, 6), st.integers(0, 20), st.booleans())
@settings(deadline=None)
def test_which_new_series_are_admitted_does_not_depend_on_how_they_are_split(
    keys, cuts, of_metric, in_all, tables
):
    expected = admitted_by_hand(keys, of_metric, in_all)
    ends = sorted({0, len(keys), *(cut for cut in cuts if cut < len(keys))})
    known, table = Known([HOSTS, OTHERS]), KeyTable(KEYS) if tables else None
    quota = Quota(Limits(tenant_metric_series=of_metric, tenant_series=in_all))
    assert taken_in(keys, ends, known, quota, table) == expected
    assert taken_in(keys, ends, known, quota, table) == expected, "and counts no more"
    assert quota.room() == in_all - len(expected)
    counts = Counter(metric for _, metric, _ in expected)
    assert [quota.of_metric(one) for one in "mno"] == [counts[one] for one in "mno"]
