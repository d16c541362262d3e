"""Run parts on threads. Kernels release the GIL, so threads are enough on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from watchkeeper.engines import A, B


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Threads of this process.

    :param workers: how many at once; 1, or a single part, runs in the caller's own thread.
    """

    workers: int = 2
    _pool: list[ThreadPoolExecutor] = field(default_factory=list, repr=False, compare=False)

    def map(self, work: Callable[[A], B], parts: Iterable[A]) -> list[B]:
        """Apply `work` to every part, keeping order."""
        parts = list(parts)
        if self.workers == 1 or len(parts) <= 1:
            return [work(part) for part in parts]
        if not self._pool:
            self._pool.append(ThreadPoolExecutor(self.workers, thread_name_prefix="engine"))
        return list(self._pool[0].map(work, parts))


plugin = Local
