"""The arithmetic of `gather`: rows sorted by (entity, time) in, segments and incidents out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper.model import STATES, Floats, State, Times

Index = npt.NDArray[np.int64]

OK, UNKNOWN = STATES.index(State.OK), STATES.index(State.UNKNOWN)
SEVERITY = np.array([[State.OK, State.UNKNOWN, State.WARN, State.FAIL].index(s) for s in STATES])
BY_SEVERITY = (State.OK, State.UNKNOWN, State.WARN, State.FAIL)
SLICES = 240  # of the window; about what a screen can show


class Ticks(NamedTuple):
    """The health table in columns, sorted by (entity, time).

    :param row: where each row was in the table. :param code: entity, a row of `names`.
    :param first: first row of each entity. :param last: its last row.
    """

    names: list[str]
    row: Index
    code: Index
    time: Times
    health: Floats
    state: npt.NDArray[np.int64]
    first: Index
    last: Index


class Episodes(NamedTuple):
    """Incidents, one element each, sorted by (entity, start). `end` is -1 while it lasts."""

    code: Index
    start: Times
    end: Times
    state: npt.NDArray[np.int64]  # index into BY_SEVERITY
    worst: Floats  # infinity when never known
    worst_row: Index  # position in Ticks


def times(column: Any) -> Times:
    """Return a column of times as milliseconds, from int64 or from a timestamp."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("ms", column.type.tz)), pa.int64())
    return np.asarray(column.to_numpy(), np.int64)


def floats(column: Any) -> Floats:
    """Return a column of numbers; null is NaN."""
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)


def codes(column: Any) -> tuple[Index, list[str]]:
    """Return each text's number, and the texts sorted; the numbers follow that order."""
    encoded = pc.dictionary_encode(pc.cast(column, pa.string())).combine_chunks()
    words = encoded.dictionary.to_pylist()
    order = sorted(range(len(words)), key=words.__getitem__)
    place = np.empty(len(words), np.int64)
    place[order] = np.arange(len(words))
    return place[encoded.indices.to_numpy(zero_copy_only=False)], [words[i] for i in order]


def sorted_ticks(health: pa.Table) -> Ticks:
    """Read the health table. A later row of the same entity and time wins over an earlier one."""
    code, names = codes(health["entity"])
    time = times(health["time"])
    order = np.lexsort((time, code))
    code, time = code[order], time[order]
    again = np.append((code[1:] == code[:-1]) & (time[1:] == time[:-1]), False)[: len(code)]
    order, code, time = order[~again], code[~again], time[~again]
    number, words = codes(health["state"])
    state = np.array([STATES.index(State(word)) for word in words], np.int64)[number][order]
    every = np.arange(len(names))
    return Ticks(
        names,
        order,
        code,
        time,
        floats(health["health"])[order],
        state,
        np.searchsorted(code, every, side="left"),
        np.searchsorted(code, every, side="right") - 1,
    )


def lowest(ticks: Ticks) -> Index:
    """Return for each entity the row of its lowest known health, the first of equals."""
    return _lowest(ticks.health, ticks.first, ticks.last)


def episodes(ticks: Ticks) -> Episodes:
    """Return every stretch of not being ok.

    An entity that is unknown before it was ever known is new, not in trouble.
    """
    size = len(ticks.code)
    if size == 0:
        none = np.zeros(0, np.int64)
        return Episodes(none, none, none, none, np.zeros(0), none)
    position = np.arange(size)
    known = np.where(ticks.state == UNKNOWN, size, position)
    known_from = np.minimum.reduceat(known, ticks.first)
    bad = (ticks.state != OK) & (position >= known_from[ticks.code])

    same = ticks.code[1:] == ticks.code[:-1]
    goes_on = np.append(bad[:-1] & bad[1:] & same, False)  # into the next row
    begins = np.flatnonzero(bad & ~np.append(False, goes_on[:-1]))
    ends = np.flatnonzero(bad & ~goes_on)
    recovered = np.append(same, False)[ends]  # a further row of the entity, so an ok one
    worst_row = _lowest(ticks.health, begins, ends)
    worst = ticks.health[worst_row]
    return Episodes(
        code=ticks.code[begins],
        start=ticks.time[begins],
        end=np.where(recovered, ticks.time[np.minimum(ends + 1, size - 1)], -1),
        state=_fold(np.maximum, SEVERITY[ticks.state], begins, ends),
        worst=np.where(np.isnan(worst), np.inf, worst),
        worst_row=worst_row,
    )


def thinned(time: Times, health: Floats) -> Index:
    """Return which of one entity's rows to draw: of each slice of time the worst."""
    if len(time) <= SLICES:
        return np.arange(len(time))
    part = _slices(time)
    order = np.lexsort((health, part))  # NaN last
    return np.sort(order[np.r_[True, part[order][1:] != part[order][:-1]]])


def extremes(time: Times, value: Floats, score: Floats) -> Index:
    """Return which samples of one series to draw: of each slice lowest, highest, oddest."""
    if len(time) <= SLICES:
        return np.arange(len(time))
    part = _slices(time)
    kept = []
    for column in (value, -value, -score):
        order = np.lexsort((column, part))
        kept.append(order[np.r_[True, part[order][1:] != part[order][:-1]]])
    return np.unique(np.concatenate(kept))


def _slices(time: Times) -> Index:
    part: Index = (time - time[0]) * SLICES // (time[-1] - time[0] + 1)
    return part


def _lowest(health: Floats, begins: Index, ends: Index) -> Index:
    """Return the first row with the lowest health of each stretch; its first row if all NaN."""
    filled = np.where(np.isnan(health), np.inf, health)
    low = _fold(np.minimum, filled, begins, ends)
    length = ends - begins + 1
    stretch = np.repeat(np.arange(len(begins)), length)
    rows = np.arange(len(stretch)) + np.repeat(begins - (np.cumsum(length) - length), length)
    hit = np.flatnonzero(filled[rows] == low[stretch])
    _, at = np.unique(stretch[hit], return_index=True)
    found: Index = rows[hit[at]]
    return found


def _fold(how: np.ufunc, values: Any, begins: Index, ends: Index) -> Any:
    """Fold stretches that do not overlap; both bounds included."""
    if len(begins) == 0:
        return values[:0]
    edges = np.stack([begins, ends + 1], axis=1).ravel()
    return how.reduceat(np.append(values, values[-1]), edges)[::2]
