"""Proof that a ledger is what was written: chain, tables against chain, chain against head."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from watchkeeper.errors import VerifyError
from watchkeeper.ledger import Link
from watchkeeper.ledger._chain import (
    GENESIS,
    link_hash,
    receipt_link_body,
    step_link_body,
)
from watchkeeper.ledger._head import Head
from watchkeeper.model import Millis, Receipt, Step


class Tables(Protocol):
    """All that a proof asks of a backend, at one moment."""

    def links(self) -> Iterator[Link]:
        """Yield the chain in order."""

    def step(self, tick: Millis, seq: int) -> Step | None:
        """Return a step as its tables hold it; None unless link `seq` is its own."""

    def receipt(self, seq: int) -> Receipt | None:
        """Return the receipt of one link."""

    def rows(self) -> dict[str, int]:
        """Return how many rows the tables step, health, decision, orders and receipt hold."""

    def odd(self) -> str:
        """Return the first derived row that does not follow from the others; empty if none."""


def prove(tables: Tables, head: Head | None) -> int:
    """Check everything; return how many links hold.

    :raises VerifyError: what does not hold first, by seq.
    """
    seq, tick, before, total = 0, -1, "", Counter[str]()
    signed = ""  # the hash of the link that the head names
    for link in tables.links():
        _expect(link.seq == seq + 1, seq + 1, "is missing")
        seq = link.seq
        whole = link_hash(before, seq, link.kind, link.at, link.body) == link.hash
        _expect(whole, seq, "does not follow from the link before")
        _expect((link.kind == "genesis") == (seq == 1), seq, "is out of place")
        if link.kind == "genesis":
            _expect(link.body == GENESIS, seq, "is not the beginning of a ledger")
        elif link.kind == "step":
            _expect(link.at > tick, seq, "goes back in time")
            tick = link.at
            total += _step(tables, link)
        elif link.kind == "receipt":
            receipt = tables.receipt(seq)
            same = receipt is not None and receipt_link_body(receipt) == link.body
            _expect(same, seq, "is a receipt whose row was changed or removed")
            total["receipt"] += 1
        before = link.hash
        if head is not None and head.seq == seq:
            signed = link.hash
    _end(seq, head, signed)
    for table, rows in sorted(tables.rows().items()):
        _expect(rows == total[table], seq, f"is the last, and table {table} holds a row of no link")
    _expect(not tables.odd(), seq, f"is the last, and {tables.odd()}")
    return seq


def _step(tables: Tables, link: Link) -> Counter[str]:
    name = f"is the step of tick {link.at}, whose"
    try:
        step = tables.step(link.at, link.seq)
        found = json.loads(step_link_body(step)) if step is not None else None
    except (AssertionError, TypeError, ValueError) as error:  # no row of ours reads like that
        raise _broken(link.seq, f"{name} rows changed: {error!r}") from error
    if step is None or found is None:
        raise _broken(link.seq, f"{name} row is missing")
    told = json.loads(link.body)
    changed = sorted(key for key in told if told[key] != found.get(key))
    _expect(found == told, link.seq, f"{name} rows changed: {', '.join(changed)}")
    return Counter(
        step=1, health=len(step.health), decision=len(step.decisions), orders=len(step.orders)
    )


def _end(seq: int, head: Head | None, signed: str) -> None:
    if head is None:  # a crash can come between the first link and the first head, not later
        _expect(seq <= 1, seq, "is the last, and the signed head is missing")
        return
    _expect(
        head.seq <= seq, seq + 1, f"is missing: the tail up to the signed head {head.seq} was cut"
    )
    _expect(signed == head.hash, head.seq, "is not the one that the head signed")
    _expect(head.count == head.seq, head.seq, "is signed with another count of links")


def _expect(holds: bool, seq: int, what: str) -> None:
    if not holds:
        raise _broken(seq, what)


def _broken(seq: int, what: str) -> VerifyError:
    return VerifyError(
        f"ledger link {seq} {what}",
        hint="the ledger was changed after it was written; compare it with a backup",
    )
