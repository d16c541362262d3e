"""Against Debian's Alertmanager, started here with a folder of its own."""

import dataclasses
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from watchkeeper.actions.alertmanager import Alertmanager
from watchkeeper.errors import ActionRefused, ConfigError
from watchkeeper.model import Millis
from watchkeeper.secret import Secret
from watchkeeper.testing.actions import action_checks, order

CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"


def get(url: str):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    program = shutil.which("prometheus-alertmanager")
    assert program, "apt-get install prometheus-alertmanager"
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "config.yml").write_text(CONFIG)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                program,
                f"--config.file={folder}/config.yml",
                f"--storage.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url, child, folder / "log")
        yield url
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(20)


def wait_until_ready(url, child, log):
    until = time.monotonic() + 20
    while time.monotonic() < until and child.poll() is None:
        try:
            return get(url + "/api/v2/status")
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


def now_order(phase: str, name: str):
    """An order of this moment: Alertmanager compares with its own clock."""
    now = Millis(time.time_ns() // 1_000_000)
    made = order(phase=phase, entity=f"host:{name}")
    fact = json.loads(made.payload) | {"starts_at": "2024-01-03T00:00:00Z"}
    return dataclasses.replace(made, created=now, payload=json.dumps(fact))


def alerts(server, name):
    query = f"?filter=entity%3D%22host:{name}%22"
    return get(server + "/api/v2/alerts" + query)


def test_a_firing_alert_carries_who_why_and_where_to_look(server):
    said = Alertmanager(Secret(server), labels={"site": "fra1"}).perform(now_order("firing", "a"))
    assert said == f"firing at {server}"
    (alert,) = alerts(server, "a")
    assert alert["labels"] == {
        "alertname": "host-failing",
        "entity": "host:a",
        "entity_type": "host",
        "severity": "critical",
        "site": "fra1",
    }
    notes = alert["annotations"]
    assert notes["summary"] == "host:a: host-failing is firing"
    assert notes["description"] == (
        "health 12 of 100, system.memory.utilization took 90%, system.cpu.utilization took 10%"
    )
    assert notes["runbook_url"] == "https://runbooks.example/host-failing"
    assert alert["startsAt"] == "2024-01-03T00:00:00.000Z"
    assert alert["status"]["state"] == "active"


def test_resolving_ends_the_same_alert(server):
    action = Alertmanager(Secret(server + "/"))
    action.perform(now_order("firing", "b"))
    assert len(alerts(server, "b")) == 1
    assert action.perform(now_order("resolved", "b")) == f"resolved at {server}"
    assert alerts(server, "b") == []


def test_the_same_order_again_is_still_one_alert(server):
    action, it = Alertmanager(Secret(server)), now_order("firing", "c")
    action.perform(it)
    action.perform(it)
    assert len(alerts(server, "c")) == 1


@pytest.mark.parametrize("check", list(action_checks()), ids=lambda c: c.__name__)
def test_the_checks_of_every_action_hold_against_the_real_one(server, check):
    check(lambda: Alertmanager(Secret(server)))


def test_what_alertmanager_calls_malformed_is_refused_with_its_words(server):
    fact = json.loads(order().payload) | {"starts_at": "yesterday"}
    with pytest.raises(ActionRefused, match=r"HTTP 400: .*yesterday"):
        Alertmanager(Secret(server)).perform(dataclasses.replace(order(), payload=json.dumps(fact)))


def test_hostile_names_arrive_as_they_are(server):
    name = 'x"}<script>{{ 7*7 }}é'
    Alertmanager(Secret(server)).perform(now_order("firing", name))
    assert f"host:{name}" in {a["labels"]["entity"] for a in get(server + "/api/v2/alerts")}


@pytest.mark.parametrize("payload", ["", "[]", "{}", '{"policy":"p","phase":"sideways"}'])
def test_a_payload_that_is_no_decision_is_refused(payload):
    with pytest.raises(ActionRefused, match="no decision"):
        Alertmanager(Secret("http://h")).alert(dataclasses.replace(order(), payload=payload))


def test_the_same_order_always_makes_the_same_alert():
    alert = Alertmanager(Secret("http://h"), keep=60).alert(order())
    assert alert == Alertmanager(Secret("http://h"), keep=60).alert(order())
    assert alert["startsAt"] == "2024-01-02T23:55:00.000Z"
    assert alert["endsAt"] == "2024-01-03T00:01:00.000Z"


def test_an_unknown_health_and_an_untyped_entity_have_their_words():
    bare = dataclasses.replace(
        order(entity="web"), payload='{"policy":"p","phase":"firing","health":null}'
    )
    alert = Alertmanager(Secret("http://h")).alert(bare)
    assert alert["labels"] == {"alertname": "p", "entity": "web"}
    assert alert["annotations"]["description"] == "health unknown"


@pytest.mark.parametrize(
    "fields", [{"url": Secret("h:9093")}, {"keep": 0}, {"timeout": -1}, {"labels": {"a-b": "c"}}]
)
def test_what_cannot_work_is_refused_at_start(fields):
    with pytest.raises(ConfigError):
        Alertmanager(**{"url": Secret("http://h"), **fields})
