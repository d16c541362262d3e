"""A drill compares what `score` concluded with what was simulated: detection, lead time, noise.

An *incident* is a run of ticks in which an entity's health state is warn or fail. It belongs to a
fault when it begins between the fault's onset and its end plus a grace; an incident that belongs
to no fault but a benign twin, or to none at all, is false. Decisions that fire count likewise.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from watchkeeper.errors import InputError
from watchkeeper.model import Phase, State
from watchkeeper.simulate.truth import Known, Truth

GRACE = 900_000  # ms after the end of a fault in which its discovery still counts
Moments = Mapping[tuple[str, ...], Sequence[int]]  # times, ascending, of (entity, …)


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one fault on one host; times in milliseconds since 1970, UTC, or None.

    :param alarmed: the first sample of the fault's metrics whose onset score reached 1.
    :param unwell: when an incident began or got from warn to fail (for missing data, also when
        health became unknown).
    :param fired: when the first decision fired.
    :param quarantined: when the contract first refused a sample of the fault's metrics.
    """

    incident: int
    entity: str
    fault: str
    benign: bool
    onset: int
    detectable: int | None
    fail: int | None
    alarmed: int | None
    unwell: int | None
    fired: int | None
    quarantined: int | None

    @property
    def noticed(self) -> int | None:
        """When the product first said so: by health, by decision, or a lying sensor by contract."""
        refused = self.quarantined if self.fault == "bad_sensor" else None
        said = [at for at in (self.unwell, self.fired, refused) if at is not None]
        return min(said, default=None)

    @property
    def delay(self) -> float | None:
        """Seconds from when it could be seen to when it was noticed; None when it was not."""
        if self.noticed is None:
            return None
        return (self.noticed - (self.detectable or self.onset)) / 1000.0

    @property
    def lead(self) -> float | None:
        """Seconds from when it was noticed to the failure; None when there was no failure."""
        if self.noticed is None or self.fail is None:
            return None
        return (self.fail - self.noticed) / 1000.0


@dataclass(frozen=True, slots=True)
class Drill:
    """How well a whole run did.

    :param false_incidents: incidents that belong to no real fault; `false_decisions` likewise.
    """

    findings: tuple[Finding, ...]
    entity_days: float
    incidents: int
    false_incidents: int
    decisions: int
    false_decisions: int

    @property
    def real(self) -> tuple[Finding, ...]:
        """The findings of faults that are not benign and could be seen at all."""
        return tuple(one for one in self.findings if not one.benign and one.detectable is not None)

    @property
    def recall(self) -> float | None:
        """The share of real faults noticed; None when there was none."""
        return _share(one.noticed is not None for one in self.real)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON-able facts, durations in seconds."""
        leads = [one.lead for one in self.real if one.lead is not None]
        delays = [one.delay for one in self.real if one.delay is not None]
        kinds = sorted({one.fault for one in self.findings})
        causes: dict[int, bool] = {}
        for one in self.real:
            causes[one.incident] = causes.get(one.incident, False) or one.noticed is not None
        return {
            "entity_days": self.entity_days,
            "faults": len(self.real),
            "noticed": sum(one.noticed is not None for one in self.real),
            "recall": self.recall,
            "causes": len(causes),
            "causes_noticed": sum(causes.values()),
            "delay_median_s": statistics.median(delays) if delays else None,
            "lead_median_s": statistics.median(leads) if leads else None,
            "lead_p10_s": sorted(leads)[len(leads) // 10] if leads else None,
            "incidents": self.incidents,
            "false_incidents": self.false_incidents,
            "false_incidents_per_1000_entity_days": _rate(self.false_incidents, self.entity_days),
            "decisions": self.decisions,
            "false_decisions": self.false_decisions,
            "false_decisions_per_1000_entity_days": _rate(self.false_decisions, self.entity_days),
            "kinds": {
                kind: _summary([one for one in self.findings if one.fault == kind])
                for kind in kinds
            },
            "findings": [
                {**asdict(one), "noticed": one.noticed, "delay_s": one.delay, "lead_s": one.lead}
                for one in self.findings
            ],
        }


def drill(known: Known, folder: Path, grace: int = GRACE) -> Drill:
    """Compare the output folder of `score` with the truth about its input.

    :param grace: milliseconds after a fault's end in which an incident still belongs to it.
    :raises InputError: the folder lacks a result, or one cannot be read.
    """
    try:
        health = pyarrow.parquet.read_table(
            folder / "health.parquet", columns=["entity", "time", "state"]
        )
        said = Said(
            unwell=_runs(health, (State.WARN, State.FAIL)),
            failing=_runs(health, (State.FAIL,)),
            unknown=_runs(health, (State.UNKNOWN,)),
            alarms=_alarms(folder / "scores.parquet"),
            fired=_fired(folder / "decisions.jsonl"),
            refused=_refused(folder / "quarantine.parquet"),
        )
    except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
        raise InputError(
            f"{folder}: not the results of `watchkeeper score`: {error}",
            hint="give the folder named by --out",
        ) from error
    return Drill(
        findings=tuple(_finding(fault, said, grace) for fault in known.faults),
        entity_days=known.entity_days,
        incidents=sum(map(len, said.unwell.values())),
        false_incidents=_false(said.unwell, known.faults, grace),
        decisions=sum(map(len, said.fired.values())),
        false_decisions=_false(said.fired, known.faults, grace),
    )


@dataclass(frozen=True, slots=True)
class Said:
    """When the product said what; keys are (entity,), or (entity, metric) for the last row."""

    unwell: Moments
    failing: Moments
    unknown: Moments
    fired: Moments
    alarms: Moments
    refused: Moments


def _finding(fault: Truth, said: Said, grace: int) -> Finding:
    window = (fault.onset, fault.end + grace)
    entity = (fault.entity,)
    signals = [(fault.entity, metric) for metric in fault.metrics]
    ill = [*said.unwell.get(entity, ()), *said.failing.get(entity, ())]
    if fault.fault == "missing_data":
        ill += said.unknown.get(entity, ())
    return Finding(
        incident=fault.incident,
        entity=fault.entity,
        fault=fault.fault,
        benign=fault.benign,
        onset=fault.onset,
        detectable=fault.detectable,
        fail=fault.fail,
        alarmed=_first([at for signal in signals for at in said.alarms.get(signal, ())], window),
        unwell=_first(ill, window),
        fired=_first(said.fired.get(entity, ()), window),
        quarantined=_first(
            [at for signal in signals for at in said.refused.get(signal, ())], window
        ),
    )


def _first(times: Iterable[int], window: tuple[int, int]) -> int | None:
    return min((at for at in times if window[0] <= at <= window[1]), default=None)


def _false(found: Moments, faults: Sequence[Truth], grace: int) -> int:
    real: dict[str, list[tuple[int, int]]] = {}
    for fault in faults:
        if not fault.benign:
            real.setdefault(fault.entity, []).append((fault.onset, fault.end + grace))
    return sum(
        not any(begin <= at <= end for begin, end in real.get(place[0], ()))
        for place, times in found.items()
        for at in times
    )


def _runs(health: pa.Table, states: tuple[State, ...]) -> Moments:
    """Return when each entity's runs of ticks in these states began."""
    entity = health.column("entity").cast(pa.string()).combine_chunks().dictionary_encode()
    code = entity.indices.to_numpy(zero_copy_only=False)
    time = health.column("time").cast(pa.int64()).to_numpy()
    wanted = pa.array([str(state) for state in states])
    state = health.column("state").cast(pa.string())
    inside = pyarrow.compute.is_in(state, value_set=wanted).to_numpy()
    order = np.lexsort((time, code))
    code, time, inside = code[order], time[order], inside[order]
    before = np.zeros(len(code), np.bool_)
    before[1:] = inside[:-1] & (code[1:] == code[:-1])
    begins = np.flatnonzero(inside & ~before)
    names = entity.dictionary.to_pylist()
    return _grouped(((names[code[i]],), int(time[i])) for i in begins)


def _alarms(path: Path) -> Moments:
    found: list[tuple[tuple[str, ...], int]] = []
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["entity", "metric", "time", "onset"]):
            rows = batch.filter(pyarrow.compute.greater_equal(batch.column("onset"), 1.0))
            times = rows.column("time").cast(pa.int64()).to_pylist()
            keys = zip(
                rows.column("entity").to_pylist(), rows.column("metric").to_pylist(), strict=True
            )
            found.extend(zip(keys, times, strict=True))
    return _grouped(found)


def _fired(path: Path) -> Moments:
    found: list[tuple[tuple[str, ...], int]] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            decision = json.loads(line)
            if decision["phase"] == Phase.FIRING:
                found.append(((decision["entity"],), int(decision["at"])))
    return _grouped(found)


def _refused(path: Path) -> Moments:
    table = pyarrow.parquet.read_table(path, columns=["entity", "metric", "time"]).drop_null()
    times = table.column("time").cast(pa.int64()).to_pylist()
    keys = zip(table["entity"].to_pylist(), table["metric"].to_pylist(), strict=True)
    return _grouped(zip(keys, times, strict=True))


def _grouped(found: Iterable[tuple[tuple[str, ...], int]]) -> Moments:
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, at in found:
        groups.setdefault(place, []).append(at)
    return {place: sorted(times) for place, times in groups.items()}


def _summary(findings: Sequence[Finding]) -> dict[str, Any]:
    delays = [one.delay for one in findings if one.delay is not None]
    leads = [one.lead for one in findings if one.lead is not None]
    return {
        "faults": len(findings),
        "benign": findings[0].benign,
        "alarmed": sum(one.alarmed is not None for one in findings),
        "unwell": sum(one.unwell is not None for one in findings),
        "fired": sum(one.fired is not None for one in findings),
        "quarantined": sum(one.quarantined is not None for one in findings),
        "delay_median_s": statistics.median(delays) if delays else None,
        "lead_median_s": statistics.median(leads) if leads else None,
    }


def _share(held: Iterable[bool]) -> float | None:
    values = list(held)
    return sum(values) / len(values) if values else None


def _rate(count: int, entity_days: float) -> float:
    return 1000.0 * count / entity_days
