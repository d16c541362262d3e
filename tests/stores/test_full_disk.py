"""A disk that is full, and one that may not be written: an error now, and on as soon as it can."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest

from watchkeeper.errors import StoreError, StoreFull
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Control, Millis
from watchkeeper.testing.journal import START, checked
from watchkeeper.testing.ledger import step


@contextlib.contextmanager
def a_disk_of(size, folder):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small_disk(tmp_path):
    with a_disk_of("4m", tmp_path / "disk") as folder:
        yield folder


def fill(folder):
    """Take all the space that is left."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as out:
        for size in (1 << 16, 1 << 12, 1 << 9, 1):
            with contextlib.suppress(OSError):
                while True:
                    out.write(b"x" * size)
    return ballast


def batch(k):
    return checked({("host:a", f"m{k}-{j}", "{}"): [(k, k * 1.1 + j)] for j in range(60)})


def test_a_full_disk_stores_nothing_and_goes_on_without_restart_once_there_is_space(small_disk):
    journal = Journal(small_disk / "journal.sqlite").open()
    count = 0
    for _ in range(3):
        ballast = fill(small_disk)
        refusal = None
        while refusal is None:
            try:
                journal.append([batch(count)])
                count += 1
            except StoreFull as error:
                refusal = str(error)
        assert refusal.startswith("WK303")
        assert "nothing was stored" in refusal
        for _ in range(5):
            with pytest.raises(StoreFull):
                journal.append([batch(count)])
            with pytest.raises(StoreFull):
                journal.note(Control("started", "x", "y" * 20_000), Millis(1))
        assert (journal.head(), journal.series().num_rows) == (count, 60 * count)
        ballast.unlink()
        for _ in range(5):
            journal.append([batch(count)])
            count += 1
    journal.close()
    journal = Journal(small_disk / "journal.sqlite").open()
    entries = list(journal.read(START, 10_000))
    assert [entry.first for entry in entries] == [60 * k for k in range(count)]
    journal.close()


def test_a_full_disk_stops_the_ledger_between_two_steps(small_disk):
    ledger = Ledger(small_disk / "ledger.sqlite").open()
    tick = 0
    for _ in range(3):
        ballast = fill(small_disk)
        refused = False
        while not refused:
            try:
                ledger.commit(step(tick + 1_000, ["host:a", "host:b"]))
                tick += 1_000
            except StoreFull:
                refused = True
        assert (ledger.watermark().tick if ledger.watermark() else 0) == tick
        ballast.unlink()
        for _ in range(5):
            tick += 1_000
            ledger.commit(step(tick, ["host:a", "host:b"]))
    links = ledger.prove()
    ledger.close()
    ledger = Ledger(small_disk / "ledger.sqlite").open()
    assert ledger.prove() == links == 1 + tick // 1_000
    ledger.close()


def test_a_store_does_not_open_on_a_full_disk_and_does_after(small_disk):
    ballast = fill(small_disk)
    for backend in (Journal(small_disk / "j.sqlite"), Ledger(small_disk / "l.sqlite")):
        with pytest.raises(StoreFull):
            backend.open()
    ballast.unlink()
    for backend in (Journal(small_disk / "j.sqlite"), Ledger(small_disk / "l.sqlite")):
        backend.open().close()


def test_a_store_opens_again_on_a_full_disk_to_be_read(small_disk):
    journal = Journal(small_disk / "journal.sqlite").open()
    journal.append([batch(0)])
    journal.close()
    fill(small_disk)
    with contextlib.suppress(StoreFull):
        journal = Journal(small_disk / "journal.sqlite").open(read_only=True)
        assert journal.head() == 1
        journal.close()


def test_a_disk_that_may_not_be_written_can_still_be_read(small_disk):
    journal = Journal(small_disk / "journal.sqlite").open()
    journal.append([batch(0)])
    journal.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StoreError, match="WK300"):
        Journal(small_disk / "journal.sqlite").open()
    journal = Journal(small_disk / "journal.sqlite").open(read_only=True)
    assert [entry.offset for entry in journal.read(START, 9)] == [1]
    journal.close()
    assert shutil.disk_usage(small_disk).total == 4 << 20
