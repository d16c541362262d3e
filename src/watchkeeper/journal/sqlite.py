"""The journal in one SQLite file: one row an entry, one fsync a group of entries."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from watchkeeper.errors import CorruptionError, Removed
from watchkeeper.journal._bases import HINT, Base, Bases
from watchkeeper.journal._columns import Columns, ordered
from watchkeeper.journal._entry import (
    NO_KEYS,
    NO_REJECTS,
    NO_SAMPLES,
    Block,
    Stored,
    facts_checksum,
    seal,
    unseal,
    unseal_block,
)
from watchkeeper.journal._numbers import Numbers
from watchkeeper.journal._recent import Recent
from watchkeeper.journal._schema import LAYOUT, SQL
from watchkeeper.model import (
    SAMPLES,
    Checked,
    Checkpoint,
    Control,
    Cursor,
    Entry,
    Millis,
    Offset,
)
from watchkeeper.store.file import StoreFile
from watchkeeper.store.reserve import NOTHING, Reserve

PAGE_ENTRIES = 8  # read at once: a few megabytes at most
PAGE_BLOCKS = 256
CUT_ENTRIES = 64  # removed in one transaction: appends go on in between


@dataclass(frozen=True, slots=True)
class Sqlite:
    """Where the journal is.

    :param path: the file; its folder is made when missing.
    :param vfs: SQLite's name of the file system layer; empty is the platform's own.
    :param recent: bytes of newest entries kept in memory, for those who read them at once.
    :param reserve: space that is left free on the disk; notes and the ledger may use it.
    """

    path: Path
    vfs: str = ""
    recent: int = 64 << 20
    reserve: Reserve = NOTHING

    def open(self, *, read_only: bool = False) -> SqliteJournal:
        """Open the journal; for reading only, beside the process that owns it, if so asked.

        :raises StoreLocked: another process owns it.
        :raises StoreVersion: it was written by another schema version, or is no journal.
        :raises CorruptionError: it is damaged.
        :raises StoreError: the disk failed, or there is nothing to read.
        """
        file = StoreFile(self.path, LAYOUT, self.vfs, read_only, self.reserve)
        return SqliteJournal(file, self.recent)


class _Head(NamedTuple):
    """How much there is; one row, checksummed."""

    offset: int = 0
    arrived: int = 0
    series: int = 0
    sources: int = 0


class SqliteJournal:
    """An open journal (see `Journal`). Any thread may read; appends take turns."""

    def __init__(self, file: StoreFile, recent: int) -> None:
        self._file, self._bases = file, Bases(file.path)
        self._appending = threading.Lock()
        self._recent = Recent(recent)
        self._columns: Columns | None = None
        try:
            self._head = self._stored_head()
            self._cursors = self._stored_cursors(self._head)
            if not file.read_only:
                self._bases.sweep()
                numbers = Numbers()
                for _, keys in self._blocks(0):
                    numbers.resolve(keys)
                self._expect(numbers.count == self._head.series, "a series is there twice")
                self._columns = Columns(numbers)
        except BaseException:
            file.close()
            raise

    @property
    def failure(self) -> str:
        """Why nothing is accepted until the journal is opened again; empty when all is well."""
        return self._file.failure

    def append(self, batches: Sequence[Checked]) -> list[Offset]:
        """Store each batch as one entry, all of them in one durable transaction."""
        self._file.claim()
        with self._appending, self._known_again():
            entries: list[Entry] = []
            head = self._head
            for batch in batches:
                entry = self._entry(batch, head)
                entries.append(entry)
                head = _after(head, entry)
            self._store(entries)
        return [entry.offset for entry in entries]

    def warm_up(self, batches: Sequence[Checked]) -> None:
        """Do with batches what an append does before it stores; so no append waits for kernels."""
        for batch in batches:
            columns = Columns(Numbers())
            entry = _numbered(columns, batch, _Head())
            columns.forget(0)
            seal(entry)
            series, time, value = (entry.samples.column(n).to_numpy() for n in SAMPLES.names)
            ordered(series[::-1].copy(), time, value)

    def note(self, control: Control, arrived: Millis) -> Offset:
        """Store one control input as an entry of its own, durably."""
        with self._appending, self._known_again():
            head = self._head
            entry = Entry(
                Offset(head.offset + 1),
                "",
                Cursor(""),
                Millis(max(arrived, head.arrived)),
                head.series,
                NO_KEYS,
                NO_SAMPLES,
                NO_REJECTS,
                (control,),
            )
            self._store([entry])
        return entry.offset

    def read(self, after: Offset, limit: int) -> Iterator[Entry]:
        """Yield at most `limit` entries with an offset greater than `after`, in order."""
        recent = self._recent.after(after, limit)
        if recent is not None:
            yield from recent
            return
        offset, head = int(after), self._stored_head().offset
        if offset + 1 < self.first() and limit > 0:
            raise self._removed(offset + 1)
        for entry in self._pages(SQL["read"], offset, limit):
            self._expect(entry.offset == offset + 1, f"entry {offset + 1} is missing")
            offset, limit = entry.offset, limit - 1
            yield entry
        self._expect(limit <= 0 or offset >= head, f"entry {offset + 1} is missing")

    def rejected(self, after: Offset, limit: int, *, newest: bool = False) -> Iterator[Entry]:
        """Yield at most `limit` entries that hold rejected samples, in order."""
        if newest:
            ((first,),) = self._file.query(SQL["newest_rejected"], (int(after), limit))
            after = Offset(first - 1) if first is not None else after
        return self._pages(SQL["read_rejected"], int(after), limit)

    def controls(self, kind: str, after: Offset) -> Iterator[tuple[Millis, Control]]:
        """Yield the controls of one kind after an offset and when they came in, in order."""
        for arrived, text in self._file.query(SQL["read_controls"], (int(after), f'["{kind}",')):
            for control in json.loads(text):
                if control[0] == kind:
                    yield Millis(arrived), Control(*control)

    def first(self) -> Offset:
        """Return the offset of the oldest entry there is; 1 when none was removed."""
        return Offset(self._file.query(SQL["first"])[0][0] or 1)

    def bases(self) -> list[Base]:
        """Return the states that are kept to begin with, oldest first."""
        return self._bases.known()

    def base(self) -> tuple[Checkpoint, str] | None:
        """Return the state before the oldest entry, with its SHA-256; None before the first."""
        first = self.first()
        if first == 1:
            return None
        for base in self._bases.known():
            if base.offset >= first - 1:
                return self._bases.checkpoint(base)
        raise CorruptionError(
            f"{self._file.path}: it begins with entry {first}; the state before that is missing",
            hint=HINT,
        )

    def state(self, base: Base) -> tuple[Checkpoint, str]:
        """Return one of them, with its SHA-256."""
        return self._bases.checkpoint(base)

    def keep(self, base: Base, pieces: Iterable[bytes], name: Callable[[str], object]) -> None:
        """Keep a state to begin with, durably."""
        self._bases.put(base, pieces, name)

    def size(self, after: Offset, until: Offset) -> int:
        """Return how many bytes the entries of a range take."""
        return int(self._file.query(SQL["size"], (int(after), int(until)))[0][0])

    def cut(self, until: Base, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Remove the entries up to a base, a few at a time; return whether all are gone."""
        assert until.offset < self.head(), "the newest entry always stays"
        self._bases.checkpoint(until)
        while go_on():
            with self._file.unread() as nobody_reads:
                if not nobody_reads:
                    return False
                first = self.first()
                if first > until.offset:
                    self._bases.drop(until.offset)
                    return True
                with self._file.transaction() as db:
                    db.execute(SQL["cut"], (min(int(until.offset), first + CUT_ENTRIES - 1),))
        return False

    def cursor(self, source: str) -> Cursor | None:
        """Return the cursor of the last durable batch of a source."""
        if self._file.read_only:
            return self._stored_cursors(None).get(source)
        return self._cursors.get(source)

    def head(self) -> Offset:
        """Return the offset of the last entry; 0 when there is none."""
        return Offset(self._stored_head().offset)

    def series(self, first: int = 0) -> pa.RecordBatch:
        """Return the KEYS of series `first` and later, in order of number."""
        blocks = list(self._blocks(first))
        keys = pa.concat_batches([NO_KEYS, *(keys for _, keys in blocks)])
        return keys.slice(first - blocks[0][0]) if blocks else keys

    def close(self) -> None:
        """Release the store. Safe to call twice."""
        self._file.close()

    def _entry(self, batch: Checked, head: _Head) -> Entry:
        """Give the batch its offset and its series their numbers."""
        assert self._columns is not None, "opened read-only"
        assert batch.source, "only a note has no source"
        return _numbered(self._columns, batch, head)

    def _store(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        sealed = [seal(entry) for entry in entries]
        head, cursors = self._head, {}
        for entry in entries:
            head = _after(head, entry)
            if entry.source:  # a note stands for no source
                cursors[entry.source] = (entry.cursor, entry.offset)
        head = head._replace(sources=len(self._cursors.keys() | cursors.keys()))
        with self._file.transaction() as db:
            for row, block in sealed:
                db.execute(SQL["add_entry"], row)
                if block is not None:
                    db.execute(SQL["add_series"], block)
            for name, (cursor, offset) in cursors.items():
                checksum = facts_checksum(name, cursor, offset)
                db.execute(SQL["move_source"], (name, cursor, offset, checksum))
            db.execute(SQL["move_head"], (*head, facts_checksum(*head)))
        self._head = head
        self._recent.add(entries)
        self._cursors |= {name: cursor for name, (cursor, _) in cursors.items()}

    @contextlib.contextmanager
    def _known_again(self) -> Iterator[None]:
        """Forget, when an append fails, what it would have made known."""
        try:
            yield
        except BaseException:
            self._recent.clear()
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._head = self._stored_head()
                self._cursors = self._stored_cursors(self._head)
            if self._columns is not None:
                self._columns.forget(self._head.series)
            raise

    def _pages(self, sql: str, offset: int, limit: int) -> Iterator[Entry]:
        while limit > 0:
            rows = self._file.query(sql, (offset, min(limit, PAGE_ENTRIES)))
            for row in map(Stored._make, rows):
                yield unseal(row, self._new(row) if row.n_new else NO_KEYS)
            if len(rows) < min(limit, PAGE_ENTRIES):
                return
            offset, limit = rows[-1][0], limit - len(rows)

    def _new(self, row: Stored) -> pa.RecordBatch:
        blocks = self._file.query(SQL["block"], (row.first,))
        self._expect(len(blocks) == 1, f"the new series of entry {row.offset} are missing")
        return unseal_block(Block._make(blocks[0]))

    def _blocks(self, first: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield first number and KEYS of every block, from the one that holds series `first`."""
        total = self._stored_head().series
        expected = None if first else 0
        while first < total:
            rows = self._file.query(SQL["blocks"], (first, PAGE_BLOCKS))
            for block in map(Block._make, rows):
                self._expect(expected in (None, block.first), f"series {expected} is missing")
                keys = unseal_block(block)
                expected = block.first + block.length
                if block.first < total:  # what was appended meanwhile is not asked for
                    yield block.first, keys
            self._expect(expected is not None and expected > first, f"series {first} is missing")
            first = expected or 0

    def _stored_head(self) -> _Head:
        rows = self._file.query(SQL["head"])
        if not rows:
            self._expect(not self._file.query(SQL["read"], (0, 1)), "its head is missing")
            return _Head()
        head = _Head._make(rows[0][:4])
        self._expect(facts_checksum(*head) == rows[0][4], "its head does not match its checksum")
        self._expect(head.offset == rows[0][5], f"entry {head.offset} is missing")
        return head

    def _stored_cursors(self, head: _Head | None) -> dict[str, Cursor]:
        rows = self._file.query(SQL["sources"])
        for name, cursor, offset, checksum in rows:
            whole = facts_checksum(name, cursor, offset) == checksum
            self._expect(whole, f"source {name!r} does not match its checksum")
        self._expect(head is None or head.sources == len(rows), "a source is missing")
        return {name: Cursor(cursor) for name, cursor, _, _ in rows}

    def _removed(self, offset: int) -> Exception:
        first = self.first()
        if any(base.offset >= first - 1 for base in self._bases.known()):
            return Removed(
                f"{self._file.path}: entry {offset} was removed by retention; what there is begins"
                f" with entry {first}",
                hint="ask for what came later, or restore a backup that still has it",
            )
        return CorruptionError(
            f"{self._file.path}: entry {offset} is missing",
            hint="restore the journal from a backup",
        )

    def _expect(self, whole: bool, what: str) -> None:
        if not whole:
            raise CorruptionError(
                f"{self._file.path}: {what}", hint="restore the journal from a backup"
            )


def _numbered(columns: Columns, batch: Checked, head: _Head) -> Entry:
    rows, time, value = (batch.samples.column(name).to_numpy() for name in SAMPLES.names)
    numbers, new = columns.resolve(batch.keys, rows)
    arrays = [pa.array(column) for column in ordered(numbers, time, value)]
    return Entry(
        Offset(head.offset + 1),
        batch.source,
        batch.cursor,
        Millis(max(batch.arrived, head.arrived)),
        head.series,
        new,
        pa.RecordBatch.from_arrays(arrays, schema=SAMPLES),
        batch.rejected,
        batch.controls,
    )


def _after(head: _Head, entry: Entry) -> _Head:
    series = entry.first + entry.new.num_rows
    return _Head(entry.offset, entry.arrived, series, head.sources)


plugin = Sqlite
