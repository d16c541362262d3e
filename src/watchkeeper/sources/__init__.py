"""Sources bring telemetry in. Every other file here is one source.

A source knows where telemetry comes from and how it is written there; it knows no contract and
stores nothing. Everything it must remember is the cursor in the batch, which becomes durable
together with the samples; so a source that is opened again goes on exactly where the journal
stands.
"""

from __future__ import annotations

from typing import Protocol

from watchkeeper.model import Batch, Cursor


class Reader(Protocol):
    """A source opened at a cursor. One thread uses it."""

    def poll(self) -> Batch | None:
        """Return the next batch, or None when there is nothing yet. Never blocks for long.

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

    def open(self, cursor: Cursor | None) -> Reader:
        """Start after `cursor`; None starts at the beginning."""
