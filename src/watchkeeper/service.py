"""Run the verbs until told to stop: a thread a source, one to ingest, one to decide, one to act.

    sources ─► queue ─► ingest ─► JOURNAL ─► decide ─► LEDGER ─► act

Shutdown follows the flow: sources stop first, what they brought is journalled, what is journalled
is decided, a checkpoint is kept, and open orders wait in the ledger for the next start.
"""

from __future__ import annotations

import math
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
PORTION = 64  # entries decided between looks at the clock
RETRY = 2.0  # seconds before a full disk or a failing source is tried again
ACT_EVERY = 0.5  # seconds between looks into the outbox
SETTLE = 10_000  # ms that the end of a run may lie ahead of the clock
DRAIN = 8.0  # seconds in which all stages finish what they have; 10 s is the promise


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


class Steady:
    """A clock that never stands still nor goes back, whatever the wall clock does.

    Arrivals in the journal only grow; were they held up by a wall clock that was set back, no tick
    would end and nothing would be decided.
    """

    def __init__(self, wall: Callable[[], Millis], newest: Millis) -> None:
        self._wall, self._last, self._seen = wall, newest, time.monotonic()
        self._lock = threading.Lock()

    def __call__(self) -> Millis:
        """Return the wall's time, or the last answer and the time since, if that is later."""
        with self._lock:
            now = time.monotonic()
            moved = self._last + int((now - self._seen) * 1000)
            self._last, self._seen = Millis(max(self._wall(), moved)), now
            return self._last


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
        self._late = math.inf  # when draining must end; what is journalled then waits for a start
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
            if self.stop.is_set():
                decider.save()
                return 0
        newest = decider.fold.state.arrived if decider.fold.state is not None else Millis(0)
        self.clock = Steady(self.clock, newest)
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
        self._late = time.monotonic() + DRAIN
        slow = self._joined(collectors)
        self._stages["collect"].set()
        slow += self._joined(stages)
        if slow:
            log.error("stages did not finish in time", stages=slow)
        return 1 if self.failure or slow else 0

    def _joined(self, threads: Sequence[threading.Thread]) -> list[str]:
        """Wait for threads until the end of the drain, and a moment; return who still runs."""
        for thread in threads:
            thread.join(max(0.5, self._late - time.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]

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
            except Exception as error:  # a faulty source must not end the house
                reader = reader if isinstance(error, InputError) else None
                if self.traffic.failing.get(source.name) != str(error):
                    log.warning("source failed", source=source.name, error=str(error))
                self.traffic.failing[source.name] = str(error) or repr(error)
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
            if finished and time.monotonic() > self._late:
                break  # the rest is in the journal
            self._journalled.clear()
            try:
                done = decider.decide(PORTION)
            except StoreFull as error:
                log.error("ledger is full; waiting", error=str(error))
                self.stop.wait(RETRY)
                if finished:
                    break
                continue
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
