"""A house that lives and dies under load, those who push into it, and the sink of its orders."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.integration.house import READY, House

from watchkeeper.ledger.sqlite import Sqlite as LedgerFile

START = 1_750_000_000_000  # ms: when the first sample says it was taken
ROWS, EVERY = 200, 0.06  # samples of one request; seconds between two of one pusher
PUSHERS = 3
CONFIG = """
tick: 200ms
packs: [generic@1]
sources: []
receivers: [{{type: json_lines}}]
flags: {{action.webhook: true}}
policies:
  - name: seen
    when: coverage > 0.0
    for: 0s
    action: [sink]
    mode: auto
    cooldown: 0s
    rate: {{acts: 100000, window: 1h}}
    blast_radius: {{amount: 100000, percent: 100}}
actions:
  sink: {{type: webhook, url: "http://127.0.0.1:{sink}/"}}
"""


class Sink:
    """Takes orders as a real receiver would, and keeps what each key was seen with."""

    def __init__(self) -> None:
        self.seen: dict[str, set[str]] = {}
        self.times = Counter[str]()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # the sender died over it
                    return
                key = self.headers["Idempotency-Key"].strip('"')
                sink.seen.setdefault(key, set()).add(hashlib.sha256(body).hexdigest())
                sink.times[key] += 1
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Pusher(threading.Thread):
    """Sends batch after batch; one that was not acknowledged is sent again, the same bytes."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(name=f"pusher-{number}")
        self._world, self.number, self.batches = world, number, 0
        self.acknowledged = 0  # samples, all those before this one
        self.refused = 0  # requests, since the start
        self.over = threading.Event()

    def run(self) -> None:
        body, line = b"", None
        while not self.over.wait(EVERY):
            body = body or self._next()
            try:
                if line is None:
                    line = http.client.HTTPConnection("127.0.0.1", self._world.house.port, 10)
                line.request("POST", "/api/v1/samples", body)
                answer = line.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException):
                if line is not None:
                    line.close()
                line = None
                continue
            if answer.status == 200:
                self.acknowledged += ROWS
                body = b""
            else:
                assert answer.status == 503, (answer.status, said)
                assert answer.headers["Retry-After"]
                self.refused += 1
        if line is not None:
            line.close()

    def _next(self) -> bytes:
        """Samples of four entities, new ones in each life of the house."""
        first = self.batches * ROWS
        self.batches += 1
        life = self._world.lives
        rows = [
            {
                "timestamp": START + k,
                "entity": f"host:p{self.number}-{life}-{k % 4}",
                "metric": "load",
                "value": k % 7,
            }
            for k in range(first, first + ROWS)
        ]
        return "\n".join(map(json.dumps, rows)).encode()


class World:
    """One data folder through all lives, three pushers, one sink."""

    def __init__(self, folder: Path) -> None:
        self.sink, self.lives = Sink(), 0
        self.house = House(folder / "house", CONFIG.format(sink=self.sink.port))
        self.pushers = [Pusher(self, number) for number in range(PUSHERS)]
        for one in self.pushers:
            one.start()

    def close(self) -> None:
        for one in self.pushers:
            one.over.set()
        for one in self.pushers:
            one.join()
        self.sink.close()
        if self.house.life is not None:
            self.house.kill()

    def begin(self, point: str = "", nth: int = 1, inject: str = "") -> None:
        """Begin a life that dies at a named point, or at a system call, if one is named."""
        self.lives += 1
        self.house.dies = ("at", point, str(nth)) if point else ()
        self.house.begin(inject)

    def taken(self) -> int:
        """How many samples were acknowledged so far."""
        return sum(one.acknowledged for one in self.pushers)

    def ended(self, seconds: float) -> bool:
        """Whether the life ends by itself within some seconds."""
        assert self.house.life is not None
        end = time.monotonic() + seconds
        while self.house.life.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self.house.life.poll() is not None

    def under_load(self, seconds: float) -> bool:
        """Wait until it takes samples in, and so long again; whether it still lives."""
        before, end = self.taken(), time.monotonic() + READY
        while self.taken() == before and not self.ended(0.02):
            assert time.monotonic() < end, self.house.said()
        return not self.ended(seconds)

    def check(self) -> None:
        """Hold everything that is promised, after an orderly end of one more life.

        Acknowledged, journalled and sent agree; each sample counts once; the ledger is proven;
        the sink has seen every order, always with the same bytes.
        """
        self.begin()
        self.under_load(1.0)
        for one in self.pushers:
            one.over.set()
        for one in self.pushers:
            one.join()
        self.house.until(lambda: all(receipt is not None for _, receipt in self.orders()))
        self.house.life.send_signal(signal.SIGTERM)
        assert self.house.died() == 0, self.house.said()
        self.house.prove()
        held = {(one.entity.partition("-")[0], one.time) for one in self.house.samples()}
        for one in self.pushers:
            mine = {at for name, at in held if name == f"host:p{one.number}"}
            assert mine >= set(range(START, START + one.acknowledged))
            assert mine <= set(range(START, START + one.batches * ROWS))
        orders = {order.key: order for order, _ in self.orders()}
        decided = [one for one in self.house.decisions() if str(one.outcome) == "ordered"]
        assert len(decided) == len({one.key for one in decided}) > 0
        assert {order.decision for order in orders.values()} == {one.key for one in decided}
        payloads = {
            key: {hashlib.sha256(order.payload.encode()).hexdigest()}
            for key, order in orders.items()
        }
        done = {order.key for order, receipt in self.orders() if receipt is not None}
        assert done <= self.sink.seen.keys()
        assert self.sink.seen == {key: payloads[key] for key in self.sink.seen}

    def orders(self) -> list:
        ledger = LedgerFile(path=self.house.data / "ledger.sqlite").open(read_only=True)
        try:
            return ledger.orders(1_000_000)
        finally:
            ledger.close()


@contextlib.contextmanager
def a_world(folder: Path) -> Iterator[World]:
    world = World(folder)
    try:
        yield world
    finally:
        world.close()
