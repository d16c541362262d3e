"""Follow every entity through the phases of one policy; the only state machine of the house.

    inactive ─ when ─► pending ─ held for `for` ─► firing ─ clear for `keep_firing_for` ─► resolved

`resolved` is a decision, not a place to stay: the next tick starts from inactive. Unknown health
never ends a firing phase, because missing data is not good news (the keep-firing rule of
CONVENTIONS, "missing-data hold"); it ends when nothing is expected of the entity any more.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.model import Flags, Floats, Times

NONE = np.int64(np.iinfo(np.int64).min)  # no such time
INACTIVE, PENDING, FIRING, RESOLVED = 0, 1, 2, 3  # indices into model.Phase; a test compares


class Reason(StrEnum):
    """Why a phase changed. The list is closed."""

    CONDITION_HELD = "condition_held"  # `when` began to hold
    HELD_LONG_ENOUGH = "held_long_enough"  # `when` held for all of `for`
    CONDITION_GONE = "condition_gone"  # `when` stopped holding before `for` was over
    CLEARED = "cleared"  # `clear` holds
    KEPT_FIRING_ELAPSED = "kept_firing_elapsed"  # `clear` held for all of `keep_firing_for`
    ENTITY_GONE = "entity_gone"  # nothing is expected of the entity any more
    POLICY_WITHDRAWN = "policy_withdrawn"  # the policy was changed or removed


REASONS = tuple(Reason)
HELD, LONG_ENOUGH, GONE, CLEARED, ELAPSED, ENTITY_GONE, WITHDRAWN = range(len(REASONS))


class Course(NamedTuple):
    """Where each entity stands with one policy; one element an entity, changed in place."""

    phase: npt.NDArray[np.uint8]
    since: Times  # when `when` began to hold
    fired: Times  # when firing began
    quiet: Times  # since when `clear` holds while firing


class Conditions(NamedTuple):
    """T ticks × E entities."""

    when: Flags  # holds, for entities the policy looks at
    clear: Flags  # holds
    unknown: Flags  # health is unknown
    absent: Flags  # nothing is expected of the entity


class Changes(NamedTuple):
    """Changes of phase in order of (tick, entity), with the times that led to them."""

    tick: Times
    entity: Times
    phase: Times
    reason: Times
    since: Times
    fired: Times


@numba.njit(cache=True, nogil=True, fastmath=False)
def next_phase(
    phase: int, when: bool, clear: bool, absent: bool, waited: int, hold: int, calm: int, keep: int
) -> tuple[int, int]:
    """Return the phase after one tick and the reason; -1 when nothing changes.

    :param waited: ms since `when` began to hold. :param calm: ms since `clear` began to hold.
    """
    if phase == INACTIVE:
        if not when:
            return phase, -1
        return (FIRING if hold == 0 else PENDING), HELD
    if phase == PENDING:
        if absent:
            return INACTIVE, ENTITY_GONE
        if not when:
            return INACTIVE, GONE
        return (FIRING, LONG_ENOUGH) if waited >= hold else (phase, -1)
    if absent:
        return RESOLVED, ENTITY_GONE
    if clear and calm >= keep:
        return RESOLVED, (CLEARED if keep == 0 else ELAPSED)
    return phase, -1


@numba.njit(cache=True, nogil=True, fastmath=False)
def follow(
    ticks: Times, conditions: Conditions, course: Course, hold: int, keep: int
) -> npt.NDArray[np.int64]:
    """Carry `course` through the ticks; return changes, one row each (the fields of Changes)."""
    changes = np.empty((64, 6), np.int64)
    count = 0
    for t in range(len(ticks)):
        now = ticks[t]
        for e in range(len(course.phase)):
            phase, when = course.phase[e], conditions.when[t, e]
            if phase == INACTIVE and not when:
                continue
            if phase == INACTIVE:
                course.since[e] = now
            clear = conditions.clear[t, e] and not when and not conditions.unknown[t, e]
            if phase == FIRING and not clear:
                course.quiet[e] = NONE
            elif phase == FIRING and course.quiet[e] == NONE:
                course.quiet[e] = now
            calm = now - course.quiet[e] if course.quiet[e] != NONE else 0
            after, reason = next_phase(
                phase, when, clear, conditions.absent[t, e],
                now - course.since[e], hold, calm, keep,
            )  # fmt: skip
            if reason < 0:
                continue
            if after == FIRING:
                course.fired[e] = now
            if count == len(changes):
                more = np.empty((2 * count, 6), np.int64)
                more[:count] = changes
                changes = more
            changes[count, 0], changes[count, 1], changes[count, 2] = t, e, after
            changes[count, 3], changes[count, 4] = reason, course.since[e]
            changes[count, 5] = course.fired[e]
            count += 1
            _enter(course, e, after)
    return changes[:count]


def warm_up() -> None:
    """Have the kernel compiled, or loaded, before the first condition holds."""
    times = np.zeros(0, np.int64)
    nothing = Conditions(*np.zeros((4, 1, 0), np.bool_))
    follow(np.zeros(1, np.int64), nothing, Course(np.zeros(0, np.uint8), times, times, times), 0, 0)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _enter(course: Course, e: int, phase: int) -> None:
    """Stand in a phase; resolved is left at once."""
    course.phase[e] = INACTIVE if phase == RESOLVED else phase
    if course.phase[e] == INACTIVE:
        course.since[e] = NONE
        course.fired[e] = NONE
        course.quiet[e] = NONE


def unpack(rows: npt.NDArray[np.int64]) -> Changes:
    """Return rows of `follow` as columns."""
    return Changes(*(np.ascontiguousarray(column) for column in rows.T))


def exists(coverage: Floats) -> Flags:
    """Return where anything is expected of an entity: its coverage is a number."""
    result: Flags = ~np.isnan(coverage)
    return result
