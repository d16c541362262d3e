"""From health to decisions, and from decisions to orders behind guards."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from watchkeeper.flags import OPEN, Gate
from watchkeeper.model import (
    STATES,
    Contribution,
    Decision,
    Flags,
    Millis,
    Order,
    Outcome,
    Phase,
)
from watchkeeper.policies import _trace
from watchkeeper.policies._cel import condition
from watchkeeper.policies._cells import Block, Picked, View
from watchkeeper.policies._columns import evaluate
from watchkeeper.policies._document import Policy, digest
from watchkeeper.policies._guards import Facts, ask, flag
from watchkeeper.policies._held import Held, Standing, fresh, grow
from watchkeeper.policies._phases import (
    FIRING,
    INACTIVE,
    NONE,
    REASONS,
    RESOLVED,
    WITHDRAWN,
    Changes,
    Conditions,
    exists,
    follow,
    unpack,
)

PHASES = tuple(Phase)


class Concluded(NamedTuple):
    """One decision with what it owes, and where it belongs among the others."""

    tick: int
    rank: int  # of the policy; withdrawn policies come first
    entity: int
    decision: Decision
    orders: list[Order]


class Scene(NamedTuple):
    """A view and what every policy needs of it."""

    view: View
    block: Block
    exists: Flags
    unknown: Flags
    gate: Gate


def judge(
    policies: Sequence[Policy], held: Held, view: View, gate: Gate = OPEN
) -> tuple[Held, list[Decision], list[Order]]:
    """Follow every entity through every policy, tick by tick.

    Decisions and orders come in order of (tick, policy, entity). The memory is handed over. A
    policy whose digest is not in the memory starts fresh; one that is no longer among `policies`
    ends what it began.

    :param gate: the feature flags as they are, and which of them actions need.
    """
    before = {standing.version: standing for standing in held.standings}
    versions = [digest(policy) for policy in policies]
    assert len(set(versions)) == len(versions), "the same policy is given twice"
    if len(view.ticks) == 0:
        return held, [], []
    scene = Scene(view, Block(view), exists(view.coverage), np.isnan(view.health), gate)
    found: list[Concluded] = []
    for rank, (version, standing) in enumerate(before.items(), -len(before)):
        if version not in versions:
            found += _withdraw(scene, grow(standing, view.entities), rank)
    standings = []
    for rank, (version, policy) in enumerate(zip(versions, policies, strict=True)):
        standing = grow(before.get(version) or fresh(policy), view.entities)
        standing, concluded = _follow(scene, standing, rank)
        standings.append(standing)
        found += concluded
    if len(policies) + len(before) > 1:
        found.sort(key=lambda one: one[:3])
    orders = [order for one in found for order in one.orders]
    return Held(tuple(standings)), [one.decision for one in found], orders


def _follow(scene: Scene, standing: Standing, rank: int) -> tuple[Standing, list[Concluded]]:
    policy, course = standing.policy, standing.course
    wanted = scene.exists & standing.matched
    when = evaluate(condition(policy.when), scene.block, wanted)
    if not course.phase.any() and not when.holds.any():
        return standing, []
    if policy.clear is None:  # what cannot be told is neither held nor cleared
        clear = wanted & ~when.holds & ~when.untold
    else:
        clear = evaluate(condition(policy.clear), scene.block, wanted).holds
    conditions = Conditions(when.holds, clear, scene.unknown, ~scene.exists)
    rows = follow(
        np.ascontiguousarray(scene.view.ticks, np.int64),
        Conditions(*(np.ascontiguousarray(column) for column in conditions)),
        course, policy.hold, policy.keep_firing_for,
    )  # fmt: skip
    return _conclude(scene, standing, unpack(rows), rank) if len(rows) else (standing, [])


def _withdraw(scene: Scene, standing: Standing, rank: int) -> list[Concluded]:
    """End what a policy began that was changed or removed."""
    course = standing.course
    begun = np.flatnonzero(course.phase != INACTIVE)
    after = np.where(course.phase[begun] == FIRING, RESOLVED, INACTIVE).astype(np.int64)
    reason = np.full(len(begun), WITHDRAWN, np.int64)
    changes = Changes(
        np.zeros_like(begun), begun, after, reason, course.since[begun], course.fired[begun]
    )
    return _conclude(scene, standing, changes, rank)[1] if len(begun) else []


def _conclude(
    scene: Scene, standing: Standing, changes: Changes, rank: int
) -> tuple[Standing, list[Concluded]]:
    """Turn changes of phase into decisions, ask the guards, and remember the acts."""
    policy, view = standing.policy, scene.view
    picked = Picked(view, changes.tick, changes.entity)
    clauses = _trace.clauses(condition(policy.when), "when", picked)
    if policy.clear is not None:
        ends = _trace.clauses(condition(policy.clear), "clear", picked)
        clauses = [f"{when},{clear}" for when, clear in zip(clauses, ends, strict=True)]
    wording, acts = _Wording(policy), _Acts(scene, standing)
    numbers = [picked.number(name).tolist() for name in ("health", "coverage", "score")]
    found = []
    for t, e, phase, reason, since, fired, clause, health, coverage, score in zip(
        *(column.tolist() for column in changes), clauses, *numbers, strict=True
    ):
        outcome, guards = acts.take(t, e, phase, coverage)
        at = int(view.ticks[t])
        decision = wording.decision(
            view.entities[e], PHASES[phase], at, health if health == health else None,
            REASONS[reason].value, outcome, clause, guards, since,
        )  # fmt: skip
        orders = []
        if outcome is Outcome.ORDERED:
            facts = _Moment(coverage, score, int(view.state[t, e]), fired)
            orders = wording.orders(decision, facts, view.contributions(t, e))
        found.append(Concluded(t, rank, e, decision, orders))
    return standing._replace(recent=np.array(acts.recent, np.int64)), found


class _Acts:
    """The acts of one policy while changes are walked in order: what guards see, and effects."""

    def __init__(self, scene: Scene, standing: Standing) -> None:
        self.scene, self.standing, self.policy = scene, standing, standing.policy
        self.recent: list[int] = standing.recent.tolist()
        self.in_force = int(standing.in_force.sum())
        self.wanted = scene.gate.wanted(self.policy.flag, self.policy.action)
        self.off = scene.gate.off(self.wanted)
        self._fleet = (-1, 0)

    def fleet(self, t: int) -> int:
        """Return how many entities the policy looks at and are there, at tick `t`."""
        if self._fleet[0] != t:
            there = self.scene.exists[t] & self.standing.matched
            self._fleet = (t, int(np.count_nonzero(there)))
        return self._fleet[1]

    def facts(self, t: int, e: int, coverage: float) -> Facts:
        """Return what the guards look at."""
        now, acted = int(self.scene.view.ticks[t]), int(self.standing.acted[e])
        oldest = bisect_right(self.recent, now - self.policy.rate.window)
        del self.recent[:oldest]
        rested = None if acted == NONE else now - acted
        return Facts(
            coverage, rested, len(self.recent), self.in_force, self.fleet(t), self.wanted, self.off
        )

    def take(self, t: int, e: int, phase: int, coverage: float) -> tuple[Outcome, str]:
        """Decide what one change leads to; return the outcome and what the guards said."""
        standing, policy = self.standing, self.policy
        if phase == RESOLVED and standing.in_force[e]:
            standing.in_force[e] = False
            self.in_force -= 1
            if not policy.resolve:
                return Outcome.NOTHING_TO_DO, ""
            if self.off:
                said = flag(policy, self.facts(t, e, coverage))
                return Outcome.FLAG, _trace.guards((said,))
            return (Outcome.DRY_RUN if policy.mode == "dry_run" else Outcome.ORDERED), ""
        if phase != FIRING or not policy.action:
            return Outcome.NOTHING_TO_DO, ""
        outcome, verdicts = ask(policy, self.facts(t, e, coverage))
        if outcome in (Outcome.ORDERED, Outcome.DRY_RUN):
            now = int(self.scene.view.ticks[t])
            standing.acted[e], standing.in_force[e] = now, True
            self.in_force += 1
            self.recent.append(now)
        return outcome, _trace.guards(verdicts)


class _Moment(NamedTuple):
    """How the entity was when it was decided."""

    coverage: float
    score: float
    state: int
    fired: int


class _Wording:
    """Decisions and orders of one policy, whose constant parts are spelled once."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.version = policy, digest(policy)
        self.hold, self.keep = policy.hold, policy.keep_firing_for
        self.described = f'"description":{_trace.text(policy.description)}'
        self.ruled = f'"runbook":{_trace.text(policy.runbook)}'
        self.named = f'"policy":{_trace.text(policy.name)}'
        self.severe = f'"severity":"{policy.severity}"'
        self.actions = [(action, _trace.text(action)) for action in policy.action]

    def decision(
        self, entity: str, phase: Phase, at: int, health: float | None,
        reason: str, outcome: Outcome, clauses: str, guards: str, since: int,
    ) -> Decision:  # fmt: skip
        """Return a decision; `clauses` and `guards` are the items of their JSON lists."""
        identity = f"{self.version}|{phase.value}|{at}|{entity}"
        return Decision(
            key=hashlib.sha256(identity.encode()).hexdigest(),
            policy=self.policy.name,
            version=self.version,
            entity=entity,
            phase=phase,
            at=Millis(at),
            severity=self.policy.severity,
            health=health,
            reason=reason,
            outcome=outcome,
            trace=f'{{"clauses":[{clauses}],"for_ms":{self.hold},"guards":[{guards}],'
            f'"keep_firing_for_ms":{self.keep},"since":"{_trace.rfc3339(since)}"}}',
        )

    def orders(
        self, decision: Decision, moment: _Moment, contributions: Sequence[Contribution]
    ) -> list[Order]:
        """Return one order for each action; the payload is canonical JSON, its keys in order."""
        head = (
            f'"at":"{_trace.rfc3339(decision.at)}",'
            f'"contributions":[{_trace.contributions(contributions)}],'
            f'"coverage":{_trace.number(moment.coverage)},"decision":"{decision.key}",'
            f'{self.described},"entity":{_trace.text(decision.entity)},'
            f'"health":{_trace.number(decision.health)},"phase":"{decision.phase.value}",'
            f'{self.named},"reason":"{decision.reason}",{self.ruled},'
            f'"score":{_trace.number(moment.score)},{self.severe},'
            f'"starts_at":"{_trace.rfc3339(moment.fired)}",'
            f'"state":"{STATES[moment.state].value}","version":"{self.version}"}}'
        )
        found = []
        for action, spelled in self.actions:
            key = hashlib.sha256(f"{decision.key}|{action}".encode()).hexdigest()
            payload = f'{{"action":{spelled},{head}'
            found.append(Order(key, action, decision.key, decision.entity, decision.at, payload))
        return found
