"""Collectors in a whole house: what hostile targets do to the others, and what is told of them."""

import json
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.commands import wk
from tests.integration.house import READY
from tests.sources import agents, hostile, test_gnmi
from tests.sources.hostile import HOSTILE, Server, good
from tests.test_pipeline import Stores
from tests.test_service import clock

from watchkeeper import config, pipeline
from watchkeeper.engines.local import Local
from watchkeeper.live import Live
from watchkeeper.model import Control, canonical
from watchkeeper.service import House, Service
from watchkeeper.sources._breaker import EXTRA, FAILURES_MAX, REST_INTERVALS, SAVED_MAX
from watchkeeper.sources._mqtt_topics import Topic
from watchkeeper.sources.gnmi import Gnmi
from watchkeeper.sources.mqtt import Mqtt
from watchkeeper.sources.scrape import Scrape
from watchkeeper.sources.snmp import Snmp
from watchkeeper.sources.sonic import Sonic
from watchkeeper.sources.sql import Query, Sql

INTERVAL, TIMEOUT = 1.5, 1.0
ROUNDS = 11  # the breaker opens after 5, rests for 4, and is tried once
EVERYWHERE = "version: 1\ntick: 1s\npacks: [link@1, host@1, generic@1]\nsources: []\n"


class Running:
    """A house that collects from many sources at once."""

    def __init__(self, folder, sources):
        self.rules = config.load((), {}, EVERYWHERE).rules
        self.stores = Stores(folder, self.rules)
        self.stop = threading.Event()
        house = House(
            rulebook=self.rules, sources=sources, journal=self.stores.journal,
            ledger=self.stores.ledger, actions={}, engine=Local(workers=1),
            reread=config.read_rulebook,
        )  # fmt: skip
        self.service = Service(house, self.stop, clock)
        self.live = Live(self.service, "test", clock)
        self.thread = threading.Thread(target=self.service.run)

    def __enter__(self):
        self.thread.start()
        if not self.service.ready.wait(READY):
            self.end()
            raise AssertionError("the house did not become ready")
        return self

    def __exit__(self, *_):
        self.end()
        self.stores.close()

    def end(self):
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def until(self, holds, seconds=90):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.live.status()["targets"]
            time.sleep(0.05)

    def states(self):
        return {
            (source, one["name"]): one
            for source, states in self.live.status()["targets"].items()
            for one in states
        }

    def told(self):
        """What the journal holds: rounds in which each target was up, and changes of state."""
        series = self.stores.journal.series().to_pylist()
        rounds, changes = Counter(), {}
        for entry in pipeline.entries(self.stores.journal):
            columns = (entry.samples[n].to_pylist() for n in (0, 2))
            for number, value in zip(*columns, strict=True):
                key = series[number]
                if key["metric"] == "up" and value == 1.0:
                    rounds[key["entity"]] += 1
            for one in entry.controls:
                if one.kind == "collector":
                    body = json.loads(one.body)
                    changes.setdefault((one.actor, body["target"]), []).append(body["state"])
        return rounds, changes


def looping(question: bytes) -> bytes:
    """Answer any GETBULK with one name that does not grow."""
    return question.replace(b"\xa5", b"\xa2", 1)


class Truncated(test_gnmi.Target):
    """A stream that ends before everything was told."""

    def Subscribe(self, requests, context):
        next(requests)
        yield test_gnmi.update({f"{test_gnmi.ETH}/state/counters/in-octets": 1})


@dataclass
class Neighbourhood:
    """Sources that are asked at once: most of their targets are hostile, forty are not.

    :param servers: hostile ones that are scraped. :param hopeless: targets of which nothing comes.
    """

    sources: list
    servers: list
    hopeless: set
    beside: list
    well: Server
    calm: Server
    large: Server
    steady: Server


def neighbours(enter, samples):
    """Start every hostile target, and two servers that are well: one beside them, one alone.

    :param samples: of one page at most, and of two targets' pages; one never says the same twice.
    """
    bad = {**HOSTILE, "endless_headers": hostile.endless_headers}
    servers = {
        name: enter(Server(behave, f"127.0.2.{n + 1}"))
        for n, (name, behave) in enumerate(bad.items())
    }
    large = enter(Server(hostile.bomb(100 << 20), "127.0.2.60"))
    endless = enter(Server(hostile.endless_body, "127.0.2.61"))
    flapping = enter(Server(hostile.flapping, "127.0.2.62"))
    page = b"".join(b'steady{path="%d"} 1.5\n' % n for n in range(samples))
    steady = enter(Server(hostile.saying(page), "127.0.2.65"))
    fickle = enter(Server(hostile.fickle(samples), "127.0.2.66"))
    well, calm = enter(Server(good, "127.0.2.63")), enter(Server(good, "127.0.2.64"))
    each = {"interval": INTERVAL, "timeout": TIMEOUT}
    beside = [f"http://{well.name}/{n}" for n in range(20)]
    alone = [f"http://{calm.name}/{n}" for n in range(20)]
    names = [server.name for server in servers.values()]
    names.append(f"https://{servers['garbage'].name}/metrics")
    sources = [
        Scrape(
            targets=(*beside, *names, *(one.name for one in (
                large, endless, flapping, steady, fickle,
            ))),
            body_bytes=max(1 << 20, 160 * samples), sample_limit=samples, name="mixed", **each,
        ),
        Scrape(targets=tuple(alone), name="alone", **each),
        *others(enter, each),
    ]  # fmt: skip
    hopeless = {("mixed", name) for name in names} | {
        ("snmp", "loops"), ("sonic", "blocks"), ("gnmi", "cuts"), ("sql", "hangs"),
        ("mqtt", "hangs"),
    }  # fmt: skip
    return Neighbourhood(sources, [*servers.values()], hopeless, beside, well, calm, large, steady)


def others(enter, each):
    """A hostile target of each kind that is not scraped."""
    snmp = enter(agents.fake_udp(looping))
    blocked, silent, deaf = (enter(agents.fake_tcp()) for _ in range(3))
    gnmi = enter(test_gnmi.serving(Truncated()))
    topic = Topic(topic="a", entity="host:a", metric="m")
    return [
        Snmp(targets=(f"loops=127.0.0.1:{snmp}",), **each),
        Sonic(targets=(f"blocks=127.0.0.1:{blocked}",), **each),
        Gnmi(targets=(f"cuts=127.0.0.1:{gnmi}",), tls=False, **each),
        Sql(
            url=f"postgresql+psycopg://a@127.0.0.1:{silent}/b",
            queries=(Query(name="hangs", sql="SELECT 1 AS x"),), **each,
        ),
        Mqtt(broker=f"hangs=127.0.0.1:{deaf}", topics=(topic,), tls=False, **each),
    ]  # fmt: skip


@pytest.mark.parametrize("samples", [1000, pytest.param(100_000, marks=pytest.mark.nightly)])
def test_hostile_targets_of_every_kind_delay_nobody_and_are_left_alone(tmp_path, samples):
    """No target's trouble costs another more than a tenth of its rounds."""
    with ExitStack() as stack:
        street = neighbours(stack.enter_context, samples)
        well, calm, hopeless = street.well, street.calm, street.hopeless
        with Running(tmp_path, street.sources) as house:
            house.until(lambda: min(calm.asked.values(), default=0) >= ROUNDS)
            # On a busy machine they may need some rounds more.
            house.until(lambda: all(house.states()[one]["failures"] >= 5 for one in hopeless))
            states, metrics = house.states(), house.live.metrics()[0].decode()
            assert house.live.ready() == (True, "ready")
            house.end()
            up, changes = house.told()
            assert pipeline.verify(
                house.stores.journal, house.stores.ledger, config.read_rulebook, Local(workers=1)
            ).links
    assert len(well.asked) == len(calm.asked) == 20
    assert sum(well.asked.values()) >= 0.9 * sum(calm.asked.values()), "a tenth of the rounds"
    assert min(well.asked.values()) >= 0.8 * min(calm.asked.values())
    assert up[f"target:scrape/{well.name}"] >= 0.9 * up[f"target:scrape/{calm.name}"] > 0
    if samples < 100_000:  # which a busy machine may not read within a second
        assert up[f"target:scrape/{street.large.name}"] > 1, "of a hundred megabytes what fits"
        assert up[f"target:scrape/{street.steady.name}"] >= 0.8 * ROUNDS
    for one in hopeless:
        state = states[one]["state"]
        assert state in ("open", "half_open"), (one, states[one])
        assert states[one]["error"]
        assert changes[one][:2] == ["failing", "open"], one
        line = f'watchkeeper_target_breaker{{source="{one[0]}",state="{state}",target="{one[1]}"}}'
        assert f"{line} 1.0" in metrics
    assert states["mixed", street.beside[0]]["state"] == "closed"
    # No storm: questions until the breaker opens, trials, and repeats within the budget.
    rounds = max(calm.asked.values()) + 1
    asked = sum(len(server.requests) for server in street.servers)
    most = len(hopeless) * (FAILURES_MAX + rounds / REST_INTERVALS + 1)
    assert asked <= most + SAVED_MAX + EXTRA * rounds * 60


def test_an_exporter_that_is_gone_is_unhealthy_and_says_why(tmp_path):
    """Nearly all it told has ended; that it does not answer is known all the same."""
    page = b"".join(b"thing_%d 1\n" % n for n in range(30))
    server = Server(hostile.saying(page))
    source = Scrape(targets=(server.name,), interval=0.5, timeout=0.4)
    entity = f"target:scrape/{server.name}"

    def health():
        return {one.entity: one for one in house.stores.ledger.health()}.get(entity)

    with Running(tmp_path, [source]) as house:
        house.until(lambda: health() is not None and health().state == "ok")
        server.__exit__()
        house.until(lambda: health().state == "fail")
        found = health()
        assert found.coverage < 0.5
        assert found.contributions[0].metric == "up"
        assert found.health < 50
        house.end()


def test_the_command_names_the_targets_that_do_not_answer(tmp_path, capsys):
    def changes(target, state, error=""):
        body = {"target": target, "state": state, "error": error, "failures": 1}
        stores.journal.note(Control("collector", "scrape", canonical(body)), clock())

    stores = Stores(tmp_path, config.load((), {}, EVERYWHERE).rules).begin()
    for target, states in {
        "well": ("failing", "open", "half_open", "closed"), "a:1": ("failing", "open"),
        "b:1": ("failing", "recovered"), "c:1": ("failing",), "d:1": ("failing", "gone"),
    }.items():  # fmt: skip
        for state in states:
            changes(target, state, f"{target} hangs")
    stores.close()
    assert wk("status", "--data", tmp_path, "--output", "json") == 0
    found = json.loads(capsys.readouterr().out)["targets"]
    assert [(one["target"], one["state"]) for one in found] == [("a:1", "open"), ("c:1", "failing")]
    assert wk("status", "--data", tmp_path) == 0
    assert "open      scrape a:1 since" in capsys.readouterr().out
