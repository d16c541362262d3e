"""Whose turn it is: first come, first served, as far as the limits allow.

Each waiting one names the gates it must pass (its host, the lane of those that failed last time).
One that finds a gate full waits at that gate, so it neither holds a worker nor is looked at again
before somebody leaves there.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")
Gates = tuple[str, ...]
_Waiting = tuple[int, T, Gates]


class Turns(Generic[T]):
    """A queue with gates. The caller holds the lock.

    :param limits: how many may be inside certain gates at once.
    :param limit: how many inside any other.
    """

    def __init__(self, limits: Mapping[str, int], limit: int) -> None:
        self._limits, self._limit = limits, limit
        self._count = 0
        self._ready: list[_Waiting[T]] = []  # heaps, the first to come on top
        self._parked: dict[str, list[_Waiting[T]]] = {}
        self._inside: Counter[str] = Counter()

    def add(self, one: T, gates: Gates) -> None:
        """Line up."""
        self._count += 1
        heapq.heappush(self._ready, (self._count, one, gates))

    def take(self) -> tuple[T, Gates] | None:
        """Let the first in that finds no gate full; `leave` its gates when it is done."""
        while self._ready:
            waiting = heapq.heappop(self._ready)
            _, one, gates = waiting
            full = next((gate for gate in gates if self._is_full(gate)), None)
            if full is None:
                self._inside.update(gates)
                return one, gates
            heapq.heappush(self._parked.setdefault(full, []), waiting)
            for gate in gates:  # the place it was called to is another's now
                self._call(gate)
        return None

    def leave(self, gates: Gates) -> None:
        """Go out, and let the first who waits at each of the gates try again."""
        for gate in gates:
            self._inside[gate] -= 1
            if not self._inside[gate]:
                del self._inside[gate]
            self._call(gate)

    def _call(self, gate: str) -> None:
        waiting = self._parked.get(gate)
        if waiting and not self._is_full(gate):
            heapq.heappush(self._ready, heapq.heappop(waiting))
            if not waiting:
                del self._parked[gate]

    def _is_full(self, gate: str) -> bool:
        return self._inside[gate] >= self._limits.get(gate, self._limit)
