"""Run the verbs until told to stop: a thread a source, one to ingest, one to decide, one an action.

    sources, receivers ─► intake ─► JOURNAL ─► decide ─► LEDGER ─► act

Shutdown follows the flow: sources stop first and no request is taken any more, what came in is
journalled, what is journalled is decided, a checkpoint is kept, and open orders wait in the ledger
for the next start. A disk that is full is waited for; a disk that fails leaves the house degraded:
it still shows what it knows, and takes and decides nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from watchkeeper.core import Observed
from watchkeeper.core.state import Rulebook, State
from watchkeeper.cutting import Cutter
from watchkeeper.errors import InputError, StoreError, StoreFull, WatchkeeperError
from watchkeeper.features import Switchboard
from watchkeeper.intake import Intake
from watchkeeper.model import Batch, Control, Millis, Offset, canonical
from watchkeeper.observe.witness import Witness
from watchkeeper.pipeline import Decider
from watchkeeper.service._collecting import Collecting
from watchkeeper.service._house import House, Progress
from watchkeeper.service._lanes import Lanes
from watchkeeper.service._retention import retain
from watchkeeper.service._steady import Steady
from watchkeeper.service._warming import Warming
from watchkeeper.sources import Reader, Source, pause

__all__ = ["House", "Progress", "Service", "Steady"]

log = structlog.get_logger("watchkeeper")

HEARTBEAT = 1.0  # seconds without telemetry after which time itself is journalled
PORTION = 64  # entries decided between looks at the clock
GATHER = 0.05  # seconds in which entries gather that are then scored in one, where they can be
RETRY = 2.0  # seconds before a failing source or a full ledger is tried again
RETRY_FULL = 0.2  # the same of a full journal: clients wait for their refusal
COMPLAIN = 60.0  # seconds between two lines of log about the same lasting trouble
ACT_EVERY = 0.5  # seconds between looks into the outbox
SETTLE = 10_000  # ms that the end of a run may lie ahead of the clock
DRAIN = 7.0  # seconds in which all stages finish what they have; 10 s is the promise
LAST = 2.0  # of these, for orders that are under way when all is decided
LEAVE = 0.5  # seconds more for a thread that was told to end late


class Service:
    """One house in motion. `run` blocks until `stop` is set or something fails for good."""

    def __init__(
        self,
        house: House,
        stop: threading.Event,
        clock: Callable[[], Millis],
        *,
        once: bool = False,
        witness: Witness | None = None,
    ) -> None:
        self.house, self.stop, self.clock, self._once = house, stop, clock, once
        self.progress, self.witness = Progress(), witness or Witness()
        self.intake = Intake(
            house.journal, limits=house.limits, identity=house.identity, witness=self.witness
        )
        self.watching = threading.Event()  # sources are collected from and judged
        self.ready = threading.Event()  # and every receiver takes what is pushed
        self.failure: WatchkeeperError | None = None
        self.degraded = ""  # why nothing is taken in nor decided, though the house stands
        self.watch: Callable[[Observed, State], None] = lambda _observed, _state: None
        self.warming = Warming(house, self.intake, stop)
        self._collecting: list[Collecting] = []
        self._wanted: deque[House] = deque(maxlen=1)  # taken up between two rounds
        self._journalled = threading.Event()
        self._late = math.inf  # when draining must end; what is journalled then waits for a start
        self.features = Switchboard(lambda: self.house.rulebook.flags)
        self.cutter = Cutter(house.journal, house.ledger, lambda: self.house.retention)
        self._complained: dict[str, float] = {}
        stages = ("collect", "ingest", "decide")  # set when the stage has finished
        self._stages = {name: threading.Event() for name in stages}

    def run(self) -> int:
        """Recover, run until stopped, drain in flow order; return the exit code."""
        if not self._warmed_up():
            return 1 if self.failure else 0
        house, spent = self.house, self.progress.spent
        decider = Decider(
            house.journal, house.ledger, house.reread, house.engine, self.watch,
            spent=spent, witness=self.witness, kept=self.cutter.consider,
        )  # fmt: skip
        self.features.follow = lambda: decider.fold.state
        while decider.decide():
            if self.stop.is_set():
                decider.save()
                return 0
        self.progress.found = self.house.ledger.counts().accepted
        newest = Millis(0)
        if (state := decider.fold.state) is not None:
            newest = state.arrived
            self.progress.found += state.pending.counts.accepted
        self.clock = Steady(self.clock, newest)
        self.progress.started = self.clock()
        self._begin(decider.fold.rulebook)
        journal = self.house.journal
        oldest = next(iter(journal.read(Offset(journal.first() - 1), 1)))
        self.witness.belong(oldest, journal.head())
        self.intake.adopt(self.house.rulebook.contracts)
        self.intake.closed = ""
        self.watching.set()
        stages = [
            self._thread("ingest", self._ingest),
            self._thread("decide", self._decide, decider),
            self._thread("act", self._act),
        ]
        self._thread("retention", retain, self.cutter, self.stop, self._complain)
        self._collect_from(self.house.sources)
        if self._once:  # nothing is pushed to it
            self.ready.set()
            self._joined([one.thread for one in self._collecting if one.thread], wait=True)
            self.stop.set()
        else:
            self._thread("receivers", self.warming.receiving, self.ready)
        self.stop.wait()
        log.info("stopping", reason="failure" if self.failure else "asked to")
        self._late = time.monotonic() + DRAIN
        self.intake.closed = "stopping"
        for one in self._collecting:
            one.stop.set()
        slow = self._joined([one.thread for one in self._collecting if one.thread])
        self._stages["collect"].set()
        slow += self._joined(stages)
        if slow:
            log.error("stages_late", stages=slow)
        return 1 if self.failure or self.degraded or slow else 0

    def reload(self, wanted: House) -> None:
        """Go on under another rulebook, with other sources, actions and limits, from now on.

        Journal, ledger and engine stay those of the start.
        """
        self._wanted.append(
            replace(
                wanted,
                journal=self.house.journal,
                ledger=self.house.ledger,
                engine=self.house.engine,
                identity=self.house.identity,
            )
        )

    @property
    def journalled(self) -> int:
        """Samples in the journal: those of this run, and those that were found in it."""
        return self.progress.found + self.intake.traffic.accepted

    def readers(self) -> dict[str, Reader]:
        """Return the open reader of each source."""
        return {one.source.name: one.reader for one in self._collecting if one.reader is not None}

    def _joined(self, threads: Sequence[threading.Thread], *, wait: bool = False) -> list[str]:
        """Wait for threads until the end of the drain, and a moment; return who still runs."""
        end = max(self._late, time.monotonic()) + LEAVE
        for thread in threads:
            thread.join(None if wait else max(0.0, end - time.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]

    def _warmed_up(self) -> bool:
        """Compile the kernels before telemetry waits for them; False when stopped meanwhile."""
        warming = self._thread("warm", self.warming.judging)
        while warming.is_alive() and not self.stop.is_set():
            warming.join(0.1)
        return not self.stop.is_set()

    def _begin(self, journalled: Rulebook | None) -> None:
        """Journal what this run is judged by, when it changed, and that it started."""
        now = self.clock()
        wanted = self.house.rulebook
        if journalled is None or journalled.digest != wanted.digest:
            body = canonical(wanted.document)
            self.intake.note(Control("rulebook", "configuration", body), now)
        self.intake.note(Control("started", "watchkeeper", "{}"), now)
        self._journalled.set()

    def _collect_from(self, sources: Sequence[Source]) -> None:
        """Begin with sources that are new, end those that are gone or off; the same go on."""
        sources = self.features.collecting(sources, self.house.switches)
        for one in [one for one in self._collecting if one.source not in sources]:
            one.stop.set()
            self._collecting.remove(one)
        known = [one.source for one in self._collecting]
        for source in sources:
            if source not in known:
                one = Collecting(source)
                one.thread = self._thread(f"source-{source.name}", self._collect, one)
                self._collecting.append(one)

    def _collect(self, mine: Collecting) -> None:
        source = mine.source
        while not mine.stop.is_set():
            try:
                if mine.reader is None:
                    mine.reader = source.open(self.house.journal.cursor(source.name))
                batch = mine.reader.poll()
            except Exception as error:  # a faulty source must not end the house
                if not isinstance(error, InputError):
                    mine.reader = None
                self.witness.failed(source.name, error)
                self.progress.failing[source.name] = str(error) or repr(error)
                mine.stop.wait(max(RETRY, source.interval))
                continue
            self.progress.failing.pop(source.name, None)
            self.witness.recovered(source.name)
            if batch is not None and not self._offer(batch):
                break  # the next start goes on before it
            if self._once and (batch is None or source.sampled):
                break
            if batch is None or source.sampled:
                mine.stop.wait(pause(source, mine.reader))
        if mine.reader is not None:
            mine.reader.close()
            mine.reader = None

    def _offer(self, batch: Batch) -> bool:
        """Wait until a batch is durable; False when it never will be in this run."""
        arrived, done = self.clock(), threading.Event()
        while not self.intake.offer(batch, arrived, lambda _: done.set()):
            if self._stages["ingest"].wait(0.1):
                return False
        while not done.wait(0.1):
            if self._stages["ingest"].is_set():
                return done.is_set()
        return not self.degraded

    def _ingest(self) -> None:
        beat = time.monotonic()
        while not (self._stages["collect"].is_set() and self.intake.waiting[0] == 0):
            try:
                self._take_up()
                beat = self._round(beat)
            except StoreError as error:
                self._degrade(error)
                break
            self._journalled.set()
            if self.intake.full and self.stop.is_set():
                break
        if self.failure is None and not self.degraded:
            self._end()
        self._stages["ingest"].set()
        self._journalled.set()
        self.intake.refuse("stopping")

    def _round(self, beat: float) -> float:
        """Make one round, or see that time goes on: silence must show, also on a full disk.

        :param beat: when something was last journalled. :return: the same, after this.
        """
        try:
            if self.intake.round(0.2):
                return time.monotonic()
        except StoreFull as error:
            self._complain("journal_full", error)
            self.stop.wait(RETRY_FULL)
        if time.monotonic() - beat < HEARTBEAT:
            return beat
        try:
            self.intake.note(Control("heartbeat", "clock", "{}"), self.clock())
        except StoreFull as error:  # not even the reserve is left
            self._complain("time_stands_still", error)
        return time.monotonic()

    def _end(self) -> None:
        """Journal that this run ends, at a time that leaves nothing collected undecided."""
        try:
            self.intake.note(Control("stopped", "watchkeeper", "{}"), self._end_of_tick())
        except StoreFull as error:
            log.error("end_not_journalled", error=str(error), code=error.code)

    def _take_up(self) -> None:
        """Journal flips; go on under the house that was asked for, and the flags that are on."""
        self.features.journal(lambda flip: self.intake.note(flip, self.clock()))
        if self.features.moved() and not self.stop.is_set():
            self._collect_from(self.house.sources)
        if not self._wanted:
            return
        wanted = self._wanted.popleft()
        if wanted.rulebook.digest != self.house.rulebook.digest:
            body = canonical(wanted.rulebook.document)
            try:
                self.intake.note(Control("rulebook", "configuration", body), self.clock())
            except StoreFull as error:
                self._complain("reload_waits", error)
                if not self._wanted:  # else a newer one was asked for meanwhile
                    self._wanted.append(wanted)
                return
            self.intake.adopt(wanted.rulebook.contracts)
        if wanted.limits != self.house.limits:
            self.intake.adopt_limits(wanted.limits)
        self.house = wanted
        self._collect_from(wanted.sources)
        log.info("reloaded", rulebook=wanted.rulebook.digest)

    def _degrade(self, error: WatchkeeperError) -> None:
        """Take nothing in and decide nothing until the next start, which rewrites the stores."""
        self.degraded = str(error)
        self.intake.closed = "the disk has failed"
        log.error("degraded", error=str(error), code=error.code)

    def _complain(self, what: str, error: WatchkeeperError) -> None:
        """Log a lasting trouble now and then."""
        now = time.monotonic()
        if now - self._complained.get(what, -COMPLAIN) >= COMPLAIN:
            self._complained[what] = now
            log.error(what, error=str(error), code=error.code)

    def _end_of_tick(self) -> Millis:
        """Return a time that closes the open tick, so that nothing collected is left undecided."""
        now, tick = self.clock(), self.house.rulebook.tick
        return Millis(min((now // tick + 1) * tick + 1, now + SETTLE))

    def _decide(self, decider: Decider) -> None:
        while True:
            finished = self._stages["ingest"].is_set()
            if self.degraded or (finished and time.monotonic() > self._late):
                break  # the rest is in the journal
            self._journalled.clear()
            try:
                done = decider.decide(PORTION)
            except StoreFull as error:
                self._complain("ledger_full", error)
                self.stop.wait(RETRY)
                if finished:
                    break
                continue
            except StoreError as error:
                self._degrade(error)
                break
            self.progress.entries += done
            if (state := decider.fold.state) is not None:
                self.progress.decided, self.progress.tick = state.offset, state.tick
                self.progress.series = len(state.series.entity)
            if done == 0 and finished:
                break
            if done == 0:
                self._journalled.wait(0.5)
            if done < PORTION:
                self._stages["ingest"].wait(GATHER)
        if not self.degraded:
            decider.save(within=self._late - time.monotonic())
        self._stages["decide"].set()

    def _act(self) -> None:
        lanes = Lanes(
            self.house.ledger, self.clock, self.witness, self.progress,
            start=self._thread, full=self._complain, broken=self._degrade,
        )  # fmt: skip
        try:
            while not self.degraded:
                finished = self._stages["decide"].is_set()
                end = min(self._late, time.monotonic() + (DRAIN if self._once else LAST))
                if finished:
                    lanes.wait(end)
                lanes.look(self.features.acting(self.house.actions, self.house.rulebook))
                if finished:
                    lanes.wait(end)
                    break
                self._stages["decide"].wait(ACT_EVERY)
        except StoreError as error:
            self._degrade(error)
        finally:
            lanes.end()

    def _thread(self, name: str, work: Callable[..., None], *args: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*args)
            except WatchkeeperError as error:
                self._fail(name, error)
            except Exception as error:
                log.exception("stage_broke", thread=name)
                broken = StoreError(f"{name}: {error!r}", hint="this is a bug; see the log")
                self._fail(name, broken)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _fail(self, stage: str, error: WatchkeeperError) -> None:
        log.error("stage_failed", thread=stage, error=str(error), code=error.code)
        self.failure = self.failure or error
        for event in self._stages.values():
            event.set()
        self.stop.set()
