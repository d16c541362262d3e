"""Receivers of orders that refuse, hang, lie and talk too much, beside one that is well."""

import contextlib
import json
import signal
from collections import Counter

import pytest
from tests.integration.house import a_house
from tests.sources.agents import free_port

from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
from watchkeeper.testing.actions import Receiver, Says

START = 1_750_000_000_000
ENTITIES = ("host:a", "host:b", "host:c", "host:d")
KINDS = {  # what each says, in this order; the last for ever
    "well": [Says(200)],
    "hangs": [Says(200, pause=600.0)],
    "breaks": [Says(500), Says(500), Says(500), Says(200)],
    "busy": [Says(429, headers={"Retry-After": "3"}), Says(200)],
    "late": [Says(200, pause=1.5), Says(200)],  # it did act, and we could not know
    "talks": [Says(200, b"x" * 10_000_000)],
    "drips": [Says(200, drip=5.0), Says(200)],
}
CONFIG = """
tick: 200ms
packs: [generic@1]
sources: []
receivers: [{{type: json_lines}}]
flags: {{action.webhook: true}}
policies:
  - name: seen
    when: coverage > 0.0
    for: 0s
    action: [{names}]
    mode: auto
    cooldown: 0s
    blast_radius: {{amount: 100000, percent: 100}}
actions:
{actions}
"""


def configured(urls):
    """A house whose one policy orders the same of each receiver."""
    line = "  {name}: {{type: webhook, url: {url}, timeout: {timeout}}}"
    actions = [
        line.format(name=name, url=url, timeout=60 if name == "hangs" else 1)
        for name, url in urls.items()
    ]
    return CONFIG.format(names=", ".join(urls), actions="\n".join(actions))


@pytest.fixture
def sinks():
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Receiver(*says)) for name, says in KINDS.items()}


def push(house):
    rows = [
        {"timestamp": START + k, "entity": entity, "metric": "load", "value": k % 7}
        for entity in ENTITIES
        for k in range(20)
    ]
    assert house.ask("/api/v1/samples", "\n".join(map(json.dumps, rows)).encode())[0] == 200


def orders(house, outcome="done"):
    """How many orders of each action ended so."""
    ledger = LedgerFile(path=house.data / "ledger.sqlite").open(read_only=True)
    with contextlib.closing(ledger):
        known = ledger.orders(10_000)
    return Counter(order.action for order, came in known if came and came.outcome == outcome)


def test_a_receiver_that_hangs_or_refuses_keeps_nobody_else_waiting(tmp_path, sinks):
    urls = {name: sink.url for name, sink in sinks.items()}
    urls["gone"] = f"http://127.0.0.1:{free_port()}"
    willing = dict.fromkeys(KINDS.keys() - {"hangs"}, len(ENTITIES))
    with a_house(tmp_path / "house", configured(urls)) as house:
        push(house)
        house.until(lambda: orders(house) == willing)
        assert len(sinks["hangs"].requests) == 1, "it still hangs in its first order"
        house.life.send_signal(signal.SIGTERM)
        assert house.life.wait(10) == 0, house.said()
        house.life = None
        house.prove()
        assert orders(house) == willing, "what was under way is asked for again"
        assert orders(house, "retry") == {"gone": orders(house, "retry")["gone"]}
        seen = {
            name: Counter((one.headers["Idempotency-Key"], one.body) for one in sink.requests)
            for name, sink in sinks.items()
        }
        for name in willing:
            assert len(seen[name]) == len({key for key, _ in seen[name]}) == len(ENTITIES), name
        assert sum(seen["well"].values()) == len(ENTITIES)
        assert sum(seen["breaks"].values()) == len(ENTITIES) + 3
        assert sum(seen["busy"].values()) == len(ENTITIES) + 1
        assert max(seen["late"].values()) == 2, "the same again, for it to tell"
