"""A fleet as plain arrays, to try policies on: an author's unit tests need no telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from watchkeeper.model import STATES, Contribution, Floats, State, Times


@dataclass
class Table:
    """Implements `policies.View`. States follow from health as in the shipped health model.

    :param ticks: T times, ms. :param entities: E names, `type:name`.
    :param health: [T, E]; NaN is unknown. :param coverage: [T, E]; 1 where left out, and NaN where
        nothing is expected of the entity. :param score: [T, E]; 0 where left out.
    :param signals: metric -> [T, E]; NaN where missing.
    :param shares: (tick, entity) -> contributions.
    """

    ticks: Times
    entities: Sequence[str]
    health: Floats
    coverage: Floats = field(default_factory=lambda: np.ones((0, 0)))
    score: Floats = field(default_factory=lambda: np.ones((0, 0)))
    signals: Mapping[str, Floats] = field(default_factory=dict)
    shares: Mapping[tuple[int, int], tuple[Contribution, ...]] = field(default_factory=dict)
    state: npt.NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        shape = (len(self.ticks), len(self.entities))
        assert self.health.shape == shape, (self.health.shape, shape)
        if self.coverage.shape != shape:
            self.coverage = np.where(np.isnan(self.health), 0.0, 1.0)
        if self.score.shape != shape:
            self.score = np.zeros(shape)
        codes = [STATES.index(one) for one in (State.OK, State.WARN, State.FAIL, State.UNKNOWN)]
        state = np.full(shape, codes[0], np.uint8)
        state[self.health < 90.0] = codes[1]
        state[self.health < 75.0] = codes[2]
        state[np.isnan(self.health)] = codes[3]
        self.state = state

    def signal(self, metric: str) -> Floats:
        """Return [T, E]: the current score of a metric; NaN where the entity has none."""
        found = self.signals.get(metric)
        return np.full(self.health.shape, np.nan) if found is None else found

    def contributions(self, tick: int, entity: int) -> tuple[Contribution, ...]:
        """Return what took from the health of one cell, largest first."""
        return self.shares.get((tick, entity), ())

    def cut(self, start: int, end: int, entities: int | None = None) -> Table:
        """Return ticks start..end, and the first `entities` of the entities, as their own view."""
        count = len(self.entities) if entities is None else entities
        part = (slice(start, end), slice(0, count))
        return Table(
            self.ticks[start:end],
            self.entities[:count],
            self.health[part],
            self.coverage[part],
            self.score[part],
            {metric: scores[part] for metric, scores in self.signals.items()},
            {(t - start, e): v for (t, e), v in self.shares.items() if start <= t < end},
        )
