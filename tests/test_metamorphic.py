"""What must not matter does not: order in a batch, cuts, repetition, strangers, the date.

Fleets are drawn by chance; some hosts run hot for a while. The same telemetry, told in another way,
leads to the same decisions at the same moments.
"""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.test_pipeline import CPU, START, Stores, drain, rules

from watchkeeper.model import Control, Millis

EXAMPLES = int(os.environ.get("WATCHKEEPER_EXAMPLES", "3"))
MEMORY = "system.memory.utilization"
WEEK = 7 * 86_400_000
SECONDS = 30


@st.composite
def fleets(draw):
    """For each second the rows of each host: (entity, metric, time, value)."""
    hosts = draw(st.integers(2, 4))
    hot = {
        k: (draw(st.integers(3, 20)), draw(st.integers(5, 15)))
        for k in draw(st.sets(st.integers(0, hosts - 1), min_size=1))
    }
    calm = draw(st.floats(0.1, 0.4))
    told = []
    for second in range(1, SECONDS + 1):
        at = START + second * 1_000 - 7
        rows = []
        for k in range(hosts):
            begin, length = hot.get(k, (0, 0))
            value = 0.99 if begin <= second < begin + length else calm
            rows += [(f"host:h{k}", CPU, at, value), (f"host:h{k}", MEMORY, at, calm)]
        told.append(rows)
    return told


def permuted(rows, chance):
    return [chance.sample(rows, len(rows))]


def cut(rows, chance):
    at = chance.randint(1, len(rows) - 1)
    return [rows[:at], rows[at:]]


def doubled(rows, _):
    return [rows, rows]


def among_strangers(rows, chance):
    at = rows[0][2]
    others = [(f"target:other/{k}", "unrelated", at, chance.random()) for k in range(5)]
    return [others + rows]


def a_week_later(rows, _):
    return [[(entity, metric, at + WEEK, value) for entity, metric, at, value in rows]]


def decisions(folder, fleet, retold, chance):
    """What was decided of hosts, oldest first; within a tick by name, whoever came first."""
    later = WEEK if retold is a_week_later else 0
    stores = Stores(folder, rules()).begin(START + later)
    for second, rows in enumerate(fleet, 1):
        for part in retold(rows, chance):
            stores.offer(part, START + later + second * 1_000)
    end = START + later + (SECONDS + 2) * 1_000
    stores.journal.note(Control("heartbeat", "clock", "{}"), Millis(end))
    drain(stores.decider())
    stores.verify()
    found = [
        (one.policy, one.entity, str(one.phase), one.at - later, str(one.outcome), one.health)
        for one in stores.ledger.decisions()
        if one.entity.startswith("host:")
    ]
    stores.close()
    return sorted(found, key=lambda one: (one[3], one[1], one[0]))


@pytest.mark.timeout(600 + 30 * EXAMPLES)
@pytest.mark.parametrize(
    "retold", [permuted, cut, doubled, among_strangers, a_week_later], ids=lambda one: one.__name__
)
@settings(max_examples=EXAMPLES, deadline=None)
@given(fleet=fleets(), chance=st.randoms(use_true_random=False))
def test_the_same_telemetry_told_in_another_way_decides_the_same(
    tmp_path_factory, retold, fleet, chance
):
    plain = decisions(tmp_path_factory.mktemp("plain"), fleet, lambda rows, _: [rows], chance)
    other = decisions(tmp_path_factory.mktemp("other"), fleet, retold, chance)
    assert plain, "some host ran hot"
    assert other == plain
