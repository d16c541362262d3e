"""What policies remember between ticks: where each entity stands with each policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from watchkeeper.columnar import columns, seal, unseal
from watchkeeper.model import Flags, Times
from watchkeeper.policies._document import Policy, digest, document, read
from watchkeeper.policies._phases import NONE, Course

LAYOUT = "watchkeeper.policies.held/1"
KINDS = ("?", "u1", "<i8", "<i8", "<i8", "<i8", "?", "<i8")  # the columns of Standing, as stored


class Standing(NamedTuple):
    """One policy's memory; arrays have one element an entity, in the order of `View.entities`.

    :param policy: the whole policy, so that what it began can be ended when it is withdrawn.
    :param matched: whether the policy looks at the entity.
    :param acted: time of the last act on the entity; NONE when there was none.
    :param in_force: whether the entity was acted on and still fires.
    :param recent: times of acts within the rate window, oldest first (one element an act).
    """

    policy: Policy
    matched: Flags
    course: Course
    acted: Times
    in_force: Flags
    recent: Times

    @property
    def version(self) -> str:
        """The policy's digest; another digest starts fresh."""
        return digest(self.policy)


class Held(NamedTuple):
    """The memory of every policy. It is handed over: `judge` changes the arrays in place."""

    standings: tuple[Standing, ...]


def nothing_held() -> Held:
    """Return the memory before the first tick."""
    return Held(())


def fresh(policy: Policy) -> Standing:
    """Return a policy's memory before it has seen any entity."""
    times = np.zeros(0, np.int64)
    course = Course(np.zeros(0, np.uint8), times, times, times)
    return Standing(policy, np.zeros(0, np.bool_), course, times, np.zeros(0, np.bool_), times)


def grow(standing: Standing, entities: Sequence[str]) -> Standing:
    """Make room for entities that came since; the others keep their place and content."""
    known = len(standing.matched)
    if known == len(entities):
        return standing
    assert known < len(entities), "entities only grow"
    new = [standing.policy.matches(entities[e]) for e in range(known, len(entities))]
    never = np.full(len(new), NONE)
    course = standing.course
    return Standing(
        standing.policy,
        np.concatenate([standing.matched, np.array(new, np.bool_)]),
        Course(
            np.concatenate([course.phase, np.zeros(len(new), np.uint8)]),
            np.concatenate([course.since, never]),
            np.concatenate([course.fired, never]),
            np.concatenate([course.quiet, never]),
        ),
        np.concatenate([standing.acted, never]),
        np.concatenate([standing.in_force, np.zeros(len(new), np.bool_)]),
        standing.recent,
    )


def paused(held: Held, pause: int) -> Held:
    """Take a pause in which nobody watched (ms) out of every `for` and `keep_firing_for`."""
    for standing in held.standings:
        for begun in (standing.course.since, standing.course.quiet):
            begun[begun != NONE] += pause
    return held


def dump(held: Held) -> bytes:
    """Return the memory as bytes, for a checkpoint; the same memory, the same bytes."""
    memory = [_columns(standing) for standing in held.standings]
    heads = [
        {"policy": document(standing.policy), "rows": [len(column) for column in of]}
        for standing, of in zip(held.standings, memory, strict=True)
    ]
    typed = (pair for of in memory for pair in zip(KINDS, of, strict=True))
    return seal(LAYOUT, {"standings": heads}, typed)


def load(blob: bytes) -> Held:
    """Return the memory that `dump` wrote.

    :raises StoreVersion: another layout wrote it.
    :raises CorruptionError: the bytes are not whole.
    """
    heads, body = unseal(LAYOUT, blob, "standings")
    standings = []
    memory = columns(body, KINDS, (one["rows"] for one in heads))
    for one, (matched, *course, acted, in_force, recent) in zip(heads, memory, strict=True):
        policy = read(one["policy"], "policies checkpoint")
        standings.append(Standing(policy, matched, Course(*course), acted, in_force, recent))
    return Held(tuple(standings))


def _columns(standing: Standing) -> tuple[Any, ...]:
    return (
        standing.matched, *standing.course, standing.acted, standing.in_force, standing.recent,
    )  # fmt: skip
