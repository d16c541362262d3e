"""The whole service, killed under load, again and again over one data folder.

Three pushers send what was not acknowledged again, a webhook's sink keeps what it sees. At named
moments, at the k-th system call of a kind, and at any time: nothing that was acknowledged is lost,
nothing counts twice, the ledger follows from the journal, and every order arrives with one body.
"""

import os
import random
import shutil
import signal
from pathlib import Path

import pytest
from tests.faults.living import a_world

POINTS = [
    f"{step}.{moment}"
    for step in ("ingest", "answer", "send", "settle", "save")
    for moment in ("before", "after")
]
CALLS = {  # and how often one thread makes them in a short life
    "pwrite64": 300, "fdatasync": 40, "rename": 12, "ftruncate": 4, "unlink": 3, "sendto": 8,
}  # fmt: skip
LIVES = int(os.environ.get("WATCHKEEPER_LIVES", "4"))
SEED = int(os.environ.get("WATCHKEEPER_SEED", "20261128"))


@pytest.fixture
def world(tmp_path):
    with a_world(tmp_path) as found:
        yield found


def test_at_every_named_moment(world):
    for point in POINTS:
        world.begin(point, nth=2 if point.startswith(("ingest", "answer")) else 1)
        if world.under_load(0.3) and point.startswith("save"):
            world.house.life.send_signal(signal.SIGTERM)  # it saves its state at its end
        assert world.ended(60), f"{point} was not reached\n{world.house.said()}"
        assert world.died() == -signal.SIGKILL, f"{point}\n{world.house.said()}"
    world.check()


def traced(world):
    """The process that strace began."""
    tracer = world.house.life.pid
    children = Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split()
    return int(children[0]) if children else tracer


@pytest.mark.timeout(600 + 30 * LIVES)
def test_at_the_kth_system_call(world):
    assert shutil.which("strace"), "install Debian's strace"
    print(f"{LIVES} lives, seed {SEED}")
    chance, killed = random.Random(SEED), 0
    for life in range(LIVES):
        call = sorted(CALLS)[life % len(CALLS)]
        k = chance.randint(1, CALLS[call])
        print(f"life {life}: {call} {k}")
        inject = f"inject={call}:signal=SIGKILL:when={k}"
        world.begin(wrap=("strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", inject))
        if world.under_load(1.0):
            os.kill(traced(world), signal.SIGTERM)
        if not world.ended(30):
            os.kill(traced(world), signal.SIGKILL)
        code = world.died()
        assert code in (0, -signal.SIGKILL), world.house.said()
        killed += code != 0
    assert killed >= LIVES // 2
    world.check()


@pytest.mark.timeout(600 + 30 * LIVES)
def test_at_any_time(world):
    print(f"{LIVES} lives, seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(LIVES):
        world.begin()
        world.under_load(chance.uniform(0.0, 1.5))
        world.house.kill()
    world.check()
