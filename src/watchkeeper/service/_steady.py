"""Time as the journal needs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from watchkeeper.model import Millis


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
