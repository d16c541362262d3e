"""Sources bring telemetry in that we ask for. Every other file here is one source.

A source knows where telemetry comes from and how it is written there; it knows no contract and
stores nothing. Everything it must remember is the cursor in the batch, which becomes durable
together with the samples; so a source that is opened again goes on exactly where the journal
stands.

Two ways to be one. A `Source` is one origin (this host, some files, a broker we subscribe to). A
`Collector` asks many targets, each on its own: it says which targets there are and how to ask one,
and `_rounds` asks them in time, at once, within their deadlines, with retries and breakers; its
`open` returns `Rounds(self, cursor)`, which makes it a `Source` too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import pyarrow as pa

from watchkeeper.model import Batch, Cursor, Millis


class Reader(Protocol):
    """A source opened at a cursor. One thread uses it."""

    def poll(self) -> Batch | None:
        """Return the next batch, or None when there is nothing yet. Never blocks for long.

        It is called again only when the batch before is durable, so a reader may tell its origin
        then (acknowledge a message, drop what was kept for another try).

        :raises InputError: the origin as a whole cannot be read; a later poll may succeed.
        """

    def close(self) -> None:
        """Release what `open` took. Safe to call twice."""


class Source(Protocol):
    """A place telemetry comes from. Its fields are its configuration."""

    @property
    def name(self) -> str:
        """The source's name in the journal; two sources of one house differ in it."""

    @property
    def interval(self) -> float:
        """Seconds between polls: after one that found nothing, and for a sampler after each."""

    @property
    def sampled(self) -> bool:
        """Whether a poll measures something now (host) rather than hands on what waits (file)."""

    # A source that asks nobody but this host says so with a class attribute `at_home = True`; the
    # others run only when a flag switches their type on.

    def open(self, cursor: Cursor | None) -> Reader:
        """Start after `cursor`; None starts at the beginning."""


@dataclass(frozen=True, slots=True)
class Target:
    """One place a collector asks.

    :param name: what people know it by (`10.0.0.1:9100`); unique within the collector.
    :param entity: what `up` and the other readings about the asking itself are told of.
    :param host: what the limit per host counts.
    :param labels: put on everything it says; of one name, its own label gives way.
    """

    name: str
    entity: str
    host: str
    labels: Mapping[str, str] = field(default_factory=dict)


class Collected(NamedTuple):
    """What one target said: KEYS, SAMPLES (rows of keys), and REJECTS that could not be read.

    :param whole: it is all the target says now, so a series that is missing has ended; else only
        what is new, and a series without news goes on.
    :param mark: where the target is asked on from next time; see `Resuming`.
    """

    keys: pa.RecordBatch
    samples: pa.RecordBatch
    unread: pa.RecordBatch
    whole: bool = True
    mark: str = ""


class Collector(Protocol):
    """Asks many targets in rounds. Its fields are its configuration.

    :param interval: seconds between two questions to one target.
    :param timeout: seconds one question may take; at most 0.8 of the interval.
    """

    @property
    def name(self) -> str:
        """The collector's name in the journal."""

    @property
    def interval(self) -> float:
        """Seconds from one question to the next, for every target."""

    @property
    def timeout(self) -> float:
        """Seconds one question may take, its retries included."""

    def targets(self) -> Sequence[Target]:
        """Return whom to ask now. Called about once an interval, in a thread of its own.

        :raises InputError: the list cannot be had; the one before goes on to hold.
        """

    def collect(self, target: Target, deadline: float) -> Collected:
        """Ask one target. Runs in a worker thread, beside others.

        :param deadline: `time.monotonic()` at which it must have returned or raised.
        :raises InputError: the target cannot be asked, or what it said cannot be used.
        """


@runtime_checkable
class Cancellable(Protocol):
    """A collector that can end its questions from outside; others end by their deadlines."""

    def cancel(self) -> None:
        """End the questions under way, and any that begin later. Called from another thread."""


@runtime_checkable
class Resuming(Protocol):
    """A collector that reads on where it stood. The marks become durable with what they follow."""

    def collect_after(self, target: Target, mark: str, deadline: float) -> Collected:
        """Ask one target for what came after a mark, instead of `collect`.

        :param mark: of the last answer that was heard; empty at first.
        """


def pause(source: Source, reader: Reader) -> float:
    """Return the seconds from a poll that found nothing to the next.

    That is the source's interval, but for a reader that gathers on threads of its own (`pause`).
    """
    return float(getattr(reader, "pause", source.interval))


class TargetState(NamedTuple):
    """Where a collector stands with one target; for status and metrics.

    :param state: `closed` (asked every round), `open` (left alone), `half_open` (on trial).
    :param error: what the last failure was; empty when the last question succeeded.
    :param duration: seconds the last question took. :param succeeded: when the last good one began.
    :param failures: questions failed in a row.
    """

    name: str
    state: str
    error: str
    duration: float
    succeeded: Millis | None
    failures: int
