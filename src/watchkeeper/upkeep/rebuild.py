"""Make a ledger anew from the journal, and keep what only the ledger before knew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from watchkeeper import __version__, pipeline, plugins
from watchkeeper.beginning import BASE, told
from watchkeeper.core.fold import Reread
from watchkeeper.engines import Engine
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger, Link
from watchkeeper.ledger._former import Believed
from watchkeeper.model import Millis, Offset, Order, Receipt, canonical

ACCESS = "access"  # notes that the accounts hold, and tell the chain again
KIND = "upkeep"  # of the note that says so
CLOSED = "not known after the ledger was made anew; not sent again"
EVERY = 1 << 30


@dataclass(frozen=True)
class Rebuilt:
    """What became of a ledger.

    :param differ: steps that the ledger before held, and held otherwise.
    :param receipts: attempts that are still known. :param notes: of the audit chain, kept.
    :param open: orders that wait to be sent. :param closed: orders that may have been sent, of
        which nothing is known; they are not sent again.
    """

    steps: int
    differ: int
    receipts: int
    notes: int
    open: int
    closed: int


def rebuild(
    journal: Journal,
    path: Path,
    key: Path,
    before: Believed,
    why: str,
    reread: Reread,
    engine: Engine,
    now: Millis,
    progress: Callable[[Offset], None] = lambda _: None,
) -> Rebuilt:
    """Derive every step of the journal into a new ledger at `path`.

    :param key: the signing key. :param before: what can be believed of the ledger before.
    :param why: what the audit chain says of it.
    """
    ledger: Ledger = plugins.load("ledger", "sqlite")(path=path, key=key).open()
    try:
        decider = pipeline.Decider(journal, ledger, reread, engine)
        while decider.decide():
            progress(decider.fold.offset)
        decider.save()
        notes = [note for note in before.notes if note.kind != ACCESS]
        for note in notes:
            ledger.note(note.kind, note.at, note.body)
        _name(journal, ledger, notes, now)
        kept, left, closed = _deliveries(ledger, before, now)
        steps, differ = _compared(ledger, before)
        done = Rebuilt(steps, differ, kept, len(notes), left, closed)
        facts = {"done": why, "version": __version__, "links_before": before.links,
                 "hash_before": before.hash, "damage_before": before.damage,
                 "steps": steps, "steps_that_differ": differ}  # fmt: skip
        ledger.note(KIND, now, canonical(facts))
    finally:
        ledger.close()
    return done


def _name(journal: Journal, ledger: Ledger, notes: Sequence[Link], now: Millis) -> None:
    """Name the states that stand for what retention removed, where no note that is kept does."""
    known = {note.body for note in notes if note.kind == BASE}
    for base in journal.bases():
        said = told(base, journal.state(base)[1])
        if said not in known:
            ledger.note(BASE, now, said)


def _deliveries(ledger: Ledger, before: Believed, now: Millis) -> tuple[int, int, int]:
    """Keep what is known of deliveries; return how many attempts, and orders open and closed."""
    orders = {order.key: order for order, _ in ledger.orders(EVERY)}
    kept = 0
    settled: dict[str, Receipt] = {}
    for receipt in before.receipts:
        if receipt.key in orders:
            ledger.settle(receipt)
            settled[receipt.key] = receipt
            kept += 1
    left = closed = 0
    for order in sorted(orders.values(), key=lambda one: (one.created, one.key)):
        last = settled.get(order.key)
        if last is not None and last.outcome != "retry":
            continue
        if before.whole and _was_owed(order, before):
            left += 1
            continue
        attempt = last.attempt + 1 if last is not None else 1
        ledger.settle(Receipt(order.key, attempt, "dead", CLOSED, now, now))
        closed += 1
    return kept, left, closed


def _was_owed(order: Order, before: Believed) -> bool:
    """Whether the ledger before owed it, or had not come so far."""
    return order.key in before.orders or order.created > before.tick


def _compared(ledger: Ledger, before: Believed) -> tuple[int, int]:
    steps = differ = 0
    for link in ledger.links():
        if link.kind == "step":
            steps += 1
            differ += before.steps.get(link.at, link.body) != link.body
    return steps, differ
