"""One block of ticks laid out for reading: T ticks × E entities, and what each signal says in it.

`Panel` is the `View` that policies look at and the table that reports are filled from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.health import Evidence, Health
from watchkeeper.model import (
    STATES,
    Assessed,
    Contribution,
    Flags,
    Floats,
    Millis,
    Rows,
    Times,
    append,
    pick,
)

FRESH, ENDED, DUPLICATE, LATE = range(4)  # what becomes of a sample
FOREVER = np.iinfo(np.int64).max


class Current(NamedTuple):
    """What each series last said: its score, and until when its silence is normal."""

    score: Floats
    deadline: Times
    heard: Times  # the tick it last spoke in; -1 before the first, and after a restart

    @staticmethod
    def fresh(count: int) -> Current:
        """`count` series that have not spoken."""
        never = np.full(count, -1, np.int64)
        return Current(np.zeros(count), never, never.copy())

    def grow(self, count: int) -> Current:
        """Make room; old series keep their place. What was before is handed over."""
        more = Current.fresh(count - len(self.score))
        return Current(
            append(self.score, more.score),
            append(self.deadline, more.deadline),
            append(self.heard, more.heard),
        )


class Column(Protocol):
    """A column of texts: one element a series."""

    def __getitem__(self, row: int, /) -> str:
        """Return the text of one series."""

    def rows(self, text: str) -> Times:
        """Return the series that have a text, in order."""

    def matches(self, text: str, rows: Rows) -> Flags:
        """Return which of some series have a text."""


class Names(Protocol):
    """Who the series are: one element a series."""

    @property
    def metrics(self) -> Column:
        """What each measures."""

    @property
    def attributes(self) -> Column:
        """Where it measures it, as canonical JSON."""

    @property
    def entity(self) -> Rows:
        """Whose it is."""


class Panel:
    """Implements `policies.View` over the health of one block."""

    def __init__(
        self,
        ticks: Times,
        entities: Sequence[str],
        health: Health,
        names: Names,
        evidence: Evidence,
        before: Current,
    ) -> None:
        self.ticks, self.entities = ticks, entities
        self.health, self.coverage, self.score = health.health, health.coverage, health.score
        self.state = health.state
        self.cells, self._names = health, names
        self._evidence = evidence
        self._before: Current | None = before
        self._signals: dict[str, Floats] = {}

    def signal(self, metric: str) -> Floats:
        """Return [T, E]: the largest current score among the entity's series of the metric.

        A metric must first be asked for before `settle`.
        """
        if metric not in self._signals:
            assert self._before is not None, f"{metric}: the block is settled"
            rows, seen = self._names.metrics.rows(metric), self._evidence
            if len(rows):
                seen = pick(seen, self._names.metrics.matches(metric, seen.series))
            else:  # nobody has it, which is usual: a policy of another kind of entity
                seen = pick(seen, slice(0))
            self._signals[metric] = _signal(
                self.ticks,
                np.asarray(seen.tick),
                np.searchsorted(rows, seen.series),
                seen.score,
                seen.deadline,
                self._names.entity[rows],
                self._before.score[rows],
                self._before.deadline[rows],
                len(self.entities),
            )
        return self._signals[metric]

    def settle(self) -> None:
        """Let each series say from now on what it said last: the largest score of that tick."""
        now, self._before = self._before, None
        assert now is not None, "the block is settled"
        seen = self._evidence
        _settle(self.ticks[seen.tick], seen.series, seen.score, seen.deadline, *now)

    def contributions(self, tick: int, entity: int) -> tuple[Contribution, ...]:
        """Return what took from the health of one cell, largest first."""
        cell = tick * self.health.shape[1] + entity  # the list of entities may have grown since
        start, end = int(self.cells.start[cell]), int(self.cells.start[cell + 1])
        return tuple(
            Contribution(self._names.metrics[s], self._names.attributes[s], float(share))
            for s, share in zip(
                self.cells.series[start:end].tolist(),
                self.cells.share[start:end].tolist(),
                strict=True,
            )
        )

    def expected(self, tick: int) -> npt.NDArray[np.bool_]:
        """Return which entities have any signal that should be there at this tick."""
        result: npt.NDArray[np.bool_] = ~np.isnan(self.coverage[tick])
        return result

    def assessed(self, tick: int, entities: Times) -> tuple[Assessed, ...]:
        """Return some cells of one tick as the ledger keeps them."""
        cell = tick * self.health.shape[1] + entities
        lost = (self.cells.start[cell + 1] > self.cells.start[cell]).tolist()
        columns = (
            column[tick, entities].tolist()
            for column in (self.health, self.state, self.coverage, self.score)
        )
        now, names = Millis(int(self.ticks[tick])), self.entities
        return tuple(
            Assessed(
                entity=names[entity],
                time=now,
                health=health if health == health else None,
                state=STATES[state],
                coverage=coverage,
                score=score,
                contributions=self.contributions(tick, entity) if some else (),
            )
            for entity, some, health, state, coverage, score in zip(
                entities.tolist(), lost, *columns, strict=True
            )
        )


def later(deadline: Times, pause: int) -> Times:
    """Move deadlines by a pause, without overflow for those that never come."""
    return np.where(deadline > FOREVER - pause, FOREVER, deadline + pause)


@numba.njit(cache=True, nogil=True, fastmath=False)
def admit(
    row: Rows, time: Times, value: Floats, last: Times
) -> tuple[npt.NDArray[np.uint8], int, int, int]:
    """Mark each sample, and move `last` on.

    :return: of each sample whether it is FRESH, ENDED (a stale marker), DUPLICATE (the last time
        again) or LATE; and how many are not FRESH, by mark.
    """
    fate = np.empty(len(row), np.uint8)
    ended = duplicate = late = 0
    for i in range(len(row)):
        r = row[i]
        if time[i] > last[r]:
            last[r] = time[i]
            fate[i] = FRESH
            if np.isnan(value[i]):
                fate[i], ended = ENDED, ended + 1
        elif time[i] == last[r]:
            fate[i], duplicate = DUPLICATE, duplicate + 1
        else:
            fate[i], late = LATE, late + 1
    return fate, ended, duplicate, late


@numba.njit(cache=True, nogil=True, fastmath=False)
def _settle(
    tick: Times,
    series: Rows,
    score: Floats,
    deadline: Times,
    score_now: Floats,
    deadline_now: Times,
    heard: Times,
) -> None:
    """Write each series' last word; `tick` is the time of the tick, not its place in a block."""
    for i in range(len(tick)):
        s = series[i]
        if heard[s] != tick[i] or score[i] > score_now[s]:
            score_now[s] = score[i]
        heard[s] = tick[i]
        deadline_now[s] = deadline[i]


@numba.njit(cache=True, nogil=True, fastmath=False)
def _signal(
    ticks: Times,
    tick: Times,
    series: Times,
    score: Floats,
    deadline: Times,
    entity: Rows,
    score_now: Floats,
    deadline_now: Times,
    entities: int,
) -> Floats:
    """Walk the ticks; each cell is the largest score of the entity's series still heard."""
    result = np.full((len(ticks), entities), np.nan)
    heard = np.full(len(entity), -1, np.int64)
    at = 0
    for t in range(len(ticks)):
        while at < len(tick) and tick[at] <= t:
            s = series[at]
            if heard[s] != t or score[at] > score_now[s]:
                score_now[s] = score[at]
            heard[s] = t
            deadline_now[s] = deadline[at]
            at += 1
        for s in range(len(entity)):
            if deadline_now[s] >= ticks[t]:
                e = entity[s]
                if np.isnan(result[t, e]) or score_now[s] > result[t, e]:
                    result[t, e] = score_now[s]
    return result
