"""Every detector of the family passes every check; a new file is found without being listed."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from watchkeeper import config, detectors, plugins
from watchkeeper.testing.detectors import Check, detector_checks, telemetry, traits

CHECKS = list(detector_checks())
NEW_FILE = '''
"""Counts half the value as anomaly."""
from dataclasses import dataclass
from typing import ClassVar, NamedTuple
import numpy as np
from watchkeeper.detectors import Scored

class State(NamedTuple):
    nothing: np.ndarray

@dataclass(frozen=True)
class HalfWild:
    version: ClassVar[int] = 1
    state_version: ClassVar[int] = 1
    limit: float = 1e3

    def fresh(self, rows):
        return State(np.zeros((rows, 1)))

    def score(self, state, samples, traits):
        unknown = np.full(len(samples.row), np.nan)
        score = self.reference(samples.time, samples.value, traits)
        return state, Scored(unknown, unknown, unknown, score)

    def reference(self, time, value, traits):
        return np.where(np.isfinite(value) & (value > {limit}) & (value < 1e4), 1.5, 0.0)

plugin = HalfWild
'''


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", plugins.kinds("detectors"))
def test_every_detector_passes_every_check(kind: str, check: Check) -> None:
    check(plugins.load("detectors", kind)())


def drop_in(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> Any:
    (folder / "half_wild.py").write_text(NEW_FILE.replace("{limit}", limit))
    monkeypatch.setattr(detectors, "__path__", [*detectors.__path__, str(folder)])
    monkeypatch.delitem(
        importlib.import_module("sys").modules, "watchkeeper.detectors.half_wild", raising=False
    )
    importlib.invalidate_caches()
    assert "half_wild" in plugins.kinds("detectors")
    return plugins.load("detectors", "half_wild")()


def test_a_new_file_is_a_detector_and_gets_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = drop_in(tmp_path, monkeypatch, "self.limit")
    for check in CHECKS:
        check(detector)


def test_a_new_file_is_picked_up_by_the_configuration_and_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(drop_in(tmp_path, monkeypatch, "self.limit"))
    rules = config.load(
        (), {}, "version: 1\ndetectors: [{type: half_wild, limit: 4000}, {type: absence}]"
    ).rules
    assert isinstance(rules.ensemble.detectors[0], kind)
    assert rules.document["detectors"][0]["type"] == "half_wild"
    again = config.read_rulebook(rules.document)
    ours = telemetry(2, 400)
    ours.value[300] = 5_000.0  # beyond the detector's limit
    _, scores = again.ensemble.score(again.ensemble.fresh(2), ours, traits(2))
    assert scores.score.nonzero()[0].tolist() == [300]
    assert scores.score[300] == 1.5


def test_the_checks_refuse_a_detector_that_alarms_on_ordinary_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = drop_in(tmp_path, monkeypatch, "50.0")
    failed = set()
    for check in CHECKS:
        try:
            check(detector)
        except AssertionError:
            failed.add(check.__name__)
    assert failed == {"check_the_first_samples_are_quiet"}
