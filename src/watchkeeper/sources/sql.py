"""Databases, asked by queries of the operator's own; any for which SQLAlchemy has a dialect.

Nothing is ever written: transactions are read-only where the database knows how, and always rolled
back. The deadline holds three times: the server is told it, the driver is interrupted at it, and
the rounds give a question up that outstays it.
"""

from __future__ import annotations

import importlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Cursor, Millis
from watchkeeper.secret import Secret
from watchkeeper.sources import Collected, Target
from watchkeeper.sources._rounds import Rounds
from watchkeeper.sources._sql_rows import Answered, Query, read

CHUNK = 1000  # rows fetched at once
COURTESY = 0.2  # seconds a server has to end a statement itself before its connection is cut
_CELL = 16  # bytes a number or a time counts
# What makes a connection one that only reads, and ends a statement in time (`{ms}`), by dialect.
_PREPARED: Mapping[str, tuple[str, ...]] = {
    "postgresql": (
        "SET TRANSACTION READ ONLY",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET statement_timeout = {ms}",
    ),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_execution_time = {ms}"),
    "mariadb": (
        "SET SESSION TRANSACTION READ ONLY", "SET SESSION max_statement_time = {ms} / 1000",
    ),
    "oracle": ("SET TRANSACTION READ ONLY",),
    "sqlite": ("PRAGMA query_only = ON",),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sql:
    """Asks a database what the operator's queries say.

    :param url: the database, as SQLAlchemy writes it, without a password.
    :param queries: what to ask; each is a target of its own.
    :param password: of the user in the URL; never printed.
    :param database: what the database is called in `database:<name>`; its host and path unless
        said.
    :param interval: seconds between two times a query is asked.
    :param timeout: seconds one query may take; at most 0.8 of the interval.
    :param rows_max: rows of one answer.
    :param body_bytes: bytes of one answer, about; the rest waits, or is not believed.
    :param name: the source's name in the journal.
    :raises ConfigError: no query, a password in the URL, or a query that cannot be asked.
    """

    url: str = field(repr=False)
    queries: tuple[Query, ...]
    password: Secret = Secret()
    database: str = ""
    interval: float = 60.0
    timeout: float = 10.0
    rows_max: int = 100_000
    body_bytes: int = 16 << 20
    name: str = "sql"

    def __post_init__(self) -> None:
        _without_password(self.url)
        for what in ("interval", "timeout", "rows_max", "body_bytes"):
            if not getattr(self, what) > 0:
                raise ConfigError(f"sql: {what} is not above 0")
        if not self.queries:
            raise ConfigError("sql: no queries", hint="for example {name: lag, sql: SELECT …}")
        names = [query.name for query in self.queries]
        for query in self.queries:
            if not query.name or names.count(query.name) > 1:
                raise ConfigError(f"sql: two queries are called {query.name!r}, or it has no name")
            follows = ":cursor" in query.sql
            if follows != bool(query.cursor_column) or (follows and query.cursor_start == ""):
                raise ConfigError(
                    f"sql: {query.name}: `:cursor`, cursor_column and cursor_start go together",
                    hint="SELECT … WHERE ts > :cursor ORDER BY ts",
                )

    @property
    def sampled(self) -> bool:
        """What waits is handed on; the rounds have their own times."""
        return False

    def open(self, cursor: Cursor | None) -> Rounds:
        """Begin the rounds; queries with a cursor go on where their last answer ended.

        :raises ConfigError: a package it needs is not installed, or the URL is none.
        """
        return Rounds(Databases(self), cursor)


class Databases:
    """One sql at work. See `sources.Collector` and `sources.Resuming`."""

    def __init__(self, source: Sql) -> None:
        self.name, self.interval, self.timeout = source.name, source.interval, source.timeout
        self._source, self._library = source, _library()
        self._engine = _engine(self._library, source)
        parts = urlsplit(source.url)
        called = source.database or f"{parts.hostname or ''}/{parts.path.strip('/')}".strip("/")
        self._entity = f"database:{called or source.name}"
        self._host = parts.hostname or ""
        self._queries = {query.name: query for query in source.queries}

    def targets(self) -> Sequence[Target]:
        """Return the queries."""
        return [Target(name, self._entity, self._host, {"query": name}) for name in self._queries]

    def collect(self, target: Target, deadline: float) -> Collected:
        """Ask one query from its beginning."""
        return self.collect_after(target, "", deadline)

    def collect_after(self, target: Target, mark: str, deadline: float) -> Collected:
        """Ask one query for what came after a mark.

        :raises InputError: no answer in time, a query the database refuses, or too much of it.
        """
        query, at = self._queries[target.name], Millis(time.time_ns() // 1_000_000)
        where = f"{self.name}: {query.name}"
        try:
            said = self._asked(query, mark, deadline)
        except self._library.exc.SQLAlchemyError as error:
            late = time.monotonic() >= deadline
            raise InputError(
                f"{where}: {'no answer in time' if late else self._why(error)}"
            ) from None
        if said.cut and not query.cursor_column:
            raise InputError(
                f"{where}: more than {self._source.rows_max} rows or"
                f" {self._source.body_bytes} bytes",
                hint="ask for less, follow a column with :cursor, or raise rows_max, body_bytes",
            )
        return read(query, said, self._entity, where, at)

    def _asked(self, query: Query, mark: str, deadline: float) -> Answered:
        with self._engine.connect() as connection, _ended_at(connection, deadline):
            left = max(1, int((deadline - time.monotonic()) * 1000))
            for statement in _PREPARED.get(self._engine.dialect.name, ()):
                connection.exec_driver_sql(statement.format(ms=left))
            text = self._library.text(query.sql)
            values = {"cursor": query.begin(mark)} if query.cursor_column else {}
            options = {"stream_results": True, "max_row_buffer": CHUNK}
            with connection.execute(text, values, execution_options=options) as result:
                return self._fetched(result)

    def _fetched(self, result: Any) -> Answered:
        if not result.returns_rows:
            raise InputError(f"{self.name}: a statement without rows", hint="write a SELECT")
        said, size = Answered(list(result.keys()), []), 0
        while rows := result.fetchmany(CHUNK):
            for row in rows:
                size += sum(map(_size, row))
                if len(said.rows) == self._source.rows_max or size > self._source.body_bytes:
                    said.cut = True
                    return said
                said.rows.append(tuple(row))
        return said

    def _why(self, error: Exception) -> str:
        """Return what the database said, without statement, parameters and password."""
        text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
        first = text.splitlines()[0]
        secret = self._source.password.reveal()
        return first.replace(secret, "<secret>") if secret else first


def _without_password(url: str) -> None:
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query)
        found = parts.password or asked.get("password") or asked.get("sslpassword")
    except ValueError:
        found = None
    if "://" not in url:
        raise ConfigError("sql: url is none", hint="postgresql+psycopg://user@host/database")
    if found:
        raise ConfigError("sql: a password in the url", hint="give password_file")


def _engine(library: Any, source: Sql) -> Any:
    try:
        url = library.make_url(source.url)
        if source.password:
            url = url.set(password=source.password.reveal())
        patience: dict[str, Any] = {"connect_timeout": max(1, int(source.timeout))}
        arguments: dict[str, Any] = patience if url.get_backend_name() in _PATIENT else {}
        if url.get_backend_name() == "sqlite":  # a connection is interrupted from another thread
            arguments = {"check_same_thread": False, "timeout": source.timeout}
        pool = importlib.import_module("sqlalchemy.pool").NullPool
        return library.create_engine(
            url, poolclass=pool, connect_args=arguments, hide_parameters=True
        )
    except ImportError as error:
        raise ConfigError(
            f"sql: {error.name} is not installed", hint="install the driver that the url names"
        ) from None
    except library.exc.SQLAlchemyError as error:
        reason = str(error).replace(source.url, "url")
        raise ConfigError(f"sql: {reason}") from None


_PATIENT = ("postgresql", "mysql", "mariadb")  # whose drivers know `connect_timeout`


@contextmanager
def _ended_at(connection: Any, deadline: float) -> Iterator[None]:
    """Cut a connection off right after the deadline, whatever its server does."""
    driver = connection.connection.driver_connection
    left = max(0.0, deadline - time.monotonic()) + COURTESY
    timer = threading.Timer(left, _cut, (driver,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with suppress(Exception):  # a connection that was cut cannot even say so
            connection.rollback()


def _cut(driver: Any) -> None:
    if hasattr(driver, "interrupt"):  # SQLite
        driver.interrupt()
    elif hasattr(driver, "fileno"):  # psycopg
        with suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as one:
            one.shutdown(socket.SHUT_RDWR)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes | bytearray | memoryview) else _CELL


def _library() -> Any:
    try:
        return importlib.import_module("sqlalchemy")
    except ImportError as error:
        raise ConfigError(
            f"sql: {error.name} is not installed", hint="pip install watchkeeper[sql]"
        ) from error


plugin = Sql
