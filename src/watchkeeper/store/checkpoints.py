"""Copying the WAL into the database beside the writer, so that no append waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import apsw

PASSES = 2  # beside the writer; each is shorter than the one before


class Checkpoints:
    """One thread with a connection of its own, begun when it is first needed.

    SQLite writes its WAL from the beginning again only once all of it was copied and nobody has
    written since, which under steady load never happens by itself. So the last pass, over the
    little that came during the ones before, holds the writers back.

    :param connect: opens a connection. :param writing: held by whoever writes.
    :param tell: is given SQLite's errors. :param crash_point: told the name of moments.
    """

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        writing: threading.RLock,
        tell: Callable[[Exception], None],
        crash_point: Callable[[str], None],
    ) -> None:
        self._connect, self._writing, self._tell = connect, writing, tell
        self._crash_point = crash_point
        self._copying = threading.Lock()  # SQLite knows one checkpoint at a time
        self._wanted, self._over = threading.Event(), False
        self._thread: threading.Thread | None = None

    def soon(self) -> None:
        """Let the thread make one; return at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()
        self._wanted.set()

    def now(self, writer: apsw.Connection) -> None:
        """Make one here, because the thread does not keep up; the caller is the writer."""
        self._crash_point("before_checkpoint")
        try:
            self._copy(writer)
        except apsw.Error as error:
            self._tell(error)
        self._crash_point("after_checkpoint")

    def close(self) -> None:
        """End the thread, after the pass it is in."""
        self._over = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        connection = None
        try:
            while self._next():
                try:
                    connection = connection or self._connect()
                    self._round(connection)
                except apsw.Error as error:  # told once; what is in the WAL stays there
                    self._tell(error)
        finally:
            if connection is not None:
                connection.close(True)

    def _next(self) -> bool:
        self._wanted.wait()
        self._wanted.clear()
        return not self._over

    def _round(self, connection: apsw.Connection) -> None:
        self._crash_point("before_checkpoint")
        for _ in range(PASSES):
            self._copy(connection)
            if self._over:
                return
        with self._writing:
            self._copy(connection)
        self._crash_point("after_checkpoint")

    def _copy(self, connection: apsw.Connection) -> None:
        with self._copying:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
