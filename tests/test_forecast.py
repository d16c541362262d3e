"""When a series reaches a bound: told where it is clearly on its way, and nowhere else."""

import math
from itertools import combinations
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.reports._forecast import AHEAD, HOUR, LATELY, STRETCH, forecast, medians

NOW = 1_700_000_000_000
MINUTE = 60_000


def course(per_hour, at_now, minutes=180, noise=0.0, seed=7):
    """Return a sample a minute that ends now at a level."""
    time = NOW - MINUTE * np.arange(minutes - 1, -1, -1)
    value = at_now + per_hour * (time - NOW) / HOUR
    return time, value + noise * np.random.default_rng(seed).standard_normal(minutes)


def told(time, value, worse=1, warn=0.8, crit=0.9, now=NOW):
    return forecast(time, value, worse, warn, crit, now)


def test_a_straight_line_reaches_its_bounds_when_it_does():
    goes = told(*course(0.1, 0.6))
    assert goes.level == pytest.approx(0.6)
    assert goes.pace == pytest.approx(0.1)
    assert goes.warn.after == pytest.approx(2 * HOUR, abs=1_000)
    assert goes.crit.after == pytest.approx(3 * HOUR, abs=1_000)
    assert goes.warn.bound == 0.8


def test_what_is_worse_when_it_falls_is_told_as_well():
    goes = told(*course(-2.0, 30.0), worse=-1, warn=20.0, crit=10.0)
    assert goes.pace == pytest.approx(-2.0)
    assert goes.warn.after == pytest.approx(5 * HOUR, abs=1_000)
    assert goes.low <= goes.pace <= goes.high < 0


def test_bursts_move_neither_the_trend_nor_its_interval_much():
    time, value = course(0.1, 0.6, noise=0.002)
    value[::25] = 1.0
    goes = told(time, value)
    assert goes.pace == pytest.approx(0.1, rel=0.1)
    assert goes.warn.soonest <= goes.warn.after <= goes.warn.latest


def test_the_truth_is_within_the_interval_about_as_often_as_is_said():
    courses = (course(0.1, 0.6, noise=0.05, seed=seed) for seed in range(200))
    within = [goes.low <= 0.1 <= goes.high for one in courses if (goes := told(*one))]
    assert len(within) > 150
    assert sum(within) / len(within) > 0.9


@pytest.mark.parametrize(
    ("why", "samples", "more"),
    [
        ("it goes nowhere", course(0.0, 0.6, noise=0.01), {}),
        ("it goes away from its bounds", course(-0.1, 0.6), {}),
        ("it is beyond them", course(0.1, 0.95), {}),
        ("that is farther than a day", course(0.1 / 25, 0.7), {}),
        ("there is too little of it", course(0.1, 0.6, minutes=20), {}),
        ("it has no bounds", course(0.1, 0.6), {"warn": math.nan, "crit": math.nan}),
        ("neither way is worse", course(0.1, 0.6), {"worse": 0}),
        ("it is silent", course(0.1, 0.6), {"now": NOW + LATELY + STRETCH}),
        ("nothing of it is a number", (course(0.1, 0.6)[0], np.full(180, np.nan)), {}),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_nothing_is_foretold_when(why, samples, more):
    assert told(*samples, **more) is None, why


def test_a_rise_that_has_ended_foretells_nothing():
    time, value = course(0.1, 0.6)
    assert told(time, np.minimum(value, 0.55)) is None


def test_between_warn_and_crit_only_crit_is_ahead():
    goes = told(*course(0.1, 0.85))
    assert goes.warn is None
    assert goes.crit.after == pytest.approx(HOUR / 2, abs=1_000)


SERIES = st.lists(
    st.tuples(st.integers(0, 180 * MINUTE), st.integers(0, 1000)), min_size=1, max_size=120
)


@settings(max_examples=100, deadline=None)
@given(SERIES)
def test_medians_and_pace_are_those_of_the_slow_obvious_way(rows):
    time = np.array([at - 180 * MINUTE for at, _ in rows])  # from now
    value = np.array([0.6 + 0.1 * at / HOUR + each / 20_000 for at, each in rows])
    stretches = {}
    for at, each in zip(time.tolist(), value.tolist(), strict=True):
        stretches.setdefault(at // STRETCH, []).append((at, each))
    slow = [
        (sum(at for at, _ in one) / len(one), median(each for _, each in one))
        for _, one in sorted(stretches.items())
    ]
    assert list(zip(*medians(time, value), strict=True)) == [
        (pytest.approx(at), pytest.approx(each)) for at, each in slow
    ]
    goes = told(time + NOW, value, warn=1.1, crit=1.2)
    if goes is not None:
        slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(slow, 2)]
        assert goes.pace == pytest.approx(median(slopes) * HOUR)
        assert 0 < goes.low <= goes.pace <= goes.high
        assert (goes.warn or goes.crit).after <= AHEAD
