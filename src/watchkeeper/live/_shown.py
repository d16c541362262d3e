"""What pages are told of a running house: its stores to read, the fleet, one entity in full."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

import numpy as np

from watchkeeper.core.state import Rulebook, Series
from watchkeeper.errors import Overloaded
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.live._board import WINDOW, Board, labelled, labels, values_of
from watchkeeper.live._recent import Recent
from watchkeeper.live._standing import standings
from watchkeeper.model import Assessed, Millis, Offset
from watchkeeper.quarantine import offers_again
from watchkeeper.receivers import Outcome, Received
from watchkeeper.service import Service
from watchkeeper.shown import Fleet, Heard, Place, Said, Sampled, Trail

__all__ = ["WINDOW", "Shown"]

REPLAYED = 200  # newest journal entries with rejects that one replay offers again


class Shown:
    """The part of a view that pages look at."""

    def __init__(self, service: Service, title: str, clock: Callable[[], Millis]) -> None:
        self.service, self._title, self._clock = service, title, clock
        self.recent = Recent()
        self._board = Board(service.house.ledger)
        self._labels: tuple[int, list[str]] = (-1, [])  # as of how many spellings

    @property
    def title(self) -> str:
        """What is watched."""
        return self._title

    @property
    def ledger(self) -> Ledger:
        """What was concluded and is owed; to read."""
        return self.service.house.ledger

    @property
    def journal(self) -> Journal:
        """What was seen; to read."""
        return self.service.house.journal

    @property
    def rulebook(self) -> Rulebook:
        """What telemetry is judged by now."""
        return self.service.house.rulebook

    def now(self) -> Millis:
        """Return the time."""
        return self._clock()

    def fleet(self) -> Fleet:
        """Return every entity of which something is expected, worst first."""
        return self._board.fleet(self.rulebook.tick)

    def trail(self, entity: str) -> Trail:
        """Return how one entity came to where it is."""
        return self._board.trail(entity)

    def course(self, entity: str, stretch: int) -> list[Assessed]:
        """Return its lowest assessment of each stretch (ms) of the window, oldest first."""
        until = self.fleet().tick
        return self.ledger.lowest(entity, Millis(max(0, until - WINDOW)), until, stretch)

    def labels(self) -> list[str]:
        """Return some labels that series have, as `name=value`."""
        series = self._series
        count = len(series.attributes.words)  # they are only ever added to
        if self._labels[0] != count:
            self._labels = (count, labels(series))
        return self._labels[1]

    def labelled(self, label: str) -> frozenset[str]:
        """Return the entities with a series that has a label `name=value`."""
        return labelled(self._series, label)

    def values_of(self, label: str) -> dict[str, str]:
        """Return the value that each entity's series have of one label."""
        return values_of(self._series, label)

    def samples(self, entity: str) -> list[Sampled]:
        """Return the newest samples of each series of an entity, as far as they are kept."""
        return self.recent.of(entity)

    def newest(self, entity: str) -> dict[tuple[str, str], Said]:
        """Return what the series of an entity said last, by (metric, attributes)."""
        return {name: Said(*row.tolist()) for name, row in self.recent.newest(entity).items()}

    def first(self, count: int) -> list[tuple[tuple[str, str, str], Said]]:
        """Return what the first series by (entity, metric, attributes) said last."""
        return [(name, Said(*row.tolist())) for name, row in self.recent.first(count)]

    def heard(self, entity: str | None = None) -> list[Heard]:
        """Return the newest sample of each series kept, of one entity or of all, by name."""
        return self.recent.heard(entity)

    def silent(self, entity: str) -> list[tuple[str, str, Millis]]:
        """Return the series of an entity that are silent though they should not be.

        :return: (metric, attributes, since when silence is no longer normal).
        """
        state = self.recent.state
        if state is None:
            return []
        tick, series = self.fleet().tick, state.series
        deadline = state.now.deadline
        mine = np.flatnonzero(
            series.entity[: len(deadline)] == series.owners.number.get(entity, -1)
        )
        late = mine[(deadline[mine] < tick) & (deadline[mine] >= 0)]
        return [
            (series.metrics[row], series.attributes[row], Millis(int(deadline[row])))
            for row in late.tolist()
        ]

    def places(self, metric: str, attributes: str) -> list[Place]:
        """Return what entities last said of one series name, as far as it is kept."""
        return self.recent.places(metric, attributes)

    def standings(self, entity: str) -> list[dict[str, Any]]:
        """Return where an entity stands with every policy that looks at it."""
        state = self.recent.state
        if state is None:
            return []
        return standings(self.rulebook.policies, state, self.fleet(), entity)

    def replay(self, reason: str | None, actor: str) -> tuple[int, int]:
        """Offer the newest rejected samples again; return how many could be, and how many passed.

        :raises Overloaded: not now.
        """
        service, now = self.service, self._clock()
        entries = list(self.journal.rejected(Offset(0), REPLAYED, newest=True))
        contracts = service.house.rulebook.contracts
        offered, batches = offers_again(entries, contracts, now, reason, actor)
        told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        for batch in batches:
            if service.intake.closed or not service.intake.offer(batch, now, told.put):
                raise Overloaded(service.intake.closed or "too much is waiting", retry_after=2.0)
        outcomes = [told.get() for _ in batches]
        for outcome in outcomes:
            if not isinstance(outcome, Received):
                raise outcome
        return offered, sum(one.accepted for one in outcomes if isinstance(one, Received))

    @property
    def _series(self) -> Series:
        state = self.recent.state
        return state.series if state is not None else Series()
