"""Several detectors as one: the strongest evidence leads, and one incident is one onset.

Each detector's score is already in units of the alarm threshold and calibrated on its own series,
so the combined score is simply the largest; what is rare but far from harmful by its contract is
tempered first. `onset` is the score where an alarm would be new: a
sample whose score stands out from every score of the last `SPAN` samples; 0 elsewhere. That needs
no threshold, so it holds for whichever one a reader picks.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.detectors import Detector, Samples, _rates
from watchkeeper.detectors._prefetch import AHEAD, prefetch
from watchkeeper.model import Floats, Times, Traits, append, digest

NO_DEADLINE = (1 << 63) - 1
BLOCKS, BLOCK = 8, 12  # an alarm is remembered for 7 to 8 blocks of 12 samples
SPAN = BLOCKS * BLOCK
CHUNK = 32_768  # samples scored at a time, so that what lies between the detectors stays in cache
NOTABLE = 0.5  # below, the first band in order is shown, or bands would flicker
SPARED = 0.7  # a score that no contract lowers: what takes nothing from health
AWAY = 0.8  # the most that a move to the harmless side can score
MARGIN = 1.1  # by this factor a score must exceed those of the span to be news
AT, FILLED = BLOCKS, BLOCKS + 1  # columns of the alarms behind the largest score of each block

Alarms = npt.NDArray[np.float32]


class Scores(NamedTuple):
    """One element a sample; NaN while not known. All but `deadline` and `by` are float64."""

    value: Floats  # what was scored: the rate for counters
    expected: Floats
    lower: Floats
    upper: Floats
    score: Floats  # 1.0 is the alarm threshold
    onset: Floats  # the same once an incident, 0 while it lasts
    deadline: Times  # silence until then is normal, ms; NO_DEADLINE when nobody judges silence
    by: npt.NDArray[np.uint8]  # index of the detector that led


class Memory(NamedTuple):
    """The state of every detector in order, of the counters, and of the alarms."""

    parts: tuple[tuple[Any, ...], ...]
    rates: _rates.State
    alarms: Alarms


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _temper(score: float, value: float, expected: float, side: int, warn: float) -> float:
    """Let a rare value count by how far it has come from what was expected towards warn.

    One error a minute where there never was any is rare, and far from the one a second at which
    people begin to care. A move away from harm is worth knowing, and no alarm. A series whose
    contract names no warn, or that is beyond it, keeps its score.
    """
    if score <= SPARED or math.isnan(expected) or math.isnan(value):
        return score
    if side * (value - expected) < 0.0:
        return min(score, AWAY)
    if side == 0:
        expected, value, side = abs(expected), abs(value), 1
    gone, way = side * (value - expected), side * (warn - expected)
    if way > 0.0 and 0.0 < gone < way:
        root = math.sqrt(gone / way)  # to the power 3/4, in operations that round alike
        return min(score, SPARED + (2.0 - SPARED) * root * math.sqrt(root))
    return score


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _lead(
    k: int, by_contract: bool, samples: Any, told: Any, scored: Any, out: Any, by: Any
) -> None:
    """Let detector `k` lead where it scores highest, with its band if it has something to say."""
    row, value = samples
    worse, warn = told
    expected, lower, upper, score = scored
    for i in range(len(row)):
        e, s = expected[i], score[i]
        if s > SPARED and not by_contract:
            known = out[0, i] if math.isnan(e) else e
            s = _temper(s, value[i], known, worse[row[i]], warn[row[i]])
        leads = s > out[3, i]
        if math.isnan(e) and not leads:  # nothing to show, nor to say
            continue
        if leads:
            out[3, i], by[i] = s, k
        shown = leads and s >= NOTABLE
        if not math.isnan(e):
            shown = shown or math.isnan(out[0, i])
        elif math.isnan(lower[i]) and math.isnan(upper[i]):
            shown = False
        if shown:
            out[0, i], out[1, i], out[2, i] = e, lower[i], upper[i]


def tempered(score: float, value: float, expected: float, worse: int, warn: float) -> float:
    """Return one tempered score the slow, obvious way: the twin of the kernel."""
    if math.isnan(value) or math.isnan(expected):
        return score
    if worse * (value - expected) < 0:
        return min(score, max(SPARED, AWAY)) if score > SPARED else score
    if worse == 0:
        value, expected = abs(value), abs(expected)
    sign = -1 if worse < 0 else 1
    if not 0 < sign * (value - expected) < sign * (warn - expected):
        return score
    root = math.sqrt((value - expected) / (warn - expected))
    return min(score, max(SPARED, SPARED + (2 - SPARED) * root * math.sqrt(root)))


@numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")
def _onsets(alarms: Any, row: Any, score: Any, onset: Any) -> None:
    for i in range(len(row)):
        prefetch(alarms, row[min(i + AHEAD, len(row) - 1)], 0)
        r, s = row[i], score[i]
        at, largest = int(alarms[r, AT]), alarms[r, 0]
        for k in range(1, BLOCKS):
            largest = max(largest, alarms[r, k])
        onset[i] = s if s > MARGIN * largest else 0.0
        alarms[r, at] = max(alarms[r, at], s)
        filled = alarms[r, FILLED] + 1.0
        if filled >= BLOCK:
            at, filled = (at + 1) % BLOCKS, 0.0
            alarms[r, AT], alarms[r, at] = at, 0.0
        alarms[r, FILLED] = filled


def onsets(score: Floats) -> Floats:
    """Return the onsets of one series the slow, obvious way: the twin of the kernel."""
    news = np.zeros(len(score))
    for i, s in enumerate(score.tolist()):
        first = max(0, (i // BLOCK - BLOCKS + 1) * BLOCK)
        largest = max((float(np.float32(x)) for x in score[first:i]), default=0.0)
        news[i] = s if s > MARGIN * largest else 0.0
    return news


def _plain(column: Any) -> Any:
    # a read-only or strided array would have every kernel compiled a second time
    plain = column.flags.writeable and column.flags.c_contiguous
    return column if plain else np.array(column)


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The configured detectors, in order; of equal scores the earlier one leads."""

    detectors: tuple[Detector[Any], ...]

    def fresh(self, rows: int) -> Memory:
        """Return the state of `rows` series never seen before."""
        parts = tuple(detector.fresh(rows) for detector in self.detectors)
        return Memory(parts, _rates.fresh(rows), np.zeros((rows, BLOCKS + 2), np.float32))

    def grow(self, state: Memory, rows: int) -> Memory:
        """Return a state of at least `rows` series; old rows keep their place and content.

        The state is handed over: the rows that are new cost time, the old ones do not.
        """
        have = len(state.alarms)
        if rows <= have:
            return state
        if rows - have > CHUNK:  # what is new exists twice for a moment
            state = self.grow(state, rows - CHUNK)
        more = self.fresh(rows - len(state.alarms))

        def longer(old: tuple[Any, ...], new: tuple[Any, ...]) -> Any:
            return type(old)(*map(append, old, new))

        parts = tuple(longer(*pair) for pair in zip(state.parts, more.parts, strict=True))
        alarms = append(state.alarms, more.alarms)
        return Memory(parts, longer(state.rates, more.rates), alarms)

    def score(self, state: Memory, samples: Samples, traits: Traits) -> tuple[Memory, Scores]:
        """Score samples with their raw values; the state changes in place and is returned.

        Calls on samples of disjoint rows may run at once on one state.
        """
        samples = Samples(*map(_plain, samples))
        traits = Traits(*map(_plain, traits))
        count = len(samples.row)
        value, onset = np.empty(count), np.empty(count)
        out = np.empty((4, count))
        out[:3], out[3] = np.nan, 0.0
        by = np.zeros(count, np.uint8)
        deadline = np.full(count, NO_DEADLINE, np.int64)
        for start in range(0, count, CHUNK):
            now = slice(start, start + CHUNK)
            part = Samples(
                samples.row[now], samples.time[now], samples.arrived[now], samples.value[now]
            )
            rate = value[now]
            _rates.per_second(state.rates, *part[:2], part.value, traits.counter, rate)
            part = part._replace(value=rate)
            self._judge(state, part, traits, out[:, now], by[now], deadline[now])
            _onsets(state.alarms, part.row, out[3, now], onset[now])
        scores = Scores(value, out[0], out[1], out[2], out[3], onset, deadline, by)
        return state, scores

    def _judge(
        self, state: Memory, samples: Samples, traits: Traits, out: Any, by: Any, deadline: Times
    ) -> None:
        told = (traits.worse, traits.warn)
        for k, (detector, part) in enumerate(zip(self.detectors, state.parts, strict=True)):
            _, scored = detector.score(part, samples, traits)
            if scored.deadline is not None:
                np.minimum(deadline, scored.deadline, out=deadline)
            if getattr(detector, "scoreless", False):
                continue
            by_contract = getattr(detector, "by_contract", False)
            _lead(k, by_contract, (samples.row, samples.value), told, scored[:4], out, by)


def name(detector: Detector[Any]) -> str:
    """Return the kind of a detector: the name of the file it is in."""
    return type(detector).__module__.rpartition(".")[2]


def models(ensemble: Ensemble) -> list[dict[str, Any]]:
    """Return what made the scores, for the ledger: each detector's versions and parameters."""
    return [
        {
            "name": name(detector),
            "version": detector.version,
            "state_version": detector.state_version,
            "parameters": dataclasses.asdict(detector),  # type: ignore[call-overload]
            "digest": digest(dataclasses.asdict(detector)),  # type: ignore[call-overload]
        }
        for detector in ensemble.detectors
    ]
