"""Health says how an entity is: 0 to 100 or unknown, and exactly why. Every other file is a model.

A health model is pure and works on blocks of ticks, so that scoring a month of files and scoring
the last second of a live fleet run through the same code: T ticks × E entities at a time.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from watchkeeper.model import Floats, Rows, Times


class Evidence(NamedTuple):
    """What arrived in each tick of a block; element by element, in order of tick.

    `tick` is an index into the block's ticks: the first tick at or after the arrival.
    A stale marker has score 0 and a deadline in the past.
    """

    tick: npt.NDArray[np.int64]
    series: Rows
    score: Floats
    deadline: Times  # silence of the series until then is normal


class Roster(NamedTuple):
    """Which entity each series belongs to and what it weighs; one element a series."""

    entity: Rows
    weight: Floats


class Health(NamedTuple):
    """T ticks × E entities, and for each cell the signals that took from its health.

    The contributions of cell (t, e) are elements start[t*E+e] to start[t*E+e+1], largest share
    first; shares of a cell add up to 1 and are absent at health 100 and at unknown.
    """

    health: Floats  # 0..100; NaN when unknown
    coverage: Floats  # share of expected signals present, 0..1; NaN when none is expected
    score: Floats  # the entity's own anomaly score
    state: npt.NDArray[np.uint8]  # index into model.STATES
    start: npt.NDArray[np.int64]
    series: Rows
    share: Floats


H = TypeVar("H", bound=tuple[object, ...])


class HealthModel(Protocol[H]):
    """`H` is a NamedTuple of arrays; its fields are its memory between blocks."""

    @property
    def version(self) -> int:
        """The version of the method."""

    def fresh(self) -> H:
        """Return the memory before the first tick: no series, no entity."""

    def grow(self, state: H, series: int, entities: int) -> H:
        """Make room for more series and entities; old rows keep their place and content.

        The state is handed over, as in `assess`.
        """

    def assess(
        self, state: H, evidence: Evidence, ticks: Times, roster: Roster
    ) -> tuple[H, Health]:
        """Fold the block's evidence in, tick by tick, and say how each entity is at each tick.

        The state is handed over, as in `Detector.score`. A series keeps its entity and its weight;
        whoever has other weights says so by `load(dump(state))`.
        """

    def dump(self, state: H) -> bytes:
        """Return the memory as bytes, for a checkpoint; the same memory, the same bytes.

        What a model has made of the roster is not memory: after `load` it is made anew.
        """

    def load(self, blob: bytes) -> H:
        """Return the memory that `dump` wrote.

        :raises StoreVersion: another layout wrote it. :raises CorruptionError: it is not whole.
        """
