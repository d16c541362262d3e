"""Keep checkpoints beside the work, which stands still only while its state is copied."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

P = TypeVar("P")
REST = 20  # from one checkpoint to the next it takes at least so many times what one takes


class Saver(Generic[P]):
    """Keeps one picture of a state at a time, on a thread of its own.

    Memory is slow to come by and quick to use again, so there are two copies: one while the state
    changes, of which only the room is used, and one of the state at rest. Keeping takes at most a
    twentieth of the time, so large states are kept less often.

    :param copied: returns a picture that nobody writes to, in the room of an earlier copy.
    :param keep: makes a copy durable. :param clock: seconds that only grow.
    """

    def __init__(
        self,
        copied: Callable[[P, P | None], P],
        keep: Callable[[P], None],
        clock: Callable[[], float],
    ) -> None:
        self._copied, self._keep, self._clock = copied, keep, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._room: P | None = None
        self._task: Future[P] | None = None
        self._prepared = self._keeps = False
        self._begun, self._next = 0.0, -math.inf
        self.took = 0.0  # seconds that copying and keeping the last one took

    def ready(self) -> bool:
        """Return whether it is time to go on. What went wrong since is raised here."""
        if self._task is not None and not self._task.done():
            return False
        self.finish()
        return self._prepared or self._clock() >= self._next

    def go_on(self, now: P) -> bool:
        """Make room, or begin to keep what `now` shows; return whether that is being kept."""
        self._keeps, self._prepared = self._prepared, not self._prepared
        if self._keeps:
            self._task = self._thread.submit(self._kept, self._copied(now, self._room))
        else:
            self._begun = self._clock()
            self._task = self._thread.submit(self._copied, now, self._room)
        return self._keeps

    def finish(self) -> bool:
        """Wait for what is under way; return whether that has kept a checkpoint."""
        task, self._task = self._task, None
        if task is None:
            return False
        self._room = task.result()
        return self._keeps

    def _kept(self, still: P) -> P:
        try:
            self._keep(still)
        finally:
            self.took = self._clock() - self._begun
            self._next = self._begun + REST * self.took
        return still
