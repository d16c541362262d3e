"""The ensemble: what leads, what is news, what a counter's rate is, and how state is kept."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper import plugins
from watchkeeper.detectors import Samples, _ensemble, _rates, _tail
from watchkeeper.detectors._checkpoint import dump, load
from watchkeeper.detectors._ensemble import (
    MARGIN,
    NO_DEADLINE,
    SPAN,
    Ensemble,
    Scores,
    models,
    name,
    onsets,
)
from watchkeeper.errors import CorruptionError, StoreVersion
from watchkeeper.model import STALE_BITS, Traits
from watchkeeper.testing.detectors import BYTES_A_SERIES, MINUTE, START, take, telemetry, traits

KINDS = ("bounds", "seasonal", "robust", "level_shift", "flatline", "absence")
NO_BOUNDS = {"warn": math.nan, "crit": math.nan}


def of(*kinds: str) -> Ensemble:
    return Ensemble(tuple(plugins.load("detectors", kind)() for kind in kinds))


ALL = of(*KINDS)


def scored(ensemble: Ensemble, samples: Samples, told: Traits) -> Scores:
    return ensemble.score(ensemble.fresh(len(told.worse)), samples, told)[1]


def one(value: Any, step: int = MINUTE) -> Samples:
    value = np.asarray(value, float)
    time = START + step * np.arange(len(value), dtype=np.int64)
    return Samples(np.zeros(len(value), np.uint32), time, time + 5, value)


def counters(rows: int) -> Traits:
    return traits(rows, **NO_BOUNDS)._replace(counter=np.ones(rows, np.bool_))


def noise(count: int, seed: int = 0) -> Any:
    return 50.0 + np.random.Generator(np.random.PCG64(seed)).normal(0.0, 1.0, count)


def identical(a: Scores, b: Scores) -> bool:
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def test_the_strongest_detector_leads_and_lends_its_band() -> None:
    value = noise(2000)
    value[1500] = 130.0
    result = scored(ALL, one(value), traits(1))
    assert result.score[1500] > 1.0
    assert name(ALL.detectors[result.by[1500]]) in {"bounds", "robust", "seasonal", "level_shift"}
    assert result.upper[1500] < 130.0
    calm = slice(1400, 1500)
    assert (result.lower[calm] < value[calm]).all()
    assert (value[calm] < result.upper[calm]).all()
    assert np.isnan(result.expected[:10]).all()


def test_one_incident_is_one_onset_at_any_threshold() -> None:
    value = noise(3000, 3)
    value[2000:2050] += 40.0
    result = scored(ALL, one(value), traits(1, **NO_BOUNDS))
    assert (result.score[2000:2050] > 1.0).sum() > 20
    for threshold in (0.9, 1.0, 1.3):
        news = np.flatnonzero(result.onset[1500:] >= threshold) + 1500
        assert 1 <= len(news) <= 3, (threshold, news)
        assert news[0] == 2000


@given(st.lists(st.floats(0.0, 4.0, width=32), max_size=400))
@settings(max_examples=60, deadline=None)
def test_an_onset_stands_out_from_every_score_of_the_span(scores: list[float]) -> None:
    column = np.array(scores)
    news = onsets(column)
    assert ((news == 0.0) | (news == column)).all()
    for i in np.flatnonzero(news):
        assert news[i] > MARGIN * column[max(0, i - SPAN + 12) : i].max(initial=0.0) * 0.999999


def test_the_onset_kernel_matches_its_slow_twin() -> None:
    samples = telemetry(1, 3000)
    result = scored(ALL, samples, traits(1))
    assert result.onset.tobytes() == onsets(result.score).tobytes()


def test_a_counter_is_scored_as_its_rate_and_a_reset_is_no_fall() -> None:
    total = np.cumsum(np.full(300, 120.0))
    total[200:] -= total[200]
    result = scored(ALL, one(total), counters(1))
    assert np.isnan(result.value[0])
    assert (result.value[1:] >= 0.0).all()
    assert result.value[100] == 2.0
    assert result.value[200] == 0.0


def test_a_32_bit_counter_that_wraps_keeps_its_rate() -> None:
    total = (4294967296 - 6000 + 600.0 * np.arange(30)) % 4294967296
    result = scored(ALL, one(total, 10_000), counters(1))
    assert np.allclose(result.value[1:], 60.0)
    assert not result.score.any()


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**7),
            st.one_of(st.floats(0.0, 1e19), st.just(math.nan), st.floats(0.0, 2.0**33)),
        ),
        max_size=60,
    )
)
@settings(max_examples=100, deadline=None)
def test_rates_match_their_slow_twin_and_are_never_negative(
    steps: list[tuple[int, float]],
) -> None:
    time = START + np.cumsum([0, *(gap for gap, _ in steps)])[1:].astype(np.int64)
    value = np.array([x for _, x in steps], float)
    row = np.zeros(len(value), np.uint32)
    rates = np.empty(len(value))
    _rates.per_second(_rates.fresh(1), row, time, value, np.ones(1, np.bool_), rates)
    np.testing.assert_array_equal(rates, _rates.reference(time, value))
    assert not (rates < 0.0).any()


def test_silence_has_a_deadline_of_three_learned_intervals() -> None:
    result = scored(ALL, one(noise(200), 10_000), traits(1))
    assert result.deadline[0] == START + 5 + 900_000
    assert result.deadline[-1] == START + 5 + 199 * 10_000 + 30_000
    absence = plugins.load("detectors", "absence")()
    arrived = START + np.cumsum(np.random.Generator(np.random.PCG64(1)).integers(0, 9000, 300))
    samples = one(noise(300))._replace(arrived=arrived)
    deadlines = absence.score(absence.fresh(1), samples, traits(1))[1].deadline.tolist()
    assert deadlines == absence.reference_deadlines(arrived)


def test_the_first_sample_after_a_long_silence_is_not_an_anomaly() -> None:
    samples = one(noise(400))
    late = np.where(np.arange(400) >= 300, 86_400_000, 0)
    result = scored(of("absence"), samples._replace(arrived=samples.arrived + late), traits(1))
    assert not result.score.any()


def test_silence_is_nobodys_business_without_absence() -> None:
    result = scored(of("robust"), one(noise(20)), traits(1))
    assert (result.deadline == NO_DEADLINE).all()


@pytest.mark.parametrize("counter", [False, True])
def test_a_stale_marker_ends_the_series_at_once(counter: bool) -> None:
    value = np.arange(50.0)
    value.view(np.int64)[40] = STALE_BITS
    told = traits(1)._replace(counter=np.array([counter]))
    result = scored(ALL, one(value), told)
    assert result.deadline[40] < START + 40 * MINUTE + 5
    assert result.score[40] == 0.0
    assert result.deadline[41] > START + 41 * MINUTE


def test_a_stuck_sensor_is_found_and_a_constant_one_is_not() -> None:
    value = noise(2000)
    value[1500:] = value[1500]
    flat = of("flatline")
    result = scored(flat, one(value), traits(1))
    assert result.score[1510] < 1.0 <= result.score[1600]
    assert result.score[:1500].max() < 1.0
    assert not scored(flat, one(np.full(5000, 3.0)), traits(1)).score.any()
    value[1500:] = 0.0
    assert np.allclose(scored(flat, one(value), traits(1)).score[1600:], result.score[1600:] / 2)


def test_bounds_score_one_at_warn_and_two_at_crit() -> None:
    bounds = of("bounds")
    result = scored(bounds, one([0.5, 0.75, 0.8, 0.85, 0.9, 1.0]), traits(1, 1, 0.8, 0.9))
    assert np.allclose(result.score, [0.0, 0.0, 1.0, 1.5, 2.0, 3.0])
    low = scored(bounds, one([30.0, 20.0, 10.0]), traits(1, -1, 20.0, 10.0))
    assert np.allclose(low.score, [0.0, 1.0, 2.0])
    both = scored(bounds, one([-0.1, 0.1, 0.0]), traits(1, 0, 0.05, 0.1))
    assert np.allclose(both.score, [2.0, 2.0, 0.0])
    state = scored(bounds, one([0.0, 1.0]), traits(1, 1, 1.0, 1.0))
    assert state.score.tolist() == [0.0, 2.0]
    only = scored(bounds, one([80.0, 95.0, 100.0]), traits(1, 1, math.nan, 100.0))
    assert np.allclose(only.score, [0.0, 1.5, 2.0])
    warned = scored(bounds, one([100.0, 110.0]), traits(1, 1, 100.0, math.nan))
    assert np.allclose(warned.score, [1.0, 2.0])


def filling(hours: float, pace: float, seed: int = 0) -> Any:
    count = int(hours * 60)
    ramp = np.maximum(np.arange(count) - 48 * 60, 0) / 60.0 * pace
    return 20.0 + ramp + 0.2 * (noise(count, seed) - 50.0)


def test_a_disk_that_fills_alarms_a_day_before_it_is_full() -> None:
    value = filling(96.0, 1.6)  # crit, 97, is 48 h after the ramp begins
    score = scored(of("bounds"), one(value), traits(1, 1, 96.0, 97.0)).score
    first = int(np.flatnonzero(score >= 1.0)[0]) / 60.0
    assert 70.0 < first < 74.0, first
    assert not score[: 48 * 60].any()
    falling = scored(of("bounds"), one(-value), traits(1, -1, -96.0, -97.0)).score
    assert falling.tobytes() == score.tobytes()


def test_a_daily_rise_is_not_a_forecast() -> None:
    time = np.arange(8 * 1440) / 1440.0
    value = 60.0 + 15.0 * np.sin(2 * math.pi * time) + 0.2 * (noise(len(time)) - 50.0)
    score = scored(of("bounds"), one(value), traits(1, 1, 90.0, 95.0)).score
    assert score[1440:].max() < 1.0


def test_a_gap_ends_a_forecast() -> None:
    samples = one(filling(80.0, 1.6))
    moved = np.where(np.arange(80 * 60) >= 78 * 60, 24 * 3_600_000, 0)
    gap = samples._replace(time=samples.time + moved)
    score = scored(of("bounds"), gap, traits(1, 1, 96.0, 97.0)).score
    assert score[78 * 60 - 1] >= 1.0
    assert score[78 * 60] == 0.0


def test_a_move_to_the_good_side_is_damped() -> None:
    value = noise(1000)
    value[900] -= 30.0
    for kind in ("robust", "seasonal", "level_shift"):
        full, damped, worse = (
            scored(of(kind), one(value), traits(1, side)).score[900] for side in (0, 1, -1)
        )
        assert full == worse > 0.0
        assert damped == pytest.approx(full / 2)


def test_a_learned_day_is_expected_and_its_absence_is_not() -> None:
    minutes = np.arange(12 * 1440)
    daily = 50.0 + 20.0 * np.sin(2 * math.pi * minutes / 1440.0)
    value = daily + (noise(len(minutes)) - 50.0)
    quiet = scored(of("seasonal"), one(value), traits(1))
    late = slice(6 * 1440, None)
    assert np.abs(quiet.expected - daily)[late].mean() < 1.5
    assert quiet.score[late].max() < 1.0
    peak = int(np.argmax(daily[10 * 1440 : 11 * 1440])) + 10 * 1440
    value[peak : peak + 30] = 50.0
    assert scored(of("seasonal"), one(value), traits(1)).score[peak] >= 1.0


def test_a_quiet_weekend_becomes_expected() -> None:
    minutes = np.arange(0, 42 * 1440, 15)
    days = (START // 86_400_000 + minutes // 1440) % 7
    value = np.where(days < 2, 10.0, 40.0) + (noise(len(minutes)) - 50.0)
    result = scored(of("seasonal"), one(value, 15 * MINUTE), traits(1))
    error = np.abs(result.expected - np.where(days < 2, 10.0, 40.0))
    assert error[-7 * 96 :].mean() < 0.75 * error[7 * 96 : 14 * 96].mean()


def test_a_slow_shift_is_found_by_charts_that_see_no_spike() -> None:
    value = noise(4000)
    value[3000:] += 6.0
    result = scored(of("level_shift"), one(value), traits(1, warn=math.nan, crit=math.nan))
    assert result.score[2900:3000].max() < 1.0 <= result.score[3000:3300].max()


def test_threads_batches_and_growth_do_not_show() -> None:
    samples, told = telemetry(6, 400), traits(6)
    whole = scored(ALL, samples, told)
    state = ALL.fresh(2)
    early = np.tile(np.arange(400) < 150, 6)
    first_two = early & (samples.row < 2)
    _, a = ALL.score(state, take(samples, first_two), traits(2))
    state = ALL.grow(state, 6)
    assert ALL.grow(state, 3) is state
    rest = [~first_two & (samples.row % 2 == k) for k in range(2)]
    with ThreadPoolExecutor(2) as threads:
        b, c = threads.map(lambda mine: ALL.score(state, take(samples, mine), told)[1], rest)
    for mine, part in zip([first_two, *rest], [a, b, c], strict=True):
        assert identical(Scores(*(column[mine] for column in whole)), part)


@given(st.integers(1, 1 << 20))
@settings(max_examples=200, deadline=None)
def test_decades_are_exact_at_powers_of_two_and_linear_between(count: int) -> None:
    power = 1 << (count.bit_length() - 1)
    log2 = (count.bit_length() - 1) + (count - power) / power
    assert _tail.decades(float(count)) == pytest.approx(log2 * math.log10(2), rel=1e-15)


def test_series_far_apart_score_as_neighbours_do() -> None:
    near, told = telemetry(40, 60), traits(40)
    far = near._replace(row=near.row * np.uint32(97))
    assert identical(scored(ALL, near, told), scored(ALL, far, traits(40 * 97)))


def test_read_only_columns_score_the_same() -> None:
    samples, told = telemetry(2, 100), traits(2)
    whole = scored(ALL, samples, told)
    for column in (*samples, *told):
        column.flags.writeable = False
    assert identical(whole, scored(ALL, samples, told))


def test_a_checkpoint_is_the_same_bytes_and_goes_on_as_before() -> None:
    samples, told = telemetry(3, 300), traits(3)
    state, _ = ALL.score(ALL.fresh(3), samples, told)
    stored = dump(ALL, state)
    assert stored == dump(ALL, load(ALL, stored))
    more = samples._replace(time=samples.time + 10 * 86_400_000, arrived=samples.arrived + 10**9)
    _, resumed = ALL.score(load(ALL, stored), more, told)
    assert identical(ALL.score(state, more, told)[1], resumed)


@pytest.mark.parametrize("at", [0, 10, 40, 200, -1])
def test_a_damaged_checkpoint_is_refused(at: int) -> None:
    stored = bytearray(dump(ALL, ALL.fresh(2)))
    stored[at] ^= 1
    with pytest.raises(CorruptionError, match="WK301"):
        load(ALL, bytes(stored))
    with pytest.raises(CorruptionError):
        load(ALL, bytes(stored[:30]))


def test_a_checkpoint_of_other_detectors_or_another_layout_is_refused() -> None:
    stored = dump(of("robust"), of("robust").fresh(2))
    with pytest.raises(StoreVersion, match=r"with robust v1, not by .*flatline v1"):
        load(of("flatline"), stored)
    newer = type("Robust", (type(of("robust").detectors[0]),), {"state_version": 2})
    newer.__module__ = "watchkeeper.detectors.robust"
    with pytest.raises(StoreVersion, match="not by layout 2 with robust v2"):
        load(Ensemble((newer(),)), stored)


def test_models_name_what_made_the_scores() -> None:
    listed = models(ALL)
    assert tuple(model["name"] for model in listed) == KINDS
    assert listed[2]["parameters"]["clip"] == 8.0
    assert all(len(model["digest"]) == 64 for model in listed)
    wider = Ensemble((type(ALL.detectors[2])(clip=9.0),))
    assert models(wider)[0]["digest"] != listed[2]["digest"]


def test_the_default_set_fits_in_a_kibibyte_a_series() -> None:
    few, many = (ALL.fresh(rows) for rows in (100, 200))
    size = sum(array.nbytes for part in (*few.parts, few.rates) for array in part)
    assert (size + few.alarms.nbytes) / 100 <= BYTES_A_SERIES
    assert len(dump(ALL, many)) < 200 * BYTES_A_SERIES


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=200))
@settings(max_examples=60, deadline=None)
def test_no_input_gives_a_score_that_is_not_a_number(values: list[float]) -> None:
    for told in (traits(1), counters(1)):
        result = scored(ALL, one(values), told)
        assert np.isfinite(result.score).all()
        assert (result.score >= 0.0).all()
        assert (result.onset <= result.score).all()


@given(
    score=st.floats(0, 50),
    value=st.floats(-100, 100) | st.just(float("nan")),
    expected=st.floats(-100, 100) | st.just(float("nan")),
    worse=st.sampled_from([-1, 0, 1]),
    warn=st.floats(-100, 100) | st.just(float("nan")),
)
@settings(max_examples=300, deadline=None)
def test_tempering_agrees_with_its_twin_and_never_raises_a_score(
    score, value, expected, worse, warn
):
    found = _ensemble._temper(score, value, expected, worse, warn)
    assert found == _ensemble.tempered(score, value, expected, worse, warn)
    assert found <= score


def test_a_rare_value_far_from_warn_is_no_alarm_and_one_beyond_it_is():
    told = {"expected": 0.0, "worse": 1, "warn": 1.0}
    assert _ensemble.tempered(9.0, 1 / 60, **told) < 1.0
    assert _ensemble.tempered(9.0, 0.2, **told) > 1.0
    assert _ensemble.tempered(9.0, 1.5, **told) == 9.0
    assert _ensemble.tempered(9.0, 1 / 60, 0.0, 1, float("nan")) == 9.0
