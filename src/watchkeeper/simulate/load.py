"""Load on a running server: so many samples a second from so many connections, and what came back.

    Plan ─► a thread a connection: template, patched ─► request ─► answer ─► Tally

Each connection owns its series and sends their ticks in order, as agents do. It retries what may
succeed later (429, 502 to 504, a lost connection) with the same bytes, and heeds Retry-After. The
schedule does not wait for the server: how far behind it a connection falls is told.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from watchkeeper.errors import Unreachable
from watchkeeper.model import Millis
from watchkeeper.simulate._fault import milliseconds
from watchkeeper.simulate.latencies import Latencies
from watchkeeper.simulate.payloads import Course, Template, fleet, template

RETRIED = frozenset({429, 502, 503, 504})
PATIENCE = 30.0  # seconds after the end in which what is owed is sent again
ANSWER = 60.0  # seconds for one answer
PAUSE, PAUSE_MAX = 0.1, 30.0  # seconds before the first retry; at most before any


class Phase(NamedTuple):
    """A stretch of time with one rate; 0 is as fast as the server answers."""

    name: str
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Target:
    """Where load goes: an address that was looked up once, and the name it goes by.

    :param path: instead of the protocol's own; empty: that.
    :param token: sent as a bearer's; never shown.
    """

    host: str
    address: str
    port: int
    secure: bool = False
    path: str = ""
    token: str = field(default="", repr=False)

    def connect(self, timeout: float = ANSWER) -> http.client.HTTPConnection:
        """Return a connection that is not open yet."""
        if not self.secure:
            return http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        link = http.client.HTTPSConnection(
            self.host, self.port, timeout=timeout, context=ssl.create_default_context()
        )
        link._create_connection = self._to_the_address  # type: ignore[attr-defined]
        return link

    def headers(self) -> dict[str, str]:
        """Return what every request says."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        said = {"Host": f"{shown}:{self.port}", "User-Agent": "watchkeeper-load"}
        return said | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    def _to_the_address(self, _place: tuple[str, int], *rest: object) -> object:
        return socket.create_connection((self.address, self.port), *rest)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent.

    :param batch: samples of one request, at most.
    """

    protocol: str
    phases: Sequence[Phase]
    series: int
    entities: int
    connections: int
    batch: int
    seed: int


@dataclass
class Tally:
    """What one connection, or all of them, sent and heard in one phase."""

    offered: int = 0  # samples
    acknowledged: int = 0
    refused: int = 0  # for good: the same request can never succeed
    given_up: int = 0  # never acknowledged while there was time to try again
    partly: int = 0  # acknowledged by OTLP's partial success, and said not to be kept
    requests: int = 0
    retries: int = 0
    resets: int = 0  # connections lost while an answer was owed
    bytes: int = 0
    seconds: float = 0.0
    behind: float = 0.0  # seconds that the schedule was ahead, at most
    answers: Counter[int] = field(default_factory=Counter)  # by status
    said: dict[int, str] = field(default_factory=dict)  # the first text of each refusal
    latencies: Latencies = field(default_factory=Latencies)

    def __iadd__(self, other: Tally) -> Tally:
        for name in ("offered", "acknowledged", "refused", "given_up", "partly", "requests",
                     "retries", "resets", "bytes"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seconds = max(self.seconds, other.seconds)
        self.behind = max(self.behind, other.behind)
        self.answers += other.answers
        self.said = other.said | self.said
        self.latencies += other.latencies
        return self


def phases(duration: str, rate: float, burst: float, burst_for: str = "") -> tuple[Phase, ...]:
    """Return the phases of a run: steady, or with a burst in its middle.

    :param burst_for: how long the burst is; a third of the duration when empty.
    :raises ValueError: a duration is no text such as `30s` or `10m`, or the burst fills it all.
    """
    seconds = milliseconds(duration) / 1000
    if burst == 1.0:
        return (Phase("steady", seconds, rate),)
    middle = milliseconds(burst_for) / 1000 if burst_for else seconds / 3
    around = (seconds - middle) / 2
    if seconds and around <= 0:
        raise ValueError(f"a burst of {burst_for} leaves nothing of {duration} around it")
    return (
        Phase("before", around, rate),
        Phase("burst", middle, burst * rate),
        Phase("after", around, rate),
    )


def send(
    target: Target,
    plan: Plan,
    clock: Callable[[], Millis],
    progress: Callable[[int, float], None] = lambda _samples, _seconds: None,
    stop: threading.Event | None = None,
) -> list[Tally]:
    """Send what is planned; return what came of each phase.

    :param clock: gives samples their time. :param progress: told acknowledged samples, seconds.
    :param stop: ends it early.
    """
    stop = stop or threading.Event()
    connections = _connections(target, plan, clock, stop)
    begun = time.monotonic()
    for one in connections:
        one.start()
    while alive := [one for one in connections if one.is_alive()]:
        acknowledged = sum(tally.acknowledged for one in connections for tally in one.tallies)
        progress(acknowledged, time.monotonic() - begun)
        alive[0].join(0.25)
    for one in connections:
        if one.failure is not None:
            raise one.failure
    totals = [Tally() for _ in plan.phases]
    for one in connections:
        for total, tally in zip(totals, one.tallies, strict=True):
            total += tally
    return totals


def _connections(
    target: Target, plan: Plan, clock: Callable[[], Millis], stop: threading.Event
) -> list[_Connection]:
    """Share the series out, whole requests each, and lay the requests out."""
    series = fleet(plan.entities, plan.series)
    parts = [series[at : at + plan.batch] for at in range(0, len(series), plan.batch)]
    count = min(plan.connections, len(parts))
    if count < plan.connections:  # smaller requests, so that each connection has one
        each = -(-len(series) // plan.connections)
        parts = [series[at : at + each] for at in range(0, len(series), each)]
        count = len(parts)
    made = [
        (template(plan.protocol, part), Course(len(part), plan.seed, number))
        for number, part in enumerate(parts)
    ]
    return [
        _Connection(number, target, plan, made[number::count], len(series), clock, stop)
        for number in range(count)
    ]


class _Connection(threading.Thread):
    """One sender: its own series, one request after the other."""

    def __init__(
        self,
        number: int,
        target: Target,
        plan: Plan,
        requests: Sequence[tuple[Template, Course]],
        series: int,
        clock: Callable[[], Millis],
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"load-{number}", daemon=True)
        self.tallies = [Tally() for _ in plan.phases]
        self.failure: Unreachable | None = None
        self._target, self._plan, self._requests, self._clock = target, plan, requests, clock
        self._share = sum(request.samples for request, _ in requests) / series
        self._stop_asked = stop
        self._chance = random.Random(f"{plan.seed} {number}")  # noqa: S311 - spreads retries
        self._link = target.connect()
        self._answered = False
        self._newest = Millis(0)

    def run(self) -> None:
        """Send phase after phase."""
        try:
            for phase, tally in zip(self._plan.phases, self.tallies, strict=True):
                self._send(phase, tally)
        except Unreachable as error:
            self.failure = error
            self._stop_asked.set()
        finally:
            self._link.close()

    def _send(self, phase: Phase, tally: Tally) -> None:
        begun = time.monotonic()
        end = begun + phase.seconds
        for request, course in self._turns():
            due = begun
            if phase.rate:
                due += tally.offered / (phase.rate * self._share)
            now = time.monotonic()
            if max(due, now) >= end or self._stop_asked.wait(max(0.0, due - now)):
                break
            if phase.rate:
                tally.behind = max(tally.behind, time.monotonic() - due)
            self._newest = Millis(max(self._clock(), self._newest + 1))
            body = request.body(course.next(), self._newest)
            tally.offered += request.samples
            self._deliver(request, body, tally, end + PATIENCE)
        tally.seconds = time.monotonic() - begun

    def _turns(self) -> Iterator[tuple[Template, Course]]:
        while True:
            yield from self._requests

    def _deliver(self, request: Template, body: bytes, tally: Tally, end: float) -> None:
        """Send one request until it is answered for good, or there is no more time."""
        pause = PAUSE
        while True:
            begun = time.monotonic()
            status, asked, said = self._exchange(request, body, tally)
            if status is not None:
                self._answered = True
                tally.latencies.add(time.monotonic() - begun)
                tally.answers[status] += 1
                if 200 <= status < 300:
                    partly = _not_kept(request, said)
                    tally.partly += partly
                    tally.acknowledged += request.samples - partly
                    return
                tally.said.setdefault(status, said[:200].decode(errors="replace").strip())
                if status not in RETRIED:
                    tally.refused += request.samples
                    return
            wait = min(max(pause, asked), PAUSE_MAX) * self._chance.uniform(1.0, 1.2)
            pause = min(2 * pause, PAUSE_MAX)
            if time.monotonic() + wait >= end or self._stop_asked.wait(wait):
                tally.given_up += request.samples
                return
            tally.retries += 1

    def _exchange(
        self, request: Template, body: bytes, tally: Tally
    ) -> tuple[int | None, float, bytes]:
        """Send once; return status, Retry-After and the answer, or no status when it got lost.

        :raises Unreachable: nobody has ever answered here.
        """
        tally.requests += 1
        tally.bytes += len(body)
        headers = {**self._target.headers(), **request.headers}
        try:
            self._link.request("POST", self._target.path or request.path, body, headers)
            answer = self._link.getresponse()
            said = answer.read(1 << 16)
            asked = answer.getheader("Retry-After", "")
            if answer.will_close or not answer.isclosed():
                self._link.close()
            return answer.status, float(asked) if asked.isdigit() else 0.0, said
        except (OSError, http.client.HTTPException) as error:
            with contextlib.suppress(OSError):
                self._link.close()
            if not self._answered:
                where = f"{self._target.host}:{self._target.port}"
                raise Unreachable(
                    f"{where} does not answer: {error or type(error).__name__}",
                    hint="is the server running, and is --to its address?",
                ) from error
            tally.resets += 1
            return None, 0.0, b""


def _not_kept(request: Template, said: bytes) -> int:
    """Return how many samples an OTLP answer says were not kept; 0 of any other protocol."""
    if not said or request.headers["Content-Type"] != "application/x-protobuf":
        return 0
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceResponse,
    )

    try:
        answer = ExportMetricsServiceResponse.FromString(said)
    except DecodeError:
        return 0
    return min(int(answer.partial_success.rejected_data_points), request.samples)
