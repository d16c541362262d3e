"""What waits to become durable, and who is told when it is.

    receivers ─┐  deliver                                 ┌─► the client's answer
               ├─► waiting (bounded in bytes) ─► round ───┤
    sources ───┘  offer          decode, check, journal   └─► the source may poll again

One thread makes the rounds. A round takes what is there, up to a good entry's worth, and makes it
durable with one fsync; while it does, the next round's requests gather. So a lone request waits for
nobody, and under load requests share their fsync (`traffic.Gathering`).
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Sequence

import pyarrow as pa

from watchkeeper import pipeline
from watchkeeper.contracts import Contract, Known
from watchkeeper.errors import Overloaded, OverQuota, RequestError, StoreError, StoreFull
from watchkeeper.identity import Identity
from watchkeeper.journal import Journal
from watchkeeper.key_table import KeyTable
from watchkeeper.memory import PUSHED, Budget
from watchkeeper.model import Batch, Checked, Control, Millis
from watchkeeper.observe.spans import Context, Working
from watchkeeper.observe.witness import Witness
from watchkeeper.pipeline import Offer
from watchkeeper.receivers import (
    Decoder,
    Delivery,
    Limits,
    Outcome,
    Received,
    Receiver,
    faults,
    in_turns,
)
from watchkeeper.stopwatch import Stopwatch
from watchkeeper.traffic import Gathering, Met, Quota, Traffic
from watchkeeper.waiting import AGAIN, Item, Told, cost, held, unreadable

ROUND_SAMPLES = 65_536  # in one round, about
ROUND_REQUESTS = 512
SOURCES_WAITING = 64 << 20  # bytes of the batches of sources; then a source waits
AGAIN_FULL = 10.0  # the same when the disk is full
NEW_TENANT = 60.0  # the same to a tenant that is one too many

BEGUN_MAX = 4  # requests of which a part is decoded; what they unpack to is held meanwhile
POSTPONED_MAX = 8  # rounds of others for which they wait
SHORT, LATELY = 64, 1.0  # new series of a turn when others came within so many seconds


class Intake:
    """Everything between the edges that bring telemetry and the journal."""

    def __init__(
        self,
        journal: Journal,
        *,
        limits: Limits | None = None,
        identity: Identity | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.limits, self.identity = limits or Limits(), identity or Identity()
        self._witness = witness or Witness()
        self.traffic, self.spent = Traffic(), Stopwatch(self._witness.spans.work)
        self.closed = "starting"  # why no request is taken
        self.expected: tuple[str, ...] = ()  # receivers whose decoders are not ready yet
        self._over = ""  # why there are no more rounds
        self.full = False  # the last round found no space
        self._journal = journal
        self._contracts: Sequence[Contract] = ()
        self._known = Known(())
        self._decoders: dict[tuple[str, str], Decoder] = {}
        self._begun: set[tuple[str, str]] = set()  # senders of whom a request is half decoded
        self._postponed, self._others = 0, 0.0  # rounds since it went on; when others last came
        self._next = 0  # entry that this round makes; 0: not asked for yet
        self._met, self.memory = Met(), Budget(self.limits.memory)
        self._quotas: dict[str, Quota] = {}
        self._items: deque[Item] = deque()
        self._bytes = 0  # of requests, read in part or waiting
        self._sources = 0  # bytes of batches waiting
        self._changed = threading.Condition()
        self._gathering = Gathering(self._changed, self._items)

    def adopt(self, contracts: Sequence[Contract]) -> None:
        """Check by these contracts from the next round on. Called between rounds."""
        self._contracts, self._known = contracts, Known(contracts)
        self._known.learn(self._journal.series())

    def adopt_limits(self, limits: Limits) -> None:
        """Hold clients to these limits from the next round on. Called between rounds.

        What tenants have used up stays used up; decoders learn the series they meet anew.
        """
        self.limits = limits
        self.memory.hold_to(limits.memory)
        self._decoders.clear()
        for quota in self._quotas.values():
            quota.limits = limits

    @property
    def waiting(self) -> tuple[int, int]:
        """How many requests and batches wait, and the bytes of those requests."""
        return len(self._items), self._bytes

    @property
    def sources_waiting(self) -> int:
        """The bytes of the batches of sources that wait."""
        return self._sources

    def oldest(self, now: Millis) -> Millis:
        """Return for how long the oldest request or batch has waited."""
        with self._changed:
            return Millis(max(0, now - self._items[0].arrived)) if self._items else Millis(0)

    def reserve(self, size: int) -> None:
        """Make room for bytes of a request that are about to be read.

        :raises Overloaded: there is no room, or the house is closing; nothing was reserved.
        """
        if self.closed:
            raise Overloaded(self.closed, retry_after=AGAIN)
        with self._changed:
            if self._bytes + size > self.limits.waiting:
                raise Overloaded("too much is waiting to be stored", retry_after=AGAIN)
            if not self.memory.room(size, PUSHED):
                raise Overloaded("too little memory is left", retry_after=AGAIN)
            self._bytes += size

    def release(self, size: int) -> None:
        """Give back what was reserved."""
        with self._changed:
            self._bytes -= size

    def admit(self, receiver: Receiver, tenant: str) -> None:
        """Let a tenant's request to a receiver in.

        :raises Overloaded: the receiver's decoder is not ready yet.
        :raises OverQuota: it has sent more samples than it may, or is one tenant too many.
        """
        if receiver.name in self.expected:
            why = self.closed or f"getting ready: compiling what decodes {receiver.name}"
            raise Overloaded(why, retry_after=AGAIN)
        if tenant not in self._quotas and len(self._quotas) >= self.limits.tenants:
            raise OverQuota(f"more than {self.limits.tenants} tenants", retry_after=NEW_TENANT)
        late = self._quota(tenant).late()
        if late > 0:
            rate = self.limits.tenant_samples
            raise OverQuota(f"more than {rate} samples a second", retry_after=late)

    def deliver(self, receiver: Receiver, delivery: Delivery, told: Told) -> None:
        """Let a request wait for its round; `told` is called from the round's thread."""
        item = Item(told, delivery.arrived, receiver=receiver, delivery=delivery)
        item.began = time.time_ns()
        item.caller = self._witness.spans.caller(delivery.headers)
        if item.caller is not None:
            item.context = self._witness.spans.child(item.caller)
        self._put(item)

    def offer(self, batch: Batch, arrived: Millis, told: Told) -> bool:
        """Let a source's batch wait for its round; False while too much waits, or memory is short.

        One batch may always wait, however large: the source has it in memory already.
        """
        if not self.memory.room(0):
            return False
        size = held(batch)
        with self._changed:
            if self._sources and self._sources + size > SOURCES_WAITING:
                return False
            self._sources += size
        self._put(Item(told, arrived, batch=batch))
        return True

    def round(self, timeout: float) -> bool:
        """Make durable what waits, after waiting for something at most `timeout` seconds.

        :return: whether there was anything.
        :raises StoreFull: nothing was stored; requests were told to come again, batches wait on.
        :raises StoreError: the journal takes no more; everybody was told.
        """
        if not self._gathering.wait(timeout):
            self._look_for_room()
            return False
        with self._witnessed() as work:
            items = self._taken()
            return self._made_durable(items, work.context) if items else False

    def note(self, control: Control, arrived: Millis) -> None:
        """Journal an input that is not telemetry."""
        self._witness.journalled([self._journal.note(control, arrived)])

    def _witnessed(self) -> Working:
        """Begin a round in the trace of what waits for it."""
        with self._changed:
            waiting = list(itertools.islice(self._items, ROUND_REQUESTS))
        requests = [one for one in waiting if one.delivery is not None]
        work, begins = self._witness.round([one.context for one in requests])
        if begins is not None:
            requests[0].context = begins
        return work

    def _made_durable(self, items: Sequence[Item], context: Context) -> bool:
        """Check decoded items and journal them; tell who waits for it.

        :raises StoreError: as `round` does.
        """
        done = [(item, item.batch) for item in items if item.batch is not None]
        offers = [Offer(batch, item.arrived, self._allowance(item)) for item, batch in done]
        try:
            checked = pipeline.ingest(
                offers, self._contracts, self._journal, self._known, self.spent,
                lambda offsets: self._witness.journalled(offsets, context),
            )  # fmt: skip
        except StoreError as error:
            self._not_stored(done, error)
            raise
        self.full = False
        for (item, _), one in zip(done, checked, strict=True):
            self._stored(item, one)
        self.traffic.check()
        self._gathering.ended([one.offered for one in checked])
        return True

    def _look_for_room(self) -> None:
        """Say that there is room again as soon as there is, though nobody dares to come.

        :raises StoreFull: there is none yet.
        """
        if self.full:
            self._journal.append([])
            self.full = False

    def refuse(self, why: str) -> None:
        """Tell everybody who waits, or comes later, that nothing was stored: the last round was."""
        with self._changed:
            self._over = why
            items = list(self._items)
            self._items.clear()
        for item in items:
            self._tell(item, Overloaded(why, retry_after=AGAIN))

    def _put(self, item: Item) -> None:
        with self._changed:
            if not self._over:
                self._items.append(item)
                self._gathering.came()
                return
        self._tell(item, Overloaded(self._over, retry_after=AGAIN))

    def _taken(self) -> list[Item]:
        """Return decoded items for one round, in order of arrival.

        A request full of new series is decoded in turns, and stays where it is until the last.
        """
        taken: list[Item] = []
        self._next = 0
        while self._items and not taken:
            with self.spent("decode"):
                later = self._decoded(taken)
                if later and taken:
                    self._others = time.monotonic()
                if later and (not taken or self._postponed >= POSTPONED_MAX):
                    self._postponed = 0
                    self._decode(later[0])
                    if later[0].turns is None and (ended := later.popleft()).batch is not None:
                        taken.append(ended)
                elif later:
                    self._postponed += 1
            with self._changed:
                self._items.extendleft(reversed(later))
        return taken

    def _decoded(self, taken: list[Item]) -> deque[Item]:
        """Add what can be decoded at once; return what is begun, and what has to wait for that."""
        samples, later = 0, deque[Item]()
        while self._items and len(taken) < ROUND_REQUESTS and samples < ROUND_SAMPLES:
            item = self._items.popleft()
            if item.sender not in self._begun:
                self._decode(item)
                while item.turns is not None and len(self._begun) > BEGUN_MAX:
                    self._decode(item)
            if item.sender in self._begun:
                later.append(item)
            elif item.batch is not None:
                taken.append(item)
                samples += item.batch.offered
        return later

    def _decode(self, item: Item) -> None:
        """Take a turn at a request; in the last, fill in its batch, or tell why there is none."""
        if item.receiver is None or item.delivery is None or item.batch is not None:
            return
        name, quota = item.sender, self._quota(item.delivery.tenant)
        if (decoder := self._decoders.get(name)) is None:
            decoder = self._decoders[name] = item.receiver.open(self.limits, self.identity)
        lately = item.turns is not None and time.monotonic() - self._others < LATELY
        turns, item.turns = item.turns or in_turns(decoder, item.delivery), None
        self._begun.discard(name)
        outcome: Outcome = Received()
        try:
            met = turns.send(SHORT if lately else None)
        except StopIteration as end:
            item.batch = end.value
        except Exception as error:  # no body may end the house
            outcome = unreadable(error, item.receiver.name)
            if not isinstance(error, RequestError):
                self._decoders.pop(name, None)  # whatever it remembers may be half done
        else:
            if self._affordable(met, quota):
                self._known.lookup(met, quota)
                item.turns = turns
                self._begun.add(name)
                return
            self._decoders.pop(name, None)
            outcome = Overloaded("too little memory is left", retry_after=AGAIN)
        if item.batch is None:
            self._tell(item, outcome)
        elif self._affordable(item.batch.keys, quota):
            quota.spend(item.batch.offered)
        else:
            self._decoders.pop(name, None)  # and the series it has just met, to be met anew
            self._shed(item, item.batch, Overloaded("too little memory is left", retry_after=AGAIN))
            item.batch = None

    def _affordable(self, keys: pa.RecordBatch | KeyTable, quota: Quota) -> bool:
        """Whether there is memory for the series that a decoder has met for the first time."""
        new = self._met.new(keys)
        added = min(new, quota.room()) if new else 0  # the others will be refused
        if added and not self._next:
            self._next = self._journal.head() + 1
        return not new or self.memory.promise(added, self._next, new - added)

    def _allowance(self, item: Item) -> Quota | None:
        return None if item.delivery is None else self._quota(item.delivery.tenant)

    def _quota(self, tenant: str) -> Quota:
        return self._quotas.get(tenant) or self._quotas.setdefault(tenant, Quota(self.limits))

    def _stored(self, item: Item, checked: Checked) -> None:
        name = item.receiver.name if item.receiver is not None else None
        reasons = self.traffic.stored(name, checked)
        accepted, rejected = checked.samples.num_rows, checked.rejected.num_rows
        wrong = faults(checked.rejected, item.batch.origin if item.batch is not None else "")
        self._tell(item, Received(checked.offered, accepted, rejected, reasons, wrong))

    def _not_stored(self, done: Sequence[tuple[Item, Batch]], error: StoreError) -> None:
        """Ask clients to come again; a source's batch waits on, unless nothing will be stored."""
        self.full = isinstance(error, StoreFull)
        what = Overloaded(str(error.args[0]), retry_after=AGAIN_FULL)
        for item, batch in reversed(done):
            if item.delivery is None and self.full:
                with self._changed:
                    self._items.appendleft(item)
                continue
            self._shed(item, batch, what)

    def _shed(self, item: Item, batch: Batch, what: Overloaded) -> None:
        """Ask for a batch again; one of a source counts when it is stored."""
        if item.receiver is not None:
            self.traffic.asked_again(item.receiver.name, batch.offered)
        self._tell(item, what)

    def _tell(self, item: Item, outcome: Outcome) -> None:
        if item.delivery is None:
            assert item.batch is not None
            with self._changed:
                self._sources -= held(item.batch)
        else:
            assert item.receiver is not None
            self.traffic.bytes += len(item.delivery.body)
            self.count(item.receiver, outcome)
            self._answered(item, item.receiver, item.delivery)
            self.release(cost(len(item.delivery.body)))
        item.told(outcome)

    def _answered(self, item: Item, receiver: Receiver, delivery: Delivery) -> None:
        """Time a request, and end its part of the trace."""
        seconds = (time.time_ns() - item.began) / 1e9
        self._witness.meters.observe(
            "request_duration_seconds", seconds, receiver.name, of=item.context
        )
        if item.context is not None:
            said = {"receiver": receiver.name, "bytes": len(delivery.body)}
            self._witness.spans.finish("receive", item.context, item.caller, item.began, said)

    def count(self, receiver: Receiver, outcome: Outcome) -> None:
        """Count one request and what became of it."""
        kind = "stored" if isinstance(outcome, Received) else type(outcome).__name__.lower()
        if isinstance(outcome, Received) and outcome.rejected:
            kind = "partly"
        self._witness.answered(kind)
        with self._changed:
            self.traffic.requests[receiver.name, kind] += 1
