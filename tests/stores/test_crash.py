"""Processes that die: at random moments, at each named point, and beside another one."""

from __future__ import annotations

import os
import random
import time

import pytest
from tests import lives

from watchkeeper.errors import StoreLocked
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Millis
from watchkeeper.testing.journal import START

SEEDS = range(3)
POINTS = {  # and how often one comes by: the first seed dies at the first time, others at one drawn
    "journal.before_commit": 9,
    "journal.after_commit": 9,
    "journal.before_checkpoint": 3,
    "journal.after_checkpoint": 3,
    "ledger.before_commit": 9,
    "ledger.after_commit": 9,
    "ledger.before_checkpoint": 3,
    "ledger.after_checkpoint": 3,
    "ledger.key_written": 1,
    "ledger.key_replaced": 1,
    "ledger.head_written": 5,
    "ledger.head_replaced": 5,
}
REWRITES = ["rewrite_copied", "rewrite_whole", "rewrite_bare", "rewrite_done"]


def start(folder, point="", nth=1, entries=1_000_000):
    heard, told = os.pipe()
    ready = lives.ready("tests.stores.child")
    child = ready.begin(folder, point, nth, entries, out=told, env=lives.unmeasured())
    os.close(told)
    child.stdout = os.fdopen(heard, "rb")
    return child


def told(child, heard=()):
    """Return what the dead child had acknowledged: the last entry, tick and receipts."""
    text = b"".join(heard) + child.stdout.read()
    lines = [line.split() for line in text.decode().splitlines()]
    child.stdout.close()
    entries = [int(line[1]) for line in lines if line[0] in ("open", "entry")]
    ticks = [int(line[1]) for line in lines if line[0] == "step"]
    receipts = [line[1] for line in lines if line[0] == "receipt"]
    return max(entries, default=0), max(ticks, default=0), receipts


def examine(folder, acknowledged):
    """See that both stores hold what was acknowledged, whole and proved, and go on from it."""
    last, tick, receipts = acknowledged
    journal = Journal(folder / "journal.sqlite").open()
    entries = list(journal.read(START, 10**6))
    assert journal.head() == len(entries)
    assert len(entries) in (last, last + 1)
    assert [entry.cursor for entry in entries] == [str(k) for k in range(len(entries))]
    journal.close()
    ledger = Ledger(folder / "ledger.sqlite").open()
    ledger.prove()
    mark = ledger.watermark()
    assert not tick or mark.tick in (tick, tick + 1_000)
    done = {order.key for order, receipt in ledger.orders(10**6) if receipt is not None}
    assert set(receipts) <= done
    assert len(done) <= len(ledger.orders(10**6))
    ledger.close()
    return len(entries)


def test_a_process_killed_at_any_moment_loses_nothing_acknowledged(tmp_path):
    """30 lives of one pair of stores."""
    chance = random.Random(11)
    lives, receipts = 30, []
    for _ in range(lives):
        child = start(tmp_path)
        heard = [child.stdout.readline() for _ in range(2)]
        assert heard[1].startswith(b"entry")
        time.sleep(chance.uniform(0.0, 0.08))  # the moment of death is what is random here
        child.kill()
        child.wait()
        last, tick, some = told(child, heard)
        receipts += some
        examine(tmp_path, (last, tick, some))
    assert examine(tmp_path, (last, tick, receipts)) >= lives
    assert receipts, "no life came as far as a receipt"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", POINTS)
def test_a_process_killed_at_this_point_loses_nothing_acknowledged(tmp_path, point, seed):
    nth = 1 if seed == 0 else random.Random(f"{point} {seed}").randint(1, POINTS[point])
    child = start(tmp_path, point, nth)
    assert child.wait(timeout=60) == -9, "the point was never reached"
    acknowledged = told(child)
    examine(tmp_path, acknowledged)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("point", REWRITES)
@pytest.mark.parametrize("store", ["journal", "ledger"])
def test_a_rescue_killed_at_this_point_is_done_again(tmp_path, store, point, seed):
    nth = random.Random(f"{store} {point} {seed}").randint(2, 40)
    child = start(tmp_path, f"{store}.after_commit", nth)
    assert child.wait(timeout=60) == -9
    acknowledged = told(child)
    (tmp_path / f"{store}.sqlite.suspect").touch()
    for _ in range(2):
        again = start(tmp_path, f"{store}.{point}", 1)
        assert again.wait(timeout=60) == -9, "the point was never reached"
        again.stdout.close()
        if not (tmp_path / f"{store}.sqlite.suspect").exists():
            break
    examine(tmp_path, acknowledged)
    left = {path.name for path in tmp_path.iterdir() if store in path.name}
    head = {"ledger.sqlite.head"} if store == "ledger" else set()
    assert left - {"ledger.sqlite.head.new"} == {f"{store}.sqlite", f"{store}.sqlite.lock"} | head


def test_a_second_process_is_refused_while_the_first_lives(tmp_path):
    child = start(tmp_path)
    assert child.stdout.readline().startswith(b"open")
    with pytest.raises(StoreLocked, match=f"process {child.pid} owns this journal"):
        Journal(tmp_path / "journal.sqlite").open()
    with pytest.raises(StoreLocked, match=f"process {child.pid} owns this ledger"):
        Ledger(tmp_path / "ledger.sqlite").open()
    child.kill()
    child.wait()
    examine(tmp_path, told(child))


def test_another_process_reads_and_proves_while_one_writes(tmp_path):
    child = start(tmp_path)
    for _ in range(10):
        child.stdout.readline()
    journal = Journal(tmp_path / "journal.sqlite").open(read_only=True)
    ledger = Ledger(tmp_path / "ledger.sqlite").open(read_only=True)
    seen = 0
    for _ in range(20):
        entries = list(journal.read(START, 10**6))
        assert [entry.offset for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) >= seen
        seen = len(entries)
        ledger.prove()
        ledger.health(Millis(10**9))
        child.stdout.readline()
    assert child.poll() is None
    child.kill()
    child.wait()
    child.stdout.close()
    journal.close()
    ledger.close()


def test_a_clean_end_leaves_no_log_beside_the_stores(tmp_path):
    child = start(tmp_path, entries=20)
    assert child.stdout.read().endswith(b"closed\n")
    child.stdout.close()
    assert child.wait() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "journal.sqlite",
        "journal.sqlite.lock",
        "keys",
        "ledger.sqlite",
        "ledger.sqlite.head",
        "ledger.sqlite.lock",
    ]
