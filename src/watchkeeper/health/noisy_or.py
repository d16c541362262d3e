"""Health as a noisy OR of what the signals say: each alone can take its weight, together more.

health = 100 · Π(1 − wᵢ·sᵢ) over the series that are present, with severity sᵢ a ramp over the
anomaly score (Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, section 4.3.2). A
contribution is the share of the logarithm, ln(1 − wᵢsᵢ) / Σ ln(1 − wⱼsⱼ), so the shares of a cell
add up to 1. Silence does not heal: an absent series leaves the product and lowers coverage, and
below a least coverage nothing is said, unless those present alone leave less than `fail`.

The entity's own anomaly score is the power mean (order 4) of its present series' scores, smoothed
in time before the root is taken: a few signals that last stand out as much as many, one sample of
one signal does not, and the scale is the same for 4 signals and for 400. docs/health.md has the
measurements behind the order and the cap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from watchkeeper.health import Evidence, Health, Roster
from watchkeeper.health._kernel import (
    NEVER,
    NOBODY,
    Entities,
    Expect,
    Limits,
    Ramp,
    Series,
    Table,
    chain,
    orderly,
    run,
)
from watchkeeper.health._memory import Graded, hold, packed, unpacked
from watchkeeper.model import STATES, Floats, Rows, State, Times, append

LAYOUT = "watchkeeper.health.noisy_or/1"
UNKNOWN = STATES.index(State.UNKNOWN)
KINDS = ("<f8", "<i8", "<i8", "<f8", "u1", "<i8")  # of the first columns of Memory, as stored
RETIRE_MAX = 1 << 62  # ms; a time and this fit one number


class Memory(NamedTuple):
    """What is remembered between blocks: three arrays a series, two an entity, and the time.

    The rest follows from these and from the roster, and is made anew after `load`.
    """

    level: Floats  # the largest score of the last tick that had evidence
    deadline: Times  # silence until then is normal
    heard: Times  # the last tick with evidence; NEVER before the first
    score: Floats  # the entity's smoothed fourth power mean
    state: npt.NDArray[np.uint8]  # index into STATES
    tick: Times  # one element: the last tick assessed; NEVER before the first
    taken: Floats  # of a series; see the kernel
    after: Rows
    first: Rows  # of an entity; see the kernel
    last: Rows
    until: Times
    product: Floats
    total: Floats
    present: Times
    expected: Times
    linked: Times  # one element: how many series are chained to their entities


@dataclass(frozen=True)
class NoisyOr(Graded):
    """Parameters; the defaults are those of the shipped packs.

    :param severity_from: anomaly score at which a signal begins to take from health.
    :param severity_full: anomaly score at which it takes its whole weight.
    :param warn: health below this is WARN; `warn_clear`: it ends at or above this.
    :param fail: health below this is FAIL; `fail_clear`: it ends at or above this.
    :param coverage_min: with a smaller share of the expected series present, health is unknown,
        unless those alone leave less than `fail` of it.
    :param retire_hours: a series silent for longer, beyond its deadline, is no longer expected.
    :param score_cap: anomaly scores above this count as this in the entity's own score.
    :param score_alarm: the smoothed power mean of the scores that is an alarm (1.0).
    :param smoothing_seconds: time constant of the entity's own score.
    :raises ConfigError: the parameters contradict each other.
    """

    coverage_min: float = 0.5
    retire_hours: float = 24.0
    score_cap: float = 2.0
    score_alarm: float = 0.7
    smoothing_seconds: float = 600.0

    def __post_init__(self) -> None:
        rules = (
            *self.rules(),
            ("0 <= coverage_min <= 1", 0 <= self.coverage_min <= 1),
            ("retire_hours > 0", 0 < self.retire_hours < math.inf),
            ("score_cap > 0", 0 < self.score_cap < math.inf),
            ("score_alarm > 0", 0 < self.score_alarm < math.inf),
            ("smoothing_seconds > 0", 0 < self.smoothing_seconds < math.inf),
        )
        hold("noisy_or", rules)

    @property
    def version(self) -> int:
        """The version of the method."""
        return 2

    def fresh(self) -> Memory:
        """Return the memory before the first tick: no series, no entity."""
        return _derived(_series(0), _entities(0), np.full(1, NEVER))

    def grow(self, state: Memory, series: int, entities: int) -> Memory:
        """Make room for more series and entities; old rows keep their place and content.

        The memory is handed over.
        """
        more, beings = series - len(state.level), entities - len(state.score)
        assert more >= 0, (series, len(state.level))
        assert beings >= 0, (entities, len(state.score))
        new = _derived(_series(more), _entities(beings), state.tick)
        pairs: Any = zip(state, new, strict=True)
        grown = Memory(*(append(have, more) for have, more in pairs))
        return grown._replace(tick=state.tick, linked=state.linked)

    def assess(
        self, state: Memory, evidence: Evidence, ticks: Times, roster: Roster
    ) -> tuple[Memory, Health]:
        """Fold the block's evidence in, tick by tick, and say how each entity is at each tick.

        The memory is handed over: its arrays are changed in place.
        """
        self._check(state, evidence, ticks, roster)
        shape = (len(ticks), len(state.score))
        table = Table(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape, np.uint8))
        series = Series(
            np.ascontiguousarray(roster.entity, np.uint32),
            np.ascontiguousarray(roster.weight, np.float64),
            state.level, state.deadline, state.heard, state.taken, state.after,
        )  # fmt: skip
        entities = Entities(
            state.score, state.state, state.first, state.last, state.until,
            state.product, state.total, state.present, state.expected,
        )  # fmt: skip
        ramp = Ramp(
            self.severity_from, self.severity_full - self.severity_from,
            self.score_cap, self.score_alarm, self.smoothing_seconds * 1000.0,
        )  # fmt: skip
        limits = Limits(
            self.warn, self.warn_clear, self.fail, self.fail_clear,
            self.coverage_min, min(round(self.retire_hours * 3_600_000), RETIRE_MAX),
        )  # fmt: skip
        news = Expect(
            np.ascontiguousarray(evidence.tick, np.int64),
            np.ascontiguousarray(evidence.series, np.uint32),
            np.ascontiguousarray(evidence.score, np.float64),
            np.ascontiguousarray(evidence.deadline, np.int64),
        )
        chain(state.linked, series, entities, ramp)
        hits = run(
            news, np.ascontiguousarray(ticks, np.int64), series, entities, table,
            state.tick, ramp, limits,
        )  # fmt: skip
        return state, Health(*table, *hits)

    def dump(self, state: Memory) -> bytes:
        """Return the memory as bytes; the same memory, the same bytes, on any machine."""
        return packed(LAYOUT, state[: len(KINDS)], KINDS)

    def load(self, blob: bytes) -> Memory:
        """Return the memory that `dump` wrote.

        :raises StoreVersion: another layout wrote it.
        :raises CorruptionError: the bytes are not whole.
        """
        level, deadline, heard, score, state, tick = unpacked(LAYOUT, blob, KINDS)
        return _derived((level, deadline, heard), (score, state), tick)

    def _check(self, state: Memory, evidence: Evidence, ticks: Times, roster: Roster) -> None:
        # The kernel trusts its indices; a wrong one would write outside the arrays.
        series, entities = len(state.level), len(state.score)
        assert len(roster.entity) == len(roster.weight) == series, (len(roster.entity), series)
        entity, weight = (column[int(state.linked[0]) :] for column in roster)
        assert len(entity) == 0 or int(entity.max()) < entities, "grow comes before assess"
        assert bool(np.all((weight >= 0) & (weight <= 1))), "weights are 0..1"
        assert bool(np.all(np.diff(ticks) > 0)), "ticks grow"
        assert len(ticks) == 0 or int(ticks[0]) > int(state.tick[0]), "ticks grow across blocks"
        assert orderly(evidence.tick, evidence.series, len(ticks), series), (
            "evidence is in order of tick, inside the block, and of known series"
        )


def _series(count: int) -> tuple[Floats, Times, Times]:
    """Return level, deadline and heard of series that have not spoken."""
    return np.zeros(count), np.full(count, NEVER), np.full(count, NEVER)


def _entities(count: int) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Return score and state of entities of which nothing is known."""
    return np.zeros(count), np.full(count, UNKNOWN, np.uint8)


def _derived(
    series: tuple[Floats, Times, Times],
    entities: tuple[Floats, npt.NDArray[np.uint8]],
    tick: Times,
) -> Memory:
    """Return memory whose series are not chained to entities yet."""
    rows, beings = len(series[0]), len(entities[0])
    nobody, none = np.full(rows, NOBODY), np.zeros(beings, np.int64)
    return Memory(
        *series, *entities, tick,
        taken=np.zeros(rows), after=nobody,
        first=np.full(beings, NOBODY), last=np.full(beings, NOBODY),
        until=np.full(beings, NEVER), product=np.ones(beings), total=np.zeros(beings),
        present=none, expected=none.copy(), linked=np.zeros(1, np.int64),
    )  # fmt: skip


plugin = NoisyOr
