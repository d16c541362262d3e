"""Conditions: what is accepted, how refusals read, and that columns and CEL always agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.policies import _columns
from watchkeeper.policies._cel import condition
from watchkeeper.policies._cells import Block
from watchkeeper.testing.policies import Table

METRICS = ("system.cpu.utilization", "disk", "nobody.has.this")
ENTITIES = ["host:web-1", "host:db-1", "link:leaf1/eth8", "plain"]
NUMBERS = [math.nan, 0.0, -0.0, 1.0, 59.99, 60.0, 75.0, 90.0, 100.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("health < 60", "write 60.0"),
        ("score > 1.0 && health < 7", "column 23"),
        ("helth < 60.0", "did you mean health?"),
        ("zzz < 60.0", "known are coverage, entity, entity_type, health"),
        ("health", "this is a number"),
        ("name", "this is text"),
        ("[health]", "this is list"),
        ("state == fail", 'write "fail"'),
        ('state == "failed"', "one of ok, warn, fail, unknown"),
        ('"Fail" != state', "one of ok, warn, fail, unknown"),
        ('state = "fail"', "equality is =="),
        ("health < 60.0 and score > 1.0", "write && for and"),
        ('type == "host"', "entity_type"),
        ("health <", "column 9"),
        ("health < 60.0 &&\n  score > 1", "line 2, column 9"),
        ("(" * 33 + "health < 1.0" + ")" * 33, "too deeply nested"),
        (" + ".join(["health"] * 60) + " > 1.0", "too deeply nested"),
        ("health < 60.0 " + " " * 2000, "at most 2,000 characters"),
        ("!" * 500 + "(health < 60.0)", "at most 500 words"),
        ("[1].exists(a, [1].exists(b, [1].exists(c, a == b && b == c)))", "loops nested"),
        ("signal.exists(k, signal[k] > 1.0)", "signal must name its metric"),
        ("size(signal) > 1", "signal must name its metric"),
        ("signal[name] > 1.0", "signal must name its metric"),
        ('signal["a\\x41"] > 1.0', "signal must name its metric"),
        ("name in signal", "signal must name its metric"),
        ('signal["a"] > 1', "write 1.0"),
    ],
)
def test_a_wrong_condition_says_what_to_write_instead(text, said):
    with pytest.raises(ValueError, match=r".") as caught:
        condition(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("health < 60.0", ("health < 60.0",)),
        ('health < 60.0 && state == "fail"', ("health < 60.0", 'state == "fail"')),
        ("(health < 1.0 && score > 1.0)", ("(health < 1.0 && score > 1.0)",)),
        ("health < 1.0 && score > 1.0 || true", ("health < 1.0 && score > 1.0 || true",)),
        ('name == "a && b" && true', ('name == "a && b"', "true")),
        ("health < 1.0 ? true && true : false", ("health < 1.0 ? true && true : false",)),
        ("health < 1.0 // this && that\n&& true", ("health < 1.0 // this && that", "true")),
    ],
)
def test_clauses_are_the_parts_joined_by_and(text, clauses):
    assert condition(text).clauses == clauses


@pytest.mark.parametrize(
    ("text", "metrics"),
    [
        ('signal["b"] > 1.0 || signal.a > 1.0', ("a", "b")),
        ("'x.y' in signal && has(signal.z)", ("x.y", "z")),
        ('[signal["a"]].exists(x, x > 1.0)', ("a",)),
        ('.signal["a"] > 1.0', ("a",)),
        ("health < 1.0", ()),
    ],
)
def test_a_condition_knows_which_metrics_it_reads(text, metrics):
    assert condition(text).metrics == metrics


def test_a_metric_called_like_a_variable_is_not_that_variable():
    checked = condition("signal.health > 1.0")
    assert (checked.metrics, checked.names) == (("health",), {"signal"})


def tables():
    number = st.sampled_from(NUMBERS)
    grid = st.lists(st.lists(number, min_size=4, max_size=4), min_size=1, max_size=3)
    return grid.flatmap(
        lambda rows: st.builds(
            lambda score, cpu, disk: Table(
                np.arange(1, len(rows) + 1) * 1000, ENTITIES, np.array(rows),
                score=np.array(score)[: len(rows)],
                signals={METRICS[0]: np.array(cpu)[: len(rows)],
                         "disk": np.array(disk)[: len(rows)]},
            ),
            *[st.lists(st.lists(number, min_size=4, max_size=4), min_size=3, max_size=3)] * 3,
        )
    )  # fmt: skip


def numbers():
    leaf = st.one_of(
        st.sampled_from(["health", "score", "coverage", "signal.disk", "1e400"]),
        st.sampled_from([f'signal["{metric}"]' for metric in METRICS]),
        st.sampled_from(["0.0", "1.0", "60.0", ".5", "1e2", "75.0"]),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner),
            st.builds("-({})".format, inner),
        ),
        max_leaves=3,
    )


def truths():
    sign = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    states = st.sampled_from(['"ok"', '"warn"', '"fail"', '"unknown"'])
    texts = st.sampled_from(['"host"', '"web-1"', '"host:db-1"', '""', "'link'"])
    names = st.sampled_from(["entity", "entity_type", "name"])
    equal = st.sampled_from(["==", "!="])
    leaf = st.one_of(
        st.builds("{} {} {}".format, numbers(), sign, numbers()),
        st.builds("state {} {}".format, equal, states),
        st.builds("{} {} state".format, states, equal),
        st.builds("state in [{}, {}]".format, states, states),
        st.builds("{} {} {}".format, names, equal, texts),
        st.builds("{} in [{}]".format, names, texts),
        st.builds("{} in [1.0, 60.0]".format, numbers()),
        st.builds('"{}" in signal'.format, st.sampled_from(METRICS)),
        st.sampled_from(["true", "false"]),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds("({} && {})".format, inner, inner),
            st.builds("({} || {})".format, inner, inner),
            st.builds("!({})".format, inner),
            st.builds("{} && {} || {}".format, inner, inner, inner),
        ),
        max_leaves=5,
    )


@settings(max_examples=300, deadline=None)
@given(text=truths(), table=tables())
def test_columns_and_cel_agree_on_every_cell(text, table):
    checked = condition(text)
    assert _columns.vectorised(checked)
    everywhere = np.ones((len(table.ticks), 4), np.bool_)
    fast = _columns.evaluate(checked, Block(table), everywhere)
    slow = _columns._one_by_one(checked, Block(table), everywhere)
    assert fast.holds.tolist() == slow.holds.tolist()
    assert fast.untold.tolist() == slow.untold.tolist()
    assert not (fast.holds & fast.untold).any()


def test_the_two_zeros_are_told_apart_cell_by_cell():
    nothing = np.full((1, 4), np.nan)
    health = np.array([[0.0, -0.0, 1.0, np.nan]])
    signals = {METRICS[0]: nothing, "disk": nothing}
    table = Table(np.array([1000]), ENTITIES, health, score=nothing, signals=signals)
    everywhere = np.ones((1, 4), np.bool_)
    answer = _columns._one_by_one(condition("health < (1.0 / health)"), Block(table), everywhere)
    assert answer.holds.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize(
    "text",
    [
        'entity.startsWith("host:")',
        'state < "warn"',
        "health < 1.0 ? true : false",
        "(health < 1.0) == true",
        "[health].exists(x, x < 60.0)",
        'name == "a\\x41"',
        "health in [score, 1.0]",
        '"a" == "a"',
        '"a" in ["a"]',
        "entity == name",
        "int(health) < 60",
        "1 < 2",
        "has(signal.disk)",
        "health in []",
    ],
)
def test_what_columns_do_not_understand_runs_in_cel(text):
    checked = condition(text)
    assert not _columns.vectorised(checked)
    table = Table(np.array([1, 2]), ENTITIES, np.array([[50.0, math.nan, 80.0, 99.0]] * 2))
    wanted = np.array([[True, True, False, True], [False] * 4])
    answer = _columns.evaluate(checked, Block(table), wanted)
    for t, e in np.argwhere(wanted):
        kind, _, own = ENTITIES[e].partition(":")
        values = {
            "health": float(table.health[t, e]), "coverage": float(table.coverage[t, e]),
            "score": 0.0, "state": ["ok", "warn", "fail", "unknown"][table.state[t, e]],
            "entity": ENTITIES[e], "entity_type": kind, "name": own, "signal": {},
        }  # fmt: skip
        assert answer.holds[t, e] == checked.holds(values)[0]
    assert not answer.holds[~wanted].any()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 / 0 == 1", "divide by zero"),
        ('signal["a"] > 1.0', "Key not found"),
        ('!(signal["a"] > 1.0)', "Key not found"),
    ],
)
def test_an_error_value_is_never_true(text, why):
    holds, said = condition(text).holds({"signal": {}})
    assert not holds
    assert why in said


def test_a_loop_that_never_ends_is_stopped_and_not_true():
    items = ",".join(["1"] * 120)
    text = f"[{items}].all(a, [{items}].all(b, a == b))"
    holds, said = condition(text).holds({})
    assert not holds
    assert "teration" in said


def test_a_condition_on_a_missing_metric_is_neither_held_nor_its_opposite():
    table = Table(np.array([1]), ENTITIES, np.full((1, 4), 50.0))
    everywhere = np.ones((1, 4), np.bool_)
    for text in ('signal["gone"] > 1.0', '!(signal["gone"] > 1.0)', 'signal["gone"] != 1.0'):
        answer = _columns.evaluate(condition(text), Block(table), everywhere)
        assert not answer.holds.any()
        assert answer.untold.all()
