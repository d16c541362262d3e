"""SQLite's own loop: fail the first call to the disk, then the second, until a run is through."""

from __future__ import annotations

import errno
import functools
import itertools
import sys
import tempfile
import threading
from pathlib import Path

import apsw
import pytest

from watchkeeper.errors import StoreError
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Millis
from watchkeeper.store import file as store_file
from watchkeeper.testing.journal import START, checked
from watchkeeper.testing.ledger import receipt, step

pytestmark = pytest.mark.no_cover  # the same lines, again and again
MOST_CALLS = 300
KINDS = {
    "the disk fails": lambda: apsw.IOError("EIO: the disk failed"),
    "the disk is full": lambda: apsw.FullError("ENOSPC: the disk is full"),
}
_names = itertools.count()


class Faulty(apsw.VFS):
    """A file system whose calls fail from the n-th on, as many as asked for.

    :param error: makes what they fail with.
    """

    def __init__(self, error) -> None:
        self.name, self.error = f"faulty{next(_names)}", error
        self.calls, self.bad = 0, range(0)
        self.turn = threading.Lock()
        super().__init__(self.name, "")

    def xOpen(self, name, flags):
        self.count()
        return _File(self, name, flags)

    def xDelete(self, name, sync_folder):
        self.count()
        super().xDelete(name, sync_folder)

    def count(self):
        """Count one call and fail when it is its turn."""
        with self.turn:
            self.calls += 1
            if self.calls in self.bad:
                raise self.error()


class _File(apsw.VFSFile):
    def __init__(self, disk, name, flags) -> None:
        self.disk = disk
        super().__init__("", name, flags)

    def xRead(self, amount, offset):
        self.disk.count()
        return super().xRead(amount, offset)

    def xWrite(self, data, offset):
        self.disk.count()
        super().xWrite(data, offset)

    def xTruncate(self, length):
        self.disk.count()
        super().xTruncate(length)

    def xSync(self, flags):
        self.disk.count()
        super().xSync(flags)

    def xFileSize(self):
        self.disk.count()
        return super().xFileSize()


@pytest.fixture(autouse=True)
def _every_call_counts(monkeypatch):
    """Checkpoint often, and in the writer, so that the n-th call is the same in every run."""
    monkeypatch.setattr(store_file, "CHECKPOINT_PAGES", 6)
    monkeypatch.setattr(store_file, "WAL_PAGES", 6)
    told = sys.unraisablehook
    monkeypatch.setattr(
        sys,
        "unraisablehook",
        lambda it: isinstance(it.exc_value, apsw.IOError | apsw.FullError) or told(it),
    )


@pytest.fixture
def folder():
    """Return a folder in memory: the faults are ours, not the disk's."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.mark.parametrize(
    ("kind", "lasting"), [("the disk fails", 1), ("the disk fails", 10**6), ("the disk is full", 1)]
)
def test_whichever_call_fails_the_journal_keeps_what_it_acknowledged(folder, kind, lasting):
    disk = Faulty(KINDS[kind])
    for nth in range(1, MOST_CALLS):
        path = folder / f"{nth}" / "journal.sqlite"
        disk.calls, disk.bad = 0, range(nth, nth + lasting)
        acknowledged, through = lives_of_a_journal(path, disk)
        disk.bad = range(0)
        journal = Journal(path).open()
        assert [entry.cursor for entry in journal.read(START, 99)][:acknowledged] == [
            str(k) for k in range(acknowledged)
        ]
        assert journal.head() <= acknowledged + 1
        assert journal.append([points(journal.head())]) == [journal.head()]
        assert journal.series().num_rows == journal.head()
        journal.close()
        if through:
            break
    disk.unregister()
    assert through, f"{disk.calls} calls"
    assert nth > 50


def lives_of_a_journal(path, disk):
    """Return how many entries were acknowledged, and whether no call failed."""
    acknowledged, through = 0, True
    for _ in range(2):
        try:
            journal = Journal(path, vfs=disk.name).open()
        except StoreError:
            through = False
            continue
        for _ in range(2):
            try:
                (acknowledged,) = journal.append([points(acknowledged)])
                assert len(list(journal.read(START, 99))) == acknowledged
            except StoreError:
                through = False
                break  # what was stored is not known, so neither is what comes next
        journal.close()
        through = through and disk.calls < disk.bad.start
        if not through:
            break
    return acknowledged, through


@functools.cache
def points(k):
    return checked({("host:a", f"m{k}", "{}"): [(k, 1.5)] * 20}, cursor=str(k))


@pytest.mark.parametrize("kind", ["the disk fails"])
def test_whichever_call_fails_the_ledger_stays_proven(folder, kind):
    disk = Faulty(KINDS[kind])
    for nth in range(1, MOST_CALLS):
        path = folder / f"{nth}" / "ledger.sqlite"
        disk.calls, disk.bad = 0, range(nth, nth + 1)
        committed, through = a_life_of_a_ledger(path, disk)
        disk.bad = range(0)
        ledger = Ledger(path).open()
        mark = ledger.watermark()
        assert (mark.tick if mark else 0) // 1_000 in (committed, committed + 1)
        ledger.commit(step(Millis(100_000), ["host:a"]))
        assert ledger.prove() == len(list(ledger.links()))
        ledger.close()
        if through:
            break
    disk.unregister()
    assert through, f"{disk.calls} calls"
    assert nth > 50


def a_life_of_a_ledger(path, disk):
    """Return how many steps were committed, and whether no call failed."""
    committed, through = 0, True
    try:
        ledger = Ledger(path, vfs=disk.name).open()
    except StoreError:
        return 0, False
    try:
        for k in range(1, 2):
            ledger.commit(step(Millis(1_000 * k), ["host:a", "host:b"]))
            committed = k
            for order, attempts in ledger.outbox(Millis(10**9), 1):
                ledger.settle(receipt(order, attempts + 1, "done"))
    except StoreError:
        through = False
    ledger.close()
    return committed, through and disk.calls < disk.bad.start


def test_a_read_that_fails_says_so_and_the_next_one_may_succeed(folder):
    disk = Faulty(lambda: apsw.IOError(f"EIO {errno.EIO}"))
    path = folder / "journal.sqlite"
    journal = Journal(path).open()
    for k in range(40):
        journal.append([points(k)])
    journal.close()
    journal = Journal(path, vfs=disk.name).open(read_only=True)
    disk.calls, disk.bad = 0, range(1, 10**6)
    with pytest.raises(StoreError, match="WK30"):
        list(journal.read(START, 99))
    disk.bad = range(0)
    assert len(list(journal.read(START, 99))) == 40
    journal.close()
    disk.unregister()
