"""Live updates: what each tick changed, told to everybody alike, behind the real server."""

import http.client
import json
import threading
import time

import pytest
from tests.guarded import NOW, Site

from watchkeeper.access import Role
from watchkeeper.http.api import events
from watchkeeper.testing import ledger as t


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(events, "HEARTBEAT", 0.3)
    site = Site(tmp_path)
    site.ledger.commit(t.step(NOW - 5000))
    yield site
    site.close()


class Listener:
    """One that listens, as a browser's EventSource does."""

    def __init__(self, port, token="", last="", brief=False):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Last-Event-ID": last} if last else {}
        path = "/api/v1/events" + ("?brief=yes" if brief else "")
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()

    def next(self):
        """Return the lines of the next event or comment; empty at the end."""
        lines = []
        while (line := self.answer.readline()) not in (b"\n", b""):
            lines.append(line.decode().rstrip("\n"))
        return lines

    def tick(self):
        """Return the next event: its id, name and data."""
        while True:
            lines = self.next()
            assert lines, "the stream ended"
            if lines[0].startswith("id: "):
                facts = dict(line.split(": ", 1) for line in lines)
                return int(facts["id"]), facts["event"], json.loads(facts["data"])

    def close(self):
        self.connection.close()


def test_everybody_is_told_the_same_once_a_tick_and_the_house_is_asked_once(site, monkeypatch):
    made = []
    original = events.Events._event

    def counted(self, after, tick, brief):
        made.append(tick)
        return original(self, after, tick, brief)

    monkeypatch.setattr(events.Events, "_event", counted)
    port = site.serve()
    everybody = [Listener(port) for _ in range(20)]
    for one in everybody:
        assert one.answer.getheader("content-type").startswith("text/event-stream")
        assert one.next() == ["retry: 3000"]
    site.ledger.commit(t.step(NOW - 4000, ("host:a", "host:b")))
    told = [one.tick() for one in everybody]
    assert all(one == told[0] for one in told)
    id, name, data = told[0]
    assert (id, name) == (NOW - 4000, "tick")
    assert [one["entity"] for one in data["entities"]] == ["host:a", "host:b"]
    assert {one["entity"] for one in data["decisions"]} == {"host:a", "host:b"}
    assert made == [NOW - 4000]
    for one in everybody:
        one.close()


def test_pages_are_told_names_at_once_and_then_of_several_ticks_together(site):
    """A page looks no more often than every five seconds, so it need not be told more often."""
    port = site.serve()
    page, program = Listener(port, brief=True), Listener(port)
    for one in (page, program):
        assert one.next() == ["retry: 3000"]
    site.ledger.commit(t.step(NOW - 4000, ("host:a",)))
    assert program.tick()[0] == NOW - 4000
    first = page.tick()
    assert first == (NOW - 4000, "tick", {"entities": ["host:a"], "decisions": 1})
    for second, name in ((3, "host:b"), (2, "host:c")):
        site.ledger.commit(t.step(NOW - second * 1000, (name,)))
        assert program.tick()[0] == NOW - second * 1000
    told, ticks = [], []
    while not ticks or ticks[-1] < NOW - 2000:
        tick, _, data = page.tick()
        ticks.append(tick)
        told += data["entities"]
    assert told == ["host:b", "host:c"]
    for one in (page, program):
        one.close()


def test_who_listens_when_looking_fails_is_let_go_and_comes_again(site, monkeypatch):
    port = site.serve()
    one = Listener(port)
    assert one.next() == ["retry: 3000"]
    with monkeypatch.context() as broken:
        broken.setattr(events.Events, "_event", None)
        site.ledger.commit(t.step(NOW - 4000, ("host:a",)))
        while one.next():
            pass
    again = Listener(port, last=str(NOW - 5000))
    assert again.tick()[:2] == (NOW - 4000, "tick")
    for each in (one, again):
        each.close()


def test_in_silence_a_listener_hears_that_we_are_there(site):
    one = Listener(site.serve())
    assert one.next() == ["retry: 3000"]
    assert one.next() == [": still here"]
    one.close()


def test_who_comes_back_is_told_what_he_missed_or_to_load_everything_anew(site):
    port = site.serve()
    site.ledger.commit(t.step(NOW - 4000))
    one = Listener(port, last=str(NOW - 5000))
    assert one.tick()[:2] == (NOW - 4000, "tick")
    one.close()
    again = Listener(port, last=str(NOW - 4000))
    assert again.next() == ["retry: 3000"]
    assert again.next() == [": nothing was missed"]
    again.close()
    late = Listener(port, last="1")
    assert late.tick()[:2] == (NOW - 4000, "reset")
    late.close()
    odd = Listener(port, last="x" * 50)
    assert odd.next() == ["retry: 3000"]
    odd.close()


def test_who_may_no_longer_listen_hears_no_more(site):
    id, text = site.token("viewer")
    one = Listener(site.serve(), text)
    assert one.next() == ["retry: 3000"]
    assert one.next() == [": still here"]
    site.desk.revoke_token(id, site.clock())
    site.ledger.commit(t.step(NOW - 4000))
    assert one.next() == []
    one.close()


def test_only_so_many_listen_and_the_next_is_told_to_come_later(site, monkeypatch):
    monkeypatch.setattr(events, "LISTENERS_MAX", 2)
    port = site.serve()
    two = [Listener(port), Listener(port)]
    third = Listener(port)
    assert third.answer.status == 503
    assert third.answer.getheader("retry-after") == "30"
    for one in (*two, third):
        one.close()


@pytest.mark.parametrize("role", [*Role, None], ids=str)
def test_exactly_those_who_may_read_may_listen(site, role):
    one = Listener(site.serve(), site.of_each_role()[role] if role else "")
    assert one.answer.status == (403 if role is Role.AGENT else 200)
    one.close()


def test_the_server_ends_though_somebody_listens(site):
    port = site.serve()
    one = Listener(port)
    assert one.next() == ["retry: 3000"]
    ended = threading.Thread(target=site.closers.pop())
    ended.start()
    ended.join(20)
    assert not ended.is_alive()
    deadline = time.monotonic() + 20
    while one.next() and time.monotonic() < deadline:
        pass
    one.close()
