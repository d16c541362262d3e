"""The shipped policies: readable, harmless until switched on, and documented."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

import watchkeeper
from watchkeeper.policies import Policy, _columns, judge, nothing_held, read
from watchkeeper.policies._cel import condition
from watchkeeper.testing.policies import Table

PACKS = Path(watchkeeper.__file__).parent / "packs"
DOCS = Path(__file__).parents[2] / "docs"
MINUTE = 60_000


def load(pack, file):
    return YAML(typ="safe").load((PACKS / pack / file).read_text(encoding="utf-8"))


def shipped(pack):
    return [read(document, pack) for document in load(pack, "policies.yaml")["policies"]]


@pytest.mark.parametrize("pack", ["host", "generic"])
def test_shipped_policies_only_log_and_only_when_switched_on(pack):
    for policy in shipped(pack):
        assert (policy.mode, policy.action) == ("dry_run", ("log",))
        assert policy.description.endswith(".")


@pytest.mark.parametrize("pack", ["host", "generic"])
def test_shipped_conditions_run_over_columns(pack):
    for policy in shipped(pack):
        for text in filter(None, (policy.when, policy.clear)):
            assert _columns.vectorised(condition(text)), text


@pytest.mark.parametrize("pack", ["host", "generic"])
def test_shipped_runbooks_are_headings_of_the_documentation(pack):
    headings = set(re.findall(r"^### (\S+)$", (DOCS / "policies.md").read_text(), re.MULTILINE))
    for policy in shipped(pack):
        file, _, anchor = policy.runbook.partition("#")
        assert (file, anchor) == ("docs/policies.md", policy.name)
        assert anchor in headings


def test_shipped_host_policies_read_only_metrics_of_the_host_contract():
    known = set(re.findall(r"\bname: ([\w.]+)", (PACKS / "host" / "contract.yaml").read_text()))
    for policy in shipped("host"):
        for text in filter(None, (policy.when, policy.clear)):
            assert set(condition(text).metrics) <= known, policy.name


def test_an_entity_is_judged_by_its_own_pack_only():
    hosts, others = shipped("host"), shipped("generic")
    assert all(p.matches("host:web-1") and not p.matches("series:a/b") for p in hosts)
    assert all(p.matches("series:a/b") and not p.matches("host:web-1") for p in others)


def test_a_failing_host_is_decided_after_five_minutes_and_let_go_after_its_calm():
    health = np.array([99.0] * 2 + [40.0] * 20 + [99.0] * 12)[:, None]
    view = Table(MINUTE * np.arange(1, 35), ["host:web-1"], health)
    _, found, orders = judge(shipped("host"), nothing_held(), view)
    told = [(d.policy, d.at // MINUTE, d.phase.value) for d in found]
    assert told == [
        ("host-failing", 3, "pending"),
        ("host-degraded", 3, "pending"),
        ("host-failing", 8, "firing"),
        ("host-degraded", 18, "firing"),
        ("host-failing", 28, "resolved"),
        ("host-degraded", 33, "resolved"),
    ]
    assert {d.outcome.value for d in found if d.phase == "firing"} == {"dry_run"}
    assert orders == []


def test_every_field_of_a_policy_is_documented():
    text = (DOCS / "policies.md").read_text()
    for name, field in Policy.model_fields.items():
        assert f"| `{field.alias or name}` |" in text, name
