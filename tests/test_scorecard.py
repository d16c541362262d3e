"""The scorecard: what a line is worth is lost with it, and what is not known is not held."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper import config
from watchkeeper.errors import ConfigError, StoreVersion
from watchkeeper.health import Evidence, Roster
from watchkeeper.health.scorecard import FAIL, OK, UNKNOWN, WARN, Scorecard
from watchkeeper.testing.health import assess_in_blocks, fleet, same

MINUTE = 60_000
MODEL = Scorecard()
WEIGHTS = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12)


def told(*levels: float | None, deadline: int = 2 * MINUTE) -> Evidence:
    """One tick in which each series says its score; None announces one that has said nothing."""
    score = [0.0 if one is None else one for one in levels]
    until = [0 if one is None else deadline for one in levels]
    count = len(levels)
    return Evidence(
        np.zeros(count, np.int64),
        np.arange(count, dtype=np.uint32),
        np.array(score),
        np.array(until, np.int64),
    )


def assessed(weights, *levels, model=MODEL):
    roster = Roster(np.zeros(len(weights), np.uint32), np.array(weights))
    memory = model.grow(model.fresh(), len(weights), 1)
    return model.assess(memory, told(*levels), np.array([MINUTE]), roster)[1]


def score(weights, *levels) -> float:
    return float(assessed(weights, *levels).health[0, 0])


@st.composite
def cards(draw):
    weights = draw(WEIGHTS)
    level = st.one_of(st.none(), st.floats(0.0, 4.0))
    levels = draw(st.lists(level, min_size=len(weights), max_size=len(weights)))
    return weights, levels, draw(st.integers(0, len(weights) - 1))


@given(cards())
@settings(deadline=None)
def test_a_score_is_what_is_left_of_the_weights(card):
    weights, levels, _ = card
    lost = sum(
        w * (1.0 if s is None else min(1.0, max(0.0, (s - 0.7) / 1.3)))
        for w, s in zip(weights, levels, strict=True)
    )
    found = score(weights, *levels)
    assert 0.0 <= found <= 100.0
    assert found == pytest.approx(100.0 * (1.0 - lost / sum(weights)), abs=1e-9)


@given(cards(), st.floats(0.0, 4.0))
@settings(deadline=None)
def test_a_worse_signal_never_raises_the_score(card, more):
    weights, levels, at = card
    worse = list(levels)
    worse[at] = None if levels[at] is None else levels[at] + more
    assert score(weights, *worse) <= score(weights, *levels)


@given(cards())
@settings(deadline=None)
def test_taking_evidence_away_never_raises_the_score(card):
    weights, levels, at = card
    without = list(levels)
    without[at] = None
    before, after = assessed(weights, *levels), assessed(weights, *without)
    assert after.health[0, 0] <= before.health[0, 0]
    assert after.coverage[0, 0] <= before.coverage[0, 0]


@given(WEIGHTS, st.data())
@settings(deadline=None)
def test_what_fails_or_is_silent_loses_exactly_its_weight(weights, data):
    of = st.sampled_from([0.0, 9.0, None])
    levels = data.draw(st.lists(of, min_size=len(weights), max_size=len(weights)))
    lost = sum(w for w, s in zip(weights, levels, strict=True) if s != 0.0)
    found = score(weights, *levels)
    assert found == pytest.approx(100.0 - 100.0 * lost / sum(weights), abs=1e-9)
    if lost == 0:
        assert found == 100.0
    if all(one != 0.0 for one in levels):
        assert found == 0.0


@given(cards())
@settings(deadline=None)
def test_the_explanation_adds_up_to_all_that_is_lost(card):
    weights, levels, _ = card
    found = assessed(weights, *levels)
    lost = 100.0 - found.health[0, 0]
    points = dict(zip(found.series.tolist(), (found.share * lost).tolist(), strict=True))
    assert sum(points.values()) == pytest.approx(lost, abs=1e-9)
    for series, gone in points.items():
        alone = list[float | None]([0.0] * len(weights))
        alone[series] = levels[series]
        assert 100.0 - score(weights, *alone) == pytest.approx(gone, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 15), max_size=6))
def test_how_ticks_were_cut_into_blocks_does_not_show(seed, cuts):
    evidence, ticks, roster = fleet(seed, 15, 12, 3)
    end, whole = assess_in_blocks(MODEL, evidence, ticks, roster, [])
    end_cut, cut = assess_in_blocks(MODEL, evidence, ticks, roster, cuts)
    assert same(whole, cut)
    assert MODEL.dump(end) == MODEL.dump(end_cut)


def test_evidence_that_grew_old_counts_like_evidence_that_never_came():
    roster = Roster(np.zeros(2, np.uint32), np.array([0.75, 0.25]))
    memory = MODEL.grow(MODEL.fresh(), 2, 1)
    ticks = np.array([1, 2, 3]) * MINUTE
    _, found = MODEL.assess(memory, told(0.0, 0.0), ticks, roster)
    assert found.health[:, 0].tolist() == [100.0, 100.0, 0.0]
    assert found.coverage[:, 0].tolist() == [1.0, 1.0, 0.0]
    assert found.state[:, 0].tolist() == [OK, OK, FAIL]


def test_a_card_of_which_nothing_was_ever_expected_is_unknown():
    nothing = Evidence(*(column[:0] for column in told(0.0)))
    roster = Roster(np.zeros(1, np.uint32), np.ones(1))
    memory = MODEL.grow(MODEL.fresh(), 1, 1)
    _, found = MODEL.assess(memory, nothing, np.array([MINUTE]), roster)
    assert np.isnan(found.health).all()
    assert found.state[0, 0] == UNKNOWN


def test_the_own_score_is_an_alarm_where_the_card_fails():
    assert assessed([0.25, 0.75], 2.0, 0.0).score[0, 0] == 1.0
    assert assessed([0.25, 0.75], 0.0, 0.0).score[0, 0] == 0.0


def test_a_state_is_left_later_than_it_is_entered():
    roster = Roster(np.zeros(4, np.uint32), np.array([0.22, 0.08, 0.04, 0.66]))
    memory = MODEL.grow(MODEL.fresh(), 4, 1)
    states = []
    for tick, levels in enumerate(
        ([9, 9, 0, 0], [9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [9, 0, 0, 0]), 1
    ):
        memory, found = MODEL.assess(
            memory, told(*levels, deadline=99 * MINUTE), np.array([tick * MINUTE]), roster
        )
        states.append(int(found.state[0, 0]))
    assert states == [FAIL, FAIL, WARN, OK, WARN]  # at 70, 78, 92, 96 and 78


def test_a_checkpoint_of_another_model_is_refused():
    blob = MODEL.dump(MODEL.grow(MODEL.fresh(), 2, 1))
    with pytest.raises(StoreVersion, match="noisy_or"):
        MODEL.load(blob.replace(b"scorecard", b"noisy_or", 1))


def test_parameters_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigError, match="fail_clear <= warn_clear"):
        Scorecard(fail_clear=97.0)


def test_a_house_can_be_told_to_use_it():
    loaded = config.load((), {}, "version: 1\nhealth: {type: scorecard, fail: 60}\n")
    assert loaded.rules.health == Scorecard(fail=60.0)
