"""Health: the model's conformance, its slow twin, and what operators may rely on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper import plugins
from watchkeeper.errors import ConfigError, CorruptionError, StoreVersion
from watchkeeper.health import Evidence, Health, Roster, _kernel
from watchkeeper.health.noisy_or import NoisyOr
from watchkeeper.model import STATES, State
from watchkeeper.testing.health import (
    assess_in_blocks,
    fleet,
    health_checks,
    part,
    same,
)

MINUTE = 60_000
HOUR = 60 * MINUTE
OK, WARN, FAIL, UNKNOWN = (
    STATES.index(s) for s in (State.OK, State.WARN, State.FAIL, State.UNKNOWN)
)


@pytest.mark.parametrize("check", list(health_checks()), ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", plugins.kinds("health"))
def test_every_health_model_satisfies(kind, check):
    check(plugins.load("health", kind)())


def naive(model: NoisyOr, evidence: Evidence, ticks, roster: Roster, entities: int):
    """The definition, one cell at a time, with dictionaries and math.log."""
    level, deadline, heard = {}, {}, {}
    smooth, state = [0.0] * entities, [UNKNOWN] * entities
    rows, before = [], None
    for t, now in enumerate(ticks.tolist()):
        of_tick = [i for i in range(len(evidence.tick)) if evidence.tick[i] == t]
        for s in {int(evidence.series[i]) for i in of_tick}:
            mine = [i for i in of_tick if evidence.series[i] == s]
            level[s] = max(float(evidence.score[i]) for i in mine)
            deadline[s], heard[s] = int(evidence.deadline[mine[-1]]), now
        keep = 1.0 if before is None else math.exp((before - now) / (model.smoothing_seconds * 1e3))
        before = now
        row = []
        for e in range(entities):
            mine = [s for s in sorted(level) if roster.entity[s] == e]
            present = [s for s in mine if deadline[s] >= now]
            retire = model.retire_hours * HOUR
            expected = [s for s in mine if deadline[s] >= now or now - heard[s] <= retire]
            coverage = len(present) / len(expected) if expected else math.nan
            width = model.severity_full - model.severity_from
            lost = {
                s: float(roster.weight[s])
                * min(1.0, max(0.0, (level[s] - model.severity_from) / width))
                for s in present
            }
            powers = [min(level[s], model.score_cap) ** 4 for s in present]
            target = sum(powers) / len(powers) if powers else 0.0
            smooth[e] = target + keep * (smooth[e] - target)
            health = math.nan
            most = 100.0 * math.prod(1.0 - part for part in lost.values())
            if present and (coverage >= model.coverage_min or most < model.fail):
                health = most
            state[e] = naive_state(model, health, state[e])
            own = smooth[e] ** 0.25 / model.score_alarm
            row.append((health, coverage, own, state[e], lost))
        rows.append(row)
    return rows


def naive_state(model: NoisyOr, health: float, before: int) -> int:
    if math.isnan(health):
        return UNKNOWN
    fail = model.fail_clear if before == FAIL else model.fail
    warn = model.warn_clear if before in (WARN, FAIL) else model.warn
    return FAIL if health < fail else WARN if health < warn else OK


@pytest.mark.parametrize("seed", range(6))
def test_the_kernel_says_what_the_definition_says(seed):
    model = NoisyOr(retire_hours=0.1)
    evidence, ticks, roster = fleet(seed, 30, 8, 3)
    roster = roster._replace(weight=np.minimum(roster.weight, 0.9))
    entities = int(roster.entity.max()) + 1
    _, found = assess_in_blocks(model, evidence, ticks, roster, [])
    for t, row in enumerate(naive(model, evidence, ticks, roster, entities)):
        for e, (health, coverage, score, state, lost) in enumerate(row):
            assert found.health[t, e] == pytest.approx(health, abs=1e-9, nan_ok=True)
            assert found.coverage[t, e] == pytest.approx(coverage, nan_ok=True)
            assert found.score[t, e] == pytest.approx(score, abs=1e-9)
            assert found.state[t, e] == state
            cell = t * entities + e
            shares = slice(found.start[cell], found.start[cell + 1])
            said = dict(
                zip(found.series[shares].tolist(), found.share[shares].tolist(), strict=True)
            )
            total = sum(math.log(1 - part) for part in lost.values())
            wanted = {s: math.log(1 - part) / total for s, part in lost.items() if part > 0}
            assert said == pytest.approx({} if math.isnan(health) else wanted, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 15), max_size=6),
    series=st.integers(1, 40),
)
def test_how_ticks_were_cut_into_blocks_does_not_show(seed, cuts, series):
    model = NoisyOr()
    evidence, ticks, roster = fleet(seed, 15, series, 3)
    end, whole = assess_in_blocks(model, evidence, ticks, roster, [])
    end_cut, cut = assess_in_blocks(model, evidence, ticks, roster, cuts)
    assert same(whole, cut)
    assert model.dump(end) == model.dump(end_cut)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), at=st.integers(1, 14))
def test_series_that_join_later_change_nothing_before_they_speak(seed, at):
    model = NoisyOr()
    evidence, ticks, roster = fleet(seed, 15, 6, 2)
    evidence = Evidence(*(c[(evidence.series < 4) | (evidence.tick >= at)] for c in evidence))
    whole_state = model.grow(model.fresh(), 6, 2)
    _, whole = model.assess(whole_state, evidence, ticks, roster)
    small = Roster(roster.entity[:4], roster.weight[:4])
    state = model.grow(model.fresh(), 4, 2)
    state, first = model.assess(state, part(evidence, 0, at), ticks[:at], small)
    state = model.grow(state, 6, 2)
    _, second = model.assess(state, part(evidence, at, 15), ticks[at:], roster)
    for name in Health._fields[:4]:
        both = np.concatenate([getattr(first, name), getattr(second, name)])
        assert both.tobytes() == getattr(whole, name).tobytes(), name


class House:
    """One entity whose series are told what to say, minute by minute."""

    def __init__(self, weights, **parameters):
        self.model = NoisyOr(**parameters)
        self.roster = Roster(np.zeros(len(weights), np.uint32), np.array(weights, np.float64))
        self.memory = self.model.grow(self.model.fresh(), len(weights), 1)
        self.now = 0

    def say(self, *levels, silence=3 * MINUTE, wait=MINUTE, deadline=None):
        """Assess one tick; None is a silent series. Return (health, coverage, score, state)."""
        self.now += wait
        spoken = [(s, v) for s, v in enumerate(levels) if v is not None]
        until = self.now + silence if deadline is None else deadline
        evidence = Evidence(
            np.zeros(len(spoken), np.int64),
            np.array([s for s, _ in spoken], np.uint32),
            np.array([v for _, v in spoken], np.float64),
            np.full(len(spoken), until, np.int64),
        )
        self.memory, found = self.model.assess(
            self.memory, evidence, np.array([self.now]), self.roster
        )
        self.found = found
        return tuple(
            float(getattr(found, n)[0, 0]) for n in ("health", "coverage", "score", "state")
        )


def test_quiet_signals_leave_health_at_100_without_contributions():
    house = House([0.9, 0.3])
    health, coverage, _, state = house.say(0.2, 0.6)
    assert (health, coverage, state) == (100.0, 1.0, OK)
    assert len(house.found.share) == 0


def test_a_signal_at_the_alarm_threshold_takes_a_quarter_of_its_weight():
    health, *_ = House([1.0]).say(1.0)
    assert health == pytest.approx(100 * (1 - 0.3 / 1.3))


def test_a_signal_at_twice_the_threshold_takes_its_whole_weight():
    health, *_ = House([0.6, 0.3]).say(2.0, 0.0)
    assert health == pytest.approx(40.0)


def test_even_full_weights_leave_shares_that_add_up():
    house = House([1.0, 1.0, 0.3])
    health, *_ = house.say(9.0, 9.0, 9.0)
    assert 0.0 < health < 1e-6
    assert abs(house.found.share.sum() - 1.0) <= 1e-12
    assert house.found.series.tolist() == [0, 1, 2]


def test_many_contributions_are_sorted_like_few():
    levels = [0.7 + 0.01 * ((7 * i) % 40) for i in range(40)]
    house = House([0.1] * 40)
    house.say(*levels)
    share, series = house.found.share.tolist(), house.found.series.tolist()
    assert share == sorted(share, reverse=True)
    assert series == sorted(range(40), key=lambda s: (-levels[s], s))[: len(series)]


def test_a_state_is_left_later_than_it_is_entered():
    house = House([0.5])

    def at(health):
        return house.say(0.7 + 1.3 * (1 - health / 100) / 0.5)[3]

    states = [at(h) for h in (92, 89, 94, 96, 74, 79, 81, 94, 96)]
    assert states == [OK, WARN, WARN, OK, FAIL, FAIL, WARN, WARN, OK]


def test_a_silent_series_keeps_its_word_until_its_deadline():
    house = House([0.6])
    house.say(2.0, silence=2 * MINUTE)
    assert house.say(None)[0] == pytest.approx(40.0)
    assert house.say(None)[0] == pytest.approx(40.0)
    health, coverage, _, state = house.say(None)
    assert math.isnan(health)
    assert (coverage, state) == (0.0, UNKNOWN)


def test_an_absent_series_lowers_coverage_and_never_heals():
    house = House([0.6, 0.3, 0.3])
    house.say(2.0, 0.0, 0.0)
    for _ in range(3):
        house.say(None, 0.0, 0.0)
    health, coverage, _, state = house.say(None, 0.0, 0.0)
    assert coverage == pytest.approx(2 / 3)
    assert (health, state) == (100.0, OK)
    house = House([0.6, 0.3, 0.3])
    house.say(2.0, 0.0, 0.0)
    for _ in range(4):
        health, coverage, _, state = house.say(None, None, 0.0)
    assert math.isnan(health)
    assert state == UNKNOWN


def test_what_is_known_to_be_unwell_is_said_however_little_is_known():
    """The missing could only lower it; so a series of great weight speaks for all."""
    house = House([0.9, 0.6, 0.3, 0.3, 0.3])
    house.say(0.0, 0.0, 0.0, 0.0, 0.0)
    for _ in range(4):
        health, coverage, _, state = house.say(2.0, None, None, None, None)
    assert (coverage, state) == (0.2, FAIL)
    assert health == pytest.approx(10.0)
    for _ in range(4):  # those present leave 85, which is no failure: nothing is known
        health, _, _, state = house.say(0.0, None, 1.35, None, None)
    assert state == UNKNOWN
    assert math.isnan(health)


def test_a_stale_marker_makes_a_series_absent_at_once():
    house = House([0.6])
    house.say(0.0)
    health, coverage, _, state = house.say(0.0, deadline=house.now)
    assert math.isnan(health)
    assert (coverage, state) == (0.0, UNKNOWN)


def test_a_series_is_expected_only_once_it_has_spoken():
    house = House([0.5, 0.5, 0.5, 0.5])
    assert house.say(0.0, None, None, None)[1] == 1.0


def test_a_series_silent_for_a_day_is_no_longer_expected():
    house = House([0.5, 0.5])
    house.say(0.0, 0.0)
    assert house.say(0.0, None, wait=24 * HOUR)[1] == 0.5
    assert house.say(0.0, None)[1] == 1.0


def test_when_everything_is_retired_nothing_is_expected():
    house = House([0.5])
    house.say(0.0)
    assert house.say(None, wait=HOUR)[1] == 0.0
    health, coverage, score, state = house.say(None, wait=25 * HOUR)
    assert math.isnan(health)
    assert math.isnan(coverage)
    assert state == UNKNOWN
    assert score == pytest.approx(0.0, abs=1e-6)


def test_a_long_deadline_keeps_a_rare_series_expected():
    house = House([0.5])
    house.say(0.0, silence=72 * HOUR)
    assert house.say(None, wait=48 * HOUR)[:2] == (100.0, 1.0)


def test_a_tick_takes_the_worst_of_its_samples_and_the_last_deadline():
    model = NoisyOr()
    state = model.grow(model.fresh(), 1, 1)
    evidence = Evidence(
        np.zeros(3, np.int64), np.zeros(3, np.uint32), np.array([0.1, 2.0, 0.3]),
        np.array([9 * MINUTE, 9 * MINUTE, 2 * MINUTE]),
    )  # fmt: skip
    ticks = MINUTE * np.arange(1, 4, dtype=np.int64)
    _, found = model.assess(state, evidence, ticks, Roster(np.zeros(1, np.uint32), np.array([0.6])))
    assert found.health[:2, 0].tolist() == pytest.approx([40.0, 40.0])
    assert math.isnan(found.health[2, 0])


def test_one_gross_sample_of_one_signal_does_not_raise_the_entity_score_to_an_alarm():
    house = House([0.3] * 8)
    house.say(*[0.1] * 8)
    assert house.say(9.0, *[0.1] * 7)[2] < 1.0


def test_a_lasting_anomaly_of_a_few_signals_raises_the_entity_score_to_an_alarm():
    house = House([0.3] * 38)
    for _ in range(30):
        score = house.say(*[1.5] * 5, *[0.2] * 33)[2]
    assert score > 1.0


def test_usual_scores_of_many_signals_do_not_add_up_to_an_alarm():
    house = House([0.3] * 38)
    for _ in range(30):
        score = house.say(*[0.4] * 38)[2]
    assert score < 0.7


def test_the_scale_of_the_entity_score_does_not_depend_on_how_many_signals_there_are():
    few, many = House([0.3] * 4), House([0.3] * 40)
    for _ in range(5):
        left, right = few.say(*[3.0, 0.2] * 2)[2], many.say(*[3.0, 0.2] * 20)[2]
    assert left == pytest.approx(right)


def test_the_first_tick_of_a_house_does_not_cry():
    assert House([0.3]).say(50.0)[2] == 0.0


@pytest.mark.parametrize("score", [math.inf, 1e308, 5e-324, 0.0, math.nan])
def test_extreme_scores_stay_in_range(score):
    house = House([0.9])
    house.say(0.5)
    health, _, own, _ = house.say(score)
    assert 0.0 <= health <= 100.0
    assert math.isfinite(own)


def test_no_ticks_and_no_series_are_fine():
    model = NoisyOr()
    none = np.zeros(0)
    nothing = Evidence(none.astype(np.int64), none.astype(np.uint32), none, none.astype(np.int64))
    roster = Roster(none.astype(np.uint32), none)
    state, found = model.assess(model.fresh(), nothing, np.zeros(0, np.int64), roster)
    assert found.health.shape == (0, 0)
    _, found = model.assess(state, nothing, np.array([1, 2]), roster)
    assert found.start.tolist() == [0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tick": np.array([1, 0])}, "in order of tick"),
        ({"tick": np.array([0, 2])}, "inside the block"),
        ({"tick": np.array([-1, 0])}, "inside the block"),
        ({"series": np.array([0, 9], np.uint32)}, "known series"),
    ],
)
def test_evidence_that_would_write_outside_is_refused(change, said):
    model = NoisyOr()
    state = model.grow(model.fresh(), 2, 1)
    evidence = Evidence(
        np.array([0, 1]), np.array([0, 1], np.uint32), np.zeros(2), np.zeros(2, np.int64)
    )._replace(**change)
    with pytest.raises(AssertionError, match=said):
        model.assess(
            state, evidence, np.array([1, 2]), Roster(np.zeros(2, np.uint32), np.full(2, 0.5))
        )


def test_ticks_never_go_back():
    house = House([0.5])
    house.say(0.0)
    with pytest.raises(AssertionError, match="across blocks"):
        house.say(0.0, wait=0)


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ({"severity_full": 0.5}, "severity_from < severity_full"),
        ({"fail": 85.0}, "fail <= fail_clear"),
        ({"warn_clear": 101.0}, "warn_clear <= 100"),
        ({"coverage_min": 2.0}, "coverage_min <= 1"),
        ({"retire_hours": 0.0}, "retire_hours > 0"),
        ({"smoothing_seconds": math.nan}, "smoothing_seconds > 0"),
        ({"score_cap": -1.0, "score_alarm": 0.0}, "score_cap > 0; score_alarm > 0"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(parameters, rule):
    with pytest.raises(ConfigError) as caught:
        NoisyOr(**parameters)
    assert rule in str(caught.value)
    assert caught.value.hint


def test_a_checkpoint_that_is_not_whole_is_refused():
    model = NoisyOr()
    blob = model.dump(model.grow(model.fresh(), 3, 2))
    for broken in (blob[:-1], blob[:10], b"", blob[:-1] + bytes([blob[-1] ^ 1])):
        with pytest.raises(CorruptionError):
            model.load(broken)
    with pytest.raises(StoreVersion, match="noisy_or/0"):
        model.load(blob.replace(b"noisy_or/1", b"noisy_or/0"))


def test_state_codes_of_the_kernel_are_those_of_the_model():
    codes = (_kernel.OK, _kernel.WARN, _kernel.FAIL, _kernel.UNKNOWN)
    assert codes == (OK, WARN, FAIL, UNKNOWN)
    assert plugins.load("health", "noisy_or")().version == 2
