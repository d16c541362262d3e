"""Say why: one entity at one moment, from a folder of results.

Health and its contributions, what each signal said against what was expected, what each policy
made of it, and, where nothing happened, what it was waiting for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from watchkeeper import policies
from watchkeeper.core.state import Rulebook
from watchkeeper.errors import InputError
from watchkeeper.flags import Flags, Gate
from watchkeeper.model import STATES, Contribution, Floats, Millis, Times
from watchkeeper.results import STAMP

FOREVER = np.iinfo(np.int64).max
LISTED = 8  # signals told


@dataclass
class History:
    """One entity's assessments up to a moment, as a `policies.View` of one column."""

    ticks: Times
    entities: Sequence[str]
    health: Floats
    coverage: Floats
    score: Floats
    state: npt.NDArray[np.uint8]
    rows: pa.Table
    scores: pa.Table
    deadlines: Callable[[Times], Sequence[int]]  # until when silence after each time was normal

    def signal(self, metric: str) -> Floats:
        """Return [T, 1]: the largest score of the metric's series that were not silent."""
        result = np.full((len(self.ticks), 1), np.nan)
        mine = self.scores.filter(pc.field("metric") == metric)
        for attributes in mine["attributes"].unique().to_pylist():
            one = mine.filter(pc.field("attributes") == attributes)
            time = one["time"].cast(pa.int64()).to_numpy()
            score = one["score"].to_numpy()
            at = np.searchsorted(time, self.ticks, side="right") - 1
            until = np.array(self.deadlines(time), np.int64)
            heard = (at >= 0) & (until[np.maximum(at, 0)] >= self.ticks)
            now = np.where(heard, score[np.maximum(at, 0)], np.nan)
            result[:, 0] = np.fmax(result[:, 0], now)
        return result

    def contributions(self, tick: int, entity: int) -> tuple[Contribution, ...]:
        """Return what took from health at one tick."""
        told = self.rows["contributions"][tick].as_py() or []
        return tuple(Contribution(c["metric"], c["attributes"], c["share"]) for c in told)


def explain(
    folder: Path, entity: str, at: Millis | None, reread: Callable[[Mapping[str, Any]], Rulebook]
) -> dict[str, Any]:
    """Return why `entity` was as it was at `at`; at its worst moment, without.

    :raises InputError: the folder holds no results, or nothing of this entity at that time.
    """
    run = json.loads(_text(folder, "run.json"))
    rulebook = reread(run["rulebook"]["document"])
    history = _history(folder, entity, at, rulebook)
    t = len(history.ticks) - 1
    if at is None:
        worst = np.where(np.isnan(history.health[:, 0]), np.inf, history.health[:, 0])
        t = int(np.argmin(worst)) if np.isfinite(worst).any() else t
        history = _history(folder, entity, Millis(int(history.ticks[t])), rulebook)
    health = float(history.health[t, 0])
    return {
        "entity": entity,
        "at": int(history.ticks[t]),
        "health": None if np.isnan(health) else health,
        "state": str(STATES[history.state[t, 0]]),
        "coverage": float(history.coverage[t, 0]),
        "score": float(history.score[t, 0]),
        "signals": _signals(history, t),
        "policies": _policies(rulebook, history, t),
        "decisions": _decisions(folder, entity, int(history.ticks[t])),
    }


def _history(folder: Path, entity: str, at: Millis | None, rulebook: Rulebook) -> History:
    until = pc.scalar(True)
    if at is not None:
        until = pc.field("time") <= pa.scalar(at, pa.int64()).cast(STAMP)
    mine = (pc.field("entity") == entity) & until
    try:
        rows = pads.dataset(folder / "health.parquet").to_table(filter=mine)
        scores = pads.dataset(folder / "scores.parquet").to_table(
            filter=mine, batch_size=1 << 16, batch_readahead=2
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{folder}: {error}", hint="name a folder that `score` wrote") from error
    if rows.num_rows == 0:
        raise InputError(f"{entity}: nothing is known of it {_when(at)}", hint=_known(folder))
    rows, scores = rows.sort_by("time"), scores.sort_by("time")
    states = {str(state): code for code, state in enumerate(STATES)}
    column = {
        name: rows[name].to_numpy().astype(np.float64)[:, None]
        for name in ("health", "coverage", "score")
    }
    return History(
        ticks=rows["time"].cast(pa.int64()).to_numpy(),
        entities=[entity],
        state=np.array([[states[name]] for name in rows["state"].to_pylist()], np.uint8),
        rows=rows,
        scores=scores,
        deadlines=_deadlines(rulebook),
        **column,
    )


def _deadlines(rulebook: Rulebook) -> Callable[[Times], Sequence[int]]:
    """Return what the detector of silence says; without one, no silence counts."""
    for detector in rulebook.ensemble.detectors:
        told: Callable[[Times], Sequence[int]] | None = getattr(
            detector, "reference_deadlines", None
        )
        if told is not None:
            return told
    return lambda time: [FOREVER] * len(time)


def _signals(history: History, t: int) -> list[dict[str, Any]]:
    """The signals that took most, each with its last sample; then the most anomalous others."""
    share = {(c.metric, c.attributes): c.share for c in history.contributions(t, 0)}
    told = []
    lost = 100.0 - np.nan_to_num(history.health[t, 0], nan=100.0)
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _last_of_each(history.scores).to_pylist():
        newest[row["metric"], row["attributes"]] = row
    for name, row in newest.items():
        told.append(
            {
                "metric": name[0],
                "attributes": name[1],
                "share": share.get(name, 0.0),
                "points": lost * share.get(name, 0.0),
                "time": int(row["time"].timestamp() * 1000),
                **{k: row[k] for k in ("value", "expected", "lower", "upper", "score")},
            }
        )
    told.sort(key=lambda one: (-one["share"], -one["score"], one["metric"], one["attributes"]))
    return told[:LISTED]


def _last_of_each(scores: pa.Table) -> pa.Table:
    plain = scores.set_column(1, "metric", scores["metric"].cast(pa.string())).set_column(
        2, "attributes", scores["attributes"].cast(pa.string())
    )
    indexed = plain.append_column("row", pa.array(np.arange(plain.num_rows)))
    last = indexed.group_by(["metric", "attributes"]).aggregate([("row", "max")])
    return plain.take(last["row_max"])


def _policies(rulebook: Rulebook, history: History, t: int) -> list[dict[str, Any]]:
    """Judge the entity's own history again; guards that look across entities see only this one."""
    gate = Gate(Flags(rulebook.flags), rulebook.needs)
    held, _, _ = policies.judge(rulebook.policies, policies.nothing_held(), history, gate)
    return [policies.explain_silence(one, held, history, t, 0, gate) for one in rulebook.policies]


def _decisions(folder: Path, entity: str, until: int) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in _text(folder, "decisions.jsonl").splitlines())
    return [one for one in lines if one["entity"] == entity and one["at"] <= until]


def _text(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{folder / name}: {error.strerror}", hint="name a folder that `score` wrote"
        ) from error


def _when(at: Millis | None) -> str:
    return "at that time" if at is not None else "in these results"


def _known(folder: Path) -> str:
    table = pads.dataset(folder / "health.parquet").to_table(columns=["entity"])
    names = sorted(table["entity"].unique().to_pylist())
    return "known: " + ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
