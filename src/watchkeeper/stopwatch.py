"""How much processor time each stage of the house has taken; for its metrics, never for results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

Around = Callable[[str], AbstractContextManager[Any]]


class Stopwatch:
    """Adds up the processor seconds of the calling thread by stage.

    :param around: gives what else goes on around each stage, such as a span.
    """

    def __init__(self, around: Around = lambda _stage: nullcontext()) -> None:
        self.seconds: dict[str, float] = {}
        self._around, self._adding = around, threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what the block takes."""
        began = time.thread_time()
        try:
            with self._around(stage):
                yield
        finally:
            spent = time.thread_time() - began
            with self._adding:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + spent
