"""The doors through which telemetry is pushed, behind the real server: bounds and answers."""

import asyncio
import contextlib
import http.client
import itertools
import socket
import threading
import time
from dataclasses import replace

import pytest
from tests.pushing import Plain, delivery
from tests.test_intake import CPU, NOW, Failing
from tests.test_pipeline import rules

from watchkeeper.errors import Malformed, Overloaded, StoreFull
from watchkeeper.http import app, server
from watchkeeper.http import receive as doors
from watchkeeper.intake import Intake
from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.model import Millis
from watchkeeper.receivers import Limits
from watchkeeper.receivers.remote_write import RemoteWrite
from watchkeeper.simulate.payloads import Course, fleet, template
from watchkeeper.testing import reports as t

GOOD = f"host:a {CPU} {NOW} 0.5\n"


class House:
    """A page beside the doors, and a thread that makes the rounds."""

    def __init__(self, folder):
        self.journal = Failing(Sqlite(path=folder / "journal.sqlite").open())
        self.intake = Intake(self.journal, limits=Limits(body=100_000, waiting=300_000))
        self.intake.adopt(rules().contracts)
        self.intake.closed = ""
        self.paused, self.resting, self.ended = (threading.Event() for _ in range(3))
        routes = doors.doors([Plain()], self.intake, lambda: Millis(NOW), itertools.count(1))
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.close = server.serve(app(self, doors=routes), listening)
        self.thread = threading.Thread(target=self._rounds)
        self.thread.start()

    def _rounds(self):
        while not self.ended.is_set():
            if self.paused.is_set():
                self.resting.set()
                time.sleep(0.01)
                continue
            self.resting.clear()
            try:
                self.intake.round(0.02)
            except StoreFull:
                time.sleep(0.01)

    def end(self):
        self.close()
        self.ended.set()
        self.thread.join()
        self.journal.close()

    def findings(self):
        return t.fleet(1)

    def status(self):
        return {}

    def metrics(self, accept):
        return b"", "text/plain"

    def checks(self):
        return {}

    def ready(self):
        return True, "ready"

    def push(self, body=GOOD, method="POST", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, "/push", body, headers)
            answer = connection.getresponse()
            return answer, answer.read().decode()

    def raw(self, *parts):
        """Send bytes as they are, and return everything that comes back until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as plug:
            for part in parts:
                plug.sendall(part)
            heard = b""
            while more := plug.recv(65536):
                heard += more
            return heard


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("doors"))
    yield house
    house.end()


@pytest.fixture
def house(site):
    yield site
    site.paused.clear()
    site.journal.errors = []
    site.intake.closed = ""


def nothing_waits(house):
    end = time.monotonic() + 10
    while house.intake.waiting != (0, 0) and time.monotonic() < end:
        time.sleep(0.01)
    assert house.intake.waiting == (0, 0)


def test_what_is_pushed_is_answered_when_it_is_durable(house):
    before = house.journal.head()
    answer, said = house.push()
    assert (answer.status, said) == (204, "")
    assert house.journal.head() == before + 1


def test_a_partly_bad_body_keeps_its_good_samples_and_says_what_was_wrong(house):
    answer, said = house.push(GOOD + "?\n")
    assert answer.status == 400
    assert said == "1 of 2 refused: malformed 1; first: line 2: four words"


def test_one_connection_carries_many_requests(house):
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
    for number in range(20):
        connection.request("POST", "/push", f"host:a {CPU} {NOW + number} 0.5\n")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 204
    connection.close()


@pytest.mark.parametrize(
    ("size", "at_once"), [(0, True), (100_000, True), (4 * server.AHEAD, False)]
)
def test_a_body_wakes_its_reader_when_it_is_whole_or_there_is_much_of_it(size, at_once):
    told = []

    async def count(scope, receive, send):
        more = True
        while more:
            message = await receive()
            told.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    listening = socket.create_server(("127.0.0.1", 0))
    close = server.serve(count, listening)
    body, step = bytes(range(250)) * (size // 250), max(size // 5, 1)
    with socket.create_connection(listening.getsockname(), timeout=30) as plug:
        plug.sendall(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for at in range(0, len(body), step):
            time.sleep(0.02)  # so that it does not all arrive at once
            plug.sendall(body[at : at + step])
        assert b" 204 " in plug.recv(4096)
    close()
    assert b"".join(told) == body
    assert (len(told) == 1) == at_once


def test_a_body_that_declares_too_much_is_refused_before_it_is_read(house):
    head = f"POST /push HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\nContent-Length: 4294967296\r\n"
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as plug:
        plug.sendall(f"{head}\r\n".encode())
        assert plug.recv(4096).startswith(b"HTTP/1.1 413 ")
    nothing_waits(house)


def test_a_body_without_a_length_is_read_no_further_than_allowed(house):
    head = f"POST /push HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\nTransfer-Encoding: chunked\r\n"
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as plug:
        plug.sendall(f"{head}\r\n".encode())
        for _ in range(3):
            plug.sendall(b"c350\r\n" + b"x" * 50_000 + b"\r\n")
        assert plug.recv(4096).startswith(b"HTTP/1.1 413 ")
    nothing_waits(house)


def test_after_an_early_refusal_the_connection_serves_the_next_request(house):
    house.intake.closed = "stopping"
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
    connection.request("POST", "/push", "x" * 90_000)
    answer = connection.getresponse()
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "stopping" in answer.read().decode()
    house.intake.closed = ""
    connection.request("POST", "/push", GOOD)
    assert connection.getresponse().status == 204
    connection.close()


def test_a_full_disk_is_503_and_the_next_try_succeeds(house):
    house.journal.errors = [StoreFull("no space left")]
    answer, said = house.push()
    assert answer.status == 503
    assert "no space left" in said
    assert house.push()[0].status == 204


def test_more_than_may_wait_is_503(house):
    house.paused.set()
    assert house.resting.wait(10)
    waiting = [threading.Thread(target=house.push, args=(GOOD * 2_000,)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    end = time.monotonic() + 10
    while house.intake.waiting[1] < 200_000 and time.monotonic() < end:
        time.sleep(0.01)
    answer, said = house.push(GOOD * 2_000)
    assert answer.status == 503
    assert "too much is waiting" in said
    house.paused.clear()
    for thread in waiting:
        thread.join()
    nothing_waits(house)


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_request_that_trickles_in_is_ended(house, monkeypatch, part):
    monkeypatch.setattr(server, "HEAD", 0.3)
    monkeypatch.setattr(doors, "READ", 0.3)
    begun = f"POST /push HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n"
    if part == "body":
        begun += "Connection: close\r\nContent-Length: 1000\r\n\r\nhost"
    heard = house.raw(begun.encode())
    assert heard.startswith(b"HTTP/1.1 503 ") if part == "body" else heard == b""
    nothing_waits(house)


def test_a_head_without_end_is_ended(house):
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as plug:
        plug.sendall(b"POST /push HTTP/1.1\r\n")
        lines = b"".join(f"X-{number}: {'x' * 1000}\r\n".encode() for number in range(20_000))
        with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe, as the system likes
            plug.sendall(lines)


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(house):
    with socket.create_connection(("127.0.0.1", house.port), timeout=20) as plug:
        head = f"POST /push HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\nContent-Length: 1000\r\n"
        plug.sendall(f"{head}\r\nhost:a".encode())
    nothing_waits(house)


def test_web_pages_and_strange_tenants_may_not_push(house):
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Scope-OrgID": "a b"},
        {"X-Scope-OrgID": "x" * 65},
    ):
        answer, said = house.push(**headers)
        assert answer.status == 400, said
    assert house.push(**{"X-Scope-OrgID": "team-1"})[0].status == 204


def test_a_get_without_a_body_is_answered(house):
    assert house.push(body=None, method="GET")[0].status == 204
    assert house.push(method="PUT")[0].status == 405


def test_what_comes_by_other_ways_than_http_is_held_to_the_same(house):
    take = doors.taker(Plain(), house.intake, lambda: Millis(NOW), itertools.count(1))
    assert take(delivery(GOOD, arrived=NOW)).accepted == 1
    strange = replace(delivery(GOOD), headers={"x-scope-orgid": "a b"})
    assert isinstance(take(strange), Malformed)
    house.intake.closed = "stopping"
    assert isinstance(take(delivery(GOOD)), Overloaded)
    assert house.intake.traffic.requests["plain", "overloaded"] > 0
    nothing_waits(house)


def test_remote_write_2_is_told_over_http_how_much_was_written(tmp_path):
    journal = Sqlite(path=tmp_path / "journal.sqlite").open()
    intake = Intake(journal)
    intake.adopt(rules().contracts)
    intake.closed = ""
    door = doors.Door(RemoteWrite(), intake, lambda: Millis(NOW), itertools.count(1))
    request = template("remote_write_2", fleet(entities=2, series=10))
    body = request.body(Course(10, 1).next(), Millis(NOW))
    said = []

    async def send(message):
        said.append(message)

    async def receive():
        return {"type": "http.request", "body": body}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/write",
        "query_string": b"",
        "headers": [(n.lower().encode(), v.encode()) for n, v in request.headers.items()],
    }
    rounds = threading.Thread(target=lambda: intake.round(60))
    rounds.start()
    asyncio.run(door(scope, receive, send))
    rounds.join()
    journal.close()
    assert said[0]["status"] == 204
    assert (b"x-prometheus-remote-write-samples-written", b"10") in said[0]["headers"]
