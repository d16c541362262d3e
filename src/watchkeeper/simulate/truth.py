"""Ground truth: what went wrong, where, from when, and what a good operator would have done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from watchkeeper.errors import InputError
from watchkeeper.model import Floats
from watchkeeper.simulate._draw import Incident
from watchkeeper.simulate._fleet import Fleet
from watchkeeper.simulate._host import AMBIENT, HOST, LOAD, Signal

SCHEMA = 1
VISIBLE = 4.0  # standard deviations of a signal's own noise
LOAD_NOISE = 0.025  # standard deviation of the load around its daily course (`_kernel.drive`)
PATIENCE = 10  # ticks until a stuck sensor can be told from a quiet one

_DRIVEN = {
    LOAD: ("cpu", "load1"),
    AMBIENT: ("temp_inlet", "temp_cpu", "fan"),
}


@dataclass(frozen=True, slots=True)
class Truth:
    """One fault on one host; times are milliseconds since 1970, UTC.

    :param incident: the cause; all hosts that one cause strikes share its number.
    :param metrics: the names of what shows it, sorted.
    :param detectable: the first tick at which a reading differs by more than VISIBLE standard
        deviations of its own noise from what it would have been; None when it never does.
    :param fail: when the host no longer does its work; None when it never comes to that.
    :param end: when it is over, at the latest with the data.
    :param correct_action: `none` for benign twins.
    """

    incident: int
    entity: str
    fault: str
    metrics: tuple[str, ...]
    onset: int
    detectable: int | None
    fail: int | None
    end: int
    correct_action: str
    benign: bool


@dataclass(frozen=True, slots=True)
class Known:
    """Everything known about one simulated fleet.

    :param scenario: as it was written.
    :param start: the first tick. :param end: one interval after the last.
    """

    seed: int
    scenario: Mapping[str, Any]
    entities: int
    start: int
    end: int
    faults: tuple[Truth, ...]

    @property
    def entity_days(self) -> float:
        """Hosts × days, the denominator of false-alarm rates."""
        return self.entities * (self.end - self.start) / 86_400_000

    def text(self) -> str:
        """Return the truth file's JSON."""
        document = {"schema": SCHEMA, **asdict(self)}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def truth(fleet: Fleet) -> Known:
    """Return the ground truth of a fleet, faults in order of onset."""
    origin, interval = fleet.scenario.origin, fleet.scenario.interval
    return Known(
        seed=fleet.seed,
        scenario=fleet.scenario.model_dump(mode="json", exclude_unset=True),
        entities=len(fleet.names),
        start=origin,
        end=origin + fleet.ticks * interval,
        faults=tuple(_told(one, fleet) for one in fleet.incidents),
    )


def read_truth(path: Path) -> Known:
    """Read a truth file.

    :raises InputError: it cannot be read, or is not a truth file of this version.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        assert document.pop("schema") == SCHEMA, "another schema version"
        faults = tuple(
            Truth(**(fault | {"metrics": tuple(fault["metrics"])}))
            for fault in document.pop("faults")
        )
        return Known(faults=faults, **document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise InputError(
            f"{path}: not a truth file: {error}", hint="`watchkeeper simulate` writes one"
        ) from error


def _told(one: Incident, fleet: Fleet) -> Truth:
    origin = fleet.scenario.origin
    fail = one.fault.fails_after()
    failed = None if fail is None else _tick(one.onset + round(fail * 1000), fleet)
    seen = None if one.fault.benign else _visible(one, fleet)
    return Truth(
        incident=one.number,
        entity=fleet.names[one.entity],
        fault=one.fault.kind,
        metrics=tuple(sorted(_metrics(one, fleet))),
        onset=origin + one.onset,
        detectable=seen,
        fail=failed,
        end=origin + one.end,
        correct_action=one.fault.action,
        benign=one.fault.benign,
    )


def _tick(since: int, fleet: Fleet) -> int | None:
    """Return the time of the first tick at or after `since` ms, None after the end."""
    interval = fleet.scenario.interval
    tick = -(-since // interval)
    return fleet.scenario.origin + tick * interval if tick < fleet.ticks else None


def _signals(one: Incident) -> set[str]:
    ids: set[str] = set()
    for effect in one.fault.effects():
        ids.update(_DRIVEN.get(effect.signal, (effect.signal,)))
    for reading in one.fault.readings():
        ids.update([reading.signal] if reading.signal else [signal.id for signal in HOST])
    mirrors = {signal.id for signal in HOST if signal.mirror in ids and signal.mirror}
    return ids | mirrors


def _metrics(one: Incident, fleet: Fleet) -> set[str]:
    ids = _signals(one)
    return {signal.metric for signal in fleet.signals if signal.id in ids}


def _visible(one: Incident, fleet: Fleet) -> int | None:
    """Return the time of the first tick whose readings show this fault, were it the only one."""
    interval = fleet.scenario.interval
    first, last = -(-one.onset // interval), min(-(-one.end // interval), fleet.ticks)
    if any(reading.how == "stuck" for reading in one.fault.readings()):
        patient = first + PATIENCE
        return fleet.scenario.origin + patient * interval if patient < last else None
    before = max(first - 1, 0)
    value, heard = fleet.only((one,)).told(one.entity, before, last)
    calm, _ = fleet.only(()).told(one.entity, before, last)
    shown = ~heard
    for m, signal in enumerate(HOST):
        if signal.mirror or signal.id not in _signals(one) or signal not in fleet.signals:
            continue
        x, y = value[:, m], calm[:, m]
        if signal.counter:
            x, y = np.diff(x, prepend=x[:1]), np.diff(y, prepend=y[:1])
        shown |= np.isnan(x) | (np.abs(x - y) > VISIBLE * _noise(y, signal, interval / 1000.0))
    hits = np.flatnonzero(shown[first - before :])
    return fleet.scenario.origin + (first + int(hits[0])) * interval if hits.size else None


def _noise(calm: Floats, signal: Signal, interval: float) -> Floats:
    """Return the standard deviation of a signal's own noise at each calm value or growth."""
    scale = interval if signal.counter else 1.0
    chance = calm / signal.per_unit if signal.counter else 0.0 * calm
    own = (signal.absolute * scale) ** 2 + (signal.relative * calm) ** 2
    driven = (LOAD_NOISE * signal.gain * scale) ** 2
    return np.sqrt(own + driven + chance + signal.per_unit**-2)
