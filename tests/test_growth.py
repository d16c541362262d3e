"""State that grows: what a fleet was enrolled in does not show, and nothing old is disturbed."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
import pytest
from benchmarks.growth import START, House, keys, measure
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper import config, core
from watchkeeper.core import checkpoint
from watchkeeper.core.state import KEEP_EVERY, Series, Texts
from watchkeeper.health import Evidence, Roster
from watchkeeper.health.noisy_or import NoisyOr
from watchkeeper.ledger._saver import REST, Saver
from watchkeeper.model import KEYS, ROWS, append

MINUTE = 60_000
NONE = np.zeros(0, np.uint32)


@pytest.fixture(scope="module")
def rulebook():
    return config.load((), {}, "version: 1\ntick: 1s\nsources: []\n").rules


def grown(rulebook, portions):
    """A house whose series came in portions, at rest after it has heard each of them twice."""
    house = House(rulebook)
    for first, count in zip(itertools.accumulate([0, *portions]), portions, strict=False):
        house.carry(house.entry(keys(first, count), NONE))
    total = np.arange(sum(portions), dtype=np.uint32)
    house.at = START + 100_000  # however many entries there were
    house.state = core.resume(rulebook, house.state, house.at)
    house.random = np.random.default_rng(7)
    for _ in range(2):
        house.carry(house.entry(keys(0, 0), total))
    house.carry(house.entry(keys(0, 0), NONE))
    return house


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 199), max_size=4, unique=True).map(sorted))
def test_the_portions_in_which_series_came_do_not_show(cuts):
    rulebook = config.load((), {}, "version: 1\ntick: 1s\nsources: []\n").rules
    whole = grown(rulebook, [200])
    edges = [0, *cuts, 200]
    cut = grown(rulebook, [b - a for a, b in itertools.pairwise(edges)])
    for name in ("last", "traits", "detectors"):
        ours, theirs = (flat(getattr(one.state, name)) for one in (whole, cut))
        assert all(a.tobytes() == b.tobytes() for a, b in zip(ours, theirs, strict=True)), name
    assert whole.state.series.keys == cut.state.series.keys
    assert rulebook.health.dump(whole.state.health) == rulebook.health.dump(cut.state.health)


def flat(value):
    if isinstance(value, tuple):
        return [one for part in value for one in flat(part)]
    return [np.asarray(value)]


@given(
    portions=st.lists(st.integers(0, 60), max_size=12),
    text=st.lists(st.sampled_from(["a", "b", "host:x", ""]), min_size=1, max_size=9),
)
def test_a_column_of_texts_is_the_list_of_its_rows(portions, text):
    column, rows = Texts(), []
    for portion in portions:
        more = (text * portion)[:portion]
        column.add(pa.array(more, pa.string()))
        rows += more
        for one in text:
            assert column.rows(one).tolist() == [i for i, own in enumerate(rows) if own == one]
    assert list(column) == rows
    assert len(column) == len(rows)
    assert column[:3] == rows[:3]
    assert column.words == list(dict.fromkeys(rows))
    assert column.encoded().to_pylist() == rows
    every = np.arange(len(rows), dtype=np.uint32)
    assert column.matches("a", every).tolist() == [own == "a" for own in rows]
    assert column.rows("never said").tolist() == []
    if rows:
        assert column[len(rows) - 1] == rows[-1]


def test_a_frozen_column_does_not_grow():
    column = Texts()
    column.add(pa.array(["a", "b"]))
    frozen = column.frozen()
    column.add(pa.array(["c"]))
    assert (list(frozen), list(column)) == (["a", "b"], ["a", "b", "c"])


def test_a_growing_column_keeps_its_content_and_moves_seldom():
    column, places = np.zeros((0, 2), np.float32), set()
    for n in range(0, 3 * ROWS, 64):
        column = append(column, np.full((64, 2), n, np.float32))
        places.add(column.ctypes.data)
    assert len(places) == 2
    assert column[:, 0].tolist() == [n // 64 * 64 for n in range(3 * ROWS)]
    assert column.flags.c_contiguous
    assert column.flags.writeable


def test_a_plain_slice_is_never_grown_into_what_lies_behind_it():
    whole = append(np.zeros(0), np.arange(10.0))
    head = append(whole[:5], np.full(2, -1.0))
    assert whole.tolist() == list(range(10))
    assert head.tolist() == [0, 1, 2, 3, 4, -1, -1]


def test_entities_are_numbered_as_they_first_appear():
    series = Series()
    for names in (["b", "a", "b"], ["c", "a"]):
        rows = [{"entity": f"host:{n}", "metric": "m", "attributes": "{}"} for n in names]
        series.add(pa.RecordBatch.from_pylist(rows, KEYS))
    assert series.entities == ["host:b", "host:a", "host:c"]
    assert series.entity.tolist() == [0, 1, 0, 2, 1]
    (keys,) = series.keys
    assert keys["entity"].to_pylist() == ["host:b", "host:a", "host:b", "host:c", "host:a"]


def test_a_checkpoint_goes_on_as_if_nothing_had_been(rulebook):
    house = grown(rulebook, [90, 30])
    kept = checkpoint.dump(rulebook, house.state)
    _, again = checkpoint.load(kept, lambda _document: rulebook)
    assert checkpoint.dump(rulebook, again).body == kept.body
    other = House(rulebook)
    other.state, other.offset, other.at = again, house.offset, house.at
    for one in (house, other):
        one.random = np.random.default_rng(3)
        one.carry(one.entry(keys(120, 40), NONE))
        one.carry(one.entry(keys(0, 0), np.arange(160, dtype=np.uint32)))
        one.carry(one.entry(keys(0, 0), NONE))
    assert (
        checkpoint.dump(rulebook, other.state).body == checkpoint.dump(rulebook, house.state).body
    )


def test_a_copy_stays_as_it_was_and_gives_its_room_to_the_next(rulebook):
    house = grown(rulebook, [50])
    first = checkpoint.copied(checkpoint.picture(rulebook, house.state), None)
    body = b"".join(checkpoint.pieces(first))
    assert body == checkpoint.dump(rulebook, house.state).body
    house.carry(house.entry(keys(50, 10), np.arange(50, dtype=np.uint32)))
    house.carry(house.entry(keys(0, 0), NONE))
    assert b"".join(checkpoint.pieces(first)) == body
    again = checkpoint.copied(checkpoint.picture(rulebook, house.state), first)
    assert b"".join(checkpoint.pieces(again)) == checkpoint.dump(rulebook, house.state).body
    assert np.shares_memory(again.columns.detectors.alarms, first.columns.detectors.alarms)
    fewer = checkpoint.copied(checkpoint.picture(rulebook, grown(rulebook, [9]).state), again)
    assert len(fewer.columns.last) == 9


def test_each_entity_is_kept_once_a_minute_and_not_all_in_one_tick(rulebook):
    house = grown(rulebook, [40 * 30])
    times = {}
    for _ in range(150):
        entry = house.entry(keys(0, 0), np.arange(1200, dtype=np.uint32))
        house.state, steps, _ = core.close(rulebook, house.state, entry)
        house.state, _ = core.take(rulebook, house.state, [entry], house.engine)
        for step in steps:
            for one in step.health:
                times.setdefault(one.entity, []).append(one.time)
    assert len(times) == 30
    for kept in times.values():
        assert 2 <= len(kept) <= 4
        assert max(np.diff(kept)) <= KEEP_EVERY
    every = [tick for kept in times.values() for tick in kept[1:]]
    assert max(every.count(tick) for tick in every) <= 2


def test_other_weights_count_from_the_next_tick_on_also_for_the_silent():
    model = NoisyOr()
    roster = Roster(np.zeros(2, np.uint32), np.array([0.6, 0.3]))
    state = model.grow(model.fresh(), 2, 1)
    spoken = Evidence(
        np.zeros(1, np.int64), np.array([0], np.uint32), np.full(1, 2.0), np.full(1, 9 * MINUTE)
    )
    state, found = model.assess(state, spoken, np.array([MINUTE]), roster)
    assert found.health[0, 0] == pytest.approx(40.0)
    state = model.load(model.dump(state))
    nothing = Evidence(*(column[:0] for column in spoken))
    _, found = model.assess(
        state, nothing, np.array([2 * MINUTE]), roster._replace(weight=np.array([0.3, 0.3]))
    )
    assert found.health[0, 0] == pytest.approx(70.0)


def test_adopting_other_contracts_changes_what_an_entity_at_rest_has_lost(rulebook):
    house = grown(rulebook, [4])
    house.state.health.level[:] = 2.0
    house.state.health = rulebook.health.load(rulebook.health.dump(house.state.health))
    house.carry(house.entry(keys(0, 0), NONE))
    before = house.state.health.product[0]
    calm = tuple(
        one.model_copy(
            update={"metrics": tuple(m.model_copy(update={"weight": "low"}) for m in one.metrics)}
        )
        for one in rulebook.contracts
    )
    other = dataclasses.replace(rulebook, contracts=calm)
    house.state, house.rulebook = core.adopt(rulebook, other, house.state), other
    house.carry(house.entry(keys(0, 0), NONE))
    assert before < house.state.health.product[0] < 1.0


def test_a_signal_is_asked_for_before_the_block_is_settled(rulebook):
    house = grown(rulebook, [8])
    entry = house.entry(keys(0, 0), NONE)
    _, _, concluded = core.close(rulebook, house.state, entry)
    with pytest.raises(AssertionError, match="settled"):
        concluded.panel.signal("queue.depth")
    with pytest.raises(AssertionError, match="settled"):
        concluded.panel.settle()


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_keeping_rests_twenty_times_as_long_as_it_took():
    clock, kept = Clock(), []

    def keep(picture):
        clock.now += 3.0
        kept.append(picture)

    saver = Saver(lambda now, room: (now, room), keep, clock)
    assert saver.ready()
    assert not saver.go_on("first")  # only makes room
    assert not saver.finish()
    assert saver.ready()
    assert saver.go_on("second")
    assert saver.finish()
    assert not saver.finish()
    assert [picture[0] for picture in kept] == ["second"]
    assert not saver.ready()
    clock.now = 3.0 * REST
    assert saver.ready()


def test_what_went_wrong_beside_the_work_is_raised_in_it():
    def keep(_picture):
        raise OSError("no space")

    saver = Saver(lambda now, _room: now, keep, Clock())
    saver.go_on("room")
    saver.finish()
    saver.go_on("picture")
    with pytest.raises(OSError, match="no space"):
        saver.finish()
    assert saver.ready()


def test_the_benchmark_of_growth_measures():
    figures = dataclasses.asdict(measure(400, 3))
    assert figures["series"] == 400
    assert all(value > 0 for name, value in figures.items() if name != "bytes_per_series")
