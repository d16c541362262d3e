"""One target, what we know of it, and what we tell of it as that changes."""

from __future__ import annotations

from watchkeeper.model import Control, Millis, canonical
from watchkeeper.sources import Collected, Target, TargetState
from watchkeeper.sources._answers import (
    NO_KEYS,
    Answer,
    Keys,
    Part,
    ended,
    readings_of,
    said,
    told,
    vanished,
)
from watchkeeper.sources._breaker import Breaker
from watchkeeper.sources._turns import Gates

AILING = "ailing"  # the gate of those that failed last time


class Standing:
    """One target of a collector. The caller holds the lock, but for `heard`.

    :param collector: its name. :param interval: seconds between questions.
    :param mark: where it is asked on from.
    """

    def __init__(self, collector: str, target: Target, interval: float, mark: str = "") -> None:
        self.target, self.breaker = target, Breaker(interval)
        self.busy = False  # waits for its turn, or is asked
        self.stuck = False  # its last question was given up, and has not come back
        self.gone = False
        self.waiting = 0  # samples it gave that nobody has fetched
        self.mark = mark
        self._collector = collector
        self._readings = readings_of(target)
        self._keys = Keys(NO_KEYS)  # of the round before
        self._error, self._duration = "", 0.0
        self._succeeded: Millis | None = None

    @property
    def gates(self) -> Gates:
        """What limits when it is asked."""
        host = f"host {self.target.host}"
        return (host, AILING) if self.breaker.failures else (host,)

    @property
    def series(self) -> int:
        """How many series it gave in the round before."""
        return len(self._keys)

    def state(self) -> TargetState:
        """Return how it stands, for people."""
        return TargetState(
            self.target.name, self.breaker.state, self._error, self._duration, self._succeeded,
            self.breaker.failures,
        )  # fmt: skip

    def heard(self, collected: Collected, at: Millis) -> Answer:
        """Return what it said, with the end of what it no longer says. Changes nothing."""
        before = self._keys
        part = said(collected, before)
        lost = vanished(before, part.keys) if collected.whole else Keys(NO_KEYS)
        parts = (part, ended(lost, at)) if len(lost) else (part,)
        mark = (self.target.name, collected.mark) if collected.mark else None
        return Answer(parts, collected.unread, mark=mark)

    def succeeded(self, answer: Answer, at: Millis, duration: float, whole: bool = True) -> Answer:
        """Note that it answered. :param answer: from `heard`. :param whole: see `Collected`."""
        if whole:
            self._keys = answer.parts[0].keys
        if answer.mark:
            self.mark = answer.mark[1]
        count = len(answer.parts[0].series) + answer.unread.num_rows
        well = self.well(at, duration, count)
        return Answer((*answer.parts, *well.parts), answer.unread, well.controls, answer.mark)

    def well(self, at: Millis, duration: float, count: int) -> Answer:
        """Tell that it answered, and how much it said."""
        before, failing = self.breaker.state, self.breaker.failures > 0
        self.breaker.succeeded()
        self._error, self._duration, self._succeeded = "", duration, at
        part = told(self._readings, at, [1.0, duration, float(count)])
        return Answer((part,), controls=self._changed(before, "recovered" if failing else ""))

    def failed(self, error: str, at: Millis, duration: float, now: float) -> Answer:
        """Note that it did not answer. :param now: monotonic seconds."""
        before, first = self.breaker.state, self.breaker.failures == 0
        self.breaker.failed(now)
        self._error, self._duration = error, duration
        parts = (told(self._readings, at, [0.0, duration, 0.0]), *self._end(at))
        return Answer(parts, controls=self._changed(before, "failing" if first else ""))

    def on_trial(self) -> Answer:
        """Tell that it is asked again after a rest."""
        return Answer((), controls=self._changed("open", ""))

    def left_alone(self, at: Millis) -> Answer:
        """Tell that a round passed without asking it."""
        return Answer((told(self._readings, at, [0.0]),))

    def renamed(self, target: Target, at: Millis) -> Answer:
        """Take another target of the same name; the readings about the one before end."""
        before, self.target, self._readings = self._readings, target, readings_of(target)
        return Answer((ended(before, at),))

    def let_go(self, at: Millis) -> Answer:
        """Tell that it is gone."""
        self.gone = True
        parts = (ended(self._readings, at), *self._end(at))
        return Answer(parts, controls=(control(self._collector, self.target.name, "gone"),))

    def _end(self, at: Millis) -> tuple[Part, ...]:
        keys, self._keys = self._keys, Keys(NO_KEYS)
        return (ended(keys, at),) if len(keys) else ()

    def _changed(self, before: str, otherwise: str) -> tuple[Control, ...]:
        state = self.breaker.state if self.breaker.state != before else otherwise
        if not state:
            return ()
        failures = self.breaker.failures
        return (control(self._collector, self.target.name, state, self._error, failures),)


def control(collector: str, target: str, state: str, error: str = "", failures: int = 0) -> Control:
    """Return the input that says how it now stands with a target, or with the list of them."""
    body = {"target": target, "state": state, "error": error, "failures": failures}
    return Control("collector", collector, canonical(body))
