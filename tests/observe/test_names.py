"""One table names every metric, log line and span; code, documents and dashboard keep to it."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from tests.test_service import Asking, Running, hot
from tools import catalogue

from watchkeeper.cli.monitoring import SHIPPED, monitoring, text
from watchkeeper.observe import SPANS, STAGES
from watchkeeper.observe.events import BY_NAME, EVENTS
from watchkeeper.observe.metrics import BY_NAME as METRICS
from watchkeeper.observe.metrics import PROCESS
from watchkeeper.observe.settings import Exposed

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "watchkeeper"
COMPLAINTS = {
    "journal_full",
    "ledger_full",
    "reload_waits",
    "time_stands_still",
    "retention_failed",
}
PARTS = {"histogram": ("_bucket", "_sum", "_count")}
KNOWN = {name + s for name, one in METRICS.items() for s in PARTS.get(one.kind, ("",))}
KNOWN |= set(PROCESS)
ACCEPTS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.1"


def calls():
    """Every call of a logger in the program: file, level, event, fields."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            told = ast.unparse(node.func)
            if re.fullmatch(r"(?:self\._)?log\.(debug|info|warning|error|exception)", told) or (
                "get_logger(" in told
            ):
                yield path, node.func.attr, node


def test_every_log_line_is_in_the_table_with_its_level_and_its_fields():
    met = set()
    for path, level, node in calls():
        where = f"{path.relative_to(ROOT)}:{node.lineno}"
        if ast.unparse(node.args[0]) == "what":  # told by name, see `Service._complain`
            continue
        name = ast.literal_eval(node.args[0])
        met.add(name)
        assert name in BY_NAME, f"{where}: {name!r} is not in observe/events.py"
        event = BY_NAME[name]
        assert level in (event.level, "exception"), f"{where}: {name} is of level {event.level}"
        given = {one.arg for one in node.keywords if one.arg is not None} - {"exc_info"}
        assert given <= set(event.fields), f"{where}: {given - set(event.fields)}"
    assert set(BY_NAME) - met == COMPLAINTS


def test_tables_are_in_order():
    assert all(event.stage in STAGES for event in EVENTS)
    assert all(span.stage in STAGES for span in SPANS)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", event.name) for event in EVENTS)
    assert all(name.endswith("_total") == (one.kind == "counter") for name, one in METRICS.items())


@pytest.mark.parametrize("name", catalogue.CATALOGUES)
def test_the_catalogues_in_the_documents_are_written_from_the_tables(name):
    found, wanted = catalogue.written(name)
    assert found == wanted, "run `python -m tools.catalogue`"


@pytest.fixture(scope="module")
def exposed(tmp_path_factory):
    """The metrics of a house in which a little of everything has happened, in both formats."""
    source = Asking([hot(0.2), hot(0.99, "2")], name="scrape")
    told = Exposed(series=10)
    with Running(tmp_path_factory.mktemp("house"), source, exposed=told) as house:
        house.until(lambda: house.live.status()["counts"]["scored"] == 2)
        house.until(lambda: house.service.witness.meters.counters["decisions_total"])
        house.live.objectives.look()
        plain = house.live.metrics()
        modern = house.live.metrics(ACCEPTS)
    return plain, modern


def test_what_is_exposed_is_in_the_table_and_the_other_way_round(exposed):
    (plain, kind), _ = exposed
    assert kind.startswith("text/plain; version=0.0.4")
    found = {s.name for one in families(plain.decode()) for s in one.samples}
    assert found <= KNOWN, found - KNOWN
    told = set(re.findall(r"^# TYPE (\w+) ", plain.decode(), re.MULTILINE))
    assert set(METRICS) - told == set(), "in the table, and never told"
    for one in families(plain.decode()):
        if one.name.startswith("watchkeeper_"):
            metric = METRICS.get(one.name) or METRICS.get(one.name + "_total")
            labels = {frozenset(s.labels) - {"le"} for s in one.samples}
            assert metric is not None
            assert labels <= {frozenset(metric.labels)}, one.name


def test_a_series_is_told_with_its_score_when_it_is_asked_for(exposed):
    (plain, _), _ = exposed
    (scores,) = [
        one for one in families(plain.decode()) if one.name.endswith("series_anomaly_score")
    ]
    ((_, labels, score, *_),) = scores.samples
    assert labels == {
        "entity_type": "host", "entity": "a", "metric": "system.cpu.utilization",
        "attributes": "{}",
    }  # fmt: skip
    assert score >= 0


def test_openmetrics_is_given_to_those_who_accept_it(exposed):
    _, (modern, kind) = exposed
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert modern.endswith(b"# EOF\n")
    assert {one.name for one in open_families(modern.decode())} >= {"watchkeeper_ledger_links"}


def test_promtool_finds_nothing_wrong_with_the_metrics(exposed):
    (plain, _), _ = exposed
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=plain, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def queries():
    """Every query of the dashboard and the rules."""
    board = json.loads(text("dashboard"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            yield one["name"], one["definition"]
    for line in re.findall(r"expr: (?:>\n)?((?:.|\n)*?)\n +(?:for|labels|- )", text("rules")):
        yield "rules", line


def test_every_query_asks_for_metrics_that_there_are():
    asked = list(queries())
    assert len(asked) > 50
    for where, query in asked:
        bare = re.sub(r'"[^"]*"', "", query)
        named = set(re.findall(r"\b(?:watchkeeper|process)_\w+", bare))
        assert named or "watchkeeper:" in bare, (where, query)
        assert named <= KNOWN, (where, named - KNOWN)
        for name, braces in re.findall(r"(watchkeeper_\w+)\{([^}]*)\}", query):
            whole = re.sub("_(bucket|sum|count)$", "", name)
            metric = METRICS.get(name) or METRICS[whole]
            used = set(re.findall(r"(\w+)\s*(?:=~|!=|=)", braces)) - {"job", "instance", "le"}
            assert used <= set(metric.labels), (where, name, used)


def test_the_dashboard_is_one_that_grafana_reads():
    board = json.loads(text("dashboard"))
    assert board["uid"] == "watchkeeper-house"
    assert [one["name"] for one in board["__inputs"]] == ["DS_PROMETHEUS"]
    names = [one["name"] for one in board["templating"]["list"]]
    assert names == ["DS_PROMETHEUS", "job", "instance", "entity"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${DS_PROMETHEUS}"
            assert all(one["datasource"]["uid"] == "${DS_PROMETHEUS}" for one in panel["targets"])


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped_is_printed(name, capsys):
    assert monitoring(name) == 0
    assert capsys.readouterr().out == (SOURCE / "packs" / "house" / SHIPPED[name]).read_text(
        "utf-8"
    )


def test_readiness_says_what_it_waits_for(tmp_path):
    with Running(tmp_path, Asking(name="scrape")) as house:
        assert set(house.live.checks().values()) == {"ok"}
        house.service.degraded = "WK300 the disk has failed"
        assert house.live.checks()["disk"] == "WK300 the disk has failed"
        house.service.degraded = ""


def test_entities_are_told_one_by_one_only_as_far_as_is_allowed(tmp_path):
    from watchkeeper.observe.settings import Exposed

    with Running(tmp_path, Asking([hot(0.2)], name="scrape")) as house:
        house.until(lambda: house.live.status()["entities"] == 1)
        house.live._exposed = Exposed(entities=0)
        told = house.live.metrics()[0].decode()
        assert "watchkeeper_anomaly_score{" not in told
        assert "watchkeeper_entities_not_shown 1.0" in told
        assert 'watchkeeper_entities{entity_type="host",state="ok"}' in told
