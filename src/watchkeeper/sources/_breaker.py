"""When a target is left alone, and how often a failed question may be repeated.

The states of the breaker are pybreaker's (closed, open, half-open; Nygard, "Release It!"). The time
is ours: pybreaker goes by the wall clock, and a clock that is set back would leave a target alone
for as long.
"""

from __future__ import annotations

import threading
from contextlib import suppress

import pybreaker

FAILURES_MAX = 5  # in a row; then the target is left alone
REST_INTERVALS, REST_MAX = 4, 300.0  # rounds, but at most seconds
EXTRA = 0.1  # repeats a question earns
SAVED_MAX = 10.0  # repeats that can be saved up


class Breaker:
    """Whether one target is asked. The caller holds the lock, and says what time it is.

    :param interval: seconds between questions.
    """

    def __init__(self, interval: float) -> None:
        self._circuit = pybreaker.CircuitBreaker(FAILURES_MAX, throw_new_error_on_trip=False)
        self._rest = min(REST_INTERVALS * interval, REST_MAX)
        self._until = 0.0

    @property
    def state(self) -> str:
        """`closed`, `open` or `half_open`."""
        return self._circuit.current_state.replace("-", "_")

    @property
    def failures(self) -> int:
        """How many questions failed in a row."""
        return self._circuit.fail_counter

    def admits(self, now: float) -> bool:
        """Whether to ask now. After its rest an open breaker admits one trial.

        :param now: seconds of a clock that is never set back.
        """
        if self.state != "open":
            return True
        if now < self._until:
            return False
        self._circuit.half_open()
        return True

    def succeeded(self) -> None:
        """Close."""
        self._circuit.call(lambda: None)

    def failed(self, now: float) -> None:
        """Count a failure; open after too many in a row, and after a failed trial."""
        with suppress(_Failed):
            self._circuit.call(_fail)
        if self.state == "open":
            self._until = now + self._rest


class _Failed(Exception):
    pass


def _fail() -> None:
    raise _Failed


class Budget:
    """Keeps repeats to a share of the questions, so that trouble does not breed more of it.

    A token bucket: each question earns a tenth of a repeat, and ten can be saved up.
    """

    def __init__(self) -> None:
        self._saved = SAVED_MAX
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Count one question."""
        with self._lock:
            self._saved = min(self._saved + EXTRA, SAVED_MAX)

    def spend(self) -> bool:
        """Take one repeat, if there is one."""
        with self._lock:
            if self._saved < 1:
                return False
            self._saved -= 1
            return True
