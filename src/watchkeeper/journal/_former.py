"""Entries of a journal that cannot be opened as it is: damaged, or of an older layout.

What is read is held against its checksums row by row, so that the whole entries before a damage can
be kept. `copied` writes them into a new journal of today's layout.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import numpy as np
import pyarrow as pa

from watchkeeper.errors import CorruptionError, StoreError, StoreVersion
from watchkeeper.journal._bases import Base, Bases
from watchkeeper.journal._entry import (
    NO_KEYS,
    NO_SAMPLES,
    Block,
    Stored,
    checksum,
    facts_checksum,
    seal,
    table,
    unseal,
    unseal_block,
)
from watchkeeper.journal._schema import LAYOUT, SQL
from watchkeeper.model import SAMPLES, Control, Entry, Millis, Offset
from watchkeeper.store.file import StoreFile

NOTHING, NEVER = Offset(0), Millis(0)
GROUP = 64  # entries of one transaction
BROKEN = (apsw.Error, CorruptionError, UnicodeDecodeError, TypeError, ValueError, AssertionError)
OLDEST = 1  # layout; 1 had samples as Arrow IPC, 2 packs them

Rewrite = Callable[[Control], Control]


class Row(NamedTuple):
    """One entry as it is stored, and its new series."""

    stored: Stored
    block: Block | None


@dataclass
class Prefix:
    """The whole entries from the beginning.

    :param offset: the last of them. :param arrived: when that came in. :param series: how many.
    :param damage: what ended them; empty when all of the journal is whole.
    :param lost: entries behind, which are not kept; None when they cannot be counted.
    :param floor: the entry up to which a base stands for what retention removed.
    """

    offset: Offset = NOTHING
    arrived: Millis = NEVER
    series: int = 0
    damage: str = ""
    lost: int | None = 0
    floor: Offset = NOTHING


class Former:
    """The file of a journal, read row by row, whatever is wrong with it. Close it.

    :raises StoreVersion: a newer release wrote it. :raises StoreError: there is none.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise StoreError(f"{path}: there is no journal", hint="name a data folder: --data")
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self.bases = Bases(path)
        self._db.execute("pragma writable_schema=on")  # else a file that was cut is not read at all
        self.found, self.base = Prefix(), None
        self.version, self.newest = LAYOUT.version, 0
        self._whole_head = False
        try:
            self.version = int(self._db.pragma("user_version"))
            self.newest = self._one('select max("offset") from entry') or 0
            self.base = self._begins(self._one(SQL["first"]) or 1)
            head = self._db.execute(SQL["head"]).fetchall()
            self._whole_head = not head and not self.newest
            for *facts, own, _ in head:
                self._whole_head = facts_checksum(*facts) == own
                self.newest = max(self.newest, int(str(facts[0])))
        except (apsw.Error, CorruptionError) as error:
            self.found.damage, self.found.lost = str(error), None
        if self.version > LAYOUT.version:
            self.close()
            raise StoreVersion(
                f"{path}: schema version {self.version}, this program knows {LAYOUT.version}",
                hint="a newer release wrote it, and there is no way back: use that release, or"
                " restore a backup made before the upgrade",
            )

    def rows(self) -> Iterator[Row]:
        """Yield the whole entries in order, and keep `found` up to date."""
        found = self.found
        while True:
            try:
                row = self._row(found)
            except BROKEN as error:
                found.damage = f"entry {found.offset + 1}: {error}"
                break
            if row is None:
                break
            stored = row.stored
            found.offset, found.arrived = Offset(stored.offset), Millis(stored.arrived)
            found.series += stored.n_new
            yield row
        behind = max(self.newest - found.offset, 0)  # a house that runs has added some meanwhile
        if behind and not found.damage:
            found.damage = f"entry {found.offset + 1} is missing"
        elif not found.damage and not self._whole_head:
            found.damage = "its head is missing or does not match its checksum"
        if found.lost is not None:
            found.lost = behind

    def entry(self, row: Row) -> Entry:
        """Return an entry with its samples, whatever layout it has."""
        stored, block = row
        keys = unseal_block(block) if block is not None else NO_KEYS
        if self.version == LAYOUT.version or not stored.samples:
            return unseal(stored, keys)
        bare = stored._replace(samples=b"", n_samples=0)
        entry = unseal(bare._replace(checksum=checksum(bare)), keys)
        return replace(entry, samples=_sums(table(stored.samples)))

    def close(self) -> None:
        """Release the file."""
        self._db.close(True)

    def _begins(self, first: int) -> Base | None:
        """Return the base before the oldest entry, and stand there."""
        bases = self.bases.known() if first > 1 else []
        base = next((one for one in bases if one.offset >= first - 1), None)
        if base is not None:
            self.bases.checkpoint(base)
            self.found = Prefix(base.offset, base.arrived, base.series, floor=base.offset)
        return base

    def series(self) -> Iterator[Block]:
        """Yield the series of the entries that retention removed."""
        known = 0
        while self.base is not None and known < self.base.series:
            rows = self._db.execute(SQL["block"], (known,)).fetchall()
            _expect(len(rows) == 1, f"series {known} is missing")
            block = Block._make(rows[0])
            known += unseal_block(block).num_rows
            yield block

    def sources(self) -> dict[str, tuple[str, int]]:
        """Return where sources stood by the time the journal begins, and have not moved since."""
        found = dict[str, tuple[str, int]]()
        rows: list[Any] = self._db.execute(SQL["sources"]).fetchall() if self.base else []
        for name, cursor, offset, own in rows:
            if offset <= self.found.floor and facts_checksum(name, cursor, offset) == own:
                found[name] = (cursor, offset)
        return found

    def _row(self, found: Prefix) -> Row | None:
        rows = self._db.execute(
            'select * from entry where "offset" = ?', (found.offset + 1,)
        ).fetchall()
        if not rows:
            return None
        stored = Stored._make(rows[0])
        _expect(checksum(stored) == stored.checksum, "its bytes do not match its checksum")
        _expect(stored.first == found.series, "a series is missing")
        _expect(stored.arrived >= found.arrived, "it goes back in time")
        block = None
        if stored.n_new:
            blocks = self._db.execute(SQL["block"], (stored.first,)).fetchall()
            _expect(len(blocks) == 1, "its new series are missing")
            block = Block._make(blocks[0])
            _expect(unseal_block(block).num_rows == stored.n_new, "a series is missing")
        return Row(stored, block)

    def _one(self, sql: str) -> Any:
        return self._db.execute(sql).fetchall()[0][0]


def copied(
    former: Former,
    target: Path,
    *,
    last: Callable[[Stored], bool] = lambda _: False,
    rewrite: Rewrite | None = None,
    progress: Callable[[Offset], None] = lambda _: None,
) -> Prefix:
    """Write the whole entries into a new journal; return what it holds.

    :param last: whether to end before this entry.
    :param rewrite: makes today's controls of older ones; what was seen is never changed.
    """
    kept, cursors = replace(former.found), former.sources()
    group: list[Row] = []
    file = StoreFile(target, LAYOUT)
    try:
        _founded(former, file)
        for row in former.rows():
            if last(row.stored):
                break
            stored = row.stored
            if stored.source:
                cursors[stored.source] = (stored.cursor, stored.offset)
            kept.offset, kept.arrived = Offset(stored.offset), Millis(stored.arrived)
            kept.series += stored.n_new
            group.append(_today(former, row, rewrite))
            if len(group) == GROUP:
                _store(file, group, kept, cursors)
                group = []
                progress(kept.offset)
        _store(file, group, kept, cursors)
    finally:
        file.close()
    _based(former, target, kept.offset)
    kept.damage = former.found.damage
    kept.lost = max(former.newest - kept.offset, 0) if former.found.lost is not None else None
    return kept


def _founded(former: Former, file: StoreFile) -> None:
    """Write down the series of what retention removed."""
    if former.base is None:
        return
    with file.transaction() as db:
        for block in former.series():
            db.execute(SQL["add_series"], block)


def _based(former: Former, target: Path, last: Offset) -> None:
    """Let the new journal have the bases of what it holds."""
    bases = Bases(target)
    for base in former.bases.known():
        if base.offset <= last:
            bases.put(base, [former.bases.checkpoint(base)[0].body])


def _today(former: Former, row: Row, rewrite: Rewrite | None) -> Row:
    """Return the row in today's layout; the very same row when it has that already."""
    stored = row.stored
    controls = tuple(Control(*control) for control in json.loads(stored.controls))
    written = tuple(map(rewrite, controls)) if rewrite is not None else controls
    if written == controls and former.version == LAYOUT.version:
        return row
    entry = replace(former.entry(row), controls=written)
    return Row(seal(entry)[0], row.block)


def _store(
    file: StoreFile, group: list[Row], kept: Prefix, cursors: dict[str, tuple[str, int]]
) -> None:
    if not group:
        return
    with file.transaction() as db:
        for row in group:
            db.execute(SQL["add_entry"], row.stored)
            if row.block is not None:
                db.execute(SQL["add_series"], row.block)
        for name, (cursor, offset) in cursors.items():
            db.execute(
                SQL["move_source"], (name, cursor, offset, facts_checksum(name, cursor, offset))
            )
        head = (int(kept.offset), int(kept.arrived), kept.series, len(cursors))
        db.execute(SQL["move_head"], (*head, facts_checksum(*head)))


def _sums(deltas: pa.RecordBatch) -> pa.RecordBatch:
    """Return the samples of layout 1: `series` and `time` were differences to the row before."""
    if not deltas.num_rows:
        return NO_SAMPLES
    series, time, value = (deltas.column(name) for name in SAMPLES.names)
    numbers = np.cumsum(series.to_numpy(), dtype=np.uint32)
    times = np.cumsum(time.to_numpy(), dtype=np.int64)
    return pa.RecordBatch.from_arrays([pa.array(numbers), pa.array(times), value], schema=SAMPLES)


def _expect(whole: bool, what: str) -> None:
    if not whole:
        raise CorruptionError(what)
