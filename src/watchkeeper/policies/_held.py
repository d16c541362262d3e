"""What policies remember between ticks: where each entity stands with each policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from watchkeeper.errors import CorruptionError, StoreVersion
from watchkeeper.model import Flags, Times, canonical
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
    chunks, heads = [], []
    for standing in held.standings:
        columns = _columns(standing)
        heads.append(
            {"policy": document(standing.policy), "rows": [len(column) for column in columns]}
        )
        chunks += [
            column.astype(kind).tobytes() for column, kind in zip(columns, KINDS, strict=True)
        ]
    body = b"".join(chunks)
    sha256 = hashlib.sha256(body).hexdigest()
    head = canonical({"layout": LAYOUT, "sha256": sha256, "standings": heads})
    return head.encode() + b"\n" + body


def load(blob: bytes) -> Held:
    """Return the memory that `dump` wrote.

    :raises StoreVersion: another layout wrote it.
    :raises CorruptionError: the bytes are not whole.
    """
    text, _, body = blob.partition(b"\n")
    try:
        head = json.loads(text)
        layout, sha256, heads = head["layout"], head["sha256"], head["standings"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError("policies checkpoint: the head cannot be read") from error
    if layout != LAYOUT:
        raise StoreVersion(
            f"policies checkpoint: layout {layout}, this version reads {LAYOUT}",
            hint="replay from the journal instead",
        )
    if hashlib.sha256(body).hexdigest() != sha256:
        raise CorruptionError("policies checkpoint: the checksum does not match")
    at, standings = 0, []
    for one in heads:
        columns: list[Any] = []
        for kind, count in zip(KINDS, one["rows"], strict=True):
            columns.append(np.frombuffer(body, kind, count, at).copy())
            at += columns[-1].nbytes
        matched, *course, acted, in_force, recent = columns
        policy = read(one["policy"], "policies checkpoint")
        standings.append(Standing(policy, matched, Course(*course), acted, in_force, recent))
    return Held(tuple(standings))


def _columns(standing: Standing) -> tuple[Any, ...]:
    return (
        standing.matched, *standing.course, standing.acted, standing.in_force, standing.recent,
    )  # fmt: skip
