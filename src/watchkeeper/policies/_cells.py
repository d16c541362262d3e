"""What conditions read, as columns: a whole block [T, E], or some cells of it [N]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from watchkeeper.model import Contribution, Floats, Times


class View(Protocol):
    """What a policy may look at: T ticks × E entities. Entities are in a fixed, growing order."""

    ticks: Times
    entities: Sequence[str]  # `type:name`
    health: Floats  # [T, E]; NaN when unknown
    coverage: Floats  # NaN where nothing is expected of the entity: not seen yet, or retired
    score: Floats
    state: npt.NDArray[np.uint8]  # index into model.STATES

    def signal(self, metric: str) -> Floats:
        """Return [T, E]: the largest current anomaly score of the entity's series of a metric.

        NaN where the entity has no such series.
        """

    def contributions(self, tick: int, entity: int) -> tuple[Contribution, ...]:
        """Return what took from the health of one cell, largest first."""


class Block:
    """Every cell of a view, as columns of [T, E]."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.shape: tuple[int, ...] = (len(view.ticks), len(view.entities))
        self._texts: dict[str, Sequence[str]] = {}

    def number(self, name: str) -> Floats:
        """Return health, coverage or score."""
        column: Floats = getattr(self.view, name)
        return column

    def code(self) -> Any:
        """Return the state of each cell as an index into STATES."""
        return self.view.state

    def text(self, name: str) -> Sequence[str]:
        """Return entity, entity_type or name, one element an entity."""
        if name not in self._texts:
            self._texts[name] = [_part(entity, name) for entity in self.view.entities]
        return self._texts[name]

    def signal(self, metric: str) -> Floats:
        """Return the current score of a metric; NaN where it is missing."""
        return self.view.signal(metric)


class Picked:
    """Some cells of a view, as columns of [N]."""

    def __init__(self, view: View, tick: Times, entity: Times) -> None:
        self.view, self.tick, self.entity = view, tick, entity
        self.shape: tuple[int, ...] = (len(tick),)
        self._signals: dict[str, Floats] = {}

    def number(self, name: str) -> Floats:
        """Return health, coverage or score."""
        column: Floats = getattr(self.view, name)[self.tick, self.entity]
        return column

    def code(self) -> Any:
        """Return the state of each cell as an index into STATES."""
        return self.view.state[self.tick, self.entity]

    def text(self, name: str) -> Sequence[str]:
        """Return entity, entity_type or name, one element a cell."""
        entities = self.view.entities
        return [_part(entities[e], name) for e in self.entity.tolist()]

    def signal(self, metric: str) -> Floats:
        """Return the current score of a metric; NaN where it is missing."""
        if metric not in self._signals:
            self._signals[metric] = self.view.signal(metric)[self.tick, self.entity]
        return self._signals[metric]


def _part(entity: str, name: str) -> str:
    if name == "entity":
        return entity
    kind, _, own = entity.partition(":")
    return kind if name == "entity_type" else own
