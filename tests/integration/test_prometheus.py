"""Debian's Prometheus sends through a network that refuses, resets and swallows answers."""

from tests.integration.clients import SCRAPES, Prometheus, node_exporter, snippet
from tests.integration.faults import a_proxy
from tests.integration.house import a_house

OBEYS_429 = "    queue_config: {retry_on_http_429: true}\n"
FAULTS = ("503", "", "reset", "partial", "429", "", "late", "late", "503", "503")


def test_nothing_is_lost_or_counted_twice(tmp_path):
    with (
        a_house(tmp_path / "house") as house,
        a_proxy(house.port) as proxy,
        node_exporter(tmp_path) as node,
    ):
        config = SCRAPES.format(node=node.port) + snippet("prometheus", proxy.port) + OBEYS_429
        sender = Prometheus(tmp_path, config)
        try:
            house.until(lambda: house.status()["traffic"]["accepted"] > 1_000)
            proxy.plan(*FAULTS)
            house.until(lambda: proxy.left == 0)
            told = sender.rest(90)
        finally:
            sender.end()
        house.stop()
        proof = house.prove()
    held = {one[:4] for one in house.samples()} | {
        (row["entity"], row["metric"], row["attributes"], row["time"]) for row in house.rejected()
    }
    assert told["samples_failed_total"] == 0, told
    assert told["samples_retried_total"] > 0
    assert told["samples_total"] - told["samples_retried_total"] == len(held)
    assert proof["samples"]["duplicate"] > 0, "what was sent again after a lost answer"
