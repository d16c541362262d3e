"""Actions hold to their conformance checks, and orders are retried as promised."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper import plugins
from watchkeeper.actions import classify, receipt
from watchkeeper.actions._backoff import GIVE_UP, LONGEST, ceiling, due
from watchkeeper.actions._post import Later, retry_after
from watchkeeper.actions.log import Log
from watchkeeper.errors import ActionRefused, ActionRetry
from watchkeeper.model import Millis, Order
from watchkeeper.secret import Secret
from watchkeeper.testing.actions import Receiver, action_checks, http_checks, order

HTTP = ("webhook", "alertmanager")
NOW = Millis(1_704_240_000_000)


def make(kind: str, url: str):
    return plugins.load("actions", kind)(url=Secret(url))


@pytest.mark.parametrize("kind", plugins.kinds("actions"))
@pytest.mark.parametrize("check", list(action_checks()), ids=lambda c: c.__name__)
def test_every_action_holds_to(check, kind):
    if kind not in HTTP:
        check(lambda: plugins.load("actions", kind)())
        return
    with Receiver() as receiver:
        check(lambda: make(kind, receiver.url))


@pytest.mark.parametrize("kind", HTTP)
@pytest.mark.parametrize("check", list(http_checks()), ids=lambda c: c.__name__)
def test_every_action_over_http_holds_to(check, kind):
    check(lambda url: make(kind, url))


keys = st.text(min_size=1, max_size=64)


@given(keys, st.integers(1, 10_000), st.integers(0, GIVE_UP - LONGEST))
def test_the_next_attempt_lies_within_the_ceiling_and_is_the_same_each_time(key, attempt, age):
    again = due(key, attempt, NOW + age, NOW)
    assert again == due(key, attempt, NOW + age, NOW)
    assert 1 <= again - (NOW + age) <= ceiling(attempt) <= LONGEST


@given(keys, st.integers(1, 40), st.integers(0, 10**12))
def test_we_never_come_earlier_than_the_receiver_asked(key, attempt, after):
    again = due(key, attempt, NOW, NOW, after)
    assert again - NOW >= min(after, 3_600_000)


def test_waits_spread_over_the_whole_ceiling():
    waits = [due(f"order-{i}", 9, NOW, NOW) - NOW for i in range(2_000)]
    share = [w / ceiling(9) for w in waits]
    assert min(share) < 0.01
    assert max(share) > 0.99
    assert abs(sum(share) / len(share) - 0.5) < 0.03


def test_ceilings_double_from_one_second_to_five_minutes():
    assert [ceiling(n) for n in (1, 2, 3, 8, 9, 10, 1_000_000)] == [
        1_000, 2_000, 4_000, 128_000, 256_000, 300_000, 300_000,
    ]  # fmt: skip


def test_an_order_is_given_up_a_day_after_it_was_made():
    now, attempt = NOW, 0
    while True:
        attempt += 1
        kept = receipt(order_made(NOW), attempt, now, ActionRetry("away"))
        if kept.outcome == "dead":
            break
        assert kept.outcome == "retry"
        now = kept.due
    assert GIVE_UP - LONGEST <= now - NOW <= GIVE_UP
    assert 400 < attempt < 1_000


def order_made(created: Millis) -> Order:
    return Order("k", "log", "d", "host:a", created, "{}")


def test_a_receipt_says_what_came_of_the_attempt():
    it = order_made(NOW)
    assert receipt(it, 1, NOW, "HTTP 200").outcome == "done"
    assert receipt(it, 1, NOW, ActionRefused("bad")).outcome == "refused"
    later = receipt(it, 2, NOW, Later("busy", after=Millis(60_000)))
    assert (later.outcome, later.attempt) == ("retry", 2)
    assert later.due >= NOW + 60_000
    assert "WK501 busy" in later.detail


def test_a_receipt_keeps_one_short_printable_line():
    kept = receipt(order_made(NOW), 1, NOW, ActionRefused("a\x1b[31m\r\nFORGED " + "x" * 9_999))
    assert kept.detail.isprintable()
    assert len(kept.detail) == 500


def test_what_an_action_raises_beyond_its_contract_is_tried_again_and_named():
    assert classify(ValueError("bug")) == "retry"
    assert "ValueError: bug" in receipt(order_made(NOW), 1, NOW, ValueError("bug")).detail


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({b"Retry-After": b"120"}, 120_000),
        ({b"retry-after": b" 0 "}, 0),
        ({b"Retry-After": b"9" * 400}, 999_999_999_000),
        (
            {
                b"Retry-After": b"Wed, 03 Jan 2024 00:01:30 GMT",
                b"Date": b"Wed, 03 Jan 2024 00:00:00 GMT",
            },
            90_000,
        ),
        (
            {
                b"Retry-After": b"Wed, 03 Jan 2024 00:00:00 -0000",
                b"Date": b"Wed, 03 Jan 2024 00:01:00 GMT",
            },
            0,
        ),
        ({b"Retry-After": b"Wed, 03 Jan 2024 00:01:30 GMT"}, None),
        ({b"Retry-After": b"soon"}, None),
        ({b"Retry-After": b"-5"}, None),
        ({b"Retry-After": "²".encode("latin-1")}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers, wait):
    assert retry_after(headers) == wait


def test_the_log_line_is_one_line_of_plain_json_whatever_the_names(capsys):
    hostile = 'host:a"\r\n\x1b[31m{"event":"forged"}\u202e\u2028'
    Log().perform(order(entity=hostile))
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.isascii()
    assert err.rstrip("\n").isprintable()
    line = json.loads(err)
    assert line["entity"] == hostile
    assert line["key"] == order().key
    assert line["order"]["policy"] == "host-failing"


def test_the_log_line_keeps_texts_short(capsys):
    long = Order("k", "log", "d", "host:" + "a" * 10**6, NOW, json.dumps({"x": ["b" * 10**6]}))
    Log().perform(long)
    Log().perform(Order("k", "log", "d", "host:a", NOW, "not json" * 10_000))
    first, second = capsys.readouterr().err.splitlines()
    assert len(first) < 3_000
    assert len(second) < 3_000


def test_a_closed_standard_error_is_tried_again(monkeypatch, tmp_path):
    closed = (tmp_path / "gone").open("w")
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    with pytest.raises(ActionRetry, match="standard error"):
        Log().perform(order())
