"""The reserve: what is accepted stops before the disk is full, and goes on when there is room."""

from __future__ import annotations

import functools
import os
import subprocess
import time

import pytest

from watchkeeper.errors import StoreError, StoreFull
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Control, Millis
from watchkeeper.store import file as store_file
from watchkeeper.store.reserve import BALLAST, Reserve
from watchkeeper.testing.journal import START
from watchkeeper.testing.ledger import step

from .test_full_disk import a_disk_of, batch, fill

MIB = 1 << 20
RESERVE = Reserve(share=0.0, size=3 * MIB, ballast=MIB, interval=0.0)


@pytest.fixture
def disk(tmp_path):
    with a_disk_of("12m", tmp_path / "disk") as folder:
        yield folder


def take(folder, leave):
    """Take space until only so many bytes are left."""
    free = os.statvfs(folder)
    with (folder / "taken").open("ab") as out:
        os.posix_fallocate(out.fileno(), 0, free.f_bavail * free.f_frsize - leave)
    return folder / "taken"


def goes_on(work, seconds=5.0):
    """Do it again until it is taken in, as long as an operator is promised at most."""
    end = time.monotonic() + seconds
    while True:
        try:
            return work()
        except StoreFull:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_the_journal_stops_at_the_reserve_and_goes_on_without_restart(disk):
    journal = Journal(disk / "journal.sqlite", reserve=RESERVE).open()
    journal.append([batch(0)])
    taken = take(disk, leave=2 * MIB)
    time.sleep(0.02)
    with pytest.raises(StoreFull, match=r"WK303 .*3 MiB are kept in reserve; nothing was stored"):
        journal.append([batch(1)])
    assert (journal.head(), journal.failure) == (1, "")
    assert journal.note(Control("silence", "operator:jo", "{}"), Millis(1)) == 2
    ledger = Ledger(disk / "ledger.sqlite").open()
    ledger.commit(step(Millis(1_000), ["host:a"]))
    ledger.close()
    taken.unlink()
    assert goes_on(lambda: journal.append([batch(1)])) == [3]
    assert journal.series().num_rows == 120
    journal.close()


def test_a_share_of_the_disk_counts_when_it_is_more(disk):
    reserve = Reserve(share=0.5, size=1, ballast=0, interval=0.0)
    journal = Journal(disk / "journal.sqlite", reserve=reserve).open()
    journal.append([batch(0)])
    assert not (disk / BALLAST).exists()
    taken = take(disk, leave=5 * MIB)
    with pytest.raises(StoreFull, match="6 MiB are kept in reserve"):
        journal.append([batch(1)])
    taken.unlink()
    journal.append([batch(1)])
    journal.close()


def test_the_ballast_lets_the_ledger_go_on_and_comes_back(disk):
    journal = Journal(disk / "journal.sqlite", reserve=RESERVE).open()
    ledger = Ledger(disk / "ledger.sqlite").open()
    journal.append([batch(0)])
    assert (disk / BALLAST).stat().st_size == MIB
    filling = fill(disk)
    refused, tick = 0, 1_000
    while tick < 6_000:
        try:
            ledger.commit(step(Millis(tick), ["host:a", "host:b"]))
            tick += 1_000
        except StoreFull:
            refused += 1
            assert refused < 3
    assert refused
    assert not (disk / BALLAST).exists()
    with pytest.raises(StoreFull, match="in reserve"):
        journal.append([batch(1)])
    filling.unlink()
    assert goes_on(lambda: journal.append([batch(1)])) == [2]
    assert (disk / BALLAST).exists()
    ledger.prove()
    ledger.close()
    journal.close()


def test_the_ballast_lets_a_house_start_on_a_full_disk(disk):
    journal = Journal(disk / "journal.sqlite", reserve=RESERVE).open()
    journal.append([batch(0)])
    journal.close()
    fill(disk)
    journal = Journal(disk / "journal.sqlite", reserve=RESERVE).open()
    assert not (disk / BALLAST).exists()
    with pytest.raises(StoreFull, match="in reserve"):
        journal.append([batch(1)])
    assert journal.note(Control("started", "x", "{}"), Millis(1)) == 2
    journal.close()


@pytest.mark.parametrize("writer_waits", [False, True])
def test_a_disk_that_fills_during_a_checkpoint_is_no_broken_disk(disk, monkeypatch, writer_waits):
    monkeypatch.setattr(store_file, "CHECKPOINT_PAGES", 40)
    if writer_waits:
        monkeypatch.setattr(store_file, "WAL_PAGES", 40)
    filling = []

    def fill_once(point):
        if point == "journal.before_checkpoint" and not filling:
            filling.append(fill(disk))

    monkeypatch.setattr(store_file, "crash_point", fill_once)
    journal = Journal(disk / "journal.sqlite").open()
    count, refused = 0, False
    while not refused:
        try:
            journal.append([batch(count)])
            count += 1
        except StoreFull:
            refused = True
    filling[0].unlink()
    for _ in range(20):
        goes_on(functools.partial(journal.append, [batch(count)]))
        count += 1
    assert journal.failure == ""
    journal.close()
    journal = Journal(disk / "journal.sqlite").open()
    assert [entry.offset for entry in journal.read(START, 9_999)] == list(range(1, count + 1))
    journal.close()


def test_the_log_stays_within_its_bound_and_shrinks_again(tmp_path, monkeypatch):
    monkeypatch.setattr(store_file, "CHECKPOINT_PAGES", 30)
    monkeypatch.setattr(store_file, "WAL_PAGES", 120)
    journal = Journal(tmp_path / "journal.sqlite").open()
    log, most = tmp_path / "journal.sqlite-wal", 0
    for k in range(300):
        journal.append([batch(k)])
        most = max(most, log.stat().st_size)
    one_entry = 12
    assert most <= (120 + one_entry) * (store_file.PAGE_BYTES + 24) + 32
    reader = Journal(tmp_path / "journal.sqlite").open(read_only=True)
    with reader._file.snapshot() as ask:
        assert len(list(ask("select * from head"))) == 1
        for k in range(300, 400):
            journal.append([batch(k)])
        held = log.stat().st_size
    for k in range(400, 500):
        journal.append([batch(k)])
    assert held > most  # nobody may take from a reader what it reads
    assert log.stat().st_size <= held
    reader.close()
    journal.close()
    assert not log.exists()


def test_a_disk_without_inodes_is_a_full_disk(tmp_path):
    with a_disk_of("4m,nr_inodes=8", tmp_path / "disk") as folder:
        others = []
        while len(others) < 20:
            try:
                others.append(folder / f"{len(others)}")
                others[-1].touch()
            except OSError:
                break
        with pytest.raises(StoreFull, match="WK303"):
            Journal(folder / "journal.sqlite").open()
        for other in others:
            other.unlink(missing_ok=True)
        journal = Journal(folder / "journal.sqlite").open()
        journal.append([batch(0)])
        journal.close()


def test_a_disk_that_may_be_written_again_is_written_again(tmp_path):
    with a_disk_of("4m", tmp_path / "disk") as folder:
        journal = Journal(folder / "journal.sqlite").open()
        journal.append([batch(0)])
        journal.close()
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        for _ in range(3):
            with pytest.raises(StoreError, match="WK300"):
                Journal(folder / "journal.sqlite").open()
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        journal = Journal(folder / "journal.sqlite").open()
        assert journal.append([batch(1)]) == [2]
        journal.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"WK300 .*file/journal.sqlite"):
        Journal(tmp_path / "file" / "journal.sqlite").open()


def test_a_folder_of_somebody_else_is_refused_by_name(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    path = folder / "journal.sqlite"
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # as nobody: the tests themselves may do anything
        os.setuid(65534)
        try:
            Journal(path).open()
            told = "opened"
        except StoreError as error:
            told = str(error)
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    told = os.read(reading, 4096).decode()
    os.close(reading)
    os.waitpid(child, 0)
    assert told.startswith("WK300")
    assert "theirs" in told
