"""Receivers understand what fleets push. Every other file here is one protocol.

A receiver is pure: the bytes of one request in, columns out, and the answer its clients expect.
`http` reads the request and keeps the bytes within bounds; the pipeline makes what was decoded
durable; only then is the answer sent. One bad record never costs its neighbours: it goes to
`Batch.unread` with its reason, and the answer counts it.

    Receiver.open(limits, identity) -> Decoder        one for each tenant
    Receiver.examples() -> requests                   to be ready before the first one comes
    Decoder.decode(delivery) -> Batch | None          None: there was nothing to store
    Receiver.answer(delivery, outcome) -> Answer      outcome: Received, or a RequestError
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast

import pyarrow as pa

from watchkeeper.errors import (
    Malformed,
    Overloaded,
    OverQuota,
    RequestError,
    TooLarge,
    Unsupported,
)
from watchkeeper.identity import Identity
from watchkeeper.key_table import KeyTable
from watchkeeper.model import Batch, Millis, Reason

STATUS: Mapping[type[RequestError], int] = {
    Malformed: 400,
    Unsupported: 415,
    TooLarge: 413,
    OverQuota: 429,
    Overloaded: 503,
}

# What the contracts say of a value. The sender kept to its protocol and the sample is kept, in
# quarantine; were it told of a fault, it would count the whole request as lost.
JUDGED = frozenset({
    Reason.NOT_FINITE, Reason.BELOW_BOUND, Reason.ABOVE_BOUND, Reason.WRONG_UNIT,
    Reason.UNKNOWN_METRIC,
})  # fmt: skip

SHARES = 4  # of a tenant's series, as many as a decoder remembers, taken in or refused
FAULTS = 20  # refused records that an answer names


class Route(NamedTuple):
    """Where a receiver listens; the path is exact."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as it came, its body still packed.

    :param headers: names in lower case.
    :param number: counts the requests of this process; it names the request in the quarantine.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    arrived: Millis
    tenant: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What pushing clients may do. A request beyond is refused, and nothing else suffers.

    :param body: bytes of one request, packed or unpacked.
    :param series: distinct series of one request.
    :param samples: samples of one request.
    :param labels: labels of one series.
    :param name: bytes of a label's or a metric's name.
    :param value: bytes of a label's value.
    :param known: series a decoder remembers; beyond, it forgets all and learns anew. Where four
        times `tenant_series` (or a request's `series`) is less, that holds.
    :param waiting: bytes of requests that are not durable yet, of all clients together.
    :param memory: bytes that the whole process may hold before clients are asked to wait; 0 for
        four fifths of what the machine or its control group allows.
    :param tenants: how many there may be; each one's series are remembered apart.
    :param tenant_series: series one tenant may have.
    :param tenant_metric_series: series of one metric one tenant may have.
    :param tenant_new_series: series one tenant may add within a minute.
    :param tenant_samples: samples a second of one tenant, on average; 0 is no limit.
    """

    body: int = 32 << 20
    series: int = 100_000
    samples: int = 1_000_000
    labels: int = 64
    name: int = 200
    value: int = 4096
    known: int = 4_000_000
    waiting: int = 64 << 20
    memory: int = 0
    tenants: int = 100
    tenant_series: int = 1_000_000
    tenant_metric_series: int = 100_000
    tenant_new_series: int = 200_000
    tenant_samples: int = 0

    @property
    def remembered(self) -> int:
        """How many series a decoder remembers: at most `known`, or a few times what a tenant may.

        Those a tenant may not have are remembered too, so that one who keeps sending them costs
        little. One who keeps inventing them fills no more memory than its share is worth.
        """
        return min(self.known, max(self.series, SHARES * self.tenant_series))


@dataclass(frozen=True, slots=True)
class Received:
    """What became of one decoded request: everything in it is durable.

    :param reasons: how many records were refused for each reason.
    :param faults: where the first `FAULTS` of them are, and what was wrong, for people.
    """

    offered: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    @property
    def first(self) -> str:
        """What was wrong with the first of them."""
        return self.faults[0] if self.faults else ""

    @property
    def faulty(self) -> int:
        """How many of the refused ones break the protocol, and not only a contract."""
        judged = sum(count for reason, count in self.reasons.items() if reason in JUDGED)
        return self.rejected - judged


Outcome = Received | RequestError


class Answer(NamedTuple):
    """What the client is told."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Decoder(Protocol):
    """Decodes the requests of one tenant, and remembers the series it has seen. One thread."""

    def decode(self, delivery: Delivery) -> Batch | None:
        """Return what the request says; None when there is nothing in it to store.

        :raises RequestError: nothing of it can be used.
        """


Turns = Generator[KeyTable, int | None, Batch | None]


class Patient(Decoder, Protocol):
    """A decoder that can be kept waiting while it learns what is new in a request."""

    def turns(self, delivery: Delivery) -> Turns:
        """Decode as `decode` does; whenever some series were learned, yield the table of all.

        It may be sent how many to learn next. Until it has ended, it decodes nothing else.
        """


def in_turns(decoder: Decoder, delivery: Delivery) -> Turns:
    """Decode in turns, or in one with a decoder that knows no other way."""
    if hasattr(decoder, "turns"):  # to ask whether it is Patient takes 20 us, every time
        return (yield from cast("Patient", decoder).turns(delivery))
    return decoder.decode(delivery)


def at_once(turns: Turns) -> Batch | None:
    """Take all turns, one after the other."""
    while True:
        try:
            next(turns)
        except StopIteration as end:
            batch: Batch | None = end.value
            return batch


class Receiver(Protocol):
    """One protocol. Its fields are its configuration."""

    @property
    def name(self) -> str:
        """The receiver's name in the journal; two receivers of one house differ in it."""

    @property
    def routes(self) -> tuple[Route, ...]:
        """Where it listens."""

    def open(self, limits: Limits, identity: Identity) -> Decoder:
        """Return a decoder that has seen nothing yet."""

    def examples(self) -> tuple[Delivery, ...]:
        """Return small requests that can be used, one of each form the protocol has.

        They are decoded, and thrown away, before the first client is let in, so that nobody waits
        for a kernel to be compiled.
        """

    def answer(self, delivery: Delivery, outcome: Outcome) -> Answer:
        """Return what the client is told, in its protocol's own form."""


def refusal(error: RequestError) -> tuple[int, dict[str, str]]:
    """Return status and headers of a request that was not taken in, the same in every protocol."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return STATUS.get(type(error), 400), headers


def faults(rejected: pa.RecordBatch, origin: str) -> tuple[str, ...]:
    """Return the first refused records: where each is, what it is about and what is wrong.

    :param origin: what the request itself is called in the quarantine.
    """
    if not rejected.num_rows:
        return ()
    found = []
    for row in rejected.slice(0, FAULTS).to_pylist():
        place = row["origin"].removeprefix(origin).strip(":")
        about = f"{row['entity']} {row['metric']}".strip()
        found.append(": ".join(part for part in (place, about, row["detail"]) if part))
    return tuple(found)


def told(outcome: Received) -> str:
    """Return in one line what was refused and why: `3 of 500 refused: too_old 2, …; first: …`."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(outcome.reasons.items()))
    first = f"; first: {outcome.first}" if outcome.first else ""
    return f"{outcome.rejected} of {outcome.offered} refused: {reasons}{first}"
