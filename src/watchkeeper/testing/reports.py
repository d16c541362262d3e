"""What every report must hold to, and fleets of any size to report on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from watchkeeper.model import REJECTS, Counts, Decision, Millis, Outcome, Phase, State, canonical
from watchkeeper.reports import Facts, Findings, Input, Report, gather

START = 1_704_153_600_000  # 2024-01-02 00:00 UTC
TICK = 60_000
HOSTILE = (
    "\"'><script>alert(1)</script>{{7*7}}{% raw %}\u202e\x1b[31m\r\n<img src=x onerror=alert(2)>"
)

CONTRIBUTIONS = pa.list_(
    pa.struct([("metric", pa.string()), ("attributes", pa.string()), ("share", pa.float64())])
)

Make = Callable[[], Report]


def facts(title: str = "fleet.parquet", until: int = START + 1440 * TICK) -> Facts:
    """Return the facts of some run."""
    return Facts(
        title=title,
        versions=(("watchkeeper", "0.1.0"), ("contract host", "1"), ("detector robust", "1")),
        inputs=(Input(title, 123_456, "ab" * 32),),
        counts=Counts(accepted=95, rejected=5, scored=90, duplicate=3, late=2),
        offered=100,
        since=Millis(START),
        until=Millis(until),
        digest="cd" * 32,
    )


def health_table(health: Any, names: Sequence[str] | None = None) -> pa.Table:
    """Return a table as in health.parquet, of [ticks, entities] numbers; NaN is unknown.

    Below 50 is fail, below 80 warn; memory takes two thirds of what is lost, the disk the rest.
    """
    ticks, entities = health.shape
    flat = health.T.ravel()
    names = names or [f"host:web-{e:04}" for e in range(entities)]
    states = np.select(
        [np.isnan(flat), flat < 50, flat < 80], [State.UNKNOWN, State.FAIL, State.WARN], State.OK
    )
    lost = np.flatnonzero(flat < 100)
    sizes = np.zeros(len(flat) + 1, np.int32)
    sizes[1:][lost] = 2
    shares = np.tile([2 / 3, 1 / 3], len(lost))
    turns = pa.array(np.tile([0, 1], len(lost)))
    metrics = pa.array(["system.memory.utilization", "system.disk.io"]).take(turns)
    attributes = pa.array(["{}", '{"device":"sda"}']).take(turns)
    parts = pa.StructArray.from_arrays(
        [metrics, attributes, pa.array(shares)],
        names=["metric", "attributes", "share"],
    )
    return pa.table(
        {
            "entity": pa.array([name for name in names for _ in range(ticks)], pa.string()),
            "time": pa.array(np.tile(START + TICK * np.arange(ticks), entities), pa.int64()),
            "health": pa.array(flat, from_pandas=True),
            "state": pa.array(states.tolist(), pa.string()),
            "coverage": np.where(np.isnan(flat), 0.2, 1.0),
            "score": np.where(np.isnan(flat), 0.0, (100 - np.nan_to_num(flat)) / 25),
            "contributions": pa.ListArray.from_arrays(
                pa.array(np.cumsum(sizes), pa.int32()), parts
            ),
        }
    )


def scores(series: Sequence[tuple[str, str, str]], ticks: int = 1440) -> pa.Table:
    """Return a table as in scores.parquet: a wave in its band, with one bump."""
    time = START + TICK * np.arange(ticks, dtype=np.int64)
    turn = np.arange(ticks) / 720 * np.pi
    expected = 0.5 + 0.2 * np.sin(turn)
    wobble = 0.03 * np.sin(np.arange(ticks) * 12.9898) * np.cos(np.arange(ticks) * 7.233)
    bump = np.where(np.arange(ticks) > ticks * 0.8, 0.35, 0.0)
    columns: dict[str, list[Any]] = {"entity": [], "metric": [], "attributes": []}
    for entity, metric, attributes in series:
        columns["entity"] += [entity] * ticks
        columns["metric"] += [metric] * ticks
        columns["attributes"] += [attributes] * ticks
    score = np.abs(wobble + bump) / 0.1
    numbers = {
        "time": time,
        "value": expected + wobble + bump,
        "expected": expected,
        "lower": expected - 0.1,
        "upper": expected + 0.1,
        "score": score,
        "onset": np.where(score >= 1, score, 0.0),
    }
    return pa.table(columns | {name: np.tile(c, len(series)) for name, c in numbers.items()})


def decision(entity: str, at: int, phase: Phase = Phase.FIRING, number: int = 0) -> Decision:
    """Return a decision with a trace."""
    trace = {
        "clauses": [{"held": True, "text": 'state == "fail"', "values": {"state": "fail"}}],
        "guards": [{"limit": "dry_run", "name": "mode", "observed": "dry_run", "verdict": "no"}],
    }
    return Decision(
        key=f"{entity}-{at}-{phase}-{number}",
        policy="host-failing",
        version="ef" * 8,
        entity=entity,
        phase=phase,
        at=Millis(at),
        severity="critical",
        health=23.0,
        reason="held_long_enough",
        outcome=Outcome.DRY_RUN,
        trace=canonical(trace),
    )


def rejects(rows: int = 4, entity: str = "host:web-0000") -> pa.Table:
    """Return quarantined samples of two reasons."""
    return pa.Table.from_pylist(
        [
            {
                "entity": entity,
                "metric": "system.cpu.utilization",
                "attributes": "{}",
                "time": START,
                "value": None if n % 4 else 1.7,
                "offered": "n/a" if n % 4 else None,
                "origin": f"fleet.csv:{n + 2}",
                "reason": "not_a_number" if n % 4 else "above_bound",
                "detail": "a number" if n % 4 else "0 <= value <= 1",
            }
            for n in range(rows)
        ],
        schema=REJECTS,
    )


def fleet(entities: int = 30, ticks: int = 1440, hostile: bool = False) -> Findings:
    """Return the findings of a fleet: one in ten fails, one in ten recovered, some are unknown."""
    number = np.arange(entities)
    health = np.full((ticks, entities), 100.0)
    health -= 4 * np.abs(np.sin(np.arange(ticks)[:, None] / 37 + number * 1.7))
    late, early = slice(int(ticks * 0.8), None), slice(int(ticks * 0.2), int(ticks * 0.35))
    health[late, number % 10 == 1] -= 55 + (number[number % 10 == 1] % 7) * 5
    health[early, number % 10 == 4] -= 30
    health[-90:, number % 100 == 17] = np.nan
    names = [f"host:web-{n:04}" for n in number]
    if hostile:
        names = [f"host:{HOSTILE}{n}" for n in number]
    made = [
        decision(name, START + int(ticks * 0.81) * TICK, phase, n)
        for n, name in enumerate(names)
        if n % 10 == 1
        for phase in (Phase.PENDING, Phase.FIRING)
    ]
    told = facts(HOSTILE if hostile else "fleet.parquet", START + ticks * TICK)
    if hostile:
        told = dataclasses.replace(told, problems=(HOSTILE,), versions=((HOSTILE, HOSTILE),))
    return gather(
        health_table(health, names),
        lambda series: scores(series, ticks),
        made,
        rejects(40, names[0] if names else ""),
        told,
    )


def nothing() -> Findings:
    """Return the findings of a run in which nothing came in."""
    empty = health_table(np.zeros((0, 0)), [])
    return gather(empty, scores, [], rejects(0), facts())


def report_checks() -> Iterator[Callable[[Make], None]]:
    """Yield what any report must hold to."""
    yield check_the_same_findings_give_the_same_bytes
    yield check_nothing_at_all_can_be_reported
    yield check_the_worst_entity_is_named
    yield check_hostile_names_are_data


def check_the_same_findings_give_the_same_bytes(make: Make) -> None:
    """A report can be proved by making it again."""
    assert make().render(fleet(12)) == make().render(fleet(12))


def check_nothing_at_all_can_be_reported(make: Make) -> None:
    """An empty run has a report, too."""
    assert make().render(nothing())


def check_the_worst_entity_is_named(make: Make) -> None:
    """The one thing nobody may have to search for."""
    findings = fleet(12)
    assert findings.entities[0].name.encode() in make().render(findings)


def check_hostile_names_are_data(make: Make) -> None:
    """Names come from telemetry: they are shown, never run; UTF-8 stays valid."""
    if not make().media.startswith(("text/", "application/json")):
        return  # a table of columns: nothing in it is ever run
    text = make().render(fleet(12, hostile=True)).decode()
    assert "49" not in text.partition("{{7*7}}")[0][-200:]
    assert "\x1b" not in text
    assert "\x00" not in text
