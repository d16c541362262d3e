"""Samples of many files become blocks of whole ticks, and only the telemetry shows in them."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.core.timeline import SILENT_TICKS, Timeline
from watchkeeper.model import KEYS, SAMPLES, Millis

TICK = Millis(1_000)


def keys(names):
    rows = [{"entity": f"host:{n}", "metric": "m", "attributes": "{}"} for n in names]
    return pa.RecordBatch.from_pylist(rows, KEYS)


def samples(rows):
    columns = list(zip(*rows, strict=True)) if rows else [[], [], []]
    types = (pa.uint32(), pa.int64(), pa.float64())
    return pa.RecordBatch.from_arrays(
        [pa.array(c, t) for c, t in zip(columns, types, strict=True)], schema=SAMPLES
    )


def blocks(batches, entities=3):
    timeline = Timeline(TICK)
    for names, rows in batches:
        timeline.add(keys(names), samples(rows))
    return timeline.keys(), list(timeline.blocks(entities))


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 200_000), st.floats(-5, 5)), min_size=1, max_size=80
)


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_how_the_samples_were_offered_does_not_show(rows, random):
    rows = list({(s, t): (s, t, v) for s, t, v in rows}.values())
    names = ["a", "b", "c", "d"]
    whole = blocks([(names, rows)])
    shuffled = rows[:]
    random.shuffle(shuffled)
    half = len(rows) // 2
    parts = blocks([(names, shuffled[:half]), (names, shuffled[half:])])
    used = blocks([(names[::-1], [(3 - s, t, v) for s, t, v in shuffled])])
    for other in (parts, used):
        assert other[0].equals(whole[0])
        assert len(other[1]) == len(whole[1])
        for one, two in zip(whole[1], other[1], strict=True):
            for left, right in zip(one, two, strict=True):
                np.testing.assert_array_equal(left, right)


@given(ROWS)
@settings(max_examples=60, deadline=None)
def test_every_sample_comes_out_once_in_order_and_before_its_tick(rows):
    _, found = blocks([(["a", "b", "c", "d"], rows)])
    assert sum(len(block.row) for block in found) == len(rows)
    last = -1
    for block in found:
        order = np.lexsort((block.time, block.row))
        np.testing.assert_array_equal(order, np.sort(order))
        assert (np.diff(block.ticks) > 0).all()
        assert block.ticks[0] > last
        assert (block.ticks % TICK == 0).all()
        assert block.time.max() <= block.ticks[-1]
        assert block.time.min() > block.ticks[0] - TICK - SILENT_TICKS * TICK
        last = block.ticks[-1]


def test_equal_times_keep_the_order_in_which_they_were_offered():
    _, (block,) = blocks([(["a"], [(0, 500, 1.0), (0, 500, 2.0), (0, 400, 3.0)])])
    assert block.value.tolist() == [3.0, 1.0, 2.0]


def test_a_long_silence_of_everybody_costs_a_bounded_number_of_ticks():
    year = 365 * 86_400_000
    _, found = blocks([(["a"], [(0, 1_000, 1.0), (0, year, 2.0)])])
    ticks = np.concatenate([block.ticks for block in found])
    assert len(ticks) == 2 + SILENT_TICKS
    assert ticks[-1] == year


def test_a_dense_time_is_cut_into_several_blocks_of_whole_ticks():
    count = 600_000
    time = np.repeat(np.arange(1, 601) * 1_000, 1_000)
    rows = pa.RecordBatch.from_arrays(
        [
            pa.array(np.tile(np.arange(1_000, dtype=np.uint32), 600)),
            pa.array(time),
            pa.array(np.zeros(count)),
        ],
        schema=SAMPLES,
    )
    timeline = Timeline(TICK)
    timeline.add(keys([f"{i:04d}" for i in range(1_000)]), rows)
    found = list(timeline.blocks(1_000))
    assert len(found) == 3
    assert all(len(block.row) <= 1 << 18 for block in found)
    assert [int(block.ticks[0]) for block in found[1:]] == [
        int(block.ticks[-1]) + 1_000 for block in found[:-1]
    ]
