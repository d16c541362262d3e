"""The newest samples in memory: what is kept, what is let go, and within which bound."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.core import Observed
from watchkeeper.core.state import Arrived, Series
from watchkeeper.detectors import Samples
from watchkeeper.detectors._ensemble import Scores
from watchkeeper.live._recent import (
    BYTES,
    CELL,
    CELLS,
    COLUMNS,
    FINE,
    FINES,
    HELD,
    ROWS,
    Recent,
    need,
    reference_keep,
)
from watchkeeper.model import KEYS, Counts

NOW = 1_700_000_000_000


class Seen:
    """A state as far as `Recent` looks at it."""

    def __init__(self, *keys):
        self.series = Series()
        self.more(*keys)

    def more(self, *keys):
        rows = [dict(zip(KEYS.names, (*key, "{}")[:3], strict=True)) for key in keys]
        self.series.add(pa.RecordBatch.from_pylist(rows, KEYS))


def observed(*rows):
    """Samples (series, time, value, score), as the core hands them on."""
    rows = sorted(rows)
    series, time, value, score = (np.array(column) for column in zip(*rows, strict=True))
    value, score = value.astype(float), score.astype(float)
    count = len(rows)
    deadline, by = np.zeros(count, np.int64), np.zeros(count, np.uint8)
    scores = Scores(value, value, value - 1, value + 1, score, score, deadline, by)
    arrived = np.full(count, time.max())
    samples = Samples(series.astype(np.uint32), time, arrived, value)
    evidence = Arrived(arrived, samples.row, score, deadline)
    return Observed(samples, scores, Counts(), evidence)


def kept(recent, entity):
    return {
        one.metric: list(zip(one.time.tolist(), one.value.tolist(), strict=True))
        for one in recent.of(entity)
    }


def test_of_each_stretch_the_oddest_sample_is_kept_and_the_newest_besides():
    recent, state = Recent(4), Seen(("host:a", "cpu"))
    begin = NOW // CELL * CELL
    recent.add(
        observed((0, begin, 1, 0.1), (0, begin + 10, 9, 2.0), (0, begin + 20, 1, 0.3)), state
    )
    recent.add(observed((0, begin + 30, 2, 0.2)), state)
    assert kept(recent, "host:a") == {"cpu": [(begin + 10, 9.0), (begin + 30, 2.0)]}


def test_what_is_older_than_the_window_goes():
    recent, state = Recent(4), Seen(("host:a", "cpu"))
    for minute in range(CELLS + 20):
        recent.add(observed((0, NOW + minute * CELL, minute, 0)), state)
    (series,) = recent.of("host:a")
    assert series.value.tolist() == list(range(20, CELLS + 20))
    recent.add(observed((0, NOW + 10 * CELLS * CELL, 7, 0)), state)
    (series,) = recent.of("host:a")
    assert series.value.tolist() == [7.0]


def test_the_last_minutes_are_told_closely_and_the_hours_before_coarsely():
    recent, state = Recent(4), Seen(("host:a", "cpu"))
    begin = NOW // CELL * CELL
    times = [begin + step * FINE for step in range(3 * CELL * CELLS // FINE // 2)]
    for time in times:
        recent.add(observed((0, time, time - begin, 0)), state)
    (series,) = recent.of("host:a")
    assert (np.diff(series.time) > 0).all()
    assert series.time[-FINES:].tolist() == times[-FINES:]
    assert len(series.time) <= FINES + CELLS
    assert series.time[-1] - series.time[0] == pytest.approx(CELL * CELLS, abs=2 * CELL)
    assert set(np.diff(series.time[: -FINES - 1]).tolist()) == {CELL}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2_000), st.integers(0, 3)),
        min_size=1, max_size=80, unique_by=lambda one: one[:2],
    ),
    st.integers(1, 60),
)  # fmt: skip
def test_the_kernel_keeps_what_its_slow_twin_keeps(rows, cut):
    state = Seen(("host:a", "0"), ("host:a", "1"), ("host:a", "2"))
    samples = [(row, NOW + step * (FINE // 2), step, odd / 2) for row, step, odd in sorted(rows)]
    recent = Recent(4)
    by_time = sorted(samples, key=lambda one: (one[1], one[0]))
    for part in (by_time[:cut], by_time[cut:]):
        if part:
            recent.add(observed(*part), state)
    told = [(row, at, (value, value, value - 1, value + 1, odd)) for row, at, value, odd in samples]
    fine, coarse = reference_keep(3, told, FINE, FINES), reference_keep(3, told, CELL, CELLS)
    newest = {row: (at, columns) for row, at, columns in told}
    for one in recent.of("host:a"):
        mine = int(one.metric)
        expected = dict(fine[mine].values())
        begin = min(expected, default=0) // CELL * CELL
        expected |= {at: columns for at, columns in coarse[mine].values() if at < begin}
        expected |= dict([newest[mine]]) if mine in newest else {}
        got = zip(*(getattr(one, name).tolist() for name in COLUMNS), strict=True)
        assert dict(zip(one.time.tolist(), got, strict=True)) == expected


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.sampled_from([0.9, 1.0, 2, np.nan]))
    )
)
def test_a_row_is_needed_as_lately_as_its_series_alarmed(said):
    row, time, score = (
        (np.array(column) for column in zip(*said, strict=True)) if said else [()] * 3
    )
    slot, needed = np.array([1, -1, 0, -1], np.int32), np.full(2, 5)
    without = need(
        slot, np.array(row, np.uint32), np.array(time, np.int64), np.array(score, float), needed
    )
    alarmed = [(slot[r], t) for r, t, s in said if s >= 1]
    assert without == sum(s < 0 for s, _ in alarmed)
    assert needed.tolist() == [max([5, *(t for s, t in alarmed if s == place)]) for place in (0, 1)]


def test_when_rows_run_out_an_alarming_series_takes_one_that_nobody_needs():
    recent, state = Recent(2), Seen(("host:a", "cpu"), ("host:b", "cpu"), ("host:c", "cpu"))
    recent.add(observed(*((row, NOW, row, 0) for row in range(3))), state)
    assert [bool(kept(recent, f"host:{name}")) for name in "ab"] == [True, True]
    later = NOW + HELD + 1
    recent.add(observed((0, later, 5, 0), (2, later, 9, 1.5)), state)
    assert kept(recent, "host:c") == {"cpu": [(later, 9.0)]}
    there = [name for name in "ab" if kept(recent, f"host:{name}")]
    assert len(there) <= 1 or recent.of("host:c") == []


def test_an_entity_that_is_looked_at_gets_rows_from_then_on():
    recent, state = Recent(1), Seen(("host:a", "cpu"), ("host:b", "cpu"))
    recent.add(observed((0, NOW, 1, 0), (1, NOW, 2, 0)), state)
    later = NOW + HELD + 1
    recent.add(observed((0, later, 1, 0), (1, later, 2, 0)), state)
    assert recent.of("host:b") == []  # a row, and nothing in it yet
    recent.add(observed((1, later + 5, 3, 0)), state)
    assert kept(recent, "host:b") == {"cpu": [(later + 5, 3.0)]}


def test_a_series_that_alarmed_lately_keeps_its_row_whoever_asks():
    recent, state = Recent(1), Seen(("host:a", "cpu"), ("host:b", "cpu"))
    recent.add(observed((0, NOW, 1, 3.0), (1, NOW, 2, 3.0)), state)
    assert kept(recent, "host:b") == {}
    assert kept(recent, "host:a") == {"cpu": [(NOW, 1.0)]}


def test_memory_is_bounded_in_bytes():
    recent = Recent()
    arrays = [part for part in vars(recent).values() if isinstance(part, np.ndarray)]
    assert ROWS > 8_000
    assert sum(part.nbytes for part in arrays) < BYTES * 1.02


def test_peers_are_told_by_their_newest_value():
    recent = Recent(8)
    state = Seen(
        ("host:a", "cpu"), ("host:b", "cpu"), ("host:c", "mem"), ("host:d", "cpu", '{"x":"1"}')
    )
    recent.add(observed(*((row, NOW, row, 0) for row in range(4))), state)
    assert recent.places("cpu", "{}") == [("host:a", 0.0), ("host:b", 1.0)]
    assert recent.places("disk", "{}") == []


@pytest.mark.parametrize("chosen", [[], [("host:a", "cpu", "{}")], [("host:x", "cpu", "{}")]])
def test_samples_are_told_as_results_hold_them(chosen):
    recent, state = Recent(4), Seen(("host:a", "cpu"), ("host:a", "mem"))
    assert recent.read(chosen).num_rows == 0
    recent.add(observed((0, NOW, 1, 0), (1, NOW, 2, 0)), state)
    table = recent.read(chosen)
    assert [row["value"] for row in table.to_pylist()] == (
        [1.0] if chosen[:1] == [("host:a", "cpu", "{}")] else []
    )


def test_the_first_series_by_name_are_told_as_they_spoke_last_and_no_more_than_asked_for():
    recent = Recent(8)
    state = Seen(("host:b", "cpu"), ("host:a", "mem"), ("host:a", "cpu"), ("host:0", "cpu"))
    recent.add(observed((3, NOW, 5, 0)), state)
    recent.add(observed((0, NOW, 1, 0), (1, NOW, 2, 0.5), (2, NOW, 3, 0)), state)
    later = NOW + HELD  # host:0 has been silent for too long by then
    recent.add(observed((0, later, 1, 0), (1, later, 4, 1.5), (2, later, 3, 0)), state)
    told = recent.first(2)
    assert [name for name, _ in told] == [("host:a", "cpu", "{}"), ("host:a", "mem", "{}")]
    assert told[1][1].tolist() == [4.0, 4.0, 3.0, 5.0, 1.5]
    assert len(recent.first(9)) == 3
    assert recent.first(0) == []
