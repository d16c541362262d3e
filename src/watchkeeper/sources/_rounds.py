"""Ask many targets, each once a round, at once and in time. What makes a `Collector` a `Source`.

    discovery ─► list ─┐
                       ├─► scheduler ─► turns ─► workers ─► answers ─► poll
    clock ─────────────┘

A target's place in the round comes from a hash of its name, so questions are spread over the
interval and stay where they are when the house starts again. What one target does to us (hang,
trickle, fail) costs it its worker until its deadline, and nothing else: those that failed last
time have a quarter of the workers to themselves and no more, one that fails five times in a row is
left alone for a while, and a question that outstays its deadline is given up.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

import tenacity

from watchkeeper.model import Batch, Cursor, Millis, canonical
from watchkeeper.sources import Cancellable, Collected, Collector, Resuming, Target, TargetState
from watchkeeper.sources._answers import Answer, Table, batch
from watchkeeper.sources._breaker import Budget
from watchkeeper.sources._standing import AILING, Standing, control
from watchkeeper.sources._turns import Gates, Turns

WORKERS = 64  # questions under way at once
PER_HOST = 4  # of these to one host
AILING_SHARE = 0.25  # of these to targets that failed last time
DEADLINE_SHARE = 0.8  # of the interval
GRACE = 0.5  # seconds beyond the deadline after which a question is given up
ATTEMPTS = 3
PAUSE, PAUSE_MAX = 0.2, 2.0  # seconds before the first repeat, at most, and before any
SAMPLES = 100_000  # of one batch, about
WAITING = 500_000  # samples that wait to be fetched; then nobody is asked
SHARE = 50_000  # of these of one target; then it is not asked, so that others are
SPARE = 50_000  # keys remembered beyond twice what the targets say
LINGER = 0.2  # seconds a poll gathers answers
PATIENCE = 1.0  # seconds in which threads should end when told to; they keep nobody else waiting
ERROR_MAX = 300  # characters


@dataclass(slots=True, eq=False)
class _Question:
    """One question under way. :param began: monotonic. :param at: the same moment on the wall."""

    standing: Standing
    gates: Gates
    began: float
    deadline: float
    at: Millis
    repeatable: bool
    given_up: bool = False


class Rounds:
    """A collector at work. See `sources.Reader`.

    :param cursor: where the journal stands; what was not asked then cannot be asked now.
    :param workers: questions under way at once. :param per_host: of these to one host.
    """

    pause = 0.0  # `poll` itself waits for answers
    interval: float  # seconds between two questions to one target

    def __init__(
        self,
        collector: Collector,
        cursor: Cursor | None = None,
        *,
        workers: int = WORKERS,
        per_host: int = PER_HOST,
    ) -> None:
        self._collector, self._name = collector, collector.name
        self.interval = collector.interval
        self._allowed = min(collector.timeout, DEADLINE_SHARE * collector.interval)
        self._workers = workers
        self._budget = Budget()
        self._closed = threading.Event()
        self._changed = threading.Condition()  # the one lock
        self._standings: dict[str, Standing] = {}
        self._due: list[tuple[float, int, Standing]] = []
        self._number = 0
        limits = {AILING: max(1, int(workers * AILING_SHARE))}
        self._turns: Turns[Standing] = Turns(limits, per_host)
        self._asked: list[_Question] = []
        self._stuck = 0  # questions given up whose worker has not come back
        self._threads: list[threading.Thread] = []
        self._handed: SimpleQueue[_Question | None] = SimpleQueue()
        self._answers: deque[tuple[Answer, Standing | None]] = deque()
        self._waiting = 0
        self._table, self._room = Table(), SPARE
        self._looking: float | None = None
        self._unlisted = ""
        self._marks = marks_of(cursor)  # of answers that were fetched
        # Rounds begin at whole multiples of the interval on the wall, like those of Prometheus.
        self._origin = time.monotonic() - time.time() % self.interval
        self._start("schedule", self._schedule)
        self._start("discover", self._discover)

    def poll(self) -> Batch | None:
        """Return what the targets said since the last poll, or None. Waits a moment for more."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._waiting >= SAMPLES or self._closed.is_set(), LINGER
            )
            answers, size = [], 0
            while self._answers and (not size or size + self._answers[0][0].size <= SAMPLES):
                answer, standing = self._answers.popleft()
                answers.append(answer)
                size += answer.size
                if standing is not None:
                    standing.waiting -= answer.size
            self._waiting -= size
            if answers:
                self._changed.notify_all()
            if len(self._table.keys) > self._room:
                self._make_room()
            self._marks.update(answer.mark for answer in answers if answer.mark)
            cursor = _cursor(self._marks)
        return batch(self._name, cursor, answers, self._table) if answers else None

    def _make_room(self) -> None:
        """Give up a table in which most keys are no longer said."""
        self._room = SPARE + 2 * sum(one.series for one in self._standings.values())
        if len(self._table.keys) > self._room:
            self._table = Table()

    def close(self) -> None:
        """Stop asking. A question under way ends by its own deadline, and nobody waits for it."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
            for _ in self._threads:
                self._handed.put(None)
            threads = list(self._threads)
        if isinstance(self._collector, Cancellable):
            self._collector.cancel()
        patience = time.monotonic() + PATIENCE
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, patience - time.monotonic()))

    def states(self) -> list[TargetState]:
        """Return how each target stands, by name."""
        with self._changed:
            return [one.state() for _, one in sorted(self._standings.items())]

    def _start(self, what: str, work: Callable[[], None]) -> None:
        name = f"{self._collector.name}-{what}"
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    # Whom to ask

    def _discover(self) -> None:
        while not self._closed.is_set():
            self._looking = time.monotonic()
            try:
                listed = self._collector.targets()
            except Exception as error:  # a faulty collector must not end the house
                self._looking = None
                with self._changed:
                    self._missed(_text(error))
            else:
                self._looking = None
                with self._changed:
                    self._adopt(listed)
            self._closed.wait(self.interval)

    def _missed(self, error: str) -> None:
        if not self._unlisted:
            self._answer(Answer((), controls=(control(self._name, "", "undiscovered", error, 1),)))
        self._unlisted = error

    def _adopt(self, listed: Sequence[Target]) -> None:
        """Hold to a new list of targets; the first of two of one name counts."""
        if self._unlisted:
            self._unlisted = ""
            self._answer(Answer((), controls=(control(self._name, "", "discovered"),)))
        wanted: dict[str, Target] = {}
        for target in listed:
            wanted.setdefault(target.name, target)
        for name in sorted(self._standings.keys() - wanted.keys()):
            self._answer(self._standings.pop(name).let_go(_wall()))
        self._marks = {name: mark for name, mark in self._marks.items() if name in wanted}
        for name, target in wanted.items():
            known = self._standings.get(name)
            if known is None:
                mark = self._marks.get(name, "")
                known = self._standings[name] = Standing(self._name, target, self.interval, mark)
                self._plan(known, time.monotonic())
            elif known.target != target:
                self._answer(known.renamed(target, _wall()))
        self._changed.notify_all()

    # When

    def _plan(self, standing: Standing, after: float) -> None:
        """Set the next time a target is due, strictly after a moment."""
        first = self._origin + _place(standing.target.name) * self.interval
        due = first + ((after - first) // self.interval + 1) * self.interval
        self._number += 1
        heapq.heappush(self._due, (due, self._number, standing))

    def _schedule(self) -> None:
        with self._changed:
            while not self._closed.is_set():
                now = time.monotonic()
                looking = self._looking
                if looking is not None and now > looking + self._allowed:
                    self._missed(f"no list of targets within {self._allowed:g} s")
                for question in [q for q in self._asked if now > q.deadline + GRACE]:
                    self._give_up(question, now)
                while self._due and self._due[0][0] <= now:
                    standing = heapq.heappop(self._due)[2]
                    if not standing.gone:
                        self._call(standing, now)
                        self._plan(standing, now)
                self._hand_out()
                self._changed.wait(self._until_next(now))

    def _until_next(self, now: float) -> float:
        moments = [question.deadline + GRACE for question in self._asked]
        moments += [self._due[0][0]] if self._due else []
        return min(max(min(moments, default=now + 1.0) - now, 0.001), 1.0)

    def _call(self, standing: Standing, now: float) -> None:
        """A target is due: line it up, unless it is left alone or still busy with the last one."""
        before = standing.breaker.state
        if standing.stuck and before != "open":
            self._answer(standing.failed("still busy with an earlier question", _wall(), 0.0, now))
        elif standing.stuck or not standing.breaker.admits(now):
            self._answer(standing.left_alone(_wall()))
        elif not standing.busy and standing.waiting < SHARE:
            if standing.breaker.state != before:
                self._answer(standing.on_trial())
            standing.busy = True
            self._turns.add(standing, standing.gates)

    def _hand_out(self) -> None:
        while len(self._asked) < self._workers and self._waiting < WAITING:
            turn = None if self._closed.is_set() else self._turns.take()
            if turn is None:
                return
            standing, gates = turn
            if standing.gone:
                self._turns.leave(gates)
                continue
            now = time.monotonic()
            fresh = standing.breaker.failures == 0
            question = _Question(standing, gates, now, now + self._allowed, _wall(), fresh)
            self._asked.append(question)
            if len(self._threads) - 2 < len(self._asked) + self._stuck:
                with suppress(RuntimeError):  # no more threads to be had; those there are will do
                    self._start("ask", self._work)
            self._handed.put(question)

    # Asking

    def _work(self) -> None:
        while (question := self._handed.get()) is not None and not self._closed.is_set():
            answer, error, whole = None, "", True
            try:
                collected = self._collected(question)
                answer, whole = question.standing.heard(collected, question.at), collected.whole
            except Exception as failure:  # a faulty collector must not end the house
                error = _text(failure)
            with self._changed:
                if question.given_up:
                    question.standing.busy = question.standing.stuck = False
                    self._stuck -= 1
                else:
                    self._finish(question, answer, error, whole)
                self._hand_out()
                self._changed.notify_all()

    def _collected(self, question: _Question) -> Collected:
        """Ask, and ask again while time and the budget for repeats allow."""
        self._budget.earn()
        ask = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda _: question.repeatable and not question.given_up and self._budget.spend()
            ),
            wait=tenacity.wait_random_exponential(PAUSE, PAUSE_MAX),
            stop=tenacity.stop_after_attempt(ATTEMPTS)
            | tenacity.stop_before_delay(question.deadline - time.monotonic()),
            sleep=tenacity.sleep_using_event(self._closed),
            reraise=True,
        )
        target, deadline = question.standing.target, question.deadline
        if isinstance(self._collector, Resuming):
            mark = question.standing.mark
            return ask(self._collector.collect_after, target, mark, deadline)
        return ask(self._collector.collect, target, deadline)

    def _finish(
        self, question: _Question, answer: Answer | None, error: str, whole: bool = True
    ) -> None:
        """Take down what came of a question; what a target says that is gone is not heard."""
        self._asked.remove(question)
        self._turns.leave(question.gates)
        standing, now = question.standing, time.monotonic()
        standing.busy = False
        took = now - question.began
        if standing.gone:
            return
        if answer is None:
            self._answer(standing.failed(error, question.at, took, now), standing)
        else:
            self._answer(standing.succeeded(answer, question.at, took, whole), standing)

    def _give_up(self, question: _Question, now: float) -> None:
        """Go on without an answer; the worker is replaced, and the target stays busy with it."""
        error = f"still busy {now - question.began:.1f} s after it was asked"
        self._finish(question, None, error)
        question.given_up = question.standing.busy = question.standing.stuck = True
        self._stuck += 1

    def _answer(self, answer: Answer, standing: Standing | None = None) -> None:
        self._answers.append((answer, standing))
        self._waiting += answer.size
        if standing is not None:
            standing.waiting += answer.size
        if self._waiting >= SAMPLES:
            self._changed.notify_all()


def marks_of(cursor: Cursor | None) -> dict[str, str]:
    """Return where each target is asked on from, as `_cursor` wrote it; `<time> <JSON>`."""
    found: dict[str, str] = json.loads((cursor or "").partition(" ")[2] or "{}")
    return found


def _cursor(marks: Mapping[str, str]) -> Cursor:
    return Cursor(f"{_wall()} {canonical(dict(marks))}" if marks else str(_wall()))


def _place(name: str) -> float:
    """Return where in the round a target is asked, 0..1."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def _wall() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


def _text(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:ERROR_MAX]
