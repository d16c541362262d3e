"""The shipped rules in Debian's Prometheus: faults of a running house reach Debian's Alertmanager.

The rules are those that users get, with every time in them divided by 60: a copy made here has
seconds for minutes. What is compared, and with which labels, is theirs.
"""

import contextlib
import json
import re
import signal
import time

import pytest
from tests.integration.clients import Prometheus, Server, fetched, program
from tests.integration.house import a_house
from tests.sources.agents import free_port

from watchkeeper.cli.monitoring import text
from watchkeeper.testing.actions import Receiver, Says

FASTER = 60
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ALERTED = 150.0  # seconds until an alert must have come or gone; a quiet machine needs twenty
STUCK, UNREAD, ABSENT = (
    "WatchkeeperOutboxStuck", "WatchkeeperReloadFailed", "WatchkeeperAbsent",
)  # fmt: skip
CONFIG = """
tick: 1s
sources: []
flags: {{action.webhook: true}}
actions:
  hook: {{type: webhook, url: "{url}/hook"}}
policies:
  - {{name: any-loss, match: {{types: [host]}}, when: "health < 99.0", for: 0s, mode: auto,
     action: [hook]}}
"""


def hurried(rules):
    """Return the rules with every time in them divided: how long, over what, and how old."""

    def divided(told):
        return f"{told[1]}{max(1000, SECONDS[told[3]] * int(told[2]) * 1000 // FASTER)}ms{told[4]}"

    rules, lasting = re.subn(r"((?:for|interval): )(\d+)([smhd])()", divided, rules)
    rules, windows = re.subn(r"(\[)(\d+)([smhd])(\])", divided, rules)
    rules, ages = re.subn(
        r"(_seconds > )(\d+)$", lambda told: f"{told[1]}{int(told[2]) / FASTER:g}", rules,
        flags=re.MULTILINE,
    )  # fmt: skip
    assert lasting > 10, "it says how long a fault must last"
    assert windows > 10, "it says over what it counts"
    assert ages == 2, "it says how old an order and a decision may be"
    return rules


class Alerts(Server):
    """Debian's Alertmanager, which tells nobody further."""

    def __init__(self, folder):
        config, port = folder / "alertmanager.yml", free_port()
        config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        command = [
            program("prometheus-alertmanager", "prometheus-alertmanager"),
            f"--config.file={config}", f"--storage.path={folder / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        super().__init__(folder, command, port, "/-/ready")

    def active(self):
        """What it holds now: each alert by name."""
        told = json.loads(fetched(self.port, "/api/v2/alerts?active=true"))
        return {one["labels"]["alertname"]: one for one in told}


class Watched:
    """A house whose orders go to a receiver, and who watches it."""

    def __init__(self, folder, stack):
        self.receiver = stack.enter_context(Receiver())
        config = CONFIG.format(url=self.receiver.url)
        self.house = stack.enter_context(a_house(folder / "house", config))
        self.alerts = Alerts(folder)
        stack.callback(self.alerts.end)
        (folder / "rules.yaml").write_text(hurried(text("rules")))
        scrape = text("scrape").replace("8470", str(self.house.port))
        scrape = scrape.replace("/etc/prometheus/rules/watchkeeper.rules.yaml", "rules.yaml")
        scrape = scrape.replace("scrape_interval: 15s", "scrape_interval: 500ms")
        told = f"[{{targets: ['127.0.0.1:{self.alerts.port}']}}]"
        alerting = f"alerting: {{alertmanagers: [{{static_configs: {told}}}]}}"
        prometheus = Prometheus(
            folder, f"global: {{evaluation_interval: 1s}}\n{scrape}{alerting}\n"
        )
        stack.callback(prometheus.end)

    def until(self, name, *, fires):
        """Wait until Alertmanager holds an alert, or holds it no more; return it."""
        self.house.until(lambda: (name in self.alerts.active()) == fires, ALERTED)
        return self.alerts.active().get(name)

    def fills_up(self):
        """Tell of a host whose disk is full, which is worth an order."""
        body = json.dumps(
            {"timestamp": int(time.time()), "entity": "host:web-1",
             "metric": "system.filesystem.utilization", "value": 0.99}
        )  # fmt: skip
        code, said = self.house.ask(
            "/api/v1/samples", body.encode(), content_type="application/x-ndjson"
        )
        assert code == 200, said


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Watched(tmp_path_factory.mktemp("alerting"), stack)


def test_a_receiver_that_takes_no_order_wakes_somebody_until_it_does(watched):
    assert STUCK not in watched.alerts.active()
    watched.receiver.script[:] = [Says(503)]
    watched.fills_up()
    alert = watched.until(STUCK, fires=True)
    assert alert["labels"]["severity"] == "critical"
    assert alert["labels"]["instance"] == f"127.0.0.1:{watched.house.port}"
    assert re.search(r"An order of \S+ has been open for", alert["annotations"]["summary"])
    assert len(watched.receiver.requests) > 1, "it is tried again"
    watched.receiver.script[:] = [Says(200)]
    watched.until(STUCK, fires=False)


def test_a_configuration_that_cannot_be_read_is_told_until_it_can(watched):
    house, right = watched.house, watched.house.config.read_text()
    assert UNREAD not in watched.alerts.active()
    house.config.write_text(right + "tock: 1s\n")
    house.life.send_signal(signal.SIGHUP)
    assert watched.until(UNREAD, fires=True)["labels"]["severity"] == "warning"
    house.config.write_text(right)
    house.life.send_signal(signal.SIGHUP)
    watched.until(UNREAD, fires=False)


def test_a_house_that_is_gone_is_told_until_it_is_back(watched):
    assert ABSENT not in watched.alerts.active()
    watched.house.kill()
    assert watched.until(ABSENT, fires=True)["labels"]["severity"] == "critical"
    watched.house.start()
    watched.until(ABSENT, fires=False)
