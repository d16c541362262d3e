"""Power cuts and failing syncs against the real stores: nothing acknowledged is ever lost."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
import tempfile
from pathlib import Path

import apsw
import pytest

from watchkeeper.errors import StoreError
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Checkpoint, Millis, Offset
from watchkeeper.store import file as store_file
from watchkeeper.testing.journal import START, checked
from watchkeeper.testing.ledger import receipt, step

from .power import Disk, lay

pytestmark = pytest.mark.no_cover  # the same lines, again and again
ROUNDS = 10
CUTS = int(os.environ.get("WATCHKEEPER_CUTS", "100"))  # of each round; 1,000 a store
LIFE, OF_A_LIFE = 600, 25  # operations of the disk in one life, and how often it is cut
_names = itertools.count()


@pytest.fixture(autouse=True)
def _frequent_checkpoints(monkeypatch):
    monkeypatch.setattr(store_file, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(store_file, "PAGE_BYTES", 1024)


@pytest.fixture
def tmp_path():
    """Return a folder in memory: these tests model a disk, and need not wait for one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def _quiet_disk(monkeypatch):
    """A disk's error on the way out of SQLite has nobody to go to; any other still counts."""
    told = sys.unraisablehook
    monkeypatch.setattr(
        sys, "unraisablehook", lambda it: isinstance(it.exc_value, apsw.IOError) or told(it)
    )


def a_disk(folder, seed):
    folder.mkdir()
    disk = Disk(f"disk{next(_names)}", seed)
    disk.folder = folder
    return disk


@functools.cache
def batch(k):
    points = {("host:a", f"m{k % 7}", "{}"): [(k, float(k)), (k + 1, -1.0)] * (k % 40)}
    return checked(points | {(f"host:{k}", "m", "{}"): [(k, k)]}, cursor=str(k), rejected=k % 3)


def write_journal(disk, most=60):
    """Append until the power goes; return how many entries were acknowledged."""
    acknowledged = 0
    journal = None
    try:
        journal = Journal(disk.folder / "journal.sqlite", vfs=disk.name).open()
        acknowledged = journal.head()
        for k in range(acknowledged, acknowledged + most):
            acknowledged = journal.append([batch(k)])[-1]
            disk.promised = (acknowledged,)
    except StoreError:
        pass
    finally:
        if journal is not None:
            journal.close()
    return acknowledged


def read_journal(folder):
    """Return how many entries there are, having read each of them whole."""
    journal = Journal(folder / "journal.sqlite").open()
    entries = list(journal.read(START, 10_000))
    for k, entry in enumerate(entries):
        assert (entry.offset, entry.cursor) == (k + 1, str(k))
        assert entry.samples.num_rows == batch(k).samples.num_rows
    assert journal.head() == len(entries)
    more = journal.append([batch(len(entries))])
    assert more == [len(entries) + 1]
    journal.close()
    assert apsw.Connection(str(folder / "journal.sqlite")).pragma("integrity_check") == "ok"
    return len(entries)


def cuts(folder, seed, write):
    """Live as many lives as it takes; yield each cut of one with the folder that it left.

    :param write: opens a store on a disk, writes a few times, and closes it.
    """
    for life in range(-(-CUTS // OF_A_LIFE)):
        disk = a_disk(folder / f"{life}", 1000 * seed + life)
        disk.moments = frozenset(disk.random.sample(range(1, LIFE), min(CUTS, OF_A_LIFE)))
        while disk.operations < LIFE:
            write(disk)
        disk.unregister()
        for cut in disk.kept:
            print(f"seed {seed}, life {life}, cut before operation {cut.operation}")
            after = folder / f"{life}-{cut.operation}"
            lay(cut.image, after)
            yield cut, after


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_power_cut_loses_no_acknowledged_entry(tmp_path, seed):
    for cut, after in cuts(tmp_path, seed, write_a_few_entries):
        (acknowledged,) = cut.promised or (0,)
        if (after / "journal.sqlite").exists():
            assert read_journal(after) in (acknowledged, acknowledged + 1)
        else:
            assert acknowledged == 0


def write_a_few_entries(disk):
    before, most = sum(disk.promised), disk.random.randrange(1, 40)
    assert write_journal(disk, most) == before + most


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_power_cut_loses_no_committed_step_or_receipt(tmp_path, seed):
    for cut, after in cuts(tmp_path, 7_000 + seed, write_a_few_steps):
        committed, settled = cut.promised or (0, 0)
        if not (after / "ledger.sqlite").exists():
            assert committed == 0
            continue
        ledger = Ledger(after / "ledger.sqlite").open()
        links = [link.kind for link in ledger.links()]
        assert links.count("step") in (committed, committed + 1)
        assert links.count("receipt") in (settled, settled + 1)
        ledger.commit(step(1_000_000))
        assert ledger.prove() == len(links) + 1
        ledger.close()


def write_a_few_steps(disk):
    committed, settled = disk.promised or (0, 0)
    ledger = Ledger(disk.folder / "ledger.sqlite", vfs=disk.name).open()
    for _ in range(disk.random.randrange(1, 30)):
        tick = 1_000 * (committed + 1)
        ledger.commit(step(tick, [f"host:{k}" for k in range(tick // 1000 % 5)]))
        committed += 1
        disk.promised = (committed, settled)
        if tick % 3_000 == 0:
            ledger.save(Checkpoint(Offset(tick // 10), Millis(tick), b"x" * 3_000))
        for order, attempts in ledger.outbox(Millis(10**9), 1):
            ledger.settle(receipt(order, attempts + 1, "done"))
            settled += 1
            disk.promised = (committed, settled)
    ledger.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_failed_sync_is_never_believed_again(tmp_path, monkeypatch, seed):
    """Fail syncs, restart after each failure, cut the power at last: 100 lives in all."""
    rescues = []
    monkeypatch.setattr(
        store_file,
        "crash_point",
        lambda name: rescues.append(name) if name == "journal.rewrite_copied" else None,
    )
    for life in range(10):
        acknowledged, after = a_life_of_failing_syncs(tmp_path, 1000 * seed + life)
        assert read_journal(after) >= acknowledged
    assert len(rescues) > 10


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("for_ever", [False, True])
def test_no_sync_may_fail_without_loss_of_trust(tmp_path, for_ever, restarts):
    """Each of the first 25 syncs, once or for ever, each cut five times: 500 runs."""
    noticed = 0
    for run in range(125):
        first = 1 + run % 25
        disk = a_disk(tmp_path / f"{run}", run)
        disk.bad_syncs = range(first, 10**9 if for_ever else first + 1)
        acknowledged, refused = write_on(disk)
        noticed += refused
        if restarts:
            disk.bad_syncs = range(0)
            acknowledged = max(acknowledged, write_journal(disk, most=2))
        disk.cut()
        disk.restore(tmp_path / f"{run}-after")
        disk.unregister()
        if (tmp_path / f"{run}-after" / "journal.sqlite").exists():
            assert read_journal(tmp_path / f"{run}-after") >= acknowledged
        else:
            assert acknowledged == 0
    assert noticed > 100  # the others fail when the store is closed, at the earliest


def write_on(disk, most=12):
    """Append whatever the disk says; return how many were acknowledged, and if any was refused.

    After the first refusal by the disk nothing may be acknowledged any more.
    """
    acknowledged, refused = 0, False
    try:
        journal = Journal(disk.folder / "journal.sqlite", vfs=disk.name).open()
    except StoreError:
        return 0, True
    for k in range(most):
        try:
            (acknowledged,) = journal.append([batch(k)])
            assert not refused
        except StoreError:
            refused = True
            assert journal.failure
    journal.close()
    return acknowledged, refused


def test_believing_the_disk_again_would_lose_acknowledged_entries(tmp_path, monkeypatch):
    """The test above can fail: without the marker, some life does lose what it acknowledged."""
    monkeypatch.setattr(store_file.StoreFile, "_mark", lambda self: None)
    for life in range(60):
        acknowledged, after = a_life_of_failing_syncs(tmp_path, life)
        try:
            found = read_journal(after)
        except StoreError:
            return
        if found < acknowledged:
            return
    raise AssertionError("the modelled disk lost nothing, so it shows nothing")


def a_life_of_failing_syncs(folder, seed):
    """Return how many entries were acknowledged, and the folder as the disk holds it."""
    disk = a_disk(folder / f"{seed}", 3_000_000 + seed)
    acknowledged = write_journal(disk, most=5)  # a store that was well for a while
    disk.sync_failure = 0.04
    disk.cut_at = disk.operations + disk.random.randrange(200, 2_500)
    for _ in range(40):
        acknowledged = max(acknowledged, write_journal(disk, most=40))
        if disk.off:
            break
    if not disk.off:
        disk.cut()
    disk.restore(folder / f"{seed}-after")
    disk.unregister()
    return acknowledged, folder / f"{seed}-after"


def test_after_a_failed_sync_nothing_is_accepted_until_the_store_was_rewritten(tmp_path):
    disk = a_disk(tmp_path / "data", 5)
    path = disk.folder / "journal.sqlite"
    journal = Journal(path, vfs=disk.name).open()
    journal.append([batch(0)])
    before = path.stat().st_ino
    disk.sync_failure = 1.0
    with pytest.raises(StoreError, match="EIO"):
        journal.append([batch(1)])
    disk.sync_failure = 0.0
    with pytest.raises(StoreError, match="nothing more is accepted"):
        journal.append([batch(1)])
    assert path.with_name("journal.sqlite.suspect").exists()
    assert [entry.offset for entry in journal.read(START, 10)] == [1]
    journal.close()
    journal = Journal(path, vfs=disk.name).open()
    assert path.stat().st_ino != before
    assert not path.with_name("journal.sqlite.suspect").exists()
    assert journal.append([batch(journal.head())])[0] in (2, 3)
    journal.close()
    assert sorted(each.name for each in disk.folder.iterdir()) == [
        "journal.sqlite",
        "journal.sqlite.lock",
    ]
    disk.unregister()


@pytest.mark.parametrize("writer_waits", [False, True])
def test_a_failed_checkpoint_takes_back_no_acknowledgement(tmp_path, monkeypatch, writer_waits):
    if writer_waits:
        monkeypatch.setattr(store_file, "WAL_PAGES", 20)
    disk = a_disk(tmp_path / "data", 5)
    path = disk.folder / "journal.sqlite"
    journal = Journal(path, vfs=disk.name).open()
    assert journal.failure == ""
    monkeypatch.setattr(store_file, "crash_point", fail_from_checkpoint_on(disk))
    acknowledged = 0
    with contextlib.suppress(StoreError):
        for k in range(1000):
            (acknowledged,) = journal.append([batch(k)])
    assert "EIO" in journal.failure
    disk.sync_failure = 0.0
    with pytest.raises(StoreError, match="nothing more is accepted"):
        journal.append([batch(acknowledged)])
    journal.close()
    disk.cut()
    disk.restore(tmp_path / "after")
    disk.unregister()
    assert (tmp_path / "after" / "journal.sqlite.suspect").exists()
    assert read_journal(tmp_path / "after") in (acknowledged, acknowledged + 1)


def fail_from_checkpoint_on(disk):
    def point(name):
        if name == "journal.before_checkpoint":
            disk.sync_failure = 1.0

    return point


def test_a_file_that_is_put_in_its_place_while_the_disk_is_looked_at_is_found_there(
    tmp_path, monkeypatch
):
    disk, read = Disk("put in its place", 1), Path.read_bytes

    def read_late(path):
        if path.name == "head.new":
            path.rename(tmp_path / "head")
        return read(path)

    disk.folder = tmp_path
    (tmp_path / "head.new").write_bytes(b"new")
    monkeypatch.setattr(Path, "read_bytes", read_late)
    disk.cut()
    assert disk.image == {"head": b"new"}
