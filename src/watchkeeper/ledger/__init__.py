"""The ledger is what we concluded and what we owe. Every other file here is one backend.

Each step, receipt and administrative fact is a link of a hash chain; the head of the chain is
signed (HMAC) and kept in a file of its own, because a bare chain does not see a cut tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from watchkeeper.ledger._chain import link_hash, receipt_link_body, step_link_body
from watchkeeper.model import (
    Assessed,
    Checkpoint,
    Counts,
    Decision,
    Millis,
    Offset,
    Order,
    Receipt,
    Step,
)

__all__ = ["Ledger", "Link", "Watermark", "link_hash", "receipt_link_body", "step_link_body"]


@dataclass(frozen=True, slots=True)
class Link:
    """One row of the audit chain: hash = SHA-256(hash before + canonical JSON of the row)."""

    seq: int
    kind: str  # genesis, step, receipt, note
    at: Millis
    body: str  # canonical JSON
    hash: str


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far the ledger has concluded."""

    offset: Offset
    tick: Millis


class Ledger(Protocol):
    """Watermark, health, decisions, outbox, receipts and the audit chain."""

    def watermark(self, until: Millis | None = None) -> Watermark | None:
        """Return where the last committed step (at or before `until`) stands; None before it."""

    def commit(self, step: Step) -> None:
        """Store the whole step and its link in one durable transaction. Ticks only grow."""

    def step_body(self, tick: Millis) -> str | None:
        """Return the link body of the step at `tick`, for recovery to compare with."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; the last few are kept, older ones go."""

    def save_pieces(self, offset: Offset, tick: Millis, pieces: Iterable[bytes]) -> None:
        """Keep a checkpoint whose bytes come piece by piece; steps may be committed meanwhile.

        It counts once all of it is durable.
        """

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint whose bytes are whole.

        It may know of more than the watermark: silence moves the state on and commits no step.
        """

    def outbox(self, now: Millis, limit: int) -> list[tuple[Order, int]]:
        """Return the oldest open orders that are due, each with its attempts so far.

        At most `limit` of each action, so that none crowds out another. An order waits for the
        older ones of its action and entity, so that the word that all is well never overtakes the
        alarm.
        """

    def owed(self) -> tuple[int, Millis | None]:
        """Return how many orders are open, and when the oldest of them was created."""

    def given_up(self) -> int:
        """Return how many orders were refused or given up, ever; reads all receipts."""

    def settle(self, receipt: Receipt) -> None:
        """Record one attempt; `done`, `refused` and `dead` close the order. Idempotent."""

    def orders(self, limit: int) -> list[tuple[Order, Receipt | None]]:
        """Return the newest orders with their last receipt, newest first."""

    def order(self, key: str) -> Order | None:
        """Return one order, if there is such."""

    def orders_of(self, decision: str) -> list[Order]:
        """Return what one decision owes or owed, oldest first."""

    def receipts(self, order: str) -> list[Receipt]:
        """Return what came of every attempt at one order, oldest first."""

    def decision(self, key: str) -> Decision | None:
        """Return one decision, if there is such."""

    def decisions(
        self, entity: str | None = None, until: Millis | None = None, limit: int = 1000
    ) -> list[Decision]:
        """Return the newest decisions (at or before `until`), newest first."""

    def health(self, at: Millis | None = None) -> list[Assessed]:
        """Return the last known assessment of every entity (at or before `at`), by entity."""

    def history(self, entity: str, since: Millis, until: Millis) -> list[Assessed]:
        """Return the kept assessments of one entity in [since, until], oldest first."""

    def histories(self, since: Millis, until: Millis, size: int = 1) -> dict[str, list[Assessed]]:
        """Return `history` of every entity that has any, by entity; costs one query.

        :param size: more than 1: of each stretch of so many ms only what `lowest` returns.
        """

    def changes(self, after: Millis) -> list[Assessed]:
        """Return the assessments kept by the steps after a tick, in order."""

    def lowest(self, entity: str, since: Millis, until: Millis, size: int) -> list[Assessed]:
        """Return of each stretch of `size` ms in [since, until] the kept assessment with the
        lowest health, oldest first; one of unknown health where there is no other."""

    def unwell_since(self, entity: str) -> Millis | None:
        """Return when an entity's last word was first other than ok; None when it is ok."""

    def counts(self, until: Millis | None = None) -> Counts:
        """Return the sum of the counts of all steps (at or before `until`)."""

    def links(self, after: int = 0) -> Iterator[Link]:
        """Yield the audit chain in order."""

    def head(self) -> Link:
        """Return the newest link; its hash stands for everything before it."""

    def note(self, kind: str, at: Millis, body: str) -> int:
        """Add an administrative fact to the audit chain; return its seq."""

    def prove(self) -> int:
        """Check chain, tables against chain, and signed head; return how many links hold.

        :raises VerifyError: the first link that does not hold, by seq.
        """

    def close(self) -> None:
        """Release the store. Safe to call twice."""
