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
from watchkeeper.model import Floats, Times, Traits, digest

NO_DEADLINE = (1 << 63) - 1
BLOCKS, BLOCK = 8, 12  # an alarm is remembered for 7 to 8 blocks of 12 samples
SPAN = BLOCKS * BLOCK
CHUNK = 16_384  # samples scored at a time, so that what lies between the detectors stays in cache
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


@numba.njit(cache=True, nogil=True, fastmath=False)
def _lead(k: int, expected: Any, lower: Any, upper: Any, score: Any, out: Any, by: Any) -> None:
    """Let detector `k` lead where it scores highest, with its band if it has something to say."""
    for i in range(len(score)):
        leads = score[i] > out[3, i]
        if leads:
            out[3, i], by[i] = score[i], k
        speaks = leads and score[i] >= NOTABLE
        knows = not (np.isnan(expected[i]) and np.isnan(lower[i]) and np.isnan(upper[i]))
        if knows and (speaks or (np.isnan(out[0, i]) and not np.isnan(expected[i]))):
            out[0, i], out[1, i], out[2, i] = expected[i], lower[i], upper[i]


@numba.njit(cache=True, nogil=True, fastmath=False)
def _temper(row: Any, value: Any, worse: Any, warn: Any, expected: Any, score: Any) -> None:
    """Let a rare value count by how far it has come from what was expected towards warn.

    One error a minute where there never was any is rare, and far from the one a second at which
    people begin to care. A move away from harm is worth knowing, and no alarm. A series whose
    contract names no warn, or that is beyond it, keeps its score.
    """
    for i in range(len(row)):
        if score[i] <= SPARED:
            continue
        r, e = row[i], expected[i]
        w, x = warn[r], value[i]
        if np.isnan(e) or np.isnan(x):
            continue
        side = worse[r]
        if side * (x - e) < 0.0:
            score[i] = min(score[i], AWAY)
            continue
        if side == 0:
            e, x, side = abs(e), abs(x), 1
        gone, way = side * (x - e), side * (w - e)
        if way > 0.0 and 0.0 < gone < way:
            root = math.sqrt(gone / way)  # to the power 3/4, in operations that round alike
            score[i] = min(score[i], SPARED + (2.0 - SPARED) * root * math.sqrt(root))


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


@numba.njit(cache=True, nogil=True, fastmath=False)
def _onsets(alarms: Any, row: Any, score: Any, onset: Any) -> None:
    for i in range(len(row)):
        recent, s = alarms[row[i]], score[i]
        at, largest = int(recent[AT]), recent[0]
        for k in range(1, BLOCKS):
            largest = max(largest, recent[k])
        onset[i] = s if s > MARGIN * largest else 0.0
        recent[at] = max(recent[at], s)
        recent[FILLED] += 1.0
        if recent[FILLED] >= BLOCK:
            at = (at + 1) % BLOCKS
            recent[AT], recent[FILLED], recent[at] = at, 0.0, 0.0


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
        """Return a state of at least `rows` series; old rows keep their place and content."""
        have = len(state.alarms)
        if rows <= have:
            return state
        more = self.fresh(rows - have)

        def longer(old: tuple[Any, ...], new: tuple[Any, ...]) -> Any:
            columns = (np.concatenate(pair) for pair in zip(old, new, strict=True))
            return type(old)(*columns)

        parts = tuple(longer(*pair) for pair in zip(state.parts, more.parts, strict=True))
        alarms = np.concatenate([state.alarms, more.alarms])
        return Memory(parts, longer(state.rates, more.rates), alarms)

    def score(self, state: Memory, samples: Samples, traits: Traits) -> tuple[Memory, Scores]:
        """Score samples with their raw values; the state changes in place and is returned.

        Calls on samples of disjoint rows may run at once on one state.
        """
        samples = Samples(*map(_plain, samples))
        traits = Traits(*map(_plain, traits))
        count = len(samples.row)
        value, onset = np.empty(count), np.empty(count)
        out = np.full((4, count), np.nan)
        out[3] = 0.0
        by = np.zeros(count, np.uint8)
        deadline = np.full(count, NO_DEADLINE, np.int64)
        for start in range(0, count, CHUNK):
            now = slice(start, start + CHUNK)
            part = Samples(
                samples.row[now], samples.time[now], samples.arrived[now], samples.value[now]
            )
            rate = _rates.per_second(state.rates, *part[:2], part.value, traits.counter)
            part = part._replace(value=rate)
            self._judge(state, part, traits, out[:, now], by[now], deadline[now])
            _onsets(state.alarms, part.row, out[3, now], onset[now])
            value[now] = rate
        scores = Scores(value, out[0], out[1], out[2], out[3], onset, deadline, by)
        return state, scores

    def _judge(
        self, state: Memory, samples: Samples, traits: Traits, out: Any, by: Any, deadline: Times
    ) -> None:
        for k, (detector, part) in enumerate(zip(self.detectors, state.parts, strict=True)):
            _, scored = detector.score(part, samples, traits)
            if not getattr(detector, "by_contract", False):
                told = np.where(np.isnan(scored.expected), out[0], scored.expected)
                _temper(samples.row, samples.value, traits.worse, traits.warn, told, scored.score)
            if scored.deadline is not None:
                np.minimum(deadline, scored.deadline, out=deadline)
            _lead(k, *scored[:4], out, by)


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
