"""One SQLite file as a durable store: who owns it, how it opens, how it fails, how it is rescued.

* One writer connection, WAL, `synchronous=FULL`: when a transaction returns, it is on the disk.
* Checkpoints are ours, beside the writer, because SQLite's own hide their I/O errors.
* After an I/O error nothing more is accepted until the store was opened again (`rescue`).
* A full disk is not an error of the disk: nothing is stored, and a later transaction may succeed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import apsw

from watchkeeper.errors import (
    CorruptionError,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreVersion,
)
from watchkeeper.store.checkpoints import Checkpoints
from watchkeeper.store.layout import Layout
from watchkeeper.store.lock import hold, let_go, take, unread
from watchkeeper.store.rescue import beside, mark, rescue, sync
from watchkeeper.store.reserve import NOTHING, Reserve, Room, give_up_ballast

OLDEST_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL file: sqlite.org/wal.html#walresetbug
CHECKPOINT_PAGES = 2000  # of 8 KiB: the WAL stays near 16 MiB
WAL_PAGES = 4 * CHECKPOINT_PAGES  # 64 MiB: where a writer does not go on without a checkpoint
BUSY_MILLIS = 10_000  # only a checkpoint by another process can make us wait
PAGE_BYTES = 8192
TABLES = "select type, name, tbl_name, sql from sqlite_schema order by name"
TROUBLE = (apsw.Error, UnicodeDecodeError)  # what a read can raise
DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError)
DISTRUST_HINT = "see the system's log for this disk; then start again, which rewrites the store"
HINTS = {
    errno.EACCES: "the user that runs watchkeeper must own this folder",
    errno.ENOENT: "was the folder moved away? bring it back, then start again",
    errno.EROFS: "mount this disk for writing, then start again",
}  # anything else is an error of the disk


def _nothing(point: str) -> None:
    """Go on. Crash tests put something deadlier here."""


crash_point: Callable[[str], None] = _nothing


class StoreFile:
    """One open store. Any thread may use it; writers take turns.

    :raises StoreLocked: another process has it open for writing.
    :raises StoreVersion: it was written by another schema version, or is no store of this name.
    :raises CorruptionError: its bytes are not a whole database.
    :raises StoreError: it does not exist (read-only), or the disk failed.
    """

    def __init__(
        self,
        path: Path,
        layout: Layout,
        vfs: str = "",
        read_only: bool = False,
        reserve: Reserve = NOTHING,
    ) -> None:
        if tuple(map(int, apsw.sqlite_lib_version().split("."))) < OLDEST_SQLITE:
            raise StoreError(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt a store",
                hint="install apsw 3.51.3 or newer",
            )
        self.path, self.read_only = path, read_only
        self._layout, self._vfs = layout, vfs or None
        self._writing, self._reading = threading.RLock(), threading.Lock()
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._lock = self._hold = -1
        self._wal_pages, self._checkpoint_at = 0, CHECKPOINT_PAGES
        self._failure = ""
        self._room = Room(path.parent, reserve)
        try:
            self._open()
        except StoreFull:
            if read_only or not give_up_ballast(path.parent):
                raise
            self._open()

    @property
    def failure(self) -> str:
        """Why nothing is accepted until the store is opened again; empty when all is well."""
        return self._failure

    def unread(self) -> AbstractContextManager[bool]:
        """Keep other processes from beginning to read; say whether none does."""
        return unread(self._lock)

    def claim(self) -> None:
        """Return if there is room for more than what is owed already.

        :raises StoreFull: no more than the reserve is left.
        """
        self._room.claim(self._spare)

    def _spare(self) -> int:
        """Return the bytes of the file that hold nothing, and are used again first."""
        ((pages,),) = self.query("pragma freelist_count")
        return int(pages) * PAGE_BYTES

    def _open(self) -> None:
        self._checkpoints = Checkpoints(
            self._open_copier, self._writing, self._distrust, self._crash_point
        )
        try:
            if not self.read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = take(self.path, self._layout.name)
                rescue(self.path, self._copy_to, self._crash_point)
                self._writer = self._open_writer()
            elif not self.path.exists():
                raise StoreError(
                    f"{self.path}: there is no {self._layout.name}",
                    hint="run the service once, or --data",
                )
            else:
                self._hold = hold(self.path)
            self._reader = self._open_reader()
            self._check_layout(self._reader)
        except (*TROUBLE, OSError) as error:
            if not self.read_only:
                self._distrust(error)
            self.close()
            raise self.translate(error) from error
        except StoreError:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Run the block as one transaction, durable when the block is left.

        :raises StoreFull: nothing was stored; a later transaction may succeed.
        :raises StoreError: nothing more is accepted until the store is opened again.
        """
        with self._writing:
            if self._failure:
                raise StoreError(self._failure, hint=DISTRUST_HINT)
            assert self._writer is not None, "opened read-only, or closed"
            try:
                self._writer.execute("begin immediate")
                yield self._writer
                self._crash_point("before_commit")
                self._writer.execute("commit")
            except BaseException as error:
                self._roll_back()
                if not isinstance(error, apsw.Error):
                    raise
                if isinstance(error, apsw.ConstraintError):
                    raise AssertionError(f"{self.path}: {error}") from error
                self._distrust(error)
                raise self._refusal(error) from error
            self._crash_point("after_commit")
            if self._failure:  # told by a checkpoint meanwhile: nothing is certain any more
                raise StoreError(self._failure, hint=DISTRUST_HINT)
            if self._wal_pages >= self._checkpoint_at:
                self._checkpoint(self._writer)

    def query(self, sql: str, bindings: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query on what is committed and durable."""
        with self._reading:
            assert self._reader is not None, "closed"
            try:
                return self._reader.execute(sql, tuple(bindings)).fetchall()
            except TROUBLE as error:
                raise self.translate(error) from error

    @contextmanager
    def snapshot(self) -> Iterator[Callable[..., Iterator[tuple[Any, ...]]]]:
        """Yield a query function whose answers all come from one moment, without fetching whole.

        While it lasts the WAL cannot shrink, so it is for proofs, not for long lives.
        """
        reader = self._open_reader()

        def ask(sql: str, bindings: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
            try:
                yield from reader.execute(sql, tuple(bindings))
            except TROUBLE as error:
                raise self.translate(error) from error

        try:
            reader.execute("begin")
            yield ask
        finally:
            reader.close(True)

    def integrity(self) -> None:
        """Let SQLite compare every table with its indexes.

        :raises CorruptionError: they do not agree.
        """
        found = self.query("pragma integrity_check(1)")
        if found != [("ok",)]:
            raise self._corrupt(str(found[0][0]))

    def close(self) -> None:
        """Release the store. Safe to call twice."""
        self._checkpoints.close()
        with self._writing, self._reading:
            reader, self._reader = self._reader, None
            writer, self._writer = self._writer, None
            if reader is not None:
                with contextlib.suppress(apsw.Error):  # it had nothing to write
                    reader.close(True)
            if writer is not None:
                self._part_from(writer)
            lock, self._lock = self._lock, -1
            if lock >= 0:
                let_go(lock)
            held, self._hold = self._hold, -1
            if held >= 0:
                os.close(held)

    def _part_from(self, writer: apsw.Connection) -> None:
        """Leave everything in the database file, with no WAL beside it, if the disk allows."""
        try:
            if not self._failure:
                writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._distrust(error)
        try:
            if self._failure:
                self._mark()  # once more: at the time of the error it may not have worked
                writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            writer.close(True)
        except apsw.Error as error:
            self._distrust(error)

    def translate(self, error: Exception) -> StoreError:
        """Return our error for one of SQLite's or of the system's."""
        if isinstance(error, apsw.FullError) or _is_full(error):
            return StoreFull(
                f"{self.path}: no space left; nothing was stored", hint="free space on this disk"
            )
        if isinstance(error, DAMAGE):
            return self._corrupt(str(error))
        if isinstance(error, apsw.BusyError | apsw.LockedError):
            return StoreLocked(f"{self.path}: {error}", hint="another program holds this database")
        hint = HINTS.get(getattr(error, "errno", 0), DISTRUST_HINT)
        return StoreError(f"{self.path}: {error}", hint=hint)

    def _corrupt(self, what: str) -> CorruptionError:
        return CorruptionError(f"{self.path}: {what}", hint="restore this file from a backup")

    def _connect(self, flags: int, name: str = "") -> apsw.Connection:
        connection = apsw.Connection(name or str(self.path), flags=flags, vfs=self._vfs)
        connection.set_busy_timeout(BUSY_MILLIS)
        for pragma in ("mmap_size=0", "cell_size_check=on", "trusted_schema=off"):
            connection.execute(f"pragma {pragma}").fetchall()
        return connection

    def _open_reader(self) -> apsw.Connection:
        reader = self._connect(apsw.SQLITE_OPEN_READONLY)
        try:
            reader.execute("select 1 from sqlite_schema").fetchall()
        except apsw.CantOpenError:
            # A disk that may not be written has no room for SQLite's shared memory; without a
            # WAL the file is all there is, and nobody can change it.
            reader.close(True)
            if not self.read_only or beside(self.path, "-wal").exists():
                raise
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            reader = self._connect(flags, f"{self.path.absolute().as_uri()}?immutable=1")
        return reader

    def _open_writer(self) -> apsw.Connection:
        writer = self._connect(apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        created = (
            not writer.execute("select 1 from sqlite_schema").fetchall()
            and writer.pragma("user_version") == 0
        )
        if not created:
            self._check_layout(writer)  # before the first change to a file that may not be ours
        for pragma in (
            f"page_size={PAGE_BYTES}",
            "journal_mode=wal",
            "synchronous=full",
            "wal_autocheckpoint=0",
            f"journal_size_limit={WAL_PAGES * PAGE_BYTES}",
            "cache_size=-16000",
        ):
            writer.execute(f"pragma {pragma}").fetchall()
        if created:
            writer.execute("begin immediate")
            writer.execute(self._layout.schema)
            writer.execute(f"pragma application_id={self._layout.application}")
            writer.execute(f"pragma user_version={self._layout.version}")
            writer.execute("commit")
            sync(self.path.parent)
        writer.set_wal_hook(self._grown)
        return writer

    def _check_layout(self, reader: apsw.Connection) -> None:
        name, version = self._layout.name, reader.pragma("user_version")
        if reader.pragma("application_id") != self._layout.application:
            raise StoreVersion(
                f"{self.path}: this is not a {name} of watchkeeper",
                hint="point --data at a folder made by watchkeeper",
            )
        if version != self._layout.version:
            newer = "a newer release wrote it, and there is no way back: use that release"
            older = "`watchkeeper migrate` carries the folder on"
            raise StoreVersion(
                f"{self.path}: schema version {version}, this program knows {self._layout.version}",
                hint=newer if version > self._layout.version else older,
            )
        if reader.execute(TABLES).fetchall() != _expected(self._layout.schema):
            raise self._corrupt("its tables are not those that were created")

    def _open_copier(self) -> apsw.Connection:
        copier = self._connect(apsw.SQLITE_OPEN_READWRITE)
        for pragma in ("wal_autocheckpoint=0", "synchronous=full"):
            copier.execute(f"pragma {pragma}").fetchall()
        copier.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return copier

    def _grown(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        if pages < self._wal_pages:  # it was copied whole, and is written from its beginning
            self._checkpoint_at = CHECKPOINT_PAGES
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, writer: apsw.Connection) -> None:
        """Have the WAL copied into the database; what was committed stays so if this fails.

        A reader in another process can hold the WAL back, so it is tried again only when as much
        has been written once more.
        """
        self._checkpoint_at = self._wal_pages + CHECKPOINT_PAGES
        if self._wal_pages >= WAL_PAGES:
            self._checkpoints.now(writer)
        else:
            self._checkpoints.soon()

    def _refusal(self, error: Exception) -> StoreError:
        refusal = self.translate(error)
        if isinstance(refusal, StoreFull):
            give_up_ballast(self.path.parent)  # the next one may have the room that this had not
        return refusal

    def _crash_point(self, moment: str) -> None:
        crash_point(f"{self._layout.name}.{moment}")

    def _roll_back(self) -> None:
        if self._writer is not None and self._writer.in_transaction:
            try:
                self._writer.execute("rollback")
            except apsw.Error as error:
                self._distrust(error)

    def _distrust(self, error: Exception) -> None:
        """Refuse everything from now on if this error says that the disk itself failed."""
        if isinstance(error, apsw.IOError) and not _is_full(error):
            self._failure = self._failure or f"{self.path}: {error}; nothing more is accepted"
            self._mark()

    def _mark(self) -> None:
        if self.path.exists():  # a disk that failed before anything was made leaves no doubt
            mark(self.path)  # `close` tries again, should the disk have refused it

    def _copy_to(self, copy: Path) -> None:
        old = self._connect(apsw.SQLITE_OPEN_READWRITE)
        try:
            old.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # the old file stays as it is
            old.execute("pragma synchronous=full").fetchall()
            old.execute("vacuum into ?", (str(copy),))
        finally:
            old.close(True)


@functools.cache
def _expected(schema: str) -> list[tuple[Any, ...]]:
    """Return the tables that a schema creates, as SQLite writes them down."""
    return apsw.Connection(":memory:").execute(f"{schema};{TABLES}").fetchall()


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOSPC
    # SQLite says so when it cannot grow its shared-memory file, which only a full disk refuses.
    return getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
