"""An incident is told from its first sign until it cleared, with what was done about it."""

import json

import pytest
from tests.commands import wk
from tests.test_pipeline import CPU, ENGINE, START, Stores, drain, hot, rules

from watchkeeper import config, pipeline, plugins, rerun
from watchkeeper.actions.log import Log
from watchkeeper.errors import InputError
from watchkeeper.model import Millis


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Host a is over its bound for twenty seconds, twice; what that owed was delivered once."""
    stores = Stores(tmp_path_factory.mktemp("incident"), rules()).begin()
    for second in range(1, 241):
        at = START + second * 1_000
        over = second in range(30, 50) or second in range(150, 170)
        rows = [(f"host:{h}", CPU, at - 5, 0.99 if h == "a" and over else 0.2) for h in "ab"]
        stores.offer(rows, at)
    drain(stores.decider())
    pipeline.act(stores.ledger, {"log": Log()}, now=lambda: Millis(START + 300_000), limit=1)
    yield stores
    stores.close()


def told(house, which):
    return rerun.incident(house.journal, house.ledger, config.read_rulebook, ENGINE, "house", which)


def test_the_newest_incident_of_an_entity_is_told_from_first_sign_to_clearing(house):
    findings = told(house, "host:a")
    assert [one.name for one in findings.entities] == ["host:a"]
    events = findings.timeline
    assert list(events) == sorted(events, key=lambda one: one.at)
    assert all(findings.facts.since <= one.at for one in events)
    mine = [d for d in reversed(hot(house)) if d.at > START + 100_000]
    assert [d.phase for d in mine] == ["pending", "firing", "resolved"]
    said = [one.what for one in events if one.kind == "decision" and one.at >= mine[0].at]
    assert said == [f"hot {d.phase}: {d.reason.replace('_', ' ')}" for d in mine]
    cleared = next(one for one in events if one.what.startswith("hot resolved"))
    assert "does not hold (health = " in cleared.about
    kinds = [one.kind for one in events]
    assert kinds.index("signal") < kinds.index("health") < kinds.index("decision")
    assert any(one.what == f"{CPU} anomalous" and "0.99" in one.about for one in events)


def test_a_decision_names_its_own_incident_with_what_became_of_its_orders(house):
    first = next(d for d in reversed(hot(house)) if d.phase == "firing")
    events = told(house, first.key).timeline
    assert max(one.at for one in events if one.kind == "decision") < START + 100_000
    (order,) = house.ledger.orders_of(first.key)
    (owed,) = [one for one in events if one.kind == "order" and order.key in one.about]
    (attempt,) = [one for one in events if one.kind == "attempt"]
    assert (owed.at, attempt.at) == (first.at, START + 300_000)
    assert attempt.what == "log: done, attempt 1"


def test_what_never_fired_is_no_incident(house):
    with pytest.raises(InputError, match="newest: host:a"):
        told(house, "host:b")


@pytest.mark.parametrize("kind", plugins.kinds("reports"))
def test_every_report_can_be_of_an_incident(house, kind, tmp_path, capsys):
    out = tmp_path / f"incident.{kind}"
    asked = ("report", "--data", house.folder, "--incident", "host:a", "--format", kind)
    assert wk(*asked, "--out", out) == 0
    if kind in ("html", "text"):
        assert "hot firing: held long enough" in out.read_text()
    if kind == "json":
        assert json.loads(out.read_text())["timeline"][0]["kind"] == "signal"
    capsys.readouterr()
    assert wk(*asked, "--last", "1h") == 1
    assert "WK200" in capsys.readouterr().err
