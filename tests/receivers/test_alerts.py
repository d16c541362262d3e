"""Alerts of others become inputs of the journal: what Prometheus and Alertmanager post."""

import contextlib
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.errors import Malformed, Overloaded, RequestError, TooLarge, Unsupported
from watchkeeper.identity import Identity
from watchkeeper.model import Millis
from watchkeeper.receivers import Delivery, Limits, Received
from watchkeeper.receivers.alerts import ALERTS_MAX, POST, WEBHOOK, Alerts
from watchkeeper.testing.receivers import Examples, receiver_checks

NOW = Millis(1_700_000_000_000)  # 2023-11-14T22:13:20Z
RECEIVER = Alerts()
LABELS = {"alertname": "DiskFull", "instance": "web-1:9100", "severity": "page"}
GOOD = {
    "labels": LABELS,
    "annotations": {"summary": "The disk is full"},
    "startsAt": "2023-11-14T22:10:00.123456789Z",
    "endsAt": "2023-11-14T22:17:20Z",
    "generatorURL": "http://prometheus:9090/graph?g0.expr=up",
}
WEBHOOK_4 = {  # as Alertmanager writes it
    "receiver": "watchkeeper",
    "status": "firing",
    "alerts": [
        {
            **GOOD,
            "status": "firing",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "c8a1d5a2b3c4d5e6",
        },
        {**GOOD, "status": "resolved", "endsAt": "2023-11-14T22:12:00Z"},
    ],
    "groupLabels": {"alertname": "DiskFull"},
    "commonLabels": LABELS,
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{alertname="DiskFull"}',
    "truncatedAlerts": 0,
}


def delivery(body, path=POST, kind="application/json", tenant=""):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery("POST", path, {}, {"content-type": kind}, body, NOW, tenant, 7)


def decode(body, path=POST, receiver=RECEIVER, **limits):
    return receiver.open(Limits(**limits), Identity()).decode(delivery(body, path))


def said(batch):
    return [json.loads(control.body) for control in batch.controls]


def one(**fields):
    batch = decode([{**GOOD, **fields}])
    assert batch.unread.num_rows == 0, batch.unread.to_pylist()
    return said(batch)[0]


def refused(batch):
    return [(row["reason"], row["origin"].partition(":")[2]) for row in batch.unread.to_pylist()]


EXAMPLES = Examples(
    RECEIVER,
    good=[delivery([GOOD, {"labels": {"alertname": "x"}}]), delivery(WEBHOOK_4, WEBHOOK)],
    partial=[delivery([GOOD, 5, {**GOOD, "startsAt": "x"}])],
    broken=[delivery({}), delivery(b"["), delivery([GOOD], kind="text/csv")],
)


@pytest.mark.parametrize("check", list(receiver_checks()), ids=lambda check: check.__name__)
def test_it_is_a_receiver(check):
    check(EXAMPLES)


def test_an_alert_becomes_a_control_and_no_sample():
    batch = decode([GOOD])
    (control,) = batch.controls
    assert (control.kind, control.actor) == ("alert", "alerts")
    spelled = json.dumps(LABELS, sort_keys=True, separators=(",", ":"))
    assert json.loads(control.body) == {
        "labels": LABELS,
        "annotations": {"summary": "The disk is full"},
        "starts_at": 1_699_999_800_123,
        "ends_at": 1_700_000_240_000,
        "status": "firing",
        "generator_url": "http://prometheus:9090/graph?g0.expr=up",
        "fingerprint": hashlib.sha256(spelled.encode()).hexdigest()[:16],
        "entity": "target:web-1:9100",
    }
    assert (batch.keys.num_rows, batch.samples.num_rows, batch.offered) == (0, 0, 0)
    assert (batch.source, batch.cursor, batch.origin) == ("alerts", "", "alerts request 7")


def test_the_same_labels_have_one_fingerprint_and_one_spelling():
    turned = dict(reversed(LABELS.items()))
    one_way, other_way = decode([GOOD]), decode([{**GOOD, "labels": turned}])
    assert one_way.controls == other_way.controls
    assert (
        one(labels={**LABELS, "severity": "warn"})["fingerprint"]
        != (said(one_way)[0]["fingerprint"])
    )


def test_a_tenant_is_the_actor():
    decoder = RECEIVER.open(Limits(), Identity())
    batch = decoder.decode(delivery([GOOD], tenant="blue"))
    assert (batch.controls[0].actor, batch.source) == ("alerts/blue", "alerts/blue")


def test_an_alert_without_an_end_goes_on_for_five_minutes_or_as_configured():
    for absent in (None, "", "0001-01-01T00:00:00Z"):
        assert one(endsAt=absent)["ends_at"] == NOW + 300_000
    assert one(endsAt=None, startsAt=None)["starts_at"] == NOW
    later = one(endsAt=None, startsAt="2023-11-14T22:14:20Z")
    assert later["ends_at"] == NOW + 60_000 + 300_000
    batch = decode([{"labels": LABELS}], receiver=Alerts(resolve_seconds=60))
    assert said(batch)[0]["ends_at"] == NOW + 60_000


def test_an_alert_that_has_ended_is_resolved():
    assert one(endsAt="2023-11-14T22:13:20Z")["status"] == "resolved"
    assert one(endsAt="2023-11-14T22:13:20.001Z")["status"] == "firing"
    ended = one(endsAt="2023-11-14T22:00:00Z", startsAt=None)
    assert ended["starts_at"] == ended["ends_at"]


def test_a_webhook_of_alertmanager_says_the_same():
    firing, resolved = said(decode(WEBHOOK_4, WEBHOOK))
    assert (firing["status"], firing["ends_at"]) == ("firing", NOW + 300_000)
    assert (resolved["status"], resolved["ends_at"]) == ("resolved", NOW - 80_000)
    assert firing["fingerprint"] == resolved["fingerprint"] == one()["fingerprint"]
    endless = {**WEBHOOK_4["alerts"][1], "endsAt": "0001-01-01T00:00:00Z"}
    (gone,) = said(decode({**WEBHOOK_4, "alerts": [endless]}, WEBHOOK))
    assert gone["ends_at"] == NOW


def test_empty_labels_are_as_good_as_absent_and_unknown_fields_are_passed_over():
    told = one(labels={**LABELS, "empty": ""}, more={"x": 1}, annotations=None, generatorURL=None)
    assert told["labels"] == LABELS
    assert (told["annotations"], told["generator_url"]) == ({}, "")


def test_an_alert_that_names_nobody_is_about_the_receiver():
    assert one(labels={"alertname": "Watchdog"})["entity"] == "source:alerts"
    assert one(labels={"service.name": "shop"})["entity"] == "service:shop"


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        (5, "malformed"), (None, "malformed"), ([], "malformed"), ({}, "malformed"),
        ({"labels": {}}, "malformed"), ({"labels": {"a": ""}}, "malformed"),
        ({"labels": [1]}, "malformed"), ({"labels": {"a": 1}}, "malformed"),
        ({**GOOD, "annotations": {"a": None}}, "malformed"),
        ({**GOOD, "generatorURL": 5}, "malformed"),
        ({**GOOD, "endsAt": "2023-11-14T22:00:00Z"}, "malformed"),
        ({**GOOD, "startsAt": "yesterday"}, "no_time"), ({**GOOD, "endsAt": 5}, "no_time"),
        ({**GOOD, "startsAt": "2023-02-30T00:00:00Z"}, "no_time"),
        ({"labels": {"": "x"}}, "bad_name"), ({"labels": {"a\u202eb": "x"}}, "bad_name"),
        ({"labels": {"a\nb": "x"}}, "bad_name"), ({"labels": {"instance": "a\u200b"}}, "bad_name"),
        ({"labels": {f"l{n}": "x" for n in range(65)}}, "too_large"),
        ({"labels": {"n" * 201: "x"}}, "too_large"), ({"labels": {"a": "é" * 2049}}, "too_large"),
        ({**GOOD, "annotations": {"a": "x" * 70_000}}, "too_large"),
        ({**GOOD, "generatorURL": "x" * 5000}, "malformed"),
    ],
)  # fmt: skip
def test_an_alert_that_cannot_be_taken_never_costs_its_neighbours(alert, reason):
    batch = decode([GOOD, alert, GOOD])
    assert len(batch.controls) == 2
    assert refused(batch) == [(reason, "alert 2")]


@pytest.mark.parametrize("name", ["__proto__", "constructor"])
def test_names_that_harm_others_are_data_here(name):
    assert one(labels={name: "x"})["labels"] == {name: "x"}


@pytest.mark.parametrize(
    ("body", "path"),
    [(b"", POST), (b"{}", POST), (b"5", POST), (b"[", POST), (b"\xff", POST), (b"[]", WEBHOOK),
     (b"[" * 100_000, POST), ({"version": "4"}, WEBHOOK), ({"alerts": 5, "version": "4"}, WEBHOOK),
     ({**WEBHOOK_4, "version": "3"}, WEBHOOK), ({"alerts": []}, WEBHOOK)],
)  # fmt: skip
def test_what_is_no_list_of_alerts_is_refused_whole(body, path):
    with pytest.raises(Malformed):
        decode(body, path)


def test_deep_nesting_costs_its_alert_only():
    deep = b'{"labels":' + b"[" * 600 + b"]" * 600 + b"}"
    batch = decode(b"[" + json.dumps(GOOD).encode() + b"," + deep + b"]")
    assert len(batch.controls) == 1
    assert refused(batch) == [("malformed", "alert 2")]


def test_too_many_alerts_or_bytes_are_refused():
    assert len(decode([{"labels": {"a": "b"}}] * ALERTS_MAX).controls) == ALERTS_MAX
    with pytest.raises(TooLarge, match="10000 alerts"):
        decode([{"labels": {"a": "b"}}] * (ALERTS_MAX + 1))
    with pytest.raises(TooLarge):
        decode(b" " * (9 << 20))


def test_another_content_type_is_refused():
    with pytest.raises(Unsupported, match="text/plain"):
        RECEIVER.open(Limits(), Identity()).decode(delivery([GOOD], kind="text/plain"))


def test_no_alerts_are_nothing():
    assert decode([]) is None
    assert decode({**WEBHOOK_4, "alerts": []}, WEBHOOK) is None


def test_answers_tell_what_became_of_the_request():
    good = RECEIVER.answer(delivery([GOOD]), Received())
    assert (good.status, json.loads(good.body)) == (200, {"status": "success"})
    partial = RECEIVER.answer(delivery([5]), Received(1, 0, 1, {"malformed": 1}, ("alert 1: no",)))
    assert partial.status == 400
    assert "1 of 1 refused: malformed 1; first: alert 1" in json.loads(partial.body)["error"]
    later = RECEIVER.answer(delivery([GOOD]), Overloaded("busy", retry_after=4))
    assert (later.status, later.headers["Retry-After"]) == (503, "4")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from([*GOOD, "status", "x"]), JSON), max_size=4))
@settings(max_examples=100, deadline=None)
def test_every_alert_is_a_control_or_a_fault(alerts):
    offered = [{**GOOD, **alert} for alert in alerts]
    batch = decode(offered)
    count = 0 if batch is None else len(batch.controls) + batch.unread.num_rows
    assert count == len(offered)


@given(st.binary(max_size=60), st.integers(0, 400), st.sampled_from([POST, WEBHOOK]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_raise_nothing_but_a_refusal(noise, at, path):
    good = json.dumps([GOOD] if path == POST else WEBHOOK_4).encode()
    decoder = RECEIVER.open(Limits(), Identity())
    for body in (noise, good[:at] + noise + good[at:], good[:at]):
        with contextlib.suppress(RequestError):
            decoder.decode(delivery(body, path))
