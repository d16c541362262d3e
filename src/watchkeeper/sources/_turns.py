"""Whose turn it is: first come, first served, as far as the limits allow.

Each waiting one names the gates it must pass (its host, the lane of those that failed last time).
One that finds a gate full waits at that gate, so it neither holds a worker nor is looked at again
before somebody leaves there.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")
Gates = tuple[str, ...]


class Turns(Generic[T]):
    """A queue with gates. The caller holds the lock.

    :param limits: how many may be inside certain gates at once.
    :param limit: how many inside any other.
    """

    def __init__(self, limits: Mapping[str, int], limit: int) -> None:
        self._limits, self._limit = limits, limit
        self._ready: deque[tuple[T, Gates]] = deque()
        self._parked: dict[str, deque[tuple[T, Gates]]] = {}
        self._inside: Counter[str] = Counter()

    def add(self, one: T, gates: Gates) -> None:
        """Line up."""
        self._ready.append((one, gates))

    def take(self) -> tuple[T, Gates] | None:
        """Let the first in that finds no gate full; `leave` its gates when it is done."""
        while self._ready:
            one, gates = self._ready.popleft()
            full = next((gate for gate in gates if self._is_full(gate)), None)
            if full is None:
                self._inside.update(gates)
                return one, gates
            self._parked.setdefault(full, deque()).append((one, gates))
        return None

    def leave(self, gates: Gates) -> None:
        """Go out, and let the first who waits at each of the gates try again, before the others."""
        for gate in gates:
            self._inside[gate] -= 1
            if not self._inside[gate]:
                del self._inside[gate]
            waiting = self._parked.get(gate)
            if waiting:
                self._ready.appendleft(waiting.popleft())
            if waiting is not None and not waiting:
                del self._parked[gate]

    def _is_full(self, gate: str) -> bool:
        return self._inside[gate] >= self._limits.get(gate, self._limit)
