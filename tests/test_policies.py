"""Policies: phases, guards, traces, orders, and that no cut of the input shows."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.errors import CorruptionError, StoreVersion
from watchkeeper.model import STATES, Contribution, Decision, Order, Outcome, Phase, canonical
from watchkeeper.policies import (
    Reason,
    digest,
    document,
    dump,
    explain_silence,
    judge,
    load,
    nothing_held,
    read,
)
from watchkeeper.policies import _phases as kernel
from watchkeeper.testing.policies import Table

MINUTE = 60_000
NAN = math.nan
BAD, GOOD = 50.0, 99.0


def policy(**fields):
    return read({"name": "failing", "when": "health < 75.0", **fields}, "test")


def acting(**fields):
    free = {"rate": {"acts": 1000}, "blast_radius": {"amount": 1000, "percent": 100}}
    return policy(**{"mode": "auto", "action": ["log"], **free, **fields})


def table(*rows, entities=None, **columns):
    """A fleet: one row a minute, one number (health) an entity."""
    grid = np.array(rows, np.float64).reshape(len(rows), -1)
    names = entities or [f"host:web-{e}" for e in range(grid.shape[1])]
    return Table(MINUTE * np.arange(1, len(grid) + 1), names, grid, **columns)


def phases(decisions, entity="host:web-0"):
    """What happened to one entity: (minute, phase, reason)."""
    return [(d.at // MINUTE, d.phase.value, d.reason) for d in decisions if d.entity == entity]


def run(rules, view, held=None):
    rules = rules if isinstance(rules, list) else [rules]
    return judge(rules, held or nothing_held(), view)


# Phases


def test_without_for_a_condition_fires_at_once_and_resolves_when_it_ends():
    _, found, _ = run(policy(), table(GOOD, BAD, BAD, GOOD))
    assert phases(found) == [(2, "firing", "condition_held"), (4, "resolved", "cleared")]


def test_with_for_it_is_pending_first():
    _, found, _ = run(policy(**{"for": "2m"}), table(GOOD, BAD, BAD, BAD, BAD, GOOD))
    assert phases(found) == [
        (2, "pending", "condition_held"),
        (4, "firing", "held_long_enough"),
        (6, "resolved", "cleared"),
    ]


def test_a_condition_that_ends_before_for_is_over_never_fires():
    _, found, _ = run(policy(**{"for": "2m"}), table(BAD, BAD, GOOD, BAD, BAD, GOOD))
    assert phases(found) == [
        (1, "pending", "condition_held"),
        (3, "inactive", "condition_gone"),
        (4, "pending", "condition_held"),
        (6, "inactive", "condition_gone"),
    ]


def test_clear_is_apart_from_when_so_that_it_does_not_flap():
    _, found, _ = run(policy(clear="health > 90.0"), table(BAD, 80, BAD, 85, 95, 85))
    assert phases(found) == [(1, "firing", "condition_held"), (5, "resolved", "cleared")]


def test_when_wins_over_clear():
    _, found, _ = run(policy(clear="coverage > 0.0"), table(BAD, BAD, GOOD))
    assert phases(found) == [(1, "firing", "condition_held"), (3, "resolved", "cleared")]


def test_keep_firing_for_waits_for_a_lasting_calm():
    _, found, _ = run(policy(keep_firing_for="2m"), table(BAD, GOOD, GOOD, BAD, GOOD, GOOD, GOOD))
    assert phases(found) == [
        (1, "firing", "condition_held"),
        (7, "resolved", "kept_firing_elapsed"),
    ]


def test_unknown_health_does_not_end_a_firing_phase():
    _, found, _ = run(policy(), table(BAD, NAN, NAN, GOOD))
    assert phases(found) == [(1, "firing", "condition_held"), (4, "resolved", "cleared")]


def test_unknown_health_restarts_the_calm_that_keep_firing_for_waits_for():
    _, found, _ = run(policy(keep_firing_for="2m"), table(BAD, GOOD, NAN, GOOD, GOOD, GOOD))
    assert phases(found)[-1] == (6, "resolved", "kept_firing_elapsed")


def test_unknown_can_be_a_condition_of_its_own():
    _, found, _ = run(policy(when='state == "unknown"', **{"for": "1m"}), table(NAN, NAN, GOOD))
    assert phases(found) == [
        (1, "pending", "condition_held"),
        (2, "firing", "held_long_enough"),
        (3, "resolved", "cleared"),
    ]


def test_nothing_is_decided_of_an_entity_that_is_not_there_yet():
    view = table(NAN, NAN, NAN, coverage=np.full((3, 1), NAN))
    _, found, _ = run(policy(when='state == "unknown"'), view)
    assert found == []


@pytest.mark.parametrize(
    ("hold", "last"), [("0s", "resolved"), ("1h", "inactive")], ids=["firing", "pending"]
)
def test_an_entity_of_which_nothing_is_expected_any_more_is_let_go(hold, last):
    view = table(BAD, BAD, NAN, coverage=np.array([[1.0], [1.0], [NAN]]))
    _, found, _ = run(policy(**{"for": hold}), view)
    assert phases(found)[-1] == (3, last, "entity_gone")


def test_a_missing_metric_neither_fires_nor_resolves():
    score = np.array([[NAN], [2.0], [NAN], [0.5]])
    view = table(GOOD, GOOD, GOOD, GOOD, signals={"cpu": score})
    _, found, _ = run(policy(when='signal["cpu"] > 1.0'), view)
    assert phases(found) == [(2, "firing", "condition_held"), (4, "resolved", "cleared")]


def test_only_matching_entities_are_looked_at():
    names = ["host:web-1", "host:db-1", "link:web-1", "web-9"]
    rules = [
        policy(name="globs", match={"entities": ["host:web-*", "*:db-?"]}),
        policy(name="types", match={"types": ["link"]}),
        policy(name="both", match={"entities": ["*web*"], "types": ["host"]}),
        policy(name="but", match={"exclude": ["host:*", "*9"]}),
        policy(name="all"),
    ]
    _, found, _ = run(rules, table([BAD] * 4, entities=names))
    seen = {rule.name: [d.entity for d in found if d.policy == rule.name] for rule in rules}
    assert seen == {
        "globs": ["host:web-1", "host:db-1"],
        "types": ["link:web-1"],
        "both": ["host:web-1"],
        "but": ["link:web-1"],
        "all": names,
    }


def test_decisions_come_in_order_of_tick_then_policy_then_entity():
    rules = [policy(name="one"), policy(name="two", **{"for": "1m"})]
    _, found, _ = run(rules, table([BAD, GOOD], [BAD, BAD], [GOOD, BAD]))
    order = [(d.at, [r.name for r in rules].index(d.policy), d.entity) for d in found]
    assert order == sorted(order)
    assert {d.policy for d in found} == {"one", "two"}


# Acts


def outcomes(found, phase=Phase.FIRING):
    return [d.outcome.value for d in found if d.phase is phase]


def test_a_dry_run_decides_but_owes_nothing():
    _, found, orders = run(policy(action=["log"]), table(BAD, GOOD))
    assert outcomes(found) == ["dry_run"]
    assert orders == []


def test_an_automatic_policy_owes_one_order_for_each_action():
    _, found, orders = run(acting(action=["log", "page"]), table(BAD, GOOD))
    assert [(o.action, o.decision) for o in orders] == [
        ("log", found[0].key),
        ("page", found[0].key),
    ]
    assert outcomes(found) == ["ordered"]
    assert len({o.key for o in orders}) == 2


def test_a_policy_without_actions_has_nothing_to_do():
    _, found, orders = run(acting(action=[]), table(BAD, GOOD))
    assert [d.outcome for d in found] == [Outcome.NOTHING_TO_DO] * 2
    assert orders == []


def test_pending_and_inactive_have_nothing_to_do():
    _, found, _ = run(acting(**{"for": "5m"}), table(BAD, GOOD))
    assert [d.outcome for d in found] == [Outcome.NOTHING_TO_DO] * 2


def test_resolve_sends_again_only_when_asked_and_only_what_was_acted_on():
    _, _, orders = run(acting(resolve=True), table(BAD, GOOD))
    assert [json.loads(o.payload)["phase"] for o in orders] == ["firing", "resolved"]
    assert len({o.key for o in orders}) == 2
    _, _, orders = run(acting(), table(BAD, GOOD))
    assert len(orders) == 1
    blocked = acting(resolve=True, coverage_min=0.9)
    view = table(BAD, GOOD, coverage=np.array([[0.6], [1.0]]))
    _, found, orders = run(blocked, view)
    assert outcomes(found, Phase.RESOLVED) == ["nothing_to_do"]
    assert orders == []
    _, found, _ = run(policy(resolve=True, action=["log"]), table(BAD, GOOD))
    assert outcomes(found, Phase.RESOLVED) == ["dry_run"]


def test_coverage_blocks_acts_on_what_is_hardly_known():
    view = table([BAD, BAD], coverage=np.array([[0.6, 0.7]]))
    _, found, orders = run(acting(coverage_min=0.7), view)
    assert outcomes(found) == ["coverage", "ordered"]
    assert [o.entity for o in orders] == ["host:web-1"]


def test_an_entity_is_acted_on_once_in_its_cooldown():
    view = table(BAD, GOOD, BAD, GOOD, BAD)
    _, found, _ = run(acting(cooldown="4m"), view)
    assert outcomes(found) == ["ordered", "cooldown", "ordered"]


def test_acts_are_limited_in_a_window():
    rule = acting(rate={"acts": 2, "window": "3m"}, cooldown="0s")
    _, found, _ = run(rule, table([BAD, BAD, BAD, GOOD], [BAD] * 3 + [GOOD], [BAD] * 4, [BAD] * 4))
    assert outcomes(found) == ["ordered", "ordered", "rate", "rate"]
    _, found, _ = run(rule, table(BAD, GOOD, BAD, GOOD, BAD, GOOD, BAD))
    assert outcomes(found) == ["ordered", "ordered", "ordered", "ordered"]


@pytest.mark.parametrize(
    ("amount", "percent", "fleet", "allowed"),
    [(20, 5, 10, 1), (20, 50, 10, 5), (2, 50, 10, 2), (1000, 29, 100, 29), (20, 5, 1, 1)],
)
def test_blast_radius_holds_amount_and_percent_and_allows_one(amount, percent, fleet, allowed):
    rule = acting(blast_radius={"amount": amount, "percent": percent})
    _, found, _ = run(rule, table([BAD] * fleet))
    assert outcomes(found).count("ordered") == allowed
    assert outcomes(found).count("blast_radius") == fleet - allowed


def test_blast_radius_counts_only_entities_that_are_there_and_that_it_looks_at():
    names = [f"host:{i}" for i in range(10)] + [f"link:{i}" for i in range(90)]
    rule = acting(blast_radius={"amount": 100, "percent": 20}, match={"types": ["host"]})
    _, found, _ = run(rule, table([BAD] * 100, entities=names))
    assert outcomes(found).count("ordered") == 2
    coverage = np.ones((1, 100))
    coverage[0, 5:10] = NAN
    _, found, _ = run(rule, table([BAD] * 100, entities=names, coverage=coverage))
    assert outcomes(found).count("ordered") == 1


def test_what_resolved_makes_room_in_the_blast_radius():
    rule = acting(blast_radius={"amount": 1, "percent": 100})
    _, found, _ = run(rule, table([BAD, GOOD], [BAD, BAD], [GOOD, GOOD], [GOOD, BAD]))
    assert outcomes(found) == ["ordered", "blast_radius", "ordered"]


def test_guards_gate_acts_and_never_decisions():
    view = table([BAD] * 30, [GOOD] * 30)
    strict = acting(rate={"acts": 1, "window": "1d"}, blast_radius={"amount": 1, "percent": 1})
    _, found, _ = run(strict, view)
    _, free, _ = run(acting(), view)
    assert [phases(found, f"host:web-{e}") for e in range(30)] == [
        phases(free, f"host:web-{e}") for e in range(30)
    ]


def test_a_dry_run_says_what_it_would_do_once_switched_on():
    limits = {"rate": {"acts": 2, "window": "1h"}, "blast_radius": {"amount": 9, "percent": 100}}
    view = table([BAD] * 3, [GOOD] * 3, [BAD] * 3)
    _, dry, _ = run(policy(action=["log"], **limits), view)
    _, live, _ = run(acting(**limits), view)
    assert outcomes(dry) == [o.replace("ordered", "dry_run") for o in outcomes(live)]
    assert "rate" in outcomes(live)
    assert "cooldown" in outcomes(live)


# What is written down


def shown(view):
    rule = acting(
        description='say "why"', runbook="https://example.org/r?a=1&b=é", severity="critical",
        when='health < 75.0 && signal["cpu"] > 1.0 && state in ["fail"]', clear="health > 90.0",
        **{"for": "1m"},
    )  # fmt: skip
    return rule, run(rule, view)


def full_view():
    parts = tuple(
        Contribution(f"m{i}", '{"cpu":"0"}' if i else "{}", share)
        for i, share in enumerate((0.5, 0.2, 0.1, 0.1, 0.05, 0.05))
    )
    return table(
        [BAD, GOOD], [BAD, GOOD], [BAD, GOOD], [95.0, GOOD],
        signals={"cpu": np.array([[2.0, 0.1]] * 4)}, shares={(1, 0): parts},
        score=np.full((4, 2), 1.25), entities=["host:wéb\"1", "host:b"],
    )  # fmt: skip


def test_a_trace_says_which_clause_held_with_which_values():
    _, (_, found, _) = shown(full_view())
    assert phases(found, 'host:wéb"1')[1] == (2, "firing", "held_long_enough")
    trace = json.loads(found[1].trace)
    assert trace["clauses"] == [
        {"held": True, "part": "when", "text": "health < 75.0", "values": {"health": 50.0}},
        {"held": True, "part": "when", "text": 'signal["cpu"] > 1.0',
         "values": {'signal["cpu"]': 2.0}},
        {"held": True, "part": "when", "text": 'state in ["fail"]', "values": {"state": "fail"}},
        {"held": False, "part": "clear", "text": "health > 90.0", "values": {"health": 50.0}},
    ]  # fmt: skip
    assert trace["since"] == "1970-01-01T00:01:00.000Z"
    assert trace["for_ms"] == MINUTE
    assert [(g["name"], g["verdict"]) for g in trace["guards"]] == [
        (name, "pass") for name in ("coverage", "cooldown", "rate", "blast_radius", "mode")
    ]


def test_all_guards_are_in_the_trace_when_one_blocks():
    rule = policy(action=["log"], coverage_min=0.9, rate={"acts": 1, "window": "1h"})
    view = table([BAD, BAD], coverage=np.array([[1.0, 0.5]]))
    _, found, _ = run(rule, view)
    guards = json.loads(found[1].trace)["guards"]
    assert found[1].outcome is Outcome.COVERAGE
    assert [(g["name"], g["limit"], g["observed"], g["verdict"]) for g in guards] == [
        ("coverage", ">= 0.9", "0.5", "block"),
        ("cooldown", ">= 1h", "never acted", "pass"),
        ("rate", "< 1 in 1h", "1", "block"),
        ("blast_radius", "< 1 of 2", "1", "block"),
        ("mode", "auto", "dry_run", "block"),
    ]


def test_a_clause_that_could_not_be_told_says_so():
    rule = policy(when='health < 75.0 || signal["cpu"] > 1.0')
    _, found, _ = run(rule, table(BAD))
    clause = json.loads(found[0].trace)["clauses"][0]
    assert clause["held"]
    assert clause["values"] == {"health": 50.0, 'signal["cpu"]': None}
    rule = policy(when="health < 75.0 && coverage > 0.5", clear='!(signal["cpu"] > 1.0)')
    _, found, _ = run(rule, table(BAD))
    clause = json.loads(found[0].trace)["clauses"][2]
    assert not clause["held"]
    assert "no current score" in clause["note"]


def test_a_payload_has_everything_an_action_needs():
    rule, (_, found, orders) = shown(full_view())
    assert json.loads(orders[0].payload) == {
        "action": "log",
        "at": "1970-01-01T00:02:00.000Z",
        "contributions": [
            {"attributes": {} if i == 0 else {"cpu": "0"}, "metric": f"m{i}", "share": share}
            for i, share in enumerate((0.5, 0.2, 0.1, 0.1, 0.05))
        ],
        "coverage": 1.0,
        "decision": found[1].key,
        "description": 'say "why"',
        "entity": 'host:wéb"1',
        "health": 50.0,
        "phase": "firing",
        "policy": "failing",
        "reason": "held_long_enough",
        "runbook": "https://example.org/r?a=1&b=é",
        "score": 1.25,
        "severity": "critical",
        "starts_at": "1970-01-01T00:02:00.000Z",
        "state": "fail",
        "version": digest(rule),
    }


def test_traces_and_payloads_are_canonical_json():
    rules = [
        acting(name="a", resolve=True),
        shown(full_view())[0],
        policy(when="!(entity == name)"),
    ]
    unknown = table([NAN, 0.1 + 0.2], [1e-300, 1e22])
    for view in (full_view(), unknown):
        _, found, orders = run(rules, view)
        for text in [d.trace for d in found] + [o.payload for o in orders]:
            assert text == canonical(json.loads(text))
    assert orders


def test_keys_depend_on_policy_entity_phase_and_time_only():
    _, found, orders = run(acting(resolve=True), table([BAD, BAD], [GOOD, GOOD], [BAD, GOOD]))
    assert len({d.key for d in found}) == len(found)
    assert len({o.key for o in orders}) == len(orders)
    _, again, _ = run(acting(resolve=True), table([20.0, 20.0], [GOOD, GOOD], [20.0, GOOD]))
    assert [d.key for d in again] == [d.key for d in found]
    _, other, _ = run(acting(), table([BAD, BAD], [GOOD, GOOD], [BAD, GOOD]))
    assert not {d.key for d in other} & {d.key for d in found}


def test_health_of_a_decision_is_none_when_unknown():
    _, found, _ = run(policy(when="coverage < 1.0"), table(NAN))
    assert found[0].health is None


# Memory


def rulebook():
    return [
        policy(name="for", **{"for": "2m"}, keep_firing_for="1m"),
        acting(name="acts", resolve=True, cooldown="3m", rate={"acts": 3, "window": "4m"},
               blast_radius={"amount": 2, "percent": 60}),
        acting(name="signal", when='signal["cpu"] > 1.0', clear='signal["cpu"] < 0.5'),
        acting(name="cel", when='entity.endsWith("1") && health < 90.0', **{"for": "1m"}),
    ]  # fmt: skip


@st.composite
def fleets(draw):
    ticks, entities = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    cell = st.sampled_from([BAD, BAD, GOOD, GOOD, 80.0, NAN])
    score = st.sampled_from([0.1, 0.7, 2.0, NAN])
    grid = [[draw(cell) for _ in range(entities)] for _ in range(ticks)]
    cpu = np.array([[draw(score) for _ in range(entities)] for _ in range(ticks)])
    coverage = np.where(np.isnan(grid), 0.0, 1.0)
    for e in range(entities):  # an entity comes into being at some tick
        born = draw(st.integers(0, ticks))
        coverage[:born, e], cpu[:born, e] = NAN, NAN
        for t in range(born):
            grid[t][e] = NAN
    return table(*grid, coverage=coverage, signals={"cpu": cpu})


def in_blocks(rules, view, cuts, entities=None):
    held, decisions, orders = nothing_held(), [], []
    edges = [0, *sorted(cut for cut in cuts if cut < len(view.ticks)), len(view.ticks)]
    for i, (start, end) in enumerate(itertools.pairwise(edges)):
        held = load(dump(held))
        block = view.cut(start, end, entities[i] if entities else None)
        held, more, owed = judge(rules, held, block)
        decisions += more
        orders += owed
    return dump(held), decisions, orders


@settings(max_examples=60, deadline=None)
@given(view=fleets(), cuts=st.lists(st.integers(0, 12), max_size=5))
def test_how_ticks_were_cut_into_blocks_does_not_show(view, cuts):
    assert in_blocks(rulebook(), view, []) == in_blocks(rulebook(), view, cuts)


@settings(max_examples=40, deadline=None)
@given(view=fleets(), cut=st.integers(1, 11))
def test_entities_that_come_later_change_nothing_before(view, cut):
    cut = min(cut, len(view.ticks) - 1)
    there = ~np.isnan(view.coverage[:cut]).all(axis=0)
    known = int(np.flatnonzero(there).max()) + 1 if there.any() else 0
    whole = in_blocks(rulebook(), view, [])
    grown = in_blocks(rulebook(), view, [cut], [known, len(view.entities)]) if cut else whole
    assert grown == whole


@settings(max_examples=40, deadline=None)
@given(view=fleets())
def test_phases_follow_the_definition(view):
    kinds = ((0, 0, None), (2, 0, None), (1, 2, None), (0, 1, "health > 90.0"))
    rules = [
        policy(
            name=f"p{hold}{keep}", **{"for": f"{hold}m"}, keep_firing_for=f"{keep}m", clear=clear
        )
        for hold, keep, clear in kinds
    ]
    _, found, _ = run(rules, view)
    for rule in rules:
        for e, entity in enumerate(view.entities):
            mine = [d for d in found if d.policy == rule.name]
            assert phases(mine, entity) == naive(rule, view, e), (rule.name, entity)


def naive(rule, view, e):
    """The definition of phases, one entity at a time."""
    found, phase, since, quiet = [], "inactive", 0, None
    for t, now in enumerate(view.ticks.tolist()):
        health, gone = view.health[t, e], math.isnan(view.coverage[t, e])
        when = not gone and health < 75.0
        clear = not when and not math.isnan(health) and (health > 90.0 if rule.clear else True)
        before = phase
        if phase == "inactive" and when:
            since, quiet = now, None
            phase, reason = ("firing" if rule.hold == 0 else "pending"), "condition_held"
        elif phase == "pending":
            if gone or not when:
                phase, reason = "inactive", "entity_gone" if gone else "condition_gone"
            elif now - since >= rule.hold:
                phase, reason, quiet = "firing", "held_long_enough", None
        elif phase == "firing":
            quiet = None if not clear else now if quiet is None else quiet
            if gone:
                phase, reason = "resolved", "entity_gone"
            elif clear and now - quiet >= rule.keep_firing_for:
                phase = "resolved"
                reason = "kept_firing_elapsed" if rule.keep_firing_for else "cleared"
        if phase != before:
            found.append((now // MINUTE, phase, reason))
            phase = "inactive" if phase == "resolved" else phase
    return found


def test_a_changed_policy_starts_fresh_and_ends_what_the_old_one_began():
    old, other = acting(resolve=True, name="one"), acting(name="two")
    held, _, _ = run([old, other], table(BAD))
    new = acting(resolve=True, name="one", severity="critical")
    later = table(BAD, BAD)
    later.ticks = later.ticks + 10 * MINUTE
    _, found, orders = run([other, new], later, held)
    assert [(d.policy, d.version, d.phase.value, d.reason) for d in found] == [
        ("one", digest(old), "resolved", "policy_withdrawn"),
        ("one", digest(new), "firing", "condition_held"),
    ]
    assert [json.loads(o.payload)["phase"] for o in orders] == ["resolved", "firing"]


def test_a_removed_policy_lets_go_of_what_was_pending():
    held, _, _ = run(policy(**{"for": "1h"}), table([BAD, GOOD]))
    later = table([BAD, GOOD, BAD])
    later.ticks = later.ticks + MINUTE
    held, found, _ = run([], later, held)
    assert phases(found) == [(2, "inactive", "policy_withdrawn")]
    assert held.standings == ()


def test_no_ticks_change_nothing():
    held, _, _ = run(policy(), table(BAD))
    again, found, orders = judge([], held, table([BAD]).cut(0, 0))
    assert again is held
    assert (found, orders) == ([], [])


def test_the_same_policy_twice_is_a_mistake_of_the_caller():
    with pytest.raises(AssertionError, match="twice"):
        run([policy(), policy()], table(BAD))


def test_a_checkpoint_that_is_not_whole_is_refused():
    held, _, _ = run(rulebook(), table([BAD, GOOD]))
    blob = dump(held)
    assert dump(load(blob)) == blob
    for broken in (blob[:-1], b"", blob[:20], blob[:-1] + bytes([blob[-1] ^ 1])):
        with pytest.raises(CorruptionError):
            load(broken)
    with pytest.raises(StoreVersion, match="held/0"):
        load(blob.replace(b"policies.held/1", b"policies.held/0", 1))


# Documents


def test_a_document_read_again_is_the_same_policy():
    for rule in [*rulebook(), policy(**{"for": "1h30m"}, cooldown="10y", keep_firing_for="1d1ms")]:
        assert read(json.loads(canonical(document(rule))), "again") == rule
        assert digest(read(document(rule), "again")) == digest(rule)
    assert document(policy(**{"for": "90s"}))["for"] == "1m30s"
    assert document(policy(**{"for": 0}))["for"] == "0s"
    assert document(policy(**{"for": "1w"}))["for"] == "7d"


def test_spelling_a_default_does_not_change_the_version():
    assert digest(policy(mode="dry_run", **{"for": "60m"})) == digest(policy(**{"for": "1h"}))
    assert digest(policy()) != digest(policy(severity="info"))


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"when": "health < 60"}, "when", "write 60.0"),
        ({"clear": "helth > 1.0"}, "clear", "did you mean health"),
        ({"for": "5 minutes"}, "for", "30s, 5m, 1h30m"),
        ({"for": 300}, "for", "30s, 5m, 1h30m"),
        ({"for": True}, "for", "30s, 5m, 1h30m"),
        ({"for": ""}, "for", "30s, 5m, 1h30m"),
        ({"cooldown": "99y"}, "cooldown", "at most 10y"),
        ({"hold": "5m"}, "hold", "Extra inputs"),
        ({"severity": "bad"}, "severity", "'critical', 'error', 'warning' or 'info'"),
        ({"mode": "approve"}, "mode", "'dry_run' or 'auto'"),
        ({"name": "has space"}, "name", "pattern"),
        ({"action": ["a b"]}, "action.0", "pattern"),
        ({"rate": {"acts": 0}}, "rate.acts", "greater than or equal to 1"),
        ({"blast_radius": {"percent": 101}}, "blast_radius.percent", "less than or equal"),
        ({"blast_radius": {"percent": 0}}, "blast_radius.percent", "greater than 0"),
        ({"coverage_min": 1.5}, "coverage_min", "less than or equal"),
        ({"coverage_min": math.nan}, "coverage_min", "finite"),
        ({"match": {"entity": ["*"]}}, "match.entity", "Extra inputs"),
    ],
)
def test_a_mistake_in_a_document_is_named_with_its_place(fields, where, said):
    with pytest.raises(pydantic.ValidationError) as caught:
        policy(**fields)
    (error,) = caught.value.errors()
    assert ".".join(str(part) for part in error["loc"]) == where
    assert said in error["msg"]


def test_all_mistakes_of_a_document_are_told_at_once():
    with pytest.raises(pydantic.ValidationError) as caught:
        read({"when": "health", "for": "x", "extra": 1}, "test")
    assert {error["loc"][0] for error in caught.value.errors()} == {"name", "when", "for", "extra"}


def test_codes_of_the_kernel_are_those_of_the_model():
    codes = [kernel.INACTIVE, kernel.PENDING, kernel.FIRING, kernel.RESOLVED]
    assert [tuple(Phase)[code].value for code in codes] == [
        "inactive", "pending", "firing", "resolved",
    ]  # fmt: skip
    assert kernel.REASONS[kernel.WITHDRAWN] is Reason.POLICY_WITHDRAWN
    assert kernel.REASONS[kernel.LONG_ENOUGH] is Reason.HELD_LONG_ENOUGH
    assert len(STATES) == 4


# Why did nothing happen?


def silence(rule, view, e=0):
    held, _, _ = run(rule, view)
    return explain_silence(rule, held, view, len(view.ticks) - 1, e)


def test_silence_because_the_condition_does_not_hold():
    said = silence(policy(when='health < 75.0 && signal["cpu"] > 1.0'), table(80.0))
    assert said["phase"] == "inactive"
    assert "health < 75.0 does not hold: health is 80" in said["why"]
    assert "no current score" in said["why"]
    assert [clause["held"] for clause in said["clauses"]] == [False, False]
    assert canonical(said)


def test_silence_because_it_has_not_held_long_enough():
    said = silence(acting(**{"for": "5m"}), table(GOOD, BAD, BAD))
    assert (said["phase"], said["to_hold_ms"]) == ("pending", 4 * MINUTE)
    assert "4m to go" in said["why"]
    assert said["outcome"] == "ordered"


def test_silence_because_a_guard_would_block():
    said = silence(policy(action=["log"], clear="health > 90.0"), table(BAD))
    assert said["phase"] == "firing"
    assert "firing" in said["why"]
    assert {guard["name"]: guard["verdict"] for guard in said["guards"]}["mode"] == "block"
    assert [clause["part"] for clause in said["clauses"]] == ["when", "clear"]


def test_silence_because_the_policy_does_not_look_or_the_entity_is_gone():
    assert "does not look" in silence(policy(match={"types": ["gpu"]}), table(BAD))["why"]
    gone = table(NAN, coverage=np.array([[NAN]]))
    assert "nothing is expected" in silence(policy(), gone)["why"]


def test_silence_of_a_policy_that_was_never_judged():
    rule = policy(**{"for": "1m"})
    said = explain_silence(rule, nothing_held(), table(BAD), 0, 0)
    assert said["phase"] == "inactive"
    assert "must hold for 1m" in said["why"]


def test_decisions_and_orders_are_the_nouns_of_the_model():
    _, found, orders = run(acting(), table(BAD))
    assert isinstance(found[0], Decision)
    assert isinstance(orders[0], Order)
    assert (found[0].at, orders[0].created, orders[0].entity) == (MINUTE, MINUTE, found[0].entity)
