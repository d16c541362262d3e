"""D1, D2, A11: load for minutes. It takes time, and little work: the houses run side by side.

All stories begin with the first test that asks for one. A test that is tried again has its story
told anew.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from .driving import MAIN, balanced, house, pushers

NOMINAL = 5_000  # samples a second
FEW = ("--series", 5_000, "--entities", 50, "--connections", 3, "--batch", 1_000)
MEBIBYTE = 1 << 20
TOGETHER = 60.0  # seconds of eight clients, a source, checkpoints and readers at once
CLIENTS = 8
COPYING = "from watchkeeper.store import file; file.CHECKPOINT_PAGES = 20; " + MAIN
PAGE = 8192


def a_burst(folder):
    """Ten times the load for two minutes, with the usual one before and after."""
    with house(folder) as one:
        one.begin()
        how = ("--rate", NOMINAL, "--burst", 10, "--burst-for", "120s", "--duration", "140s")
        code, facts = one.loaded(*FEW, *how)
        assert code == 0, facts
        resident, told = one.resident(), one.metrics()
        assert one.end() == 0
        one.prove()
        return facts, resident, told, one.counts()


def a_steady_load(folder):
    """The same load for two minutes; what the house holds before, and after."""
    with house(folder) as one:
        one.begin()
        how = (*FEW, "--rate", NOMINAL, "--duration")
        assert one.loaded(*how, "6s")[0] == 0  # warm
        before = one.resident(), psutil.Process(one.child.pid).num_fds()
        code, facts = one.loaded(*how, "120s")
        assert code == 0, facts
        time.sleep(1)
        after = one.resident(), psutil.Process(one.child.pid).num_fds()
        logs = [
            (one.data / f"{store}.sqlite-wal").stat().st_size for store in ("journal", "ledger")
        ]
        assert one.end() == 0
        return before, after, logs


def everybody_at_once(folder):
    """Clients, a source, checkpoints, readers of both stores, and others that want the folder."""
    with house(folder) as one:
        sources = "sources: [{type: host, interval: 1s}]"
        one.config.write_text(one.config.read_text().replace("sources: []", sources))
        one.begin(program=("-c", COPYING))
        with pushers(one, CLIENTS, samples=20, pause=0.1) as crowd:
            end, refused = time.monotonic() + TOGETHER, []
            while time.monotonic() < end:
                second = one.start()
                assert second.wait(120) == 1, one.text()
                refused.append(second.pid)
                assert one.text().count(f"stop process {one.child.pid}") == len(refused)
                pause = time.monotonic() + TOGETHER / 4
                while time.monotonic() < min(end, pause):
                    assert one.counts().accepted <= one.status()["journal"]["samples"]
                    time.sleep(0.25)
            waiting = (one.data / "journal.sqlite-wal").stat().st_size
        balanced(one.metrics())
        assert one.end() == 0
        one.prove()
        return crowd, one.journalled(), one.counts(), waiting, one.text()


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Return what tells a story: it waits for its end, and raises what was raised in it."""
    every = (a_burst, a_steady_load, everybody_at_once)
    with ThreadPoolExecutor(len(every)) as pool:

        def begun(one):
            return pool.submit(one, tmp_path_factory.mktemp(one.__name__))

        running = {one: begun(one) for one in every}
        yield lambda one: (running.pop(one, None) or begun(one)).result()


def test_a_burst_of_ten_times_the_load_loses_nothing_and_is_drained(story):
    facts, resident, told, counts = story(a_burst)
    before, burst, after = facts["phases"]
    answers = {status for phase in facts["phases"] for status in phase["answers"]}
    assert answers <= {"204", "503", "429"}
    assert sum(phase["refused"] for phase in facts["phases"]) == 0
    assert facts["server"]["missing"] == 0
    assert facts["server"]["settled_seconds"] is not None  # within 120 s
    assert burst["offered"] > 2 * (before["offered"] + after["offered"])
    assert resident < 512 * MEBIBYTE
    balanced(told)
    assert counts.accepted == sum(phase["acknowledged"] for phase in facts["phases"])


def test_under_steady_load_nothing_grows(story):
    (resident, files), (later, more), logs = story(a_steady_load)
    assert more <= files + 2  # a reader that comes and goes
    assert max(logs) <= 65 * MEBIBYTE
    # What lasts: newest entries (64 MiB at most) and charts of the page; nothing else grows.
    assert later - resident < 48 * MEBIBYTE


def test_everybody_writes_at_once_and_nothing_is_lost_or_there_twice(story):
    crowd, held, counts, waiting, said = story(everybody_at_once)
    assert len(crowd) == CLIENTS
    assert {status for one in crowd for status in one.answers} == {200}, "nobody was kept waiting"
    assert not any(one.unknown or one.refused for one in crowd)
    pushed = {row: often for row, often in held.items() if row[0].startswith("host:p")}
    assert pushed == {row: 1 for one in crowd for row in one.acknowledged}
    assert len(held) > len(pushed), "the source brought something"
    assert counts.scored == counts.accepted == sum(held.values())
    assert waiting < 4 * 20 * PAGE, "checkpoints did not keep up"
    assert "locked" not in said
