"""Everybody at once, unchanged: whoever pushes to a whole house and whoever it asks.

One house, and its senders, go through an outage, a restart and `kill -9` under load. Afterwards
each one's own count is compared with the journal, and the ledger is proven.
"""

import contextlib
import json
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import redis as redis_client
from tests.commands import finished
from tests.integration.clients import SCRAPES, Prometheus, Server, node_exporter, program, snippet
from tests.integration.house import House, Sample, a_house
from tests.integration.senders import Alertmanager, InfluxOne, InfluxTwo, OpenTelemetry
from tests.sources import agents
from tests.sources.test_sonic import TABLES

OURS = {"up", "scrape_duration_seconds", "scrape_samples_scraped"}
OUTAGE = 60.0  # seconds
RECEIVERS = """
receivers:
  - type: remote_write
  - {{type: otlp, grpc_port: {grpc}}}
  - type: influx
  - type: json_lines
  - type: alerts
packs: [link@1, host@1, generic@1]
flags: {{source.scrape: true, source.snmp: true, source.sonic: true}}
sources:
  - {{type: scrape, name: node, job: scraped, targets: ["127.0.0.1:{node}"], interval: 1s}}
  - {{type: snmp, targets: ["leaf1=127.0.0.1:{snmp}"], interval: 2s}}
  - {{type: sonic, targets: ["leaf2=127.0.0.1:{redis}"], interval: 1s}}
"""
COLLECTD = """
Hostname "web-9"
FQDNLookup false
Interval 1
LoadPlugin load
LoadPlugin memory
"""
SNMPD = [
    "rocommunity public 127.0.0.1",
    'override .1.3.6.1.2.1.31.1.1.1.1.9001 octet_str "Ethernet0"',
    "override .1.3.6.1.2.1.31.1.1.1.15.9001 uinteger 100000",
    "override .1.3.6.1.2.1.2.2.1.7.9001 integer 1",
    "override .1.3.6.1.2.1.2.2.1.8.9001 integer 1",
]


@contextlib.contextmanager
def collectd(folder, port):
    """Debian's collectd shows its values as the documentation tells its users."""
    config = folder / "collectd.conf"
    config.write_text(COLLECTD + snippet("collectd", 0).replace("9103", str(port)))
    command = [program("collectd", "collectd-core"), "-f", "-C", str(config)]
    one = Server(folder, [*command, "-P", str(folder / "collectd.pid")], port, "/metrics")
    try:
        yield one
    finally:
        one.end()


@dataclass
class Story:
    """What is known when all is over."""

    house: House
    samples: list[Sample]
    rejected: list
    told: dict
    raw: dict
    senders: dict


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield everything_happens(tmp_path_factory.mktemp("clients"), stack)


def everything_happens(folder, stack):
    node, grpc, shown = (
        stack.enter_context(node_exporter(folder)),
        agents.free_port(),
        agents.free_port(),
    )
    stack.enter_context(collectd(folder, shown))
    switch = stack.enter_context(agents.redis(folder))
    for number, tables in TABLES.items():
        with redis_client.Redis(port=switch, db=number) as database:
            for key, fields in tables.items():
                database.hset(key, mapping=fields)
    snmp = stack.enter_context(agents.snmpd(folder, SNMPD))
    config = RECEIVERS.format(grpc=grpc, node=node.port, snmp=snmp, redis=switch)
    scraped = snippet("collectd-scrape", 0).replace("9103", str(shown)).replace("10s", "1s")
    config += scraped.partition("sources:\n")[2]
    house = stack.enter_context(a_house(folder / "house", config))
    scrapes = SCRAPES.format(node=node.port)
    prometheus = Prometheus(folder, scrapes + snippet("prometheus", house.port))
    stack.callback(prometheus.end)
    senders = {
        "otlp": OpenTelemetry(snippet("otlp", house.port), "http"),
        "otlp-grpc": OpenTelemetry(
            snippet("otlp-grpc", house.port).replace("4317", str(grpc)), "grpc"
        ),
        "influx-2": InfluxTwo(snippet("telegraf", house.port).replace("wk_prod_…", token(house))),
        "influx-1": InfluxOne(snippet("telegraf-1", house.port)),
        "alerts": Alertmanager(folder, snippet("alertmanager", house.port)),
    }
    stack.callback(senders["alerts"].end)
    pool = stack.enter_context(ThreadPoolExecutor(len(senders)))

    def all_send():
        return [pool.submit(sender.send) for sender in senders.values()]

    def sent(futures):
        for one in futures:
            one.result(180)

    sent(all_send())
    taking(house, 1_500)
    house.stop()
    refused = all_send()  # while nobody is there
    time.sleep(OUTAGE)
    house.start()
    sent(refused)
    sent(all_send())
    taking(house, 1_500)
    house.kill()
    house.start()
    sent(all_send())
    taking(house, 1_500)
    told, raw = prometheus.rest(90), prometheus.raw('{job="node"}')
    house.until(lambda: len(raised(house)) == len(senders["alerts"].raised), 90)
    for sender in senders.values():
        sender.end()
    house.stop()
    house.prove()
    return Story(house, house.samples(), house.rejected(), told, raw, senders)


def token(house):
    """What `watchkeeper token create` shows, once."""
    named = ("telegraf", "--role", "agent", "--data", house.data)
    code, out, err = finished("token", "create", *named, "--output", "json")
    assert code == 0, err
    return json.loads(out)["token"]


def taking(house, more):
    """Wait until the house has taken in so many samples of Prometheus more."""
    before = written(house)
    house.until(lambda: written(house) >= before + more)


def written(house):
    return house.status()["receivers"].get("remote_write", {}).get("accepted", 0)


def raised(house):
    return {control["labels"]["alertname"] for control in house.controls("alert")}


def test_what_prometheus_says_it_sent_is_held(story):
    told = story.told
    assert told["samples_failed_total"] == 0, told
    assert told["samples_retried_total"] > 0, "it was refused while the house was away"
    held = {one[:4] for one in story.samples if '"job":"node"' in one.attributes}
    held |= {one[:4] for one in story.samples if one.entity.startswith("target:node/")}
    held |= {
        (row["entity"], row["metric"], row["attributes"], row["time"])
        for row in story.rejected
        if row["origin"].startswith("remote_write")
    }
    assert told["samples_total"] - told["samples_retried_total"] == len(held)
    # What it shows of its own store leaves out only the markers that say that a series ended.
    theirs = Counter(round(at * 1000) for samples in story.raw.values() for at, _ in samples)
    ours = Counter(at for *_, at in held)
    assert len(theirs) > 10
    assert not {at: (ours[at], count) for at, count in theirs.items() if ours[at] < count}


@pytest.mark.parametrize("name", ["otlp", "otlp-grpc", "influx-2", "influx-1"])
def test_what_a_client_was_told_is_stored_is_held_and_nothing_else(story, name):
    sender = story.senders[name]
    held = {
        (one.metric, one.time, one.value) for one in story.samples if one.entity == sender.entity
    }
    assert held == set(sender.delivered)
    assert len({at for _, at, _ in held}) >= 3


def test_every_alert_that_alertmanager_was_told_of_came_through(story):
    assert raised(story.house) == {"Odd0", "Odd1", "Odd2", "Odd3"}


def of(job, entity, attributes):
    """Whether a series is one of a collector's."""
    if job in ("snmp", "sonic"):
        device = {"snmp": "leaf1", "sonic": "leaf2"}[job]
        return entity.partition(":")[2].partition("/")[0] == device
    return f'"job":"{job}"' in attributes or entity.startswith(f"target:{job}/")


@pytest.mark.parametrize("job", ["scraped", "collectd", "snmp", "sonic"])
def test_a_collector_holds_as_many_samples_as_it_says_its_rounds_gave(story, job):
    mine = [one for one in story.samples if of(job, one.entity, one.attributes)]
    rounds = [one.value for one in mine if one.metric == "scrape_samples_scraped"]
    ended = sum(math.isnan(one.value) for one in mine)  # markers are ours, not the target's
    ours = sum(one.metric in OURS and not math.isnan(one.value) for one in mine)
    refused = sum(of(job, row["entity"], row["attributes"]) for row in story.rejected)
    assert len(rounds) >= 3
    assert sum(rounds) == len(mine) - ended - ours + refused
