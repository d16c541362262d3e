"""The ledger in one SQLite file, with its signed head beside it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import apsw

from watchkeeper.errors import VerifyError
from watchkeeper.ledger import Link, Watermark
from watchkeeper.ledger._chain import (
    GENESIS,
    decision_fields,
    health_fields,
    link_hash,
    order_fields,
    receipt_link_body,
    step_body_of,
)
from watchkeeper.ledger._head import Head, read_head, signing_key, write_head
from watchkeeper.ledger._prove import prove
from watchkeeper.ledger._rows import EVER, Snapshot, assessed, decision
from watchkeeper.ledger._schema import LAYOUT, OURS, SQL
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
    canonical,
)
from watchkeeper.store.file import StoreFile

PAGE_LINKS = 1000
PART_BYTES = 16 << 20  # SQLite's limit for one blob is 1 GB, and a million series take more


@dataclass(frozen=True, slots=True)
class Sqlite:
    """Where the ledger is. Its head is `<path>.head`.

    :param path: the file; its folder is made when missing.
    :param key: the signing key; `keys/ledger.key` beside the ledger when not given.
    :param vfs: SQLite's name of the file system layer; empty is the platform's own.
    """

    path: Path
    key: Path | None = None
    vfs: str = ""

    def open(self, *, read_only: bool = False) -> SqliteLedger:
        """Open the ledger; for reading only, beside the process that owns it, if so asked.

        :raises StoreLocked: another process owns it.
        :raises StoreVersion: it was written by another schema version, or is no ledger.
        :raises CorruptionError: it is damaged.
        :raises VerifyError: its end is not the one that was signed (when opened for writing).
        :raises StoreError: the disk failed, there is nothing to read, or the key is missing.
        """
        key = self.key or self.path.parent / "keys" / "ledger.key"
        return SqliteLedger(StoreFile(self.path, LAYOUT, self.vfs, read_only), key)


class SqliteLedger:
    """An open ledger (see `Ledger`). Any thread may use it; writers take turns."""

    def __init__(self, file: StoreFile, key: Path) -> None:
        self._file, self._key_path = file, key
        self._head_path = file.path.with_name(file.path.name + ".head")
        self._committing, self._saving = threading.RLock(), threading.Lock()
        self._signed = 0  # seq of the link that the head names
        try:
            last = self._file.query(SQL["last_link"])
            if not file.read_only:
                self._key = signing_key(key, create=not last)
                self._last = self._begin() if not last else Link(*last[0])
                self._check_end()
        except BaseException:
            file.close()
            raise

    def watermark(self, until: Millis | None = None) -> Watermark | None:
        """Return where the last committed step (at or before `until`) stands; None before it."""
        rows = self._file.query(SQL["step_at"], (EVER if until is None else until,))
        return Watermark(Offset(rows[0][1]), Millis(rows[0][0])) if rows else None

    def commit(self, step: Step) -> None:
        """Store the whole step and its link in one durable transaction.

        :raises ValueError: a number is NaN or infinite; nothing was stored.
        :raises StoreFull: there is no space; nothing was stored, and a later commit may succeed.
        :raises StoreError: the disk failed; nothing more is accepted until opened again.
        """
        health = [health_fields(one) for one in step.health]
        body = step_body_of(step, health)
        with self._link("step", step.tick, body) as (db, link):
            last: list[tuple[Any, ...]] = db.execute(SQL["step_at"], (EVER,)).fetchall()
            totals = Counts()
            if last:
                assert step.tick > last[0][0], f"tick {step.tick} is not after {last[0][0]}"
                assert step.offset >= last[0][1], f"offset {step.offset} is before {last[0][1]}"
                totals = Counts(*last[0][3:8])
            totals += step.counts
            facts = (step.tick, step.offset, step.rulebook, *astuple(totals), step.scores, link.seq)
            db.execute(SQL["add_step"], facts)
            db.executemany(SQL["add_entity"], [(one.entity,) for one in step.health])
            told = ((*row[:-1], canonical(row[-1]) if row[-1] else "[]") for row in health)
            db.executemany(SQL["add_health"], ((step.tick, *row) for row in told))
            rows = [(step.tick, *decision_fields(one)) for one in step.decisions]
            db.executemany(SQL["add_decision"], rows)
            rows = [(step.tick, *order_fields(one)) for one in step.orders]
            db.executemany(SQL["add_order"], rows)

    def step_body(self, tick: Millis) -> str | None:
        """Return the link body of the step at `tick`, for recovery to compare with."""
        rows = self._file.query(SQL["step_body"], (tick,))
        return str(rows[0][0]) if rows else None

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; the last three are kept, older ones go."""
        self.save_pieces(checkpoint.offset, checkpoint.tick, [checkpoint.body])

    def save_pieces(self, offset: Offset, tick: Millis, pieces: Iterable[bytes]) -> None:
        """Keep a checkpoint whose bytes come piece by piece.

        Each part is a transaction of its own, so that steps can be committed in between; the
        checkpoint is there once the last one is.
        """
        sha256, length = hashlib.sha256(), 0
        with self._saving:
            for number, (part, is_last) in enumerate(_parts(pieces, PART_BYTES)):
                sha256.update(part)
                length += len(part)
                with self._file.transaction() as db:
                    if number == 0:
                        db.execute(SQL["drop_checkpoints"], (tick,))
                        db.execute(SQL["drop_parts_of"], (tick,))
                    db.execute(SQL["drop_parts"], (tick,))
                    db.execute(SQL["add_part"], (tick, number, part))
                    if is_last:
                        db.execute(SQL["add_checkpoint"], (tick, offset, length, sha256.digest()))

    def checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint whose bytes are whole."""
        for tick, offset, length, sha in self._file.query(SQL["checkpoints"]):
            body = b"".join(part for (part,) in self._file.query(SQL["parts"], (tick,)))
            if len(body) == length and hashlib.sha256(body).digest() == sha:
                return Checkpoint(Offset(offset), Millis(tick), body)
        return None

    def outbox(self, now: Millis, limit: int) -> list[tuple[Order, int]]:
        """Return the oldest open orders that are due, `limit` of each action, with attempts."""
        rows = self._file.query(SQL["outbox"], (now, limit))
        return [(Order(*row[:6]), row[6]) for row in rows]

    def owed(self) -> tuple[int, Millis | None]:
        """Return how many orders are open, and when the oldest of them was created."""
        ((count, oldest),) = self._file.query(SQL["owed"])
        return count, oldest

    def given_up(self) -> int:
        """Return how many orders were refused or given up, ever; reads all receipts."""
        return int(self._file.query(SQL["given_up"])[0][0])

    def settle(self, receipt: Receipt) -> None:
        """Record one attempt. The same attempt again changes nothing: the first receipt stands.

        A `retry` after the order was closed opens it again.
        """
        with self._committing:
            known = self._file.query(SQL["attempts"], (receipt.key,))
            assert known, f"no order {receipt.key}"
            if receipt.attempt <= known[0][0]:
                return
            assert receipt.attempt == known[0][0] + 1, f"attempt {known[0][0] + 1} is missing"
            due = receipt.due if receipt.outcome == "retry" else None
            fields = (
                receipt.key, receipt.attempt, receipt.outcome, receipt.detail,
                receipt.at, receipt.due,
            )  # fmt: skip
            with self._link("receipt", receipt.at, receipt_link_body(receipt)) as (db, link):
                db.execute(SQL["add_receipt"], (link.seq, *fields))
                db.execute(SQL["move_order"], (receipt.attempt, due, receipt.key))

    def orders(self, limit: int) -> list[tuple[Order, Receipt | None]]:
        """Return the newest orders with their last receipt, newest first."""
        rows = self._file.query(SQL["orders"], (limit,))
        return [
            (Order(*row[:6]), Receipt(*row[6:]) if row[6] is not None else None) for row in rows
        ]

    def order(self, key: str) -> Order | None:
        """Return one order, if there is such."""
        rows = self._file.query(SQL["order"], (key,))
        return Order(*rows[0]) if rows else None

    def orders_of(self, decision: str) -> list[Order]:
        """Return what one decision owes or owed, oldest first."""
        return [Order(*row) for row in self._file.query(SQL["orders_of"], (decision,))]

    def receipts(self, order: str) -> list[Receipt]:
        """Return what came of every attempt at one order, oldest first."""
        return [Receipt(*row) for row in self._file.query(SQL["receipts"], (order,))]

    def decision(self, key: str) -> Decision | None:
        """Return one decision, if there is such."""
        rows = self._file.query(SQL["decision"], (key,))
        return decision(rows[0]) if rows else None

    def decisions(
        self, entity: str | None = None, until: Millis | None = None, limit: int = 1000
    ) -> list[Decision]:
        """Return the newest decisions (at or before `until`), newest first."""
        before = EVER if until is None else until
        if entity is None:
            rows = self._file.query(SQL["decisions"], (before, limit))
        else:
            rows = self._file.query(SQL["decisions_of_entity"], (entity, before, limit))
        return [decision(row) for row in rows]

    def health(self, at: Millis | None = None) -> list[Assessed]:
        """Return the last known assessment of every entity (at or before `at`), by entity."""
        rows = self._file.query(SQL["health"], (EVER if at is None else at,))
        return [assessed(row) for row in rows]

    def history(self, entity: str, since: Millis, until: Millis) -> list[Assessed]:
        """Return the kept assessments of one entity in [since, until], oldest first."""
        return [assessed(row) for row in self._file.query(SQL["history"], (entity, since, until))]

    def histories(self, since: Millis, until: Millis, size: int = 1) -> dict[str, list[Assessed]]:
        """Return `history` or `lowest` of every entity that has any, in one query, by entity."""
        found: dict[str, list[Assessed]] = {}
        query = SQL["histories" if size == 1 else "all_lowest"]
        for row in self._file.query(query, (since, until, size)):
            found.setdefault(row[0], []).append(assessed(row))
        return found

    def changes(self, after: Millis) -> list[Assessed]:
        """Return the assessments kept by the steps after a tick, in order."""
        return [assessed(row) for row in self._file.query(SQL["changes"], (after,))]

    def lowest(self, entity: str, since: Millis, until: Millis, size: int) -> list[Assessed]:
        """Return of each stretch of `size` ms the kept assessment with the lowest health."""
        rows = self._file.query(SQL["lowest"], (entity, since, until, size))
        return [assessed(row) for row in rows]

    def unwell_since(self, entity: str) -> Millis | None:
        """Return when an entity's last word was first other than ok; None when it is ok."""
        ((at,),) = self._file.query(SQL["unwell_since"], (entity,))
        return Millis(at) if at else None

    def counts(self, until: Millis | None = None) -> Counts:
        """Return the sum of the counts of all steps (at or before `until`)."""
        rows = self._file.query(SQL["step_at"], (EVER if until is None else until,))
        return Counts(*rows[0][3:8]) if rows else Counts()

    def links(self, after: int = 0) -> Iterator[Link]:
        """Yield the audit chain in order."""
        while rows := self._file.query(SQL["links"], (after, PAGE_LINKS)):
            yield from (Link(*row) for row in rows)
            after = rows[-1][0]

    def head(self) -> Link:
        """Return the newest link; its hash stands for everything before it."""
        return Link(*self._file.query(SQL["last_link"])[0])

    def note(self, kind: str, at: Millis, body: str) -> int:
        """Add an administrative fact (canonical JSON) to the audit chain; return its seq."""
        assert kind not in OURS, f"{kind!r} is not for notes"
        with self._link(kind, at, body) as (_, link):
            return link.seq

    def prove(self) -> int:
        """Check chain, tables against chain, and signed head; return how many links hold.

        :raises VerifyError: the first link that does not hold, by seq.
        :raises CorruptionError: the file itself is damaged.
        """
        self._file.integrity()
        key = signing_key(self._key_path, create=False)
        head = read_head(self._head_path, key)  # before the snapshot: the ledger only grows
        with self._file.snapshot() as ask:
            return prove(Snapshot(ask, SQL), head)

    def close(self) -> None:
        """Release the store. Safe to call twice."""
        self._file.close()

    @contextmanager
    def _link(self, kind: str, at: Millis, body: str) -> Iterator[tuple[apsw.Connection, Link]]:
        """Add one link in a transaction of its own, with the rows that the block adds."""
        with self._committing:
            self._catch_up()
            seq, before = self._last.seq + 1, self._last.hash
            link = Link(seq, kind, at, body, link_hash(before, seq, kind, at, body))
            try:
                with self._file.transaction() as db:
                    db.execute(SQL["add_link"], astuple(link))
                    yield db, link
            except BaseException:
                with suppress(Exception):  # the first error is the one to tell
                    self._last = Link(*self._file.query(SQL["last_link"])[0])
                raise
            self._last = link
            # The link is durable: a head that cannot be written now lags, and the next link
            # waits for it.
            with suppress(OSError):
                self._sign()

    def _begin(self) -> Link:
        """Write the first link, unless a head says that there were links before."""
        head = read_head(self._head_path, self._key)
        if head is not None:
            raise self._cut(0, head)
        link = Link(1, "genesis", Millis(0), GENESIS, link_hash("", 1, "genesis", 0, GENESIS))
        with self._file.transaction() as db:
            db.execute(SQL["add_link"], astuple(link))
        return link

    def _check_end(self) -> None:
        """See that the ledger goes on from its signed head, and sign what a crash left unsigned.

        Otherwise the next commit would sign over a cut tail, and nobody could see it any more.
        """
        head, last = read_head(self._head_path, self._key), self._last
        if head is None and last.seq > 1:
            raise self._changed(last.seq, "is the last, and the signed head is missing")
        if head is not None and head.seq > last.seq:
            raise self._cut(last.seq, head)
        seq, before = 0, ""
        if head is not None:
            signed = self._file.query(SQL["link"], (head.seq,))
            if not signed or signed[0][4] != head.hash:
                raise self._changed(head.seq, "is not the one that the head signed")
            seq, before = head.seq, head.hash
        for link in self.links(seq):
            seq += 1
            follows = link_hash(before, seq, link.kind, link.at, link.body) == link.hash
            if link.seq != seq or not follows:
                raise self._changed(seq, "does not follow from the link before")
            before = link.hash
        self._signed = head.seq if head is not None else 0
        self._catch_up()

    def _catch_up(self) -> None:
        try:
            if self._signed != self._last.seq:
                self._sign()
        except OSError as error:
            raise self._file.translate(error) from error

    def _sign(self) -> None:
        write_head(
            self._head_path, self._key, Head(self._last.seq, self._last.hash, self._last.seq)
        )
        self._signed = self._last.seq

    def _cut(self, seq: int, head: Head) -> VerifyError:
        return self._changed(
            seq + 1, f"is missing: the tail up to the signed head {head.seq} was cut"
        )

    def _changed(self, seq: int, what: str) -> VerifyError:
        return VerifyError(
            f"{self._file.path}: ledger link {seq} {what}",
            hint="the ledger was changed after it was written; restore ledger and head together",
        )


def _parts(pieces: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Cut a stream of bytes into parts of one size; say of each whether it is the last."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) > size:
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True


plugin = Sqlite
