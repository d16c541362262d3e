"""The shipped Prometheus rules: right by promtool, tested, explained, and as promised."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from watchkeeper.cli.monitoring import text
from watchkeeper.live._objectives import promises, shown

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs"
RULES = YAML(typ="safe").load(text("rules"))
ALERTS = {rule["alert"]: rule for g in RULES["groups"] for rule in g["rules"] if "alert" in rule}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rules.yaml").write_text(text("rules"))
    shutil.copy(HERE / "rules.test.yaml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "told", [("check", "rules", "rules.yaml"), ("test", "rules", "rules.test.yaml")]
)
def test_promtool_agrees(told, folder):
    done = subprocess.run(
        ["promtool", *told], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_shown_to_fire_and_to_be_silent():
    tests = YAML(typ="safe").load(HERE / "rules.test.yaml")["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    loud = {case["alertname"] for case in cases if case["exp_alerts"]}
    quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert loud == quiet == set(ALERTS)


def test_every_alert_has_a_severity_and_says_what_to_do():
    explained = re.findall(r"^### (\w+)$", (DOCS / "alerts.md").read_text("utf-8"), re.MULTILINE)
    assert explained == list(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{name.lower()}"


def test_burn_rate_alerts_use_the_windows_and_factors_of_the_objectives():
    records = [rule.get("record") for group in RULES["groups"] for rule in group["rules"]]
    for severity, alert in (
        ("critical", "WatchkeeperErrorBudgetBurnFast"),
        ("warning", "WatchkeeperErrorBudgetBurnSlow"),
    ):
        found = re.findall(r"rate(\w+) > ([\d.]+) \*", ALERTS[alert]["expr"])
        pairs = [pair for pair in promises().pairs if pair.severity == severity]
        wanted = [(shown(w), f"{p.factor:g}") for p in pairs for w in (p.long, p.short)]
        assert found == wanted
        assert {f"watchkeeper:slo_bad:ratio_rate{window}" for window, _ in found} <= set(records)
