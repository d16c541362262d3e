"""Error budgets: how much of what was promised is broken, over which time, and how fast.

An objective promises a share of good events. Its error budget is the share that may be bad; the
burn rate is the share of bad events divided by that: at 1 the budget of the window is spent when
the window ends. A burn is believed when a long and a short window agree: the long one says that it
matters, the short one that it still goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MINUTE, HOUR = 60_000, 3_600_000  # milliseconds
FINE = 6 * HOUR  # windows up to this are counted by the minute, longer ones by the hour


class Pair(NamedTuple):
    """Two windows (milliseconds) that must both burn at least `factor` times too fast."""

    severity: str
    long: int
    short: int
    factor: float


class Objective(NamedTuple):
    """A promise about events: at least the share `target` of them is good."""

    name: str
    target: float
    says: str


@dataclass
class Budget:
    """Good and bad events of one objective, by minute and by hour; older ones are forgotten.

    :param window: milliseconds over which the promise is made.
    """

    target: float
    window: int
    minutes: dict[int, tuple[int, int]] = field(default_factory=dict)
    hours: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert 0 < self.target < 1, self.target

    def add(self, at: int, events: int, bad: int) -> None:
        """Count events that happened at a time."""
        assert 0 <= bad <= events, (bad, events)
        for counts, unit, kept in ((self.minutes, MINUTE, FINE), (self.hours, HOUR, self.window)):
            known = counts.get(at // unit, (0, 0))
            counts[at // unit] = (known[0] + events, known[1] + bad)
            oldest = (at - kept) // unit
            for old in [number for number in counts if number < oldest]:
                del counts[old]

    def share(self, now: int, window: int) -> float:
        """Return the share of bad events in the window that ends now; 0 without any event."""
        events, bad = self._in(now, window)
        return bad / events if events else 0.0

    def burn(self, now: int, window: int) -> float:
        """Return how many times too fast the budget was spent in the window that ends now."""
        return self.share(now, window) / (1 - self.target)

    def remaining(self, now: int) -> float:
        """Return the share of the budget of the whole window that is left; negative: overdrawn."""
        return 1 - self.burn(now, self.window)

    def burning(self, now: int, pairs: Iterable[Pair]) -> Pair | None:
        """Return the first pair of windows that both burn too fast."""
        for pair in pairs:
            if min(self.burn(now, pair.long), self.burn(now, pair.short)) > pair.factor:
                return pair
        return None

    def dump(self) -> dict[str, list[list[int]]]:
        """Return what was counted, JSON-able."""
        return {
            name: [[number, *counts[number]] for number in sorted(counts)]
            for name, counts in (("minutes", self.minutes), ("hours", self.hours))
        }

    def load(self, dumped: Mapping[str, Sequence[Sequence[Any]]]) -> None:
        """Count again what `dump` returned.

        :raises ValueError: it is not of that form.
        """
        read: dict[str, dict[int, tuple[int, int]]] = {}
        for name in ("minutes", "hours"):
            rows = [tuple(row) for row in dumped[name]]
            if not all(
                len(r) == 3 and set(map(type, r)) == {int} and 0 <= r[2] <= r[1] for r in rows
            ):
                raise ValueError(f"{name} are not numbers of events and bad events")
            read[name] = {number: (events, bad) for number, events, bad in rows}
        self.minutes, self.hours = read["minutes"], read["hours"]

    def _in(self, now: int, window: int) -> tuple[int, int]:
        counts, unit = (self.minutes, MINUTE) if window <= FINE else (self.hours, HOUR)
        last = now // unit
        first = last - window // unit + 1
        found = [one for number, one in counts.items() if first <= number <= last]
        return sum(events for events, _ in found), sum(bad for _, bad in found)
