"""A real mosquitto: what is published, through kills and restarts; and brokers that misbehave."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.sources import agents

from watchkeeper.config import build
from watchkeeper.errors import ConfigError
from watchkeeper.model import Cursor, Millis
from watchkeeper.secret import Secret
from watchkeeper.sources._found import Reading
from watchkeeper.sources._mqtt_topics import Message, Topic, told
from watchkeeper.sources.mqtt import Mqtt, Subscriber
from watchkeeper.testing.sources import ASKING, contents, subscriber_checks

PLAIN = Topic(
    topic="plant/+/+/celsius", entity="sensor:{2}", metric="room.temperature", unit="Cel",
    attributes={"room": "{3}"}, words={"OFF": 0.0},
)  # fmt: skip
JSON = Topic(
    topic="json/#", entity="host:{device.name}", time="at",
    values={"readings.t": "room.temperature", "readings.h": "room.humidity"},
)  # fmt: skip
TIMED = Topic(topic="count/+", entity="host:{2}", metric="m", value="v", time="t")
OPEN = "allow_anonymous true"
T0 = 1_767_323_045_000


def source(port: int, **fields: object) -> Mqtt:
    """A session of its own for each; brokers keep them."""
    plain = {"tls": False, "interval": 0.5, "client_id": f"watchkeeper-{time.monotonic_ns()}"}
    fields = plain | {"topics": (PLAIN, JSON, TIMED)} | fields
    return Mqtt(broker=f"shop=127.0.0.1:{port}", **fields)


def publish(port: int, topic: str, *payloads: str, qos: int = 1, more: tuple[str, ...] = ()):
    command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", str(qos)]
    text = "\n".join(payloads).encode() + b"\n"
    subprocess.run([*command, "-l", *more], input=text, check=True, timeout=30)


class Heard:
    """What a reader has said so far."""

    def __init__(self, reader: Subscriber) -> None:
        self.reader = reader
        self.said: Counter[tuple[object, ...]] = (
            Counter()
        )  # entity, metric, attributes, time, value
        self.ups: list[float] = []
        self.unread: list[dict[str, object]] = []
        self.changes: list[str] = []
        self.cursor: Cursor | None = None

    def until(self, so_far) -> Heard:
        end = time.monotonic() + 60
        while not so_far():
            assert time.monotonic() < end, (self.said, self.unread, self.reader.states())
            batch = self.reader.poll()
            if batch is not None:
                self.take(batch)
        return self

    def take(self, batch) -> None:
        self.cursor = batch.cursor
        self.unread += batch.unread.to_pylist()
        self.changes += [json.loads(one.body)["state"] for one in batch.controls]
        for key, count in contents(batch).items():
            if key[1] == "up":
                self.ups.append(float(key[-1] != 0))
            elif key[1] not in ASKING and len(key) == 5:
                self.said[key[:4]] += count

    def connected(self) -> Heard:
        return self.until(lambda: self.state().succeeded is not None)

    def state(self):
        (state,) = self.reader.states()
        return state


@contextmanager
def listening(source: Mqtt, cursor: Cursor | None = None) -> Iterator[Heard]:
    reader = source.open(cursor)
    try:
        yield Heard(reader)
    finally:
        reader.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    with agents.mosquitto(tmp_path_factory.mktemp("mosquitto"), OPEN) as found:
        yield found


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_published_is_told(port, version, qos):
    with listening(source(port, mqtt_version=version)) as heard:
        heard.connected()
        publish(port, "plant/a/hall/celsius", "20.5", "OFF", qos=qos)
        at = {"at": "2026-01-02T03:04:05Z", "device": {"name": "web-1"}}
        publish(port, "json/x/y", json.dumps(at | {"readings": {"t": 1, "h": "2.5"}}), qos=qos)
        publish(port, "json/z", json.dumps([at | {"readings": {"t": 3}, "at": T0 + 1}]), qos=qos)
        heard.until(lambda: heard.said.total() == 5)
    assert sorted(key[:3] for key in heard.said) == [
        ("host:web-1", "room.humidity", "{}"),
        ("host:web-1", "room.temperature", "{}"),
        ("host:web-1", "room.temperature", "{}"),
        ("sensor:a", "room.temperature", '{"room":"hall","unit":"Cel"}'),
        ("sensor:a", "room.temperature", '{"room":"hall","unit":"Cel"}'),
    ]
    assert {key[3] for key in heard.said if key[0] == "host:web-1"} == {T0, T0 + 1}
    assert heard.ups
    assert set(heard.ups) == {1.0}
    assert not heard.changes


@pytest.mark.parametrize("check", list(subscriber_checks()), ids=lambda check: check.__name__)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_it_is_a_subscriber(port, check, version):
    count = iter(range(1, 100))

    def send() -> None:
        publish(port, "count/a", *(json.dumps({"t": T0 + next(count), "v": 1}) for _ in range(3)))

    check(source(port, mqtt_version=version), send)


def test_what_is_published_while_we_are_away_comes_later(port):
    mine = source(port)
    with listening(mine) as heard:
        heard.connected()
    publish(port, "plant/a/hall/celsius", *map(str, range(300)))
    with listening(mine, heard.cursor) as later:
        later.until(lambda: later.said.total() == 300)


def test_a_message_without_a_time_is_told_once_though_it_is_sent_twice(port):
    """Its time is that of its arrival, so only its number tells that we had it."""
    mine = source(port)
    with listening(mine) as heard:
        heard.connected()
        publish(port, "plant/a/hall/celsius", "1", "2", "3")
        heard.until(lambda: heard.said.total() >= 1)  # and never polled again: nothing confirmed
    with listening(mine, heard.cursor) as again:
        again.connected()
        publish(port, "plant/a/hall/celsius", "4")
        again.until(lambda: (heard.said + again.said).total() >= 4)
        for _ in range(5):
            batch = again.reader.poll()
            if batch is not None:
                again.take(batch)
    assert (heard.said + again.said).total() == 4


def test_a_broker_that_is_killed_loses_nothing_that_was_not_journalled(tmp_path):
    mine: Mqtt | None = None
    port = agents.free_port()
    lines: list[str] = []
    found: Counter[tuple[object, ...]] = Counter()
    cursor = None

    def more() -> list[str]:
        new = [json.dumps({"t": T0 + n, "v": n}) for n in range(len(lines), len(lines) + 100)]
        lines.extend(new)
        publish(port, "count/a", *new)
        return new

    for _ in range(3):
        with agents.mosquitto(tmp_path, OPEN, port=port, kill=True):
            mine = mine or source(port)
            with listening(mine, cursor) as heard:
                heard.connected()
                more()
                heard.until(lambda heard=heard: heard.said.total() >= 20)
                written_down(tmp_path, more())  # and nobody reads these before the kill
            found, cursor = found + heard.said, heard.cursor
    assert len(found) < len(lines)
    with agents.mosquitto(tmp_path, OPEN, port=port), listening(mine, cursor) as heard:
        heard.until(lambda: len(found + heard.said) >= len(lines))
    assert len(found + heard.said) == len(lines)


def written_down(folder: Path, payloads: list[str]) -> None:
    """Wait until the broker has these on its disk."""
    kept, end = folder / "mosquitto.db", time.monotonic() + 60
    while not kept.exists() or any(one.encode() not in kept.read_bytes() for one in payloads):
        assert time.monotonic() < end, "the broker wrote nothing down"
        time.sleep(0.05)


def test_we_come_back_when_the_broker_does(tmp_path):
    port = agents.free_port()
    with agents.mosquitto(tmp_path, OPEN, port=port, kill=True):
        mine = source(port, timeout=1.0)
        reader = mine.open(None)
        heard = Heard(reader).connected()
    heard.until(lambda: "open" in heard.changes)
    assert heard.state().failures >= 5
    assert heard.state().state == "open"
    assert 0.0 in heard.ups
    with agents.mosquitto(tmp_path, OPEN, port=port):
        heard.until(lambda: "closed" in heard.changes)
        publish(port, "plant/a/hall/celsius", "7")
        heard.until(lambda: heard.said.total() == 1)
    reader.close()
    assert heard.changes == [one for one in heard.changes if one != "gone"]
    assert heard.changes[0] == "failing"
    assert heard.changes[-2:] == ["half_open", "closed"]


def test_what_the_broker_has_kept_is_passed_over_unless_it_has_a_time(port):
    publish(port, "plant/kept/hall/celsius", "1", more=("-r",))
    publish(port, "count/kept", json.dumps({"t": T0, "v": 1}), more=("-r",))
    with listening(source(port)) as heard:
        heard.connected()
        publish(port, "plant/kept/hall/celsius", "2")
        heard.until(lambda: heard.said.total() >= 2)
    for topic in ("plant/kept/hall/celsius", "count/kept"):
        subprocess.run(
            ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-r", "-n"],
            check=True,
        )
    assert sorted(key[0] for key in heard.said) == ["host:kept", "sensor:kept"]


def test_bad_messages_are_unread_and_their_neighbours_stay(port):
    with listening(source(port, payload_bytes=1000)) as heard:
        heard.connected()
        publish(port, "plant/a/hall/celsius", "hot", "1", "x" * 1001)
        publish(port, "json/x", "no JSON", '{"readings": {"t": 1}}')
        publish(
            port, "count/a", '{"v": 1}', '{"t": "soon", "v": 1}', '{"t": 5, "v": [1]}', '{"t": 5}'
        )
        publish(port, "count/b", json.dumps({"t": T0, "v": 2}))
        heard.until(lambda: heard.said.total() == 2 and len(heard.unread) == 8)
    assert Counter(row["reason"] for row in heard.unread) == {
        "not_a_number": 2, "too_large": 1, "malformed": 2, "bad_name": 1, "no_time": 2,
    }  # fmt: skip
    assert {row["origin"] for row in heard.unread} == {"mqtt: shop"}


# paho leaves a socket whose handshake failed to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_and_passwords(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    file = str(tmp_path / "passwords")
    subprocess.run(["mosquitto_passwd", "-b", "-c", file, "watcher", "open-sesame"], check=True)
    lines = [f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.pem"]
    lines += [f"password_file {file}", "allow_anonymous false"]
    with agents.mosquitto(tmp_path, *lines) as port:
        known = {"tls": True, "ca_file": str(tmp_path / "ca.pem"), "user": "watcher"}
        with listening(source(port, password=Secret("open-sesame"), **known)) as heard:
            heard.connected()
            more = ("--cafile", str(tmp_path / "ca.pem"), "-u", "watcher", "-P", "open-sesame")
            publish(port, "plant/a/hall/celsius", "1", more=more)
            heard.until(lambda: heard.said.total() == 1)
        for fields, why in (
            ({"password": Secret("sesame-street"), **known}, "refused: Not authorized"),
            (
                {**known, "password": Secret("open-sesame"), "ca_file": ""},
                "CERTIFICATE_VERIFY_FAILED",
            ),
            ({"tls": False}, "127.0.0.1|shop: "),
        ):
            wrong = source(port, timeout=1.0, **fields)
            with listening(wrong) as heard:
                heard.until(lambda heard=heard: heard.state().failures > 0)
            assert any(one in heard.state().error for one in why.split("|")), heard.state()
            assert "sesame-street" not in heard.state().error + repr(wrong)


@pytest.mark.parametrize(
    "says", [b"", b"\x20\x03\x00\x00\x00", b"\x16\x03\x01\xff\xff" * 9, b"\xf0"]
)
def test_a_broker_that_misbehaves_costs_its_deadline(says):
    """It is silent, takes us in and says nothing, or speaks something else."""
    with (
        agents.fake_tcp(first=says) as port,
        listening(source(port, timeout=0.3, interval=0.2)) as heard,
    ):
        heard.until(lambda: heard.state().state == "open")
    assert heard.state().succeeded is None
    assert "failing" in heard.changes


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"topics": ()}, "no topics"),
        ({"topics": (Topic(topic="a/#/b", entity="x:y", metric="m"),)}, "is no topic"),
        ({"topics": (Topic(topic="a/b+", entity="x:y", metric="m"),)}, "is no topic"),
        ({"topics": (Topic(topic="a", entity="x:y"),)}, "give metric, or values"),
        (
            {"topics": (Topic(topic="a", entity="x:y", metric="m", values={"a": "b"}),)},
            "give metric",
        ),
        ({"topics": (Topic(topic="a", entity="x:y", value="v", values={"a": "b"}),)}, "value goes"),
        ({"topics": (Topic(topic="a", entity="x:{2}", metric="m"),)}, "has no level 2"),
        ({"broker": "a b"}, "names no target"),
        ({"password": Secret("secret-word")}, "without a user"),
        ({"timeout": 0.0}, "timeout is not above 0"),
        ({"tls": True, "ca_file": "/nowhere.pem"}, "cannot use ca_file"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(fields, why):
    usable = {"broker": "a", "topics": (PLAIN,), "tls": False}
    with pytest.raises(ConfigError, match=why) as caught:
        Mqtt(**usable | fields)
    assert "secret-word" not in str(caught.value)


def test_topics_are_read_from_a_configuration():
    topic = {"topic": "a/+", "entity": "host:{2}", "metric": "m"}
    made = build("sources", {"type": "mqtt", "broker": "b", "topics": [topic]})
    assert made.topics[0].metric == "m"
    assert made.device().port == 8883
    with pytest.raises(ConfigError, match="metrik"):
        build("sources", {"type": "mqtt", "broker": "b", "topics": [topic | {"metrik": "m"}]})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(("at", "device", "name", "readings", "t", "h")), below)
    ),
)


@given(ANYTHING | st.binary(max_size=40), st.text(max_size=20))
def test_no_message_breaks_anything(document, topic):
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    for kind in (PLAIN, JSON, TIMED):
        for one in told(kind, Message(topic, payload, Millis(T0))):
            if isinstance(one, Reading):
                assert isinstance(one.value, float)
                assert isinstance(one.time, int)
