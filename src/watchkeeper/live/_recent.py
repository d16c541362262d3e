"""The newest scored samples, kept in memory for plots: a few hours of as many series as fit.

Each series that is kept has a row of cells, one cell a stretch of time: short stretches for the
last minutes, longer ones for the last hours. A cell holds the oddest sample of its stretch, so that
a plot never loses what alarmed; the newest sample is held apart.
When there are more series than rows, a row goes to who needs it: series that just alarmed, and
those of an entity that somebody looks at.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.core import Observed
from watchkeeper.core.state import Series, State
from watchkeeper.model import Floats, Millis, Rows, Times, append
from watchkeeper.results import SCORES_FILE, STAMP
from watchkeeper.shown import Heard, Place, Sampled

FINE, FINES = 10_000, 60  # ms of a short stretch, and cells for them: ten minutes
CELL, CELLS = 60_000, 180  # the same of longer ones: three hours
COLUMNS = ("value", "expected", "lower", "upper", "score")
SCORE = COLUMNS.index("score")
BYTES = 96 << 20  # of memory, at most
ROWS = BYTES // ((FINES + CELLS) * 8 * (1 + len(COLUMNS)))
HELD = Millis(900_000)  # a row that was needed so lately is not taken from its series
VIEWED = 256  # series of one entity that get a row because somebody looks
ALARM = 1.0  # the score of a series that needs its row

FINES_FIRST = np.arange(FINES)
Slots = npt.NDArray[np.int32]


@numba.njit(cache=True, nogil=True, fastmath=False)
def _place(at: int) -> tuple[int, int, int, np.uint64, np.uint64]:
    """Return a time, where its short and its long stretch begin, and the cell of each."""
    fine, coarse = at // FINE, at // CELL
    cells = np.uint64(fine % FINES), np.uint64(FINES + coarse % CELLS)
    return at, fine * FINE, coarse * CELL, cells[0], cells[1]


@numba.njit(cache=True, nogil=True, fastmath=False)
def keep(
    slot: Slots,
    row: Rows,
    time: Times,
    columns: tuple[Floats, ...],
    times: Times,
    cells: Floats,
    last: Times,
    newest: Floats,
) -> None:
    """Write samples into the rows of their series.

    The samples of an entry are of one time, mostly, and in order of series. So what they are
    written to lies side by side when the stretch comes before the row, and memory is not waited
    for.

    :param slot: the row of each series; -1: none. :param columns: COLUMNS, one element a sample.
    :param times: [FINES + CELLS, rows]; -1 where nothing is. :param cells: the same × COLUMNS.
    :param last: of each row, the time of `newest`.
    """
    value, expected, lower, upper, score = columns
    met, fine, coarse, f, c = _place(0)
    for i in range(len(row)):
        if slot[row[i]] < 0:
            continue
        s, at = np.uint64(slot[row[i]]), time[i]
        said = (value[i], expected[i], lower[i], upper[i], score[i])
        if at > last[s]:
            last[s] = at
            for k in range(len(said)):
                newest[s, k] = said[k]
        if at != met:
            met, fine, coarse, f, c = _place(at)
        if not fine <= times[f, s] < fine + FINE or score[i] >= cells[f, s, SCORE]:
            times[f, s] = at
            for k in range(len(said)):
                cells[f, s, k] = said[k]
        if not coarse <= times[c, s] < coarse + CELL or score[i] >= cells[c, s, SCORE]:
            times[c, s] = at
            for k in range(len(said)):
                cells[c, s, k] = said[k]


@numba.njit(cache=True, nogil=True, fastmath=False)
def need(slot: Slots, row: Rows, time: Times, score: Floats, needed: Times) -> int:
    """Note of each row when its series last alarmed; return how many samples of others alarmed.

    :param slot: the row of each series; -1: none. :param needed: of each row, when it last was.
    """
    without = 0
    for i in range(len(row)):
        if score[i] >= ALARM:
            s = slot[row[i]]
            if s < 0:
                without += 1
            else:
                needed[s] = max(needed[s], time[i])
    return without


def reference_keep(
    rows: int, samples: Sequence[tuple[int, int, Sequence[float]]], cell: int, cells: int
) -> Any:
    """Return what `keep` keeps of samples (row, time, columns): the slow, obvious twin.

    :param cell: ms of a stretch. :param cells: how many of the newest stretches are kept.
    """
    kept: list[dict[int, tuple[int, Sequence[float]]]] = [{} for _ in range(rows)]
    for row, time, columns in samples:
        stretch = time // cell
        before = kept[row].get(stretch)
        if before is None or columns[SCORE] >= before[1][SCORE]:
            kept[row][stretch] = (time, columns)
    return [
        {s: one for s, one in each.items() if s > max(each, default=0) - cells} for each in kept
    ]


class Recent:
    """The newest scored samples. One thread adds; any may ask.

    :param rows: series kept at once.
    """

    def __init__(self, rows: int = ROWS) -> None:
        self.state: State | None = None  # the core's own, as it goes on: to look at, not to touch
        self._series = Series()
        self._slot: Slots = np.zeros(0, np.int32)
        self._owner = np.full(rows, -1, np.int64)  # the series of each row
        self._times = np.full((FINES + CELLS, rows), -1, np.int64)
        self._cells = np.empty((FINES + CELLS, rows, len(COLUMNS)))
        self._last = np.full(rows, -1, np.int64)
        self._newest = np.empty((rows, len(COLUMNS)))
        self._needed = np.zeros(rows, np.int64)  # when each was last
        self._used = 0
        self._now = 0
        self._lock = threading.Lock()
        nothing = np.zeros(0, np.int64)
        nobody = nothing.astype(np.uint32)
        need(self._slot, nobody, nothing, np.zeros(0), self._needed)  # compiles
        self._write(nobody, nothing, [np.zeros(0)] * len(COLUMNS))

    def add(self, observed: Observed, state: State) -> None:
        """Keep what was just observed."""
        samples, scores = observed.samples, observed.scores
        if len(samples.row) == 0:
            return
        with self._lock:
            self.state, self._series = state, state.series
            self._now = int(samples.arrived.max())
            self._welcome(len(state.series.entity))
            if need(self._slot, samples.row, samples.time, scores.score, self._needed):
                alarmed = samples.row[scores.score >= ALARM]
                self._make_room(np.unique(alarmed[self._slot[alarmed] < 0]).astype(np.int64))
            self._write(samples.row, samples.time, [getattr(scores, name) for name in COLUMNS])

    def of(self, entity: str) -> list[Sampled]:
        """Return the samples kept of each series of an entity, oldest first.

        A series that gets a row only now has none of them yet, and is left out.
        """
        with self._lock:
            mine = self._of(entity)
            self._make_room(mine[self._slot[mine] < 0][:VIEWED])
            kept = mine[self._slot[mine] >= 0]
            self._needed[self._slot[kept]] = self._now
            spoken = kept[self._last[self._slot[kept]] >= 0]
            return [self._sampled(series) for series in spoken.tolist()]

    def newest(self, entity: str) -> dict[tuple[str, str], Floats]:
        """Return what each series of an entity said last, in order of COLUMNS, by its name."""
        with self._lock:
            mine, names = self._of(entity), self._series
            slots = self._slot[mine].tolist()
            return {
                (names.metrics[series], names.attributes[series]): self._newest[slot].copy()
                for series, slot in zip(mine.tolist(), slots, strict=True)
                if slot >= 0 and self._last[slot] >= 0
            }

    def first(self, count: int) -> list[tuple[tuple[str, str, str], Floats]]:
        """Return what the first series by (entity, metric, attributes) said last, as `newest` does.

        Of those that are kept and have said something lately.
        """
        if count == 0:
            return []
        lately = self._now - HELD
        found = [(one[:3], np.array(one[4:])) for one in self.heard() if one.time > lately]
        return found[:count]

    def heard(self, entity: str | None = None) -> list[Heard]:
        """Return the newest sample of each series that is kept, of one entity or of all, by name.

        The series of one that is asked for are needed, as those that somebody looks at.
        """
        if entity is not None:
            self.of(entity)
        with self._lock:
            names = self._series
            mine = self._owner >= 0 if entity is None else np.isin(self._owner, self._of(entity))
            slots = np.flatnonzero(mine & (self._last >= 0))
            owners, said = self._owner[slots].tolist(), self._newest[slots].tolist()
            times = self._last[slots].tolist()
        return sorted(
            Heard(names.owners[s], names.metrics[s], names.attributes[s], time, *values)
            for s, time, values in zip(owners, times, said, strict=True)
        )

    def places(self, metric: str, attributes: str) -> list[Place]:
        """Return what the series of one name last said, one element an entity that has it."""
        with self._lock:
            series = self._series
            numbers = (series.metrics.number.get(metric), series.attributes.number.get(attributes))
            if None in numbers:
                return []
            codes = (series.metrics.code, series.attributes.code)
            count = min(len(self._slot), *map(len, codes))
            same = (codes[0][:count] == numbers[0]) & (codes[1][:count] == numbers[1])
            found = np.flatnonzero(same & (self._slot[:count] >= 0))
            slots = self._slot[found]
            return [
                Place(series.owners[number], float(self._newest[slot, 0]))
                for number, slot in zip(found.tolist(), slots.tolist(), strict=True)
                if self._last[slot] > self._now - HELD
            ]

    def read(self, chosen: Sequence[tuple[str, str, str]]) -> pa.Table:
        """Return the samples kept of chosen (entity, metric, attributes), as in scores.parquet."""
        wanted = set(chosen)
        found = [
            (entity, one)
            for entity in dict.fromkeys(entity for entity, _, _ in chosen)
            for one in self.of(entity)
            if (entity, one.metric, one.attributes) in wanted
        ]
        tables = [
            pa.table(
                {
                    **_repeated(entity, one),
                    "time": pa.array(one.time, STAMP),
                    **{name: getattr(one, name) for name in COLUMNS},
                    "onset": one.score,
                }
            ).cast(SCORES_FILE)
            for entity, one in found
        ]
        return (
            pa.concat_tables(tables).unify_dictionaries() if tables else SCORES_FILE.empty_table()
        )

    def _of(self, entity: str) -> Times:
        number = self._series.owners.number.get(entity, -1)
        count = len(self._slot)
        return np.flatnonzero(self._series.entity[:count] == number)

    def _welcome(self, count: int) -> None:
        """Give new series a row each, as long as there are some."""
        new = count - len(self._slot)
        if new <= 0:
            return
        first, self._slot = len(self._slot), append(self._slot, np.full(new, -1, np.int32))
        free = np.arange(self._used, min(self._used + new, len(self._owner)), dtype=np.int32)
        self._slot[first : first + len(free)] = free
        self._owner[free] = np.arange(first, first + len(free))
        self._used += len(free)

    def _make_room(self, claims: Times) -> None:
        """Give rows to series that need one, of those that needed theirs longest ago."""
        for series in claims.tolist():
            slot = int(self._needed.argmin())
            if self._needed[slot] >= self._now - HELD:
                return
            if self._owner[slot] >= 0:
                self._slot[self._owner[slot]] = -1
            self._owner[slot], self._slot[series] = series, slot
            self._times[:, slot], self._last[slot], self._needed[slot] = -1, -1, self._now

    def _write(self, row: Rows, time: Times, columns: Sequence[Floats]) -> None:
        keep(
            self._slot, row, time, tuple(columns),
            self._times, self._cells, self._last, self._newest,
        )  # fmt: skip

    def _sampled(self, series: int) -> Sampled:
        slot, names = int(self._slot[series]), self._series
        newest, times = int(self._last[slot]), self._times[:, slot]
        fine = FINES_FIRST[times[:FINES] // FINE > newest // FINE - FINES]
        begin = times[fine].min() // CELL * CELL if len(fine) else newest + 1
        coarse = FINES + np.flatnonzero(
            (times[FINES:] // CELL > newest // CELL - CELLS) & (times[FINES:] < begin)
        )
        there = np.concatenate([coarse, fine])
        there = there[np.argsort(times[there])]
        there = there[times[there] >= 0]
        time, columns = times[there], self._cells[there, slot]
        if len(time) and time[-1] != newest:
            time, columns = np.append(time, newest), np.vstack([columns, self._newest[slot]])
        parts = {name: columns[:, place].copy() for place, name in enumerate(COLUMNS)}
        return Sampled(names.metrics[series], names.attributes[series], time, **parts)


def _repeated(entity: str, one: Sampled) -> dict[str, Any]:
    names = {"entity": entity, "metric": one.metric, "attributes": one.attributes}
    indices = pa.array(np.zeros(len(one.time), np.int32))
    return {
        name: pa.DictionaryArray.from_arrays(indices, pa.array([text]))
        for name, text in names.items()
    }
