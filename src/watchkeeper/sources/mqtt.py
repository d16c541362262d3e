"""Messages of an MQTT broker: numbers and JSON that devices publish.

A message is acknowledged when it is journalled, so the broker keeps what we have not; one that it
sends again is known by its number and its bytes, which are in the cursor. One thread does it all:
while the journal is slow nothing is read, and the broker waits.
"""

from __future__ import annotations

import importlib
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from watchkeeper.errors import ConfigError
from watchkeeper.exchange import why
from watchkeeper.model import Batch, Cursor, Millis
from watchkeeper.secret import Secret
from watchkeeper.sources import Target, TargetState
from watchkeeper.sources._answers import NO_KEYS, Answer, Keys, Table, batch, said
from watchkeeper.sources._devices import Device, read
from watchkeeper.sources._found import Reading, Unread, collected
from watchkeeper.sources._mqtt_seen import Seen
from watchkeeper.sources._mqtt_topics import Message, Topic, told, too_large
from watchkeeper.sources._standing import Standing

PORT, PORT_TLS = 1883, 8883
LINGER = 0.2  # seconds a poll waits for a message
GATHER = 0.01  # seconds without another message after which a batch is made of those there are
SAMPLES, BYTES = 50_000, 8 << 20  # of one batch, about
KEYS = 100_000  # of the table, before it is made anew
PAUSE, PAUSE_MAX = 0.5, 30.0  # seconds before the first try again, at most, and before any
SESSION = 7 * 86_400  # seconds the broker keeps what we missed
_FAILED = 128  # reason codes from here on are refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """Subscribes to topics of one broker.

    :param broker: `host` or `host:port`; port 8883 with TLS and 1883 without, unless said.
    :param topics: what to subscribe to, and how its messages are read; the first that fits counts.
    :param tls: whether the connection is encrypted and the broker's certificate checked.
    :param ca_file: certificates (PEM) of the authorities to believe instead of the system's.
    :param cert_file: our own certificate (PEM), when the broker asks for one.
    :param key_file: the key of it.
    :param user: whom to say we are.
    :param password: of the user; never printed.
    :param client_id: by which the broker knows us again; made of this host's name unless said.
    :param qos: 1: what was published while we were away comes later; 0: it does not.
    :param mqtt_version: `5`, or `3.1.1` for old brokers.
    :param keepalive: seconds of silence after which broker and we make sure of each other.
    :param payload_bytes: bytes of one message.
    :param interval: seconds between two readings of `up`.
    :param timeout: seconds in which the broker must take us in.
    :param name: the source's name in the journal.
    :raises ConfigError: no topics, or a field that cannot be used.
    """

    broker: str
    topics: tuple[Topic, ...]
    tls: bool = True
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    user: str = ""
    password: Secret = Secret()
    client_id: str = ""
    qos: Literal[0, 1] = 1
    mqtt_version: Literal["5", "3.1.1"] = "5"
    keepalive: int = 30
    payload_bytes: int = 1 << 20
    interval: float = 10.0
    timeout: float = 5.0
    name: str = "mqtt"

    def __post_init__(self) -> None:
        self.device()
        if not self.topics:
            raise ConfigError("mqtt: no topics", hint="topics: [{topic: …, entity: …, metric: …}]")
        for topic in self.topics:
            topic.checked()
        for what in ("keepalive", "payload_bytes", "interval", "timeout"):
            if not getattr(self, what) > 0:
                raise ConfigError(f"mqtt: {what} is not above 0")
        if self.password and not self.user:
            raise ConfigError("mqtt: a password without a user", hint="give user")
        self.trust()

    @property
    def sampled(self) -> bool:
        """What waits is handed on."""
        return False

    def open(self, cursor: Cursor | None) -> Subscriber:
        """Go on with the session that the broker keeps for us.

        :raises ConfigError: the package it needs is not installed.
        """
        return Subscriber(self, cursor)

    def device(self) -> Device:
        """Return where the broker is."""
        return next(iter(read((self.broker,), PORT_TLS if self.tls else PORT, "mqtt").values()))

    def trust(self) -> ssl.SSLContext | None:
        """Return whom we believe and who we are; None without TLS."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
        except OSError as error:
            raise ConfigError(
                f"mqtt: cannot use ca_file, cert_file or key_file: {error.strerror or error}",
                hint="give readable files in PEM form",
            ) from None
        return context


class Subscriber:
    """One session with a broker. See `sources.Reader`."""

    pause = 0.0  # `poll` itself waits for messages

    def __init__(self, source: Mqtt, cursor: Cursor | None) -> None:
        self._source, self._device = source, source.device()
        self._library = _library()
        entity = f"broker:{self._device.name}"
        target = Target(self._device.name, entity, self._device.host)
        self._standing = Standing(source.name, target, source.interval)
        self._client = self._made()
        self._connected = False
        self._refused = ""  # why the broker ended it, or did not begin
        self._granted = 0  # subscriptions
        self._next, self._tries = 0.0, 0  # monotonic; when to connect, and how often in vain
        self._due = 0.0  # monotonic; when `up` is told
        self._took = 0.0  # seconds the last connection took
        self._count = 0  # samples since `up` was told
        self._latest: dict[str, Millis] = {}  # when the last message of a topic arrived
        self._came: list[tuple[int, int, Message]] = []  # number, quality, message; not durable
        self._size = 0
        self._owed: list[tuple[int, int]] = []  # numbers and qualities of the batch before
        self._seen = Seen(cursor)
        self._answers: deque[Answer] = deque()
        self._table = Table()

    def poll(self) -> Batch | None:
        """Return what was published since the last poll, or None. Waits a moment for more."""
        for mid, qos in self._owed if self._connected else ():  # the batch before is durable
            self._client.ack(mid, qos)
        self._owed = []
        if not self._connected:
            self._connect()
        if self._connected:
            self._gather()
            if not self._connected:
                self._lost(self._refused or "the broker closed the connection")
        self._tell()
        return self._batch()

    def close(self) -> None:
        """Leave; what was not acknowledged comes again."""
        if self._connected:
            self._connected = False
            with suppress(OSError, ValueError):
                self._client.disconnect()
                self._client.loop(0.0)
        sock = self._client.socket()
        if sock is not None:
            sock.close()

    def states(self) -> list[TargetState]:
        """Return how it stands with the broker."""
        return [self._standing.state()]

    # The connection

    def _connect(self) -> None:
        """Connect, if it is time to, and be taken in; all within the timeout."""
        now = time.monotonic()
        before = self._standing.breaker.state
        if now < self._next or not self._standing.breaker.admits(now):
            time.sleep(LINGER)
            return
        if self._standing.breaker.state != before:
            self._answers.append(self._standing.on_trial())
        deadline = now + self._source.timeout
        self._refused, self._granted = "", 0
        if self._source.user:
            self._client.username_pw_set(self._source.user, self._source.password.reveal())
        try:
            self._client.connect(
                self._device.host, self._device.port, self._source.keepalive, **self._session()
            )
            while not self._refused and self._granted < len(self._source.topics):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("not taken in in time")
                if self._client.loop(min(left, LINGER)) != 0 and not self._refused:
                    raise ConnectionError("the broker closed the connection")
        except (OSError, ValueError) as error:
            self._refused = why(error)
        self._took = time.monotonic() - now
        if self._refused:
            self._lost(self._refused)
            return
        self._connected, self._tries = True, 0
        self._well()

    def _lost(self, error: str) -> None:
        """Note that there is no connection, and when to try again."""
        self._connected = False
        sock = self._client.socket()
        if sock is not None:
            with suppress(OSError):
                sock.close()
        now = time.monotonic()
        most = min(PAUSE_MAX, PAUSE * 2**self._tries)
        self._tries += 1
        self._next = now + random.uniform(0, most)  # noqa: S311  full jitter, no secret
        text = f"{self._device.name}: {error}"
        self._answers.append(self._standing.failed(text, _wall(), self._took, now))
        self._due = now + self._source.interval

    def _tell(self) -> None:
        """Tell `up`, once an interval."""
        if time.monotonic() < self._due:
            return
        if self._connected:
            self._well()
        else:
            self._answers.append(self._standing.left_alone(_wall()))
            self._due = time.monotonic() + self._source.interval

    def _well(self) -> None:
        self._answers.append(self._standing.well(_wall(), self._took, self._count))
        self._count, self._due = 0, time.monotonic() + self._source.interval

    # Messages

    def _gather(self) -> None:
        """Read what comes, until there is enough or a pause."""
        end = time.monotonic() + LINGER
        while self._connected and len(self._came) < SAMPLES and self._size < BYTES:
            before, left = len(self._came), end - time.monotonic()
            wait = GATHER if self._came else LINGER
            if self._client.loop(max(0.0, min(wait, left))) != 0:
                self._connected = False
            if left <= 0 or (self._came and len(self._came) == before):
                return

    def _batch(self) -> Batch | None:
        """Make a batch of what came, and remember its messages."""
        came, self._came, self._size = self._came, [], 0
        answers = list(self._answers)
        self._answers.clear()
        readings: list[Reading] = []
        unread: list[Unread] = []
        for mid, qos, message in came:
            if qos:
                self._owed.append((mid, qos))
                self._seen.add(mid, message)
            for one in self._read(message):
                if isinstance(one, Reading):
                    readings.append(one)
                else:
                    unread.append(one)
        now = _wall()
        self._latest = {topic: at for topic, at in self._latest.items() if at >= now}
        if readings or unread:
            found = collected(readings, unread, f"{self._source.name}: {self._device.name}")
            answers.insert(0, Answer((said(found, Keys(NO_KEYS)),), found.unread))
            self._count += answers[0].size
        if not answers and not came:
            return None
        if len(self._table.keys) > KEYS:
            self._table = Table()
        return batch(self._source.name, self._seen.cursor(now), answers, self._table)

    def _read(self, message: Message) -> Iterable[Reading | Unread]:
        kind = self._kind(message)
        assert kind is not None, "others are passed over"
        if len(message.payload) > self._source.payload_bytes:
            return (too_large(message, self._source.payload_bytes),)
        return told(kind, message)

    def _kind(self, message: Message) -> Topic | None:
        matches = self._library.topic_matches_sub
        return next((one for one in self._source.topics if matches(one.topic, message.topic)), None)

    # What paho calls

    def _made(self) -> Any:
        library, source = self._library, self._source
        five = source.mqtt_version == "5"
        client = library.Client(
            library.CallbackAPIVersion.VERSION2,
            client_id=source.client_id or f"watchkeeper-{socket.gethostname()}-{source.name}",
            protocol=library.MQTTv5 if five else library.MQTTv311,
            clean_session=None if five else not source.qos,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = source.timeout
        context = source.trust()
        if context is not None:
            client.tls_set_context(context)
        client.on_connect, client.on_subscribe = self._on_connect, self._on_subscribe
        client.on_message, client.on_disconnect = self._on_message, self._on_disconnect
        return client

    def _session(self) -> Mapping[str, Any]:
        if self._source.mqtt_version != "5":
            return {}
        properties = importlib.import_module("paho.mqtt.properties").Properties(
            importlib.import_module("paho.mqtt.packettypes").PacketTypes.CONNECT
        )
        properties.SessionExpiryInterval = SESSION if self._source.qos else 0
        properties.MaximumPacketSize = self._source.payload_bytes + (1 << 16)
        return {"clean_start": not self._source.qos, "properties": properties}

    def _on_connect(self, client: Any, _: Any, flags: Any, reason: Any, *__: Any) -> None:
        if reason.is_failure:
            self._refused = f"refused: {reason}"
            return
        if not flags.session_present:
            self._seen.clear()
        for topic in self._source.topics:
            client.subscribe(topic.topic, self._source.qos)

    def _on_subscribe(self, _: Any, __: Any, ___: Any, reasons: Any, *____: Any) -> None:
        for reason in reasons:
            if reason.value >= _FAILED:
                self._refused = f"a topic was refused: {reason}"
            self._granted += 1

    def _on_disconnect(self, _: Any, __: Any, ___: Any, reason: Any, *____: Any) -> None:
        self._connected = False
        if reason.is_failure and not self._refused:
            self._refused = f"disconnected: {reason}"

    def _on_message(self, client: Any, _: Any, got: Any) -> None:
        try:
            message = Message(got.topic, bytes(got.payload), self._moment(got.topic))
        except UnicodeDecodeError:  # no topic that a broker may let through
            client.ack(got.mid, got.qos)
            return
        if self._passed_over(got, message):
            client.ack(got.mid, got.qos)
            return
        self._came.append((got.mid, got.qos, message))
        self._size += len(message.payload) + len(message.topic)

    def _moment(self, topic: str) -> Millis:
        """Return when a message arrived: of two of one topic, each has a millisecond of its own."""
        at = Millis(max(_wall(), self._latest.get(topic, 0) + 1))
        self._latest[topic] = at
        return at

    def _passed_over(self, got: Any, message: Message) -> bool:
        """Whether a message says nothing new.

        We know it already, or the broker kept it, who knows since when, and it has no time.
        """
        if got.dup and self._seen.has(got.mid, message):
            return True
        kind = self._kind(message)
        return kind is None or bool(got.retain and not kind.time)


def _wall() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


def _library() -> Any:
    try:
        return importlib.import_module("paho.mqtt.client")
    except ImportError as error:
        raise ConfigError(
            f"mqtt: {error.name} is not installed", hint="pip install watchkeeper[mqtt]"
        ) from error


plugin = Mqtt
