import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.simulate import _noise

_spec = importlib.util.spec_from_file_location("naive", Path(__file__).with_name("naive.py"))
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

STREAMS = st.integers(0, 2**64 - 1)
TICKS = st.integers(-(2**40), 2**40)


@given(STREAMS, TICKS)
def test_the_hash_is_splitmix64_as_published(stream, tick):
    assert int(_noise.mix(np.uint64(stream), tick)) == naive.mix(stream, tick)


@given(STREAMS, TICKS)
def test_uniform_numbers_match_the_slow_twin_and_never_touch_zero_or_one(stream, tick):
    u = _noise.uniform(np.uint64(stream), tick)
    assert u == naive.uniform(stream, tick)
    assert 0.0 < u < 1.0


@given(st.floats(1e-16, 1 - 1e-16))
def test_the_normal_quantile_is_right_to_six_digits(p):
    expected = naive.NormalDist().inv_cdf(p)
    assert _noise.quantile(p) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.floats(-1e4, 1e4))
def test_the_sine_agrees_with_the_c_library(turns):
    part = turns - math.floor(turns)
    assert _noise.sine(turns) == pytest.approx(math.sin(2 * math.pi * part), abs=1e-12)


@given(STREAMS, st.floats(-1e6, 1e6))
def test_smooth_noise_matches_its_slow_twin(stream, position):
    expected = naive.wander(stream, position)
    assert _noise.wander(np.uint64(stream), position) == pytest.approx(expected, abs=1e-5)


@given(STREAMS, st.floats(0.0, 0.95), st.integers(0, 2000), st.integers(1, 600))
def test_a_slice_of_autoregression_is_the_same_as_cut_from_the_whole(stream, phi, first, count):
    whole, part = np.empty(first + count), np.empty(count)
    _noise.autoregression(np.uint64(stream), phi, 0, whole)
    _noise.autoregression(np.uint64(stream), phi, first, part)
    assert part.tobytes() == whole[first:].tobytes()


@given(STREAMS, st.integers(0, 1000))
def test_autoregression_matches_its_slow_twin(stream, tick):
    out = np.empty(1)
    _noise.autoregression(np.uint64(stream), 0.9, tick, out)
    assert out[0] == pytest.approx(naive.autoregression(stream, 0.9, tick), abs=1e-4)


def test_autoregression_has_the_moments_asked_for_across_segments():
    out = np.empty(200_000)
    _noise.autoregression(_noise.key("moments"), 0.9, 0, out)
    assert abs(out.mean()) < 0.03
    assert out.std() == pytest.approx(1.0, abs=0.02)
    assert np.corrcoef(out[1:], out[:-1])[0, 1] == pytest.approx(0.9, abs=0.005)
    joins = np.abs(np.diff(out))[255::256]
    assert joins.mean() == pytest.approx(np.abs(np.diff(out)).mean(), rel=0.15)


def test_streams_of_neighbouring_keys_are_unrelated():
    a, b = np.empty(50_000), np.empty(50_000)
    _noise.autoregression(_noise.key(1, "host:a"), 0.0, 0, a)
    _noise.autoregression(_noise.key(1, "host:b"), 0.0, 0, b)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
