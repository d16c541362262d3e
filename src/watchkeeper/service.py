"""Run the verbs until told to stop: a thread a source, one to ingest, one to decide, one to act.

    sources ─► queue ─► ingest ─► JOURNAL ─► decide ─► LEDGER ─► act

Shutdown follows the flow: sources stop first, what they brought is journalled, what is journalled
is decided, a checkpoint is kept, and open orders wait in the ledger for the next start.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from watchkeeper import core, pipeline
from watchkeeper.actions import Action
from watchkeeper.contracts import Known
from watchkeeper.core import Observed
from watchkeeper.core.state import Rulebook, State
from watchkeeper.engines import Engine
from watchkeeper.errors import InputError, StoreError, StoreFull, WatchkeeperError
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Batch, Control, Millis, canonical
from watchkeeper.pipeline import Decider, Reread
from watchkeeper.sources import Source

log = structlog.get_logger("watchkeeper")

HEARTBEAT = 1.0  # seconds without telemetry after which time itself is journalled
GROUP = 64  # batches made durable together at most
WAITING = 256  # batches between sources and the journal; then sources wait
RETRY = 2.0  # seconds before a full disk or a failing source is tried again
ACT_EVERY = 0.5  # seconds between looks into the outbox
SETTLE = 10_000  # ms that the end of a run may lie ahead of the clock
DRAIN = 10.0  # seconds a stage may take to finish what it has


@dataclass
class House:
    """The live parts of one running house."""

    rulebook: Rulebook
    sources: Sequence[Source]
    journal: Journal
    ledger: Ledger
    actions: Mapping[str, Action]
    engine: Engine
    reread: Reread


@dataclass
class Traffic:
    """What went through since the start; for status and metrics."""

    offered: int = 0
    accepted: int = 0
    rejected: int = 0
    batches: int = 0
    entries: int = 0
    attempts: int = 0  # at orders
    decided: int = 0  # the last journal entry carried through
    tick: int = 0  # the last tick evaluated, ms
    failing: dict[str, str] = field(default_factory=dict)  # source -> what it last complained of


class Service:
    """One house in motion. `run` blocks until `stop` is set or something fails for good."""

    def __init__(
        self,
        house: House,
        stop: threading.Event,
        clock: Callable[[], Millis],
        *,
        once: bool = False,
    ) -> None:
        self.house, self.stop, self.clock, self._once = house, stop, clock, once
        self.traffic = Traffic()
        self.ready = threading.Event()
        self.failure: WatchkeeperError | None = None
        self.watch: Callable[[Observed, State], None] = lambda _observed, _state: None
        self._batches: queue.Queue[tuple[Batch, Millis]] = queue.Queue(WAITING)
        self._journalled = threading.Event()
        self._stages = {
            name: threading.Event() for name in ("collect", "ingest", "decide")
        }  # set when the stage has finished

    def run(self) -> int:
        """Recover, run until stopped, drain in flow order; return the exit code."""
        if not self._warmed_up():
            return 1 if self.failure else 0
        decider = Decider(
            self.house.journal, self.house.ledger, self.house.reread, self.house.engine, self.watch
        )
        while decider.decide():
            pass
        self._begin(decider.fold.rulebook)
        self.ready.set()
        collectors = [
            self._thread(f"source-{source.name}", self._collect, source)
            for source in self.house.sources
        ]
        stages = [
            self._thread("ingest", self._ingest),
            self._thread("decide", self._decide, decider),
            self._thread("act", self._act),
        ]
        if self._once:
            for thread in collectors:
                thread.join()
            self.stop.set()
        self.stop.wait()
        log.info("stopping", reason="failure" if self.failure else "asked to")
        for thread in collectors:
            thread.join(DRAIN)
        self._stages["collect"].set()
        for thread in stages:
            thread.join(DRAIN)
        slow = [thread.name for thread in [*collectors, *stages] if thread.is_alive()]
        if slow:
            log.error("stages did not finish in time", stages=slow)
        return 1 if self.failure or slow else 0

    def _warmed_up(self) -> bool:
        """Compile the kernels before telemetry waits for them; False when stopped meanwhile."""
        warming = self._thread("warm", core.warm_up, self.house.rulebook, self.house.engine)
        while warming.is_alive() and not self.stop.is_set():
            warming.join(0.1)
        return not self.stop.is_set()

    def _begin(self, journalled: Rulebook | None) -> None:
        """Journal what this run is judged by, when it changed, and that it started."""
        now = self.clock()
        wanted = self.house.rulebook
        if journalled is None or journalled.digest != wanted.digest:
            body = canonical(wanted.document)
            self.house.journal.note(Control("rulebook", "configuration", body), now)
        self.house.journal.note(Control("started", "watchkeeper", "{}"), now)
        self._journalled.set()

    def _collect(self, source: Source) -> None:
        reader = None
        while not self.stop.is_set():
            try:
                if reader is None:
                    reader = source.open(self.house.journal.cursor(source.name))
                batch = reader.poll()
            except InputError as error:
                if self.traffic.failing.get(source.name) != str(error):
                    log.warning("source failed", source=source.name, error=str(error))
                self.traffic.failing[source.name] = str(error)
                self.stop.wait(max(RETRY, source.interval))
                continue
            self.traffic.failing.pop(source.name, None)
            if batch is not None:
                self._offer(batch)
            if self._once and (batch is None or source.sampled):
                break
            if batch is None or source.sampled:
                self.stop.wait(source.interval)
        if reader is not None:
            reader.close()

    def _offer(self, batch: Batch) -> None:
        arrived = self.clock()
        while not self._stages["ingest"].is_set():
            try:
                self._batches.put((batch, arrived), timeout=0.5)
            except queue.Full:
                continue  # the journal is slower: the source waits, nothing is lost
            return

    def _ingest(self) -> None:
        group: list[tuple[Batch, Millis]] = []
        contracts = self.house.rulebook.contracts
        known = Known(contracts)
        known.learn(self.house.journal.series())
        beat = time.monotonic()
        while not (self._stages["collect"].is_set() and self._batches.empty() and not group):
            try:
                group.append(self._batches.get(timeout=0.2))
                while len(group) < GROUP:
                    group.append(self._batches.get_nowait())
            except queue.Empty:
                pass
            try:
                if group:
                    self._count(pipeline.ingest(group, contracts, self.house.journal, known))
                    group, beat = [], time.monotonic()
                elif time.monotonic() - beat >= HEARTBEAT:
                    self.house.journal.note(Control("heartbeat", "clock", "{}"), self.clock())
                    beat = time.monotonic()
            except StoreFull as error:
                log.error("journal is full; waiting", error=str(error))
                self.stop.wait(RETRY)
                if self.stop.is_set():
                    break
                continue
            self._journalled.set()
        if self.failure is None:
            self.house.journal.note(Control("stopped", "watchkeeper", "{}"), self._end_of_tick())
        self._stages["ingest"].set()
        self._journalled.set()

    def _end_of_tick(self) -> Millis:
        """Return a time that closes the open tick, so that nothing collected is left undecided."""
        now, tick = self.clock(), self.house.rulebook.tick
        return Millis(min((now // tick + 1) * tick + 1, now + SETTLE))

    def _decide(self, decider: Decider) -> None:
        while True:
            finished = self._stages["ingest"].is_set()
            self._journalled.clear()
            done = decider.decide()
            self.traffic.entries += done
            if decider.fold.state is not None:
                self.traffic.decided = decider.fold.state.offset
                self.traffic.tick = decider.fold.state.tick
            if done == 0:
                if finished:
                    break
                self._journalled.wait(0.5)
        decider.save()
        self._stages["decide"].set()

    def _act(self) -> None:
        while True:
            finished = self._stages["decide"].is_set()
            self.traffic.attempts += pipeline.act(
                self.house.ledger, self.house.actions, now=self.clock, limit=32
            )
            if finished:
                return
            self._stages["decide"].wait(ACT_EVERY)

    def _count(self, checked: Sequence[Any]) -> None:
        traffic = self.traffic
        for one in checked:
            traffic.batches += 1
            traffic.offered += one.offered
            traffic.accepted += one.samples.num_rows
            traffic.rejected += one.rejected.num_rows
        assert traffic.offered == traffic.accepted + traffic.rejected

    def _thread(self, name: str, work: Callable[..., None], *args: Any) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*args)
            except WatchkeeperError as error:
                self._fail(name, error)
            except Exception as error:
                log.exception("stage broke", stage=name)
                self._fail(
                    name, StoreError(f"{name}: {error!r}", hint="this is a bug; see the log")
                )

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _fail(self, stage: str, error: WatchkeeperError) -> None:
        log.error("stage failed", stage=stage, error=str(error))
        self.failure = self.failure or error
        for event in self._stages.values():
            event.set()
        self.stop.set()
