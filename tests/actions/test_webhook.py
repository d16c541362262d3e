"""The webhook against a real server that signs for, refuses, hangs, and lies."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from watchkeeper.actions.webhook import Webhook, signature
from watchkeeper.errors import ActionRefused, ActionRetry, ConfigError
from watchkeeper.secret import Secret
from watchkeeper.testing.actions import Receiver, Says, order

CANARY = "WK_CANARY_5f1c"


def test_the_signature_is_the_one_of_the_standard():
    # The example that the Standard Webhooks libraries test themselves with.
    assert (
        signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_receiver_with_the_secret_can_verify_body_key_and_time():
    with Receiver() as receiver:
        Webhook(Secret(receiver.url + "/hook?a=b"), secret=Secret("plain text")).perform(order())
    (got,) = receiver.requests
    stamp = got.headers["webhook-timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    signed = b".".join([got.headers["webhook-id"].encode(), stamp.encode(), got.body])
    wanted = hmac.new(b"plain text", signed, hashlib.sha256).digest()
    assert got.headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()
    assert got.headers["webhook-id"] == got.headers["Idempotency-Key"] == order().key
    assert got.body == order().payload.encode()
    assert got.path == "/hook?a=b"
    assert got.headers["Content-Type"] == "application/json"


def test_without_a_secret_nothing_is_signed():
    with Receiver() as receiver:
        assert Webhook(Secret(receiver.url)).perform(order()) == f"HTTP 200 from {receiver.url}"
    assert "webhook-signature" not in receiver.requests[0].headers


def test_own_headers_travel_along():
    with Receiver() as receiver:
        Webhook(Secret(receiver.url), headers={"Authorization": Secret("Bearer x")}).perform(
            order()
        )
    assert receiver.requests[0].headers["Authorization"] == "Bearer x"


@pytest.mark.parametrize(
    "says",
    [
        Says(pause=30.0),
        Says(headers={"X-Filler": "y" * 3_000}, drip=0.05),
        Says(200, b"z", promise=10, pause=0.0, drip=0.2),
    ],
    ids=["silent", "a byte of header now and then", "slow header, cut body"],
)
def test_no_receiver_holds_us_longer_than_the_timeout(says):
    with Receiver(says) as receiver:
        began = time.monotonic()
        with pytest.raises(ActionRetry, match=r"within 0\.4 s"):
            Webhook(Secret(receiver.url), timeout=0.4).perform(order())
        assert time.monotonic() - began < 15, "each of them would go on for 20 s and more"


def test_secrets_show_in_no_printed_form_and_no_error():
    with Receiver(Says(400), Says(503)) as receiver:
        action = Webhook(
            Secret(f"{receiver.url}/services/{CANARY}?token={CANARY}"),
            secret=Secret(CANARY),
            headers={"Authorization": Secret(f"Bearer {CANARY}")},
        )
        texts = [repr(action), str(action), f"{action!r:>10}"]
        for kind in (ActionRefused, ActionRetry):
            with pytest.raises(kind) as caught:
                action.perform(order())
            texts += [str(caught.value), repr(caught.value), caught.value.hint]
    assert CANARY not in "".join(texts)
    assert "<secret>" in texts[0]


def test_a_receiver_that_echoes_the_request_does_not_make_us_tell_secrets():
    echo = f"bad token {CANARY} on /services/{CANARY}-path, Bearer {CANARY}-token".encode()
    with Receiver(Says(403, echo)) as receiver:
        action = Webhook(
            Secret(f"{receiver.url}/services/{CANARY}-path"),
            secret=Secret(CANARY),
            headers={"Authorization": Secret(f"Bearer {CANARY}-token")},
        )
        with pytest.raises(ActionRefused) as caught:
            action.perform(order())
    assert CANARY not in str(caught.value)
    assert "bad token <secret> on /services/<secret>, Bearer <secret>" in str(caught.value)


def test_a_refusal_repeats_the_words_of_the_receiver():
    with (
        Receiver(Says(422, b"no such field: health")) as receiver,
        pytest.raises(ActionRefused, match="HTTP 422: no such field: health"),
    ):
        Webhook(Secret(receiver.url)).perform(order())


def test_a_name_that_does_not_resolve_is_tried_again():
    with pytest.raises(ActionRetry):
        Webhook(Secret("http://watchkeeper.invalid/"), timeout=5).perform(order())
    with pytest.raises(ActionRetry):
        Webhook(Secret(f"http://{'a' * 70}.invalid/"), timeout=5).perform(order())


def test_https_to_a_plain_server_is_tried_again_and_says_so():
    with Receiver() as receiver, pytest.raises(ActionRetry, match="https://127"):
        Webhook(Secret(receiver.url.replace("http", "https")), timeout=2).perform(order())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "ftp://h/"}, "not an http"),
        ({"url": "file:///etc/passwd"}, "not an http"),
        ({"url": "http:///x"}, "not an http"),
        ({"url": "http://h:0/"}, "not an http"),
        ({"url": "http://h:99999/"}, "not a URL"),
        ({"url": f"http://me:{CANARY}@h/"}, "credentials in the URL"),
        ({"url": "http://h/a b"}, "spaces"),
        ({"url": "http://h/\r\nX: y"}, "spaces"),
        ({"url": "http://h/", "timeout": 0}, "timeout"),
        ({"url": "http://h/", "secret": Secret("whsec_!!")}, "not base64"),
        ({"url": "http://h/", "headers": {"Host": Secret("x")}}, "set by watchkeeper"),
        ({"url": "http://h/", "headers": {"X": Secret("a\r\nb")}}, "cannot carry"),
    ],
)
def test_what_cannot_work_is_refused_at_start(fields, said):
    with pytest.raises(ConfigError, match=said) as caught:
        Webhook(**fields | {"url": Secret(fields["url"])})
    assert CANARY not in str(caught.value)


def test_the_body_survives_any_characters():
    hostile = order(entity='host:"\u2028</script>\x00é')
    with Receiver() as receiver:
        Webhook(Secret(receiver.url)).perform(hostile)
    assert json.loads(receiver.requests[0].body)["entity"] == hostile.entity


def test_a_url_that_is_kept_elsewhere_is_read_again_when_it_is_refused(tmp_path):
    with Receiver(Says(403), Says(200)) as receiver:
        kept = [f"{receiver.url}/first-token"]
        action = Webhook(Secret(lambda: kept[0]))
        kept[0] = f"{receiver.url}/second-token"
        with pytest.raises(ActionRetry, match="changed since") as caught:
            action.perform(order())
        assert "token" not in str(caught.value)
        assert action.perform(order()) == f"HTTP 200 from {receiver.url}"
        assert [one.path for one in receiver.requests] == ["/first-token", "/second-token"]
        kept[0] = "ftp://elsewhere/third-token"
        action.url.renew()
        with pytest.raises(ActionRetry, match="not an http") as caught:
            action.perform(order())
        assert "third" not in str(caught.value)
