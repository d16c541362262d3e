"""The whole service, killed under load, again and again over one data folder.

Three pushers send what was not acknowledged again, a webhook's sink keeps what it sees. At named
moments, at the k-th system call of a kind, and at any time: nothing that was acknowledged is lost,
nothing counts twice, the ledger follows from the journal, and every order arrives with one body.
"""

import os
import random
import signal
from collections import Counter

import pytest
from tests.faults.living import a_world

STEPS = {  # and at which time of several a life dies there
    "ingest": 6, "answer": 6, "send": 4, "settle": 4, "save": 1,
}  # fmt: skip
CALLS = {  # and how often one thread makes them in a short life
    "pwrite64": 120, "fdatasync": 20, "rename": 4, "ftruncate": 9, "unlink": 7, "sendto": 8,
}  # fmt: skip
SHORT = 0.4  # seconds under load
LIVES = int(os.environ.get("WATCHKEEPER_LIVES", "200"))
SOME = max(1, LIVES * 3 // 20)
SEEDS = range(3)
SEED = int(os.environ.get("WATCHKEEPER_SEED", "20261128"))


@pytest.fixture
def world(tmp_path):
    with a_world(tmp_path) as found:
        yield found


@pytest.mark.parametrize("seed", SEEDS)
def test_at_every_named_moment(world, seed):
    print(f"seed {SEED} + {seed}")
    chance = random.Random(SEED + seed)
    points = [(step, moment) for step in STEPS for moment in ("before", "after")]
    for step, moment in chance.sample(points, len(points)):
        point, nth = f"{step}.{moment}", chance.randint(1, STEPS[step])
        print(f"{point} {nth}")
        world.begin(point, nth)
        if world.under_load(chance.uniform(0.0, SHORT)) and step == "save":
            world.house.life.send_signal(signal.SIGTERM)  # it saves its state at its end
        assert world.ended(60), f"{point} was not reached\n{world.house.said()}"
        assert world.house.died() == -signal.SIGKILL, f"{point}\n{world.house.said()}"
    world.check()


@pytest.mark.timeout(600 + 5 * LIVES)
def test_at_the_kth_system_call(world):
    print(f"{LIVES} lives, seed {SEED}")
    chance, killed = random.Random(SEED), Counter()
    for life in range(LIVES):
        call = sorted(CALLS)[life % len(CALLS)]
        k = chance.randint(1, CALLS[call])
        print(f"life {life}: {call} {k}")
        world.begin(inject=f"{call}:signal=SIGKILL:when={k}")
        if world.under_load(SHORT):
            world.house.life.send_signal(signal.SIGTERM)
        code = world.house.died()
        assert code in (0, -signal.SIGKILL), world.house.said()
        killed[call] += code != 0
    print(f"killed {dict(killed)}, acknowledged {world.taken()}")
    assert world.taken() > LIVES
    assert killed.total() >= LIVES // 2
    assert all(killed[call] for call in CALLS) or 10 * len(CALLS) > LIVES
    world.check()


@pytest.mark.timeout(600 + 5 * LIVES)
def test_at_any_time(world):
    print(f"{SOME} lives, seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(SOME):
        world.begin()
        world.under_load(chance.uniform(0.0, 1.5))
        world.house.kill()
    assert world.taken() > SOME
    world.check()
