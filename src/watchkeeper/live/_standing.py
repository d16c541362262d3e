"""Where one entity stands with every policy now: what it waits for, and what would hold it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from watchkeeper import policies
from watchkeeper.core.state import State
from watchkeeper.model import STATES, Assessed, Contribution, Floats, Times
from watchkeeper.shown import Fleet


class Now:
    """One tick of the whole fleet, as policies look at it; signals of one entity only."""

    def __init__(self, state: State, fleet: Fleet, number: int) -> None:
        self.entities: Sequence[str] = list(state.series.entities)
        self.ticks: Times = np.array([fleet.tick], np.int64)
        place = state.series.owners.number
        shape = (1, len(self.entities))
        self.health, self.coverage, self.score = (np.full(shape, np.nan) for _ in range(3))
        self.state: npt.NDArray[np.uint8] = np.full(shape, len(STATES) - 1, np.uint8)
        for one in fleet.entities:
            if (at := place.get(one.entity, len(self.entities))) < len(self.entities):
                self._put(at, one)
        self._live, self._number = state, number

    def signal(self, metric: str) -> Floats:
        """Return the largest current score of the entity's series of a metric."""
        live, result = self._live, np.full((1, len(self.entities)), np.nan)
        code = live.series.metrics.number.get(metric, -1)
        now = live.now
        count = min(len(now.score), len(live.series.metrics.code))
        mine = np.flatnonzero(
            (live.series.entity[:count] == self._number)
            & (live.series.metrics.code[:count] == code)
        )
        heard = mine[now.deadline[mine] >= self.ticks[0]]
        if len(heard):
            result[0, self._number] = now.score[heard].max()
        return result

    def contributions(self, tick: int, entity: int) -> tuple[Contribution, ...]:
        """Return nothing: no condition asks for them."""
        return ()

    def _put(self, at: int, one: Assessed) -> None:
        self.health[0, at] = np.nan if one.health is None else one.health
        self.coverage[0, at], self.score[0, at] = one.coverage, one.score
        self.state[0, at] = STATES.index(one.state)


def standings(
    rules: Sequence[policies.Policy], state: State, fleet: Fleet, entity: str
) -> list[dict[str, Any]]:
    """Return what `policies.explain_silence` says of each policy that looks at the entity.

    The state goes on meanwhile; what is read of it is a moment old at most.
    """
    number = state.series.owners.number.get(entity)
    if number is None:
        return []
    held = state.held
    now = Now(state, fleet, number)
    return [
        policies.explain_silence(policy, held, now, 0, number)
        for policy in rules
        if policy.matches(entity)
    ]
