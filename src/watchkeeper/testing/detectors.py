"""What it means to be a detector: checks that every plug of the family must pass.

A plug author runs them all with

    for check in detector_checks():
        check(MyDetector())

Each check takes a detector and raises AssertionError with the case in its message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from watchkeeper.detectors import Detector, Samples, Scored
from watchkeeper.detectors._checkpoint import dump, load
from watchkeeper.detectors._ensemble import Ensemble
from watchkeeper.model import Floats, Rows, Times, Traits

Check = Callable[[Detector[Any]], None]

START = 1_700_000_000_000  # ms
MINUTE = 60_000
BYTES_A_SERIES = 1024
DAYS = 9  # long enough that a week's profile is in use


def detector_checks() -> Iterator[Check]:
    """Yield every check of the family."""
    yield check_versions_and_parameters_are_plain
    yield check_kernel_matches_reference
    yield check_batching_does_not_show
    yield check_series_do_not_leak_into_each_other
    yield check_the_order_of_series_does_not_show
    yield check_disjoint_rows_score_in_threads
    yield check_state_survives_checkpoint_and_growth
    yield check_rough_input_stays_finite
    yield check_nan_scores_nothing_and_teaches_nothing
    yield check_a_constant_series_is_quiet
    yield check_the_first_samples_are_quiet
    yield check_the_input_is_left_alone
    yield check_state_is_small


def traits(rows: int, worse: int = 0, warn: float = 110.0, crit: float = 140.0) -> Traits:
    """Return the same traits for every row: gauges that fit `telemetry`."""
    return Traits(
        counter=np.zeros(rows, np.bool_),
        worse=np.full(rows, worse, np.int8),
        low=np.full(rows, -math.inf),
        high=np.full(rows, math.inf),
        warn=np.full(rows, warn),
        crit=np.full(rows, crit),
        weight=np.ones(rows),
    )


def telemetry(rows: int, count: int, seed: int = 7) -> Samples:
    """Return irregular samples of gauges with a day, noise, steps, spikes, ramps, stuck values."""
    noise = np.random.Generator(np.random.PCG64(seed))
    row = np.repeat(np.arange(rows, dtype=np.uint32), count)
    pace = DAYS * 86_400_000 // count
    gaps = noise.integers(pace // 2, 3 * pace // 2, (rows, count))
    time = START + np.cumsum(gaps, axis=1)
    value = 100.0 + 8.0 * np.sin(time / 13_750_987.0) + noise.normal(0.0, 1.0, time.shape)
    for r in range(rows):
        value[r, 2 * count // 3 :] += 20.0 * (r % 3)
        value[r, noise.integers(0, count, count // 200 + 1)] += 60.0
        stuck = int(noise.integers(0, count - count // 8))
        value[r, stuck : stuck + count // 16] = value[r, stuck]
    value[:, count // 2 : count // 2 + count // 8] += np.linspace(0.0, 40.0, count // 8)
    value[0, ::17] = np.nan
    flat = time.astype(np.int64).ravel()
    return Samples(row, flat, flat + 250, value.ravel())


def check_versions_and_parameters_are_plain(detector: Detector[Any]) -> None:
    """Versions are positive, equal parameters make equal detectors, and none can be changed."""
    assert detector.version >= 1
    assert detector.state_version >= 1
    assert type(detector)() == type(detector)()
    assert hash(detector) == hash(type(detector)())


def check_kernel_matches_reference(detector: Detector[Any]) -> None:
    """The kernel gives the scores of its slow, obvious twin, whatever direction is worse."""
    for worse, seed in ((0, 1), (1, 2), (-1, 3)):
        bounds = (90.0, 60.0) if worse < 0 else (110.0, 140.0)
        told = traits(1, worse, *bounds)
        for samples in (telemetry(1, 4000, seed), _scaled(telemetry(1, 500, seed), 1e-3)):
            kernel = run(detector, samples, told).score
            slow = detector.reference(samples.time, samples.value, told)
            np.testing.assert_allclose(kernel, slow, 1e-4, 1e-6, err_msg=f"worse={worse}")


def check_batching_does_not_show(detector: Detector[Any]) -> None:
    """However the samples were cut into batches, scores and state are the same, bit for bit."""
    samples, told = telemetry(3, 300), traits(3)
    whole = run(detector, samples, told)
    for parts in (2, 7, 300):
        state = detector.fresh(3)
        scores = np.full(len(samples.row), np.nan)
        cut = np.tile(np.arange(300) * parts // 300, 3)
        for part in range(parts):
            chosen = cut == part
            state, scored = detector.score(state, take(samples, chosen), told)
            scores[chosen] = scored.score
        assert scores.tobytes() == whole.score.tobytes(), f"in {parts} parts"


def check_series_do_not_leak_into_each_other(detector: Detector[Any]) -> None:
    """A series scores the same alone as among others."""
    samples, told = telemetry(4, 400), traits(4)
    together = run(detector, samples, told).score
    for r in range(4):
        alone = take(samples, samples.row == r)
        got = run(detector, alone._replace(row=np.zeros_like(alone.row)), traits(1)).score
        assert got.tobytes() == together[samples.row == r].tobytes(), f"row {r}"


def check_the_order_of_series_does_not_show(detector: Detector[Any]) -> None:
    """Numbering the series otherwise gives each the same scores."""
    samples, told = telemetry(4, 300), traits(4)
    scores = run(detector, samples, told).score.reshape(4, -1)
    order = np.array([2, 0, 3, 1])
    moved = Samples(samples.row, *(column.reshape(4, -1)[order].ravel() for column in samples[1:]))
    assert run(detector, moved, told).score.tobytes() == scores[order].tobytes()


def check_disjoint_rows_score_in_threads(detector: Detector[Any]) -> None:
    """Slices without a common row run at once on one state, interleaved rows included."""
    samples, told = telemetry(8, 300), traits(8)
    whole = run(detector, samples, told).score
    state, scores = detector.fresh(8), np.full(len(samples.row), np.nan)

    def work(mine: Any) -> None:
        scores[mine] = detector.score(state, take(samples, mine), told)[1].score

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, [samples.row % 2 == 0, samples.row % 2 == 1]))
    assert scores.tobytes() == whole.tobytes()


def check_state_survives_checkpoint_and_growth(detector: Detector[Any]) -> None:
    """Stopping in the middle, storing, loading and making room for more series changes nothing."""
    samples, told = telemetry(3, 400), traits(3)
    ensemble = Ensemble((detector,))
    early = np.tile(np.arange(400) < 170, 3)
    state, _ = ensemble.score(ensemble.fresh(3), take(samples, early), told)
    stored = dump(ensemble, state)
    again = load(ensemble, stored)
    assert dump(ensemble, again) == stored
    grown = ensemble.grow(again, 9)
    _, straight = ensemble.score(state, take(samples, ~early), told)
    _, resumed = ensemble.score(grown, take(samples, ~early), traits(9))
    for name in straight._fields:
        a, b = getattr(straight, name), getattr(resumed, name)
        assert a.tobytes() == b.tobytes(), name


def check_rough_input_stays_finite(detector: Detector[Any]) -> None:
    """NaN, infinities, huge, tiny, denormal and alternating values give finite scores >= 0."""
    rough = [math.nan, math.inf, -math.inf, 1.7e308, -1.7e308, 5e-324, -0.0, 1e-300, 0.0, 2.0**53]
    noise = np.random.Generator(np.random.PCG64(3))
    for value in (
        np.array(rough * 40),
        noise.choice(np.array(rough), 400),
        np.where(np.arange(400) % 2 == 0, 1.7e308, -1.7e308),
        np.full(400, math.nan),
        np.r_[np.full(200, 5e-324), np.full(200, 1e308)],
    ):
        scored = run(detector, _minutes(value), traits(1))
        assert np.isfinite(scored.score).all(), value[:8]
        assert (scored.score >= 0.0).all(), value[:8]
        assert not any(np.isinf(band).any() for band in scored[:3]), value[:8]


def check_nan_scores_nothing_and_teaches_nothing(detector: Detector[Any]) -> None:
    """A series with unreadable samples in between scores as if they had not been."""
    samples, told = telemetry(1, 900, 5), traits(1)
    good = ~np.isnan(samples.value)
    with_nan = run(detector, samples, told).score
    assert (with_nan[~good] == 0.0).all()
    assert with_nan[good].tobytes() == run(detector, take(samples, good), told).score.tobytes()


def check_a_constant_series_is_quiet(detector: Detector[Any]) -> None:
    """A value that never changes is no anomaly."""
    for level in (0.0, 1.0, -273.15, 1e12):
        told = traits(1, 1, 2e12, 3e12)
        assert not run(detector, _minutes(np.full(3000, level)), told).score.any(), level


def check_the_first_samples_are_quiet(detector: Detector[Any]) -> None:
    """With almost nothing learned, ordinary noise does not alarm."""
    noise = np.random.Generator(np.random.PCG64(11))
    for _ in range(20):
        value = 50.0 + noise.normal(0.0, 1.0, 120)
        assert run(detector, _minutes(value), traits(1)).score.max() < 1.0


def check_the_input_is_left_alone(detector: Detector[Any]) -> None:
    """Samples and traits are read only."""
    samples, told = telemetry(2, 200), traits(2)
    before = [column.tobytes() for column in (*samples, *told)]
    run(detector, samples, told)
    assert [column.tobytes() for column in (*samples, *told)] == before


def check_state_is_small(detector: Detector[Any]) -> None:
    """One row a series in every array, and no more than a kibibyte a series in all."""
    for rows in (0, 1, 50):
        state = detector.fresh(rows)
        assert all(len(array) == rows for array in state)
        assert sum(array.nbytes for array in state) <= BYTES_A_SERIES * rows


def run(detector: Detector[Any], samples: Samples, told: Traits) -> Scored:
    """Score all samples with a fresh state."""
    return detector.score(detector.fresh(len(told.worse)), samples, told)[1]


def take(samples: Samples, chosen: Any) -> Samples:
    """Return the chosen samples, in order."""
    return Samples(*(column[chosen] for column in samples))


def _scaled(samples: Samples, factor: float) -> Samples:
    return samples._replace(value=samples.value * factor)


def _minutes(value: Floats) -> Samples:
    time: Times = START + MINUTE * np.arange(len(value), dtype=np.int64)
    row: Rows = np.zeros(len(value), np.uint32)
    return Samples(row, time, time.copy(), value)
