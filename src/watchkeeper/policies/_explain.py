"""Answer "why did nothing happen?" for one policy and one entity."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from watchkeeper.flags import OPEN, Gate
from watchkeeper.model import Phase
from watchkeeper.policies import _trace
from watchkeeper.policies._cel import condition
from watchkeeper.policies._cells import Picked, View
from watchkeeper.policies._document import Policy, digest, duration_text
from watchkeeper.policies._guards import Facts, ask
from watchkeeper.policies._held import Held, Standing, fresh, grow
from watchkeeper.policies._phases import FIRING, NONE, PENDING, exists

PHASES = tuple(Phase)


def explain_silence(
    policy: Policy, held: Held, view: View, t: int, e: int, gate: Gate = OPEN
) -> dict[str, Any]:
    """Say where one entity stands with one policy at tick `t` of the view, and what it waits for.

    :param held: the memory after the view's last tick, or a later one.
    :param gate: the feature flags as they are, and which of them actions need.
    :returns: JSON-able: `policy`, `version`, `entity`, `at`, `matched`, `phase`, `clauses` (text,
        values, held), `to_hold_ms` (how long `when` has still to hold; None while it does not),
        `guards` (what they would say to an act now), `outcome`, and `why`, one sentence.
    """
    known = [one for one in held.standings if one.version == digest(policy)]
    standing = grow(known[0] if known else fresh(policy), view.entities)
    picked = Picked(view, np.array([t]), np.array([e]))
    parts = _trace.clauses(condition(policy.when), "when", picked)
    if policy.clear is not None:
        parts += _trace.clauses(condition(policy.clear), "clear", picked)
    clauses = [clause for part in parts for clause in json.loads(f"[{part}]")]
    there = bool(exists(view.coverage)[t, e])
    now, phase = int(view.ticks[t]), int(standing.course.phase[e])
    since = int(standing.course.since[e])
    waits = max(0, policy.hold - (now - since)) if phase == PENDING else None
    outcome, verdicts = ask(policy, _facts(standing, view, t, e, gate))
    return {
        "policy": policy.name,
        "version": digest(policy),
        "entity": view.entities[e],
        "at": _trace.rfc3339(now),
        "matched": bool(standing.matched[e]),
        "phase": str(PHASES[phase]),
        "clauses": clauses,
        "to_hold_ms": waits,
        "guards": json.loads(f"[{_trace.guards(verdicts)}]"),
        "outcome": str(outcome),
        "why": _why(policy, bool(standing.matched[e]), there, phase, waits, clauses),
    }


def _facts(standing: Standing, view: View, t: int, e: int, gate: Gate) -> Facts:
    wanted = gate.wanted(standing.policy.flag, standing.policy.action)
    now, acted = int(view.ticks[t]), int(standing.acted[e])
    recent = standing.recent[standing.recent > now - standing.policy.rate.window]
    return Facts(
        coverage=float(view.coverage[t, e]),
        rested=None if acted == NONE else now - acted,
        recent=len(recent),
        in_force=int(standing.in_force.sum()),
        fleet=int(np.count_nonzero(exists(view.coverage)[t] & standing.matched)),
        wanted=wanted,
        off=gate.off(wanted),
    )


def _why(
    policy: Policy,
    matched: bool,
    there: bool,
    phase: int,
    waits: int | None,
    clauses: list[dict[str, Any]],
) -> str:
    if not matched:
        return "the policy does not look at this entity"
    if not there:
        return "nothing is expected of this entity: it has not reported yet, or is long gone"
    if phase == FIRING:
        return "it is firing: see its decision"
    if phase == PENDING:
        return f"the condition holds, but not long enough: {duration_text(waits or 0)} to go"
    open_ones = [one for one in clauses if one["part"] == "when" and not one["held"]]
    if not open_ones:
        return f"the condition holds now; it must hold for {duration_text(policy.hold)}"
    said = []
    for one in open_ones:
        values = ", ".join(f"{name} is {_said(value)}" for name, value in one["values"].items())
        note = f" ({one['note']})" if "note" in one else ""
        said.append(f"{one['text']} does not hold: {values}{note}")
    return "; ".join(said)


def _said(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
