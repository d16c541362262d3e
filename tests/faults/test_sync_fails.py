"""The system itself says that what was written may not be on the disk: `fdatasync` fails with EIO.

From then on nothing is acknowledged, though every later call may succeed; the next start rewrites
the stores, and what was acknowledged before is there.
"""

import os
import random
import signal

import pytest
from tests.faults.living import a_world
from tests.integration.house import READY

LIVES = max(1, int(os.environ.get("WATCHKEEPER_LIVES", "1")) // 2)  # of each kind
SEED = int(os.environ.get("WATCHKEEPER_SEED", "20261128"))
FIRST, LAST = 12, 60  # of one thread: beyond those of a start, within those of a short life
PLENTY = 3  # refusals of each pusher


@pytest.fixture
def world(tmp_path):
    with a_world(tmp_path) as found:
        yield found


@pytest.mark.timeout(600 + 60 * LIVES)
@pytest.mark.parametrize("later", ["", pytest.param("+", marks=pytest.mark.nightly)])
def test_nothing_is_acknowledged_after_the_first_error_and_a_start_recovers(world, later):
    chance = random.Random(SEED)
    print(f"{LIVES} lives, seed {SEED}")
    for life in range(LIVES):
        k = chance.randint(FIRST, LAST)
        print(f"life {life}: fdatasync {k}{later}")
        begun = world.house.log.stat().st_size if world.house.log.exists() else 0
        world.begin(inject=f"fdatasync:error=EIO:when={k}{later}")
        world.house.until(lambda begun=begun: "degraded" in said(world, begun), READY)
        refused(world, 1)  # what was on its way has arrived
        taken = world.taken()
        refused(world, PLENTY)
        assert world.taken() == taken, "nothing may be acknowledged any more"
        code, body = world.house.ask("/-/ready")
        assert (code, b"degraded" in body) == (503, True), body
        assert world.house.ask("/-/healthy")[0] == 200, "it still shows what it knows"
        world.house.life.send_signal(signal.SIGTERM)
        assert world.house.died() == 1, world.house.said()
    world.check()


def said(world, since):
    """What the present life has said."""
    return world.house.log.read_bytes()[since:].decode(errors="replace")


def refused(world, times):
    """Wait until each pusher was told so many times more to come again."""
    before = [one.refused for one in world.pushers]
    world.house.until(
        lambda: all(one.refused >= n + times for one, n in zip(world.pushers, before, strict=True))
    )
