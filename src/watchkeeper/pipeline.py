"""The whole house in four verbs. Read after model.py.

    source -> contract -> JOURNAL -> detector -> health -> policy -> LEDGER -> action
              ingest                 decide                          act      -> report

Two things are durable: the journal (what we saw) and the ledger (what we concluded and owe).
Everything between them is pure, so `replay` over the same journal gives the same steps, and
`verify` proves that the ledger holds exactly those.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from watchkeeper.actions import Action, receipt
from watchkeeper.beginning import begun, named
from watchkeeper.contracts import Allow, Contract, Known, all_joined, check
from watchkeeper.core import Concluded, Observed, checkpoint
from watchkeeper.core.blocks import follows
from watchkeeper.core.fold import Fold, Reread
from watchkeeper.core.state import BEGINNING, State
from watchkeeper.engines import Engine
from watchkeeper.errors import ActionRefused, CorruptionError, VerifyError
from watchkeeper.flags import CONTROL as FLIP
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger, step_link_body
from watchkeeper.ledger._saver import Saver
from watchkeeper.model import (
    Batch,
    Checked,
    Entry,
    Millis,
    Offset,
    Order,
    Receipt,
    Step,
    canonical,
)
from watchkeeper.observe.spans import Context
from watchkeeper.observe.witness import Witness
from watchkeeper.stopwatch import Stopwatch

READ_AHEAD = 256  # entries asked of the journal at once
TOGETHER = 16_384  # samples scored in one at most, of entries that wait
IN_ORDER = 65_536  # the same of entries that follow each other by series, so that nothing is sorted
CHECKPOINT_EVERY = Millis(60_000)


@dataclass(frozen=True)
class Moment:
    """One entry in a replay: the ticks it closed, and what it brought."""

    entry: Entry
    fold: Fold
    steps: list[Step]
    concluded: Concluded | None
    observed: Observed | None


@dataclass(frozen=True)
class Proof:
    """What `verify` has shown."""

    links: int
    entries: int
    steps: int
    ahead: int  # steps the journal implies but the ledger has not committed yet
    base: Offset = BEGINNING  # the entry whose state retention left in place of all up to it


class Offer(NamedTuple):
    """One batch on its way into the journal.

    :param allow: how many new series its sender may add; None: all.
    """

    batch: Batch
    arrived: Millis
    allow: Allow | None = None


def ingest(
    offers: Sequence[Offer],
    contracts: Sequence[Contract],
    journal: Journal,
    known: Known | None = None,
    spent: Stopwatch | None = None,
    told: Callable[[Sequence[Offset]], None] = lambda _offsets: None,
) -> list[Checked]:
    """Check batches with the time each arrived, and make them durable in one group.

    Batches of one source over one key table become one entry, so that many small requests cost
    no more than a large one.

    :param known: what this ingest has looked up before.
    :param spent: what this takes is added to. :param told: the offsets of the entries made of them.
    :return: each batch as the contracts split it, in the order offered.
    """
    spent = spent if spent is not None else Stopwatch()
    with spent("check"):
        checked = [
            check(contracts, batch, arrived, known=known, allow=allow)
            for batch, arrived, allow in offers
        ]
    if checked:
        with spent("journal"):
            told(journal.append(all_joined(checked)))
    return checked


class Decider:
    """Carries the journal into the ledger. One at a time owns a ledger.

    :param clock: seconds that only grow; they say how often a checkpoint is worth its time.
    :param spent: what scoring, showing, concluding and committing take is added to.
    :param witness: told of all that is done. :param kept: shown every checkpoint that was kept.
    """

    def __init__(
        self,
        journal: Journal,
        ledger: Ledger,
        reread: Reread,
        engine: Engine,
        watch: Callable[[Observed, State], None] = lambda _observed, _state: None,
        clock: Callable[[], float] = time.monotonic,
        spent: Stopwatch | None = None,
        witness: Witness | None = None,
        kept: Callable[[checkpoint.Picture], None] = lambda _picture: None,
    ) -> None:
        self._journal, self._ledger, self._kept = journal, ledger, kept
        self._watch, self._witness = watch, witness or Witness()
        self._spent = spent if spent is not None else Stopwatch()
        self._clock, self._saver = clock, Saver(checkpoint.copied, self._keep, clock)
        self.fold = begun(journal, reread, engine)
        newest = ledger.checkpoint()
        if newest is not None and newest.offset >= self.fold.offset:
            restored = checkpoint.load(newest, reread)
            if restored is not None:
                self.fold.rulebook, self.fold.state = restored
        mark = ledger.watermark()
        known = max(self.fold.offset, mark.offset if mark is not None else 0)
        if known > journal.head():
            raise CorruptionError(
                f"the ledger knows of entry {known}, the journal ends at {journal.head()}",
                hint="restore journal and ledger of the same time from a backup",
            )
        self._done = mark.tick if mark is not None else Millis(0)
        self._owed: deque[tuple[Step, Context]] = deque()
        self._begun = mark.offset if mark is not None else Offset(0)
        self._saved = newest.tick if newest is not None else Millis(0)

    def decide(self, limit: int = READ_AHEAD) -> int:
        """Carry at most `limit` entries in and commit the steps they close; return how many.

        Steps the ledger already holds, met again after a restart, are compared with it.

        :raises VerifyError: the ledger says something else than the journal implies.
        :raises StoreFull: the ledger is full; a later call goes on where this one stood.
        """
        count, size, run = 0, 0, list[Entry]()
        self._commit()
        for entry in self._journal.read(self.fold.offset, limit):
            size += entry.samples.num_rows
            if run and not self._joins(run[-1], entry, size):
                self._take(run)
                size, run = entry.samples.num_rows, []
            if not run:
                self._close(entry)
                self._commit()
                self._save_now_and_then()
            run.append(entry)
            count += 1
        if run:
            self._take(run)
        return count

    def _joins(self, last: Entry, entry: Entry, size: int) -> bool:
        """Return whether an entry may be scored in one with those before it, and is worth it.

        :param last: the one right before it. :param size: samples of all of them.
        """
        if last.controls or entry.controls or self.fold.due(entry):
            return False  # something else happens between them
        return size <= (IN_ORDER if follows(last, entry) else TOGETHER)

    def _take(self, run: Sequence[Entry]) -> None:
        """Score entries in one: what an entry costs beside its samples is paid once."""
        before = self.fold.rulebook
        with self._spent("score"), self._witness.scoring(run):
            observed = self.fold.take(*run)
        for entry in run:
            if entry.controls and entry.offset > self._begun:
                if self.fold.rulebook is not before:
                    self._name_models(entry)
                self._name_flips(entry)
        if observed is not None and self.fold.state is not None:
            with self._spent("show"):
                self._watch(observed, self.fold.state)

    def _close(self, entry: Entry) -> None:
        """Evaluate the ticks that are over when `entry` arrives; their steps are due."""
        if not self.fold.due(entry):
            return
        with self._spent("conclude"), self._witness.concluding() as work:
            steps = self.fold.close(entry)[0]
            self._owed.extend((step, work.context) for step in steps)
            self._witness.concluded(work, len(steps))

    def _commit(self) -> None:
        """Commit the steps that are due; a full ledger leaves them for the next call."""
        while self._owed:
            step, concluded = self._owed[0]
            if step.tick > self._done:
                with self._spent("commit"), self._witness.committing(step, concluded) as work:
                    self._ledger.commit(step)
                    self._witness.committed(step, work.context)
                self._done = step.tick
            elif self._ledger.step_body(step.tick) != step_link_body(step):
                raise _differs(step)
            self._owed.popleft()

    def save(self, within: float = math.inf) -> bool:
        """Keep a checkpoint of all that was decided, if nothing is pending; whether one was kept.

        One that is being kept just now is waited for.

        :param within: seconds there are for it; none is begun that would take longer.
        """
        begun = self._clock()
        kept = self._saver.finish()
        now = self.fold.picture()
        late = self._clock() - begun + self._saver.took > within
        if now is None or self._owed or late:
            return kept
        self._keep(now)
        self._saved = now.tick
        return True

    def _name_models(self, entry: Entry) -> None:
        """Tell the audit chain what judges from this entry on: every name, version and digest.

        A crash before the next step may tell it twice; that says nothing new.
        """
        assert self.fold.rulebook is not None
        facts = {"from_entry": entry.offset, **self.fold.rulebook.models()}
        self._ledger.note("rulebook", entry.arrived, canonical(facts))

    def _name_flips(self, entry: Entry) -> None:
        """Tell the audit chain who switched which flag and why, and what a reload changed."""
        for control in entry.controls:
            if control.kind in (FLIP, "configuration"):
                facts = {"entry": entry.offset, "by": control.actor, **json.loads(control.body)}
                self._ledger.note(control.kind, entry.arrived, canonical(facts))

    def _save_now_and_then(self) -> None:
        if self._done - self._saved < CHECKPOINT_EVERY or not self._saver.ready():
            return
        now = self.fold.picture()
        if now is not None and self._saver.go_on(now):
            self._saved = now.tick

    def _keep(self, now: checkpoint.Picture) -> None:
        self._ledger.save_pieces(now.offset, now.tick, checkpoint.pieces(now))
        self._kept(now)


def act(
    ledger: Ledger,
    actions: Mapping[str, Action],
    *,
    now: Callable[[], Millis],
    limit: int,
    witness: Witness | None = None,
) -> int:
    """Carry out at most `limit` due orders of each action and record what came of each.

    :return: how many there were.
    """
    witness = witness or Witness()

    def keep(receipt: Receipt) -> bool:
        ledger.settle(receipt)
        return True

    due = ledger.outbox(now(), limit)
    for order, attempts in due:
        attempt(order, attempts + 1, actions, now=now, keep=keep, witness=witness)
    return len(due)


def attempt(
    order: Order,
    number: int,
    actions: Mapping[str, Action],
    *,
    now: Callable[[], Millis],
    keep: Callable[[Receipt], bool],
    witness: Witness,
) -> None:
    """Carry out one order, for the `number`-th time.

    :param keep: records what came of it; False when it no longer can.
    """
    with witness.acting(order, number) as work:
        came = receipt(order, number, now(), _perform(order, actions))
        if keep(came):
            witness.settled(order, came, work)


def _perform(order: Order, actions: Mapping[str, Action]) -> str | Exception:
    action = actions.get(order.action)
    if action is None:
        return ActionRefused(
            f"no action {order.action!r} is configured", hint="add it under actions:"
        )
    try:
        return action.perform(order)
    except AssertionError:
        raise
    except Exception as error:  # one faulty plug must not stop the others; see `classify`
        return error


def replay(journal: Journal, reread: Reread, engine: Engine) -> Iterator[Moment]:
    """Fold the whole journal from where it begins, entry by entry."""
    fold = begun(journal, reread, engine)
    for entry in entries(journal):
        steps, concluded = fold.close(entry)
        yield Moment(entry, fold, steps, concluded, fold.take(entry))


def verify(
    journal: Journal,
    ledger: Ledger,
    reread: Reread,
    engine: Engine,
    progress: Callable[[Offset], None] = lambda _: None,
) -> Proof:
    """Prove that the ledger is whole, and that it holds exactly what the journal implies.

    :raises VerifyError: at the first difference, named by tick or link.
    """
    links = ledger.prove()
    mark = ledger.watermark()
    done = mark.tick if mark is not None else Millis(0)
    base = named(journal, ledger)
    begin = base.tick if base is not None else -1
    held = (link for link in ledger.links() if link.kind == "step" and begin < link.at <= done)
    count = steps = ahead = 0
    for moment in replay(journal, reread, engine):
        count += 1
        for step in moment.steps:
            if step.tick > done:
                ahead += 1
                continue
            link = next(held, None)
            if link is None or link.body != step_link_body(step):
                raise _differs(step)
            steps += 1
        progress(moment.entry.offset)
    surplus = next(held, None)
    if surplus is not None:
        raise VerifyError(f"ledger link {surplus.seq} follows from nothing in the journal")
    return Proof(links, count, steps, ahead, base.offset if base is not None else BEGINNING)


def entries(journal: Journal, after: Offset | None = None) -> Iterator[Entry]:
    """Yield every entry after an offset, a bounded number in memory at once.

    :param after: where a fold of the journal begins, without; see `begun`.
    """
    if after is None:
        base = journal.base()
        after = base[0].offset if base is not None else BEGINNING
    while True:
        last = after
        for entry in journal.read(after, READ_AHEAD):
            last = entry.offset
            yield entry
        if last == after:
            return
        after = last


def _differs(step: Step) -> VerifyError:
    return VerifyError(
        f"step at tick {step.tick}: the ledger does not hold what the journal implies",
        hint="the ledger was altered, or another version of the program wrote it",
    )
