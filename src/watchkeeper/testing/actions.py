"""What every action must hold to, and a real receiver to hold it against.

`action_checks()` is for any action; `http_checks()` for one that posts to a URL. Each check is a
function of a factory, so that a plug author runs them on his own action in three lines.
"""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple

from watchkeeper.actions import Action, classify
from watchkeeper.errors import ActionRefused, ActionRetry
from watchkeeper.model import Millis, Order, canonical

Make = Callable[[], Action]
MakeAt = Callable[[str], Action]


def order(key: str = "0f" * 32, phase: str = "firing", entity: str = "host:web-1") -> Order:
    """Return an order such as a policy makes."""
    fact = {
        "decision": "d1",
        "policy": "host-failing",
        "version": "abc",
        "entity": entity,
        "phase": phase,
        "severity": "critical",
        "health": 12.5,
        "coverage": 1.0,
        "reason": "held_long_enough",
        "contributions": [
            {"metric": "system.memory.utilization", "attributes": "{}", "share": 0.9},
            {"metric": "system.cpu.utilization", "attributes": "{}", "share": 0.1},
        ],
        "runbook": "https://runbooks.example/host-failing",
        "at": "2024-01-03T00:00:00.000Z",
        "starts_at": "2024-01-02T23:55:00.000Z",
    }
    return Order(key, "test", "d1", entity, Millis(1_704_240_000_000), canonical(fact))


class Request(NamedTuple):
    """One request as a receiver got it."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class Says(NamedTuple):
    """One answer of a receiver.

    :param pause: seconds before the answer. :param promise: a Content-Length other than true.
    :param drip: seconds between the bytes of the header, when above 0.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    pause: float = 0.0
    promise: int | None = None
    drip: float = 0.0


class Receiver:
    """A real HTTP server on loopback that gives the scripted answers, the last one for ever."""

    def __init__(self, *script: Says) -> None:
        self.script = list(script) or [Says()]
        self.requests: list[Request] = []
        self.leave = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = self.rfile.read(size)
                receiver.requests.append(Request(self.path, dict(self.headers), body))
                say = receiver.script[0]
                if len(receiver.script) > 1:
                    receiver.script.pop(0)
                receiver.leave.wait(say.pause)
                try:
                    self.answer(say)
                except OSError:
                    self.close_connection = True  # the client went away, as it may

            def answer(self, say: Says) -> None:
                lines = [f"HTTP/1.1 {say.status} said", "Connection: close"]
                size = len(say.body) if say.promise is None else say.promise
                lines += [f"Content-Length: {size}"]
                lines += [f"{name}: {text}" for name, text in say.headers.items()]
                head = ("\r\n".join(lines) + "\r\n\r\n").encode()
                if say.drip:
                    for byte in head:
                        self.wfile.write(bytes([byte]))
                        if receiver.leave.wait(say.drip):
                            return
                self.wfile.write((b"" if say.drip else head) + say.body)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> Receiver:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def action_checks() -> Iterator[Callable[[Make], None]]:
    """Yield what any action must hold to, when its order can be carried out."""
    yield check_fields_are_frozen_configuration
    yield check_it_answers_in_one_line
    yield check_the_same_order_twice_is_harmless


def http_checks() -> Iterator[Callable[[MakeAt], None]]:
    """Yield what an action that posts to a URL must hold to."""
    yield check_each_status_leads_to_done_retry_or_refused
    yield check_every_attempt_sends_the_same_bytes_and_key
    yield check_a_receiver_that_is_away_is_tried_again
    yield check_a_cut_answer_is_tried_again
    yield check_redirects_are_not_followed
    yield check_the_wait_the_receiver_asks_for_is_kept
    yield check_a_huge_answer_is_not_read


def check_fields_are_frozen_configuration(make: Make) -> None:
    """An action is its configuration: equal fields, equal action; nothing changes them."""
    action = make()
    assert dataclasses.is_dataclass(action)
    assert action == make()
    for field in dataclasses.fields(action):
        try:
            setattr(action, field.name, None)
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(f"{field.name} can be changed")


def check_it_answers_in_one_line(make: Make) -> None:
    """The answer goes to a receipt."""
    said = make().perform(order())
    assert said
    assert said.isprintable()


def check_the_same_order_twice_is_harmless(make: Make) -> None:
    """A crash between act and receipt repeats the act."""
    action = make()
    assert action.perform(order()) == action.perform(order())


def check_each_status_leads_to_done_retry_or_refused(make: MakeAt) -> None:
    """2xx is done; what may pass is retried; what the order itself caused never is."""
    expected = dict.fromkeys((200, 201, 202, 204), "done")
    expected |= dict.fromkeys((408, 425, 429, 500, 502, 503, 504, 507), "retry")
    expected |= dict.fromkeys((400, 401, 403, 404, 405, 409, 410, 413, 422, 301), "refused")
    for status, wanted in expected.items():
        with Receiver(Says(status)) as receiver:
            assert outcome(make(receiver.url), order()) == wanted, status


def check_every_attempt_sends_the_same_bytes_and_key(make: MakeAt) -> None:
    """So that the receiver can tell a repetition."""
    with Receiver(Says(503), Says(200)) as receiver:
        action = make(receiver.url)
        assert outcome(action, order()) == "retry"
        assert outcome(action, order()) == "done"
        first, second = receiver.requests
    assert first.body == second.body
    assert json.loads(first.body)
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == order().key


def check_a_receiver_that_is_away_is_tried_again(make: MakeAt) -> None:
    """Nothing listens: a connection error is no refusal."""
    with Receiver() as receiver:
        url = receiver.url
    assert outcome(make(url), order()) == "retry"


def check_a_cut_answer_is_tried_again(make: MakeAt) -> None:
    """A success whose end is missing may have come from something in between."""
    with Receiver(Says(200, b"half", promise=100)) as receiver:
        assert outcome(make(receiver.url), order()) == "retry"


def check_redirects_are_not_followed(make: MakeAt) -> None:
    """A receiver must not send our orders elsewhere."""
    with Receiver() as target, Receiver(Says(307, headers={"Location": target.url})) as receiver:
        assert outcome(make(receiver.url), order()) == "refused"
        assert target.requests == []


def check_the_wait_the_receiver_asks_for_is_kept(make: MakeAt) -> None:
    """Retry-After reaches the one who plans the next attempt."""
    with Receiver(Says(429, headers={"Retry-After": "7"})) as receiver:
        error = failure(make(receiver.url), order())
    assert isinstance(error, ActionRetry)
    assert getattr(error, "after", None) == 7_000


def check_a_huge_answer_is_not_read(make: MakeAt) -> None:
    """The status decides; memory stays small and the answer takes no time."""
    with Receiver(Says(400, b"x" * 50_000_000)) as receiver:
        began = time.monotonic()
        error = failure(make(receiver.url), order())
        assert time.monotonic() - began < 5
    assert isinstance(error, ActionRefused)
    assert len(str(error)) < 1_000


def failure(action: Action, order: Order) -> ActionRetry | ActionRefused | None:
    """Return what one attempt raised, or None when it is done."""
    try:
        action.perform(order)
    except (ActionRetry, ActionRefused) as error:
        return error
    return None


def outcome(action: Action, order: Order) -> str:
    """Return `done`, `retry` or `refused` of one attempt."""
    error = failure(action, order)
    return "done" if error is None else classify(error)
