"""Health as a scorecard: each signal is worth its weight, and what is not shown to hold is lost.

health = 100 · (1 − Σ wᵢ·sᵢ / Σ wᵢ) over every signal that ever spoke, with severity sᵢ a ramp over
the anomaly score. A signal that is absent or stale has severity 1: what is not known to hold does
not count as held, and is never left out of the sum, so taking evidence away cannot raise a score.
Coverage, the share of the signals that are present, stands beside it and says how much of a low
score is ignorance. A contribution is wᵢ·sᵢ / Σ wⱼ·sⱼ: the points a signal lost are its share of the
points that are missing.

To expect a signal that never spoke, announce it by a stale marker (score 0, a deadline in the
past). The entity's own anomaly score is 1.0 where health reaches `fail`, and 0 at 100.

A tick costs a few operations on arrays of all series; cards are small, fleets take `noisy_or`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from watchkeeper.health import Evidence, Health, Roster
from watchkeeper.health._memory import Graded, hold, packed, unpacked
from watchkeeper.model import STATES, Flags, Floats, Rows, State, Times, append

LAYOUT = "watchkeeper.health.scorecard/1"
KINDS = ("<f8", "<i8", "u1", "<i8")
NEVER = np.iinfo(np.int64).min
OK, WARN, FAIL, UNKNOWN = (
    STATES.index(state) for state in (State.OK, State.WARN, State.FAIL, State.UNKNOWN)
)


class Memory(NamedTuple):
    """What is remembered between blocks: two arrays a series, one an entity, and the time."""

    level: Floats  # the largest score of the last tick that had evidence
    deadline: Times  # silence until then is normal; NEVER before the first word
    state: npt.NDArray[np.uint8]  # of an entity: index into STATES
    tick: Times  # one element: the last tick assessed


class _Tick(NamedTuple):
    """One tick: a row of each table, and what was lost, by entity and largest first."""

    health: Floats
    coverage: Floats
    lost: Times  # how many signals of each entity lost something
    series: Rows
    share: Floats


@dataclass(frozen=True)
class Scorecard(Graded):
    """Parameters; a signal at the first score has lost nothing, at the second all of its weight.

    :param severity_from: anomaly score at which a signal begins to lose its weight.
    :param severity_full: anomaly score at which it has lost all of it.
    :param warn: health below this is WARN; `warn_clear`: it ends at or above this.
    :param fail: health below this is FAIL; `fail_clear`: it ends at or above this.
    :raises ConfigError: the parameters contradict each other.
    """

    def __post_init__(self) -> None:
        rules = (*self.rules(), ("fail_clear < 100", self.fail_clear < 100))
        hold("scorecard", rules)

    @property
    def version(self) -> int:
        """The version of the method."""
        return 1

    def fresh(self) -> Memory:
        """Return the memory before the first tick: no series, no entity."""
        return Memory(np.zeros(0), _never(0), np.zeros(0, np.uint8), _never(1))

    def grow(self, state: Memory, series: int, entities: int) -> Memory:
        """Make room for more series and entities; old rows keep their place and content.

        The memory is handed over.
        """
        more, beings = series - len(state.level), entities - len(state.state)
        assert more >= 0, (series, len(state.level))
        assert beings >= 0, (entities, len(state.state))
        return Memory(
            append(state.level, np.zeros(more)),
            append(state.deadline, _never(more)),
            append(state.state, np.full(beings, UNKNOWN, np.uint8)),
            state.tick,
        )

    def assess(
        self, state: Memory, evidence: Evidence, ticks: Times, roster: Roster
    ) -> tuple[Memory, Health]:
        """Fold the block's evidence in, tick by tick, and say how each entity is at each tick.

        The memory is handed over: its arrays are changed in place.
        """
        _check(state, evidence, ticks, roster)
        edges = np.searchsorted(evidence.tick, np.arange(len(ticks) + 1))
        states = np.empty((len(ticks), len(state.state)), np.uint8)
        rows: list[_Tick] = []
        for t, now in enumerate(ticks.tolist()):
            of_tick = slice(edges[t], edges[t + 1])
            _hear(
                state, evidence.series[of_tick], evidence.score[of_tick], evidence.deadline[of_tick]
            )
            rows.append(self._tick(state, now, roster))
            states[t] = state.state[:] = self._judged(rows[-1].health, state.state)
            state.tick[0] = now
        shape = states.shape
        health = np.array([row.health for row in rows]).reshape(shape)
        coverage = np.array([row.coverage for row in rows]).reshape(shape)
        own = np.where(np.isnan(health), 0.0, (100.0 - health) / (100.0 - self.fail))
        lost = [np.zeros(1, np.int64), *(row.lost for row in rows)]
        series = [np.zeros(0, np.uint32), *(row.series for row in rows)]
        share = [np.zeros(0), *(row.share for row in rows)]
        start = np.cumsum(np.concatenate(lost))
        return state, Health(
            health, coverage, own, states, start, np.concatenate(series), np.concatenate(share)
        )

    def dump(self, state: Memory) -> bytes:
        """Return the memory as bytes; the same memory, the same bytes, on any machine."""
        return packed(LAYOUT, state, KINDS)

    def load(self, blob: bytes) -> Memory:
        """Return the memory that `dump` wrote.

        :raises StoreVersion: another layout wrote it.
        :raises CorruptionError: the bytes are not whole.
        """
        return Memory(*unpacked(LAYOUT, blob, KINDS))

    def _tick(self, state: Memory, now: int, roster: Roster) -> _Tick:
        count, entity = len(state.state), roster.entity
        expected: Flags = state.deadline > NEVER
        present = expected & (state.deadline >= now)
        width = self.severity_full - self.severity_from
        severity = np.clip((state.level - self.severity_from) / width, 0.0, 1.0)
        weight = np.where(expected, roster.weight, 0.0)
        lost = weight * np.where(present, severity, 1.0)
        # Sums have one order, that of the series, or a whole loss would not be the whole weight.
        worth, gone = _sums(entity, weight, count), _sums(entity, lost, count)
        known = worth > 0
        health = np.full(count, np.nan)
        health[known] = 100.0 * (1.0 - gone[known] / worth[known])
        some = _sums(entity, expected.astype(np.float64), count)
        coverage = np.full(count, np.nan)
        heard = some > 0
        coverage[heard] = _sums(entity, present.astype(np.float64), count)[heard] / some[heard]

        who = np.flatnonzero((lost > 0) & (health[entity] < 100.0))
        who = who[np.lexsort((who, -lost[who], entity[who]))]
        told = np.bincount(entity[who], minlength=count).astype(np.int64)
        return _Tick(health, coverage, told, who.astype(np.uint32), lost[who] / gone[entity[who]])

    def _judged(self, health: Floats, before: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the state of each entity; leaving a bad one takes more than entering it."""
        fail = np.where(before == FAIL, self.fail_clear, self.fail)
        warn = np.where((before == WARN) | (before == FAIL), self.warn_clear, self.warn)
        worse = np.where(health < fail, FAIL, np.where(health < warn, WARN, OK))
        return np.where(np.isnan(health), UNKNOWN, worse).astype(np.uint8)


def _hear(state: Memory, series: Rows, score: Floats, deadline: Times) -> None:
    """Remember a tick: of each series that spoke the worst score and the last deadline."""
    state.level[series] = -np.inf
    np.maximum.at(state.level, series, score)
    state.deadline[series] = deadline


def _sums(entity: Rows, of: Floats, count: int) -> Floats:
    """Sum by entity, in order of series."""
    sums: Floats = np.bincount(entity, weights=of, minlength=count).astype(np.float64)
    return sums


def _never(count: int) -> Times:
    return np.full(count, NEVER)


def _check(state: Memory, evidence: Evidence, ticks: Times, roster: Roster) -> None:
    """A wrong index would count for somebody else, without a word."""
    series = len(state.level)
    assert len(roster.entity) == len(roster.weight) == series, (len(roster.entity), series)
    assert not len(roster.entity) or int(roster.entity.max()) < len(state.state), "grow first"
    assert bool(np.all((roster.weight >= 0) & (roster.weight <= 1))), "weights are 0..1"
    assert bool(np.all(np.diff(ticks) > 0)), "ticks grow"
    assert len(ticks) == 0 or int(ticks[0]) > int(state.tick[0]), "ticks grow across blocks"
    known = (evidence.series < series) & (evidence.tick >= 0) & (evidence.tick < len(ticks))
    assert bool(known.all()), "evidence is inside the block, and of known series"
    assert bool(np.all(np.diff(evidence.tick) >= 0)), "evidence is in order of tick"


plugin = Scorecard
