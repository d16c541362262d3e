"""How much processor time each stage of the house has taken; for its metrics, never for results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Around = Callable[[str], AbstractContextManager[Any]]


class Stopwatch:
    """Adds up the processor seconds of the calling thread by stage.

    :param around: gives what else goes on around each stage, such as a span.
    """

    def __init__(self, around: Around = lambda _stage: nullcontext()) -> None:
        self.seconds: dict[str, float] = {}
        self._around, self._adding = around, threading.Lock()

    def __call__(self, stage: str) -> _Timed:
        """Count what the block takes."""
        return _Timed(self, stage, self._around(stage))

    def add(self, stage: str, seconds: float) -> None:
        """Count what a stage took. Any thread may."""
        with self._adding:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class _Timed:
    """One block of one stage; a class, because a generator takes several times as long."""

    __slots__ = ("_around", "_began", "_stage", "_watch")

    def __init__(self, watch: Stopwatch, stage: str, around: AbstractContextManager[Any]) -> None:
        self._watch, self._stage, self._around = watch, stage, around
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = time.thread_time()
        self._around.__enter__()

    def __exit__(self, *how: Any) -> bool | None:
        try:
            return self._around.__exit__(*how)
        finally:
            self._watch.add(self._stage, time.thread_time() - self._began)
