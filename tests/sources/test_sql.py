"""A real PostgreSQL and SQLite, asked by queries: what is told, what is refused, what is kept."""

from __future__ import annotations

import gc
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from tests.sources import agents

from watchkeeper.config import build
from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Cursor
from watchkeeper.secret import Secret
from watchkeeper.sources.sql import Databases, Query, Sql
from watchkeeper.testing.sources import collector_checks, contents, keys_of

LONG = """SELECT at AS time, host, 'room.temperature' AS metric, celsius AS value, sensor AS id
          FROM readings ORDER BY at"""
NEW = "SELECT n, at AS time, host, celsius FROM readings WHERE n > :cursor ORDER BY n"
ROWS = [
    (1, "2026-01-02 03:04:05+00", "web-1", "20.5", "a"),
    (2, "2026-01-02 03:04:06+00", "web-1", "21.5", "a"),
    (3, "2026-01-02 03:04:06+00", "web-2", "30", "b"),
]


def filled(run) -> None:
    run("CREATE TABLE readings (n int, at timestamptz, host text, celsius numeric, sensor text)")
    for n, at, host, celsius, sensor in ROWS:
        run(f"INSERT INTO readings VALUES ({n}, '{at}', '{host}', {celsius}, '{sensor}')")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with agents.postgres() as found:
        filled(lambda text: execute(found, text))
        yield found


def execute(port: int, text: str) -> None:
    address = f"host=127.0.0.1 port={port} user=watcher password=open-sesame dbname=postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(text)


@pytest.fixture
def lite(tmp_path) -> str:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        filled(lambda text: connection.execute(text.replace("+00'", "Z'")))
    connection.close()
    return f"sqlite:///{tmp_path / 'a.db'}"


def source(port: int | str, *queries: Query, **fields: object) -> Sql:
    url = f"postgresql+psycopg://watcher@127.0.0.1:{port}/postgres"
    fields = {"password": Secret("open-sesame")} | fields if isinstance(port, int) else fields
    return Sql(url=url if isinstance(port, int) else port, queries=queries, **fields)


def ask(port: int | str, query: Query, mark: str = "", seconds: float = 20.0, **fields: object):
    asker = Databases(source(port, query, **fields))
    return asker.collect_after(asker.targets()[0], mark, time.monotonic() + seconds)


def told(said) -> list[tuple[str, str, str, int, float]]:
    keys = [tuple(key.values()) for key in said.keys.to_pylist()]
    columns = (said.samples[n].to_pylist() for n in range(3))
    return sorted((*keys[s], t, v) for s, t, v in zip(*columns, strict=True))


T0 = 1_767_323_045_000
WIDE = Query(
    name="wide", sql="SELECT at, host, celsius, n AS number FROM readings", time_column="at"
)


def test_long_rows_are_told_by_both_databases_alike(port, lite):
    query = Query(name="long", sql=LONG)
    wanted = [
        ("host:web-1", "room.temperature", '{"id":"a"}', T0, 20.5),
        ("host:web-1", "room.temperature", '{"id":"a"}', T0 + 1000, 21.5),
        ("host:web-2", "room.temperature", '{"id":"b"}', T0 + 1000, 30.0),
    ]
    assert told(ask(port, query)) == wanted
    assert told(ask(lite, query)) == wanted


def test_wide_rows_are_told_by_both_databases_alike(port, lite):
    found = told(ask(port, WIDE))
    assert ("host:web-2", "celsius", "{}", T0 + 1000, 30.0) in found
    assert ("host:web-2", "number", "{}", T0 + 1000, 3.0) in found
    assert found == told(ask(lite, WIDE))


def test_a_row_without_time_and_entity_is_of_the_database_now(port):
    before = time.time_ns() // 1_000_000
    (row,) = told(ask(port, Query(name="size", sql="SELECT count(*) AS rows FROM readings")))
    assert row[:3] == ("database:127.0.0.1/postgres", "rows", "{}")
    assert before <= row[3] <= time.time_ns() // 1_000_000
    assert row[4] == 3.0
    said = ask(port, Query(name="size", sql="SELECT 1 AS x"), database="orders")
    assert told(said)[0][0] == "database:orders"


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_cursor_reads_on_where_it_stood(port, lite, kind):
    where = port if kind == "postgres" else lite
    query = Query(name="new", sql=NEW, cursor_column="n", cursor_start=0)
    said = ask(where, query)
    assert len(told(said)) == 3
    assert {row[1] for row in told(said)} == {"celsius"}
    assert not said.whole
    assert ask(where, query, said.mark).samples.num_rows == 0
    assert ask(where, query, said.mark).mark == ""
    # A cap cuts between two values of the cursor, and the rest comes next.
    first = ask(where, query, rows_max=2)
    assert [row[3:] for row in told(first)] == [(T0, 20.5)]
    assert len(told(first)) + len(told(ask(where, query, first.mark))) == 3


def test_a_time_is_followed_too(port):
    sql = "SELECT at AS time, host, celsius FROM readings WHERE at > :cursor ORDER BY at"
    query = Query(name="t", sql=sql, cursor_column="time", cursor_start="2026-01-02T03:04:05Z")
    said = ask(port, query)
    assert [row[4] for row in told(said)] == [21.5, 30.0]
    assert ask(port, query, said.mark).samples.num_rows == 0


def test_what_is_cut_off_must_be_in_order(port):
    query = Query(
        name="n", sql=f"{NEW} DESC".replace(":cursor", ":cursor + 0"),
        cursor_column="n", cursor_start=0,
    )  # fmt: skip
    with pytest.raises(InputError, match="not in order of n"):
        ask(port, query, rows_max=2)
    same = Query(name="s", sql="SELECT 1 AS id, 2.0 AS x FROM readings WHERE 1 > :cursor",
                 cursor_column="id", cursor_start=0)  # fmt: skip
    with pytest.raises(InputError, match="more rows than fit have one id"):
        ask(port, same, rows_max=2)


def test_too_much_is_not_believed(port):
    many = Query(name="m", sql="SELECT n AS x, 'web-' || n AS host FROM generate_series(1, 9000) n")
    assert ask(port, many).samples.num_rows == 9000
    with pytest.raises(InputError, match="more than 100 rows"):
        ask(port, many, rows_max=100)
    long = Query(
        name="l", sql="SELECT n AS x, repeat('a', 999) AS host FROM generate_series(1, 99999) n"
    )
    with pytest.raises(InputError, match="1000000 bytes"):
        ask(port, long, body_bytes=1_000_000)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM readings",
        "INSERT INTO readings (n) VALUES (9) RETURNING n",
        "DROP TABLE readings",
        "WITH x AS (DELETE FROM readings RETURNING n) SELECT n FROM x",
        "SELECT 1; DELETE FROM readings",
        "COMMIT; DELETE FROM readings",
    ],
)
def test_nothing_is_ever_written(port, lite, statement):
    for where in (port, lite):
        with pytest.raises(InputError):
            ask(where, Query(name="w", sql=statement))
        assert ask(where, Query(name="long", sql=LONG)).samples.num_rows == 3


# SQLAlchemy leaves the cursor to the garbage collector where a busy server did not end its query
# by itself, and was cut off.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_slow_query_ends_at_its_deadline(port, lite):
    slow = "SELECT count(*) AS x FROM generate_series(1, 1000000000) a"
    endless = """WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t)
                 SELECT max(n) AS x FROM t"""
    for where, sql in ((port, slow), (lite, endless), (port, "SELECT pg_sleep(30) AS x")):
        with pytest.raises(InputError, match=r"in time|timeout"):
            ask(where, Query(name="slow", sql=sql), seconds=0.5)
    gc.collect()  # or that warning would fail whichever test runs when they are collected


def test_a_server_that_hangs_is_cut_off():
    def says(question: bytes) -> bytes:
        return b"N" if question[4:8] == b"\x04\xd2\x16\x2f" else b""  # no TLS; then silence

    with agents.fake_tcp(answer=says) as port, pytest.raises(InputError, match=r"in time|timeout"):
        ask(port, Query(name="x", sql="SELECT 1 AS x"), seconds=0.5, timeout=1.0)


def test_what_cannot_be_a_number_is_unread_and_its_neighbours_stay(port):
    sql = """SELECT 'web-1' AS host, 'm' AS metric, v AS value
             FROM (VALUES ('1.5'), ('N/A'), (NULL), ('2')) AS t (v)"""
    said = ask(port, Query(name="mixed", sql=sql))
    assert [row[4] for row in told(said)] == [1.5, 2.0]
    rows = said.unread.to_pylist()
    assert [(row["offered"], row["origin"]) for row in rows] == [
        ("N/A", "sql: mixed: row 2"), ("", "sql: mixed: row 3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "fields", "why"),
    [
        ("SELEC 1", {}, "syntax error"),
        ("SELECT 1 AS x, 2 AS x", {}, "a name of its own"),
        ("SELECT 'a' AS who", {}, "text, and no attribute"),
        ("SELECT 1 AS x", {"value_column": "y"}, "no column 'y'"),
        ("SELECT 1 AS x WHERE 2 > :cursor", {"cursor_column": "n", "cursor_start": 1}, "select it"),
        ("SELECT NULL::int AS n, 1 AS x WHERE 2 > :cursor UNION ALL SELECT 1, 2",
         {"cursor_column": "n", "cursor_start": 1}, "never NULL"),
        ("SELECT '{1}'::int[] AS n, 1 AS x WHERE 2 > :cursor",
         {"cursor_column": "n", "cursor_start": 1}, "cannot follow a column of list"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_query_is_said(port, sql, fields, why):
    with pytest.raises(InputError, match=why):
        ask(port, Query(name="q", sql=sql, **fields))


def test_the_password_is_never_printed(port):
    query = Query(name="q", sql="SELECT 1 AS x")
    wrong = source(port, query, password=Secret("sesame-street"))
    asker = Databases(wrong)
    with pytest.raises(InputError) as caught:
        asker.collect(asker.targets()[0], time.monotonic() + 5)
    assert "authentication failed" in str(caught.value)
    for text in (str(caught.value), repr(wrong), repr(caught.value.__context__)):
        assert "sesame-street" not in text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"url": "postgresql://a:secret-word@b/c"}, "a password in the url"),
        ({"url": "postgresql://a@b/c?password=secret-word"}, "a password in the url"),
        ({"url": "b/c"}, "url is none"),
        ({"queries": ()}, "no queries"),
        ({"queries": (Query(name="", sql="SELECT 1"),)}, "has no name"),
        ({"queries": (Query(name="a", sql="x"), Query(name="a", sql="y"))}, "two queries"),
        ({"queries": (Query(name="a", sql="SELECT :cursor"),)}, "go together"),
        ({"queries": (Query(name="a", sql="SELECT 1", cursor_column="a"),)}, "go together"),
        ({"interval": 0.0}, "interval is not above 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(fields, why):
    usable = {"url": "sqlite://", "queries": (Query(name="a", sql="SELECT 1"),)}
    with pytest.raises(ConfigError, match=why) as caught:
        Sql(**usable | fields)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["nothing://b/c", "postgresql+nothing://b/c", "oracle+oracledb://b"]
)
def test_a_driver_that_is_not_there_is_named(url):
    with pytest.raises(ConfigError, match="sql: "):
        Sql(url=url, queries=(Query(name="a", sql="SELECT 1"),)).open(None)


def test_queries_are_read_from_a_configuration(tmp_path):
    spec = {"type": "sql", "url": "sqlite://", "queries": [{"name": "a", "sql": "SELECT 1 AS x"}]}
    assert build("sources", spec).queries[0].name == "a"
    with pytest.raises(ConfigError, match="layuot"):
        build("sources", {**spec, "queries": [{"name": "a", "sql": "b", "layuot": "long"}]})


@pytest.mark.parametrize("check", list(collector_checks()), ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_it_is_a_collector(port, lite, check, kind):
    where = port if kind == "postgres" else lite
    new = Query(name="new", sql=NEW, cursor_column="n", cursor_start=0)
    check(source(where, WIDE, new, interval=1.0, timeout=0.8))


def test_rows_are_read_once_whoever_stops_between(port):
    """The cursor in the journal is that of what is in the journal."""
    execute(port, "CREATE TABLE growing AS SELECT n, n AS x FROM generate_series(1, 50) n")
    query = Query(
        name="g", sql="SELECT n, x FROM growing WHERE n > :cursor ORDER BY n",
        cursor_column="n", cursor_start=0,
    )  # fmt: skip
    mine = source(port, query, interval=0.2, timeout=0.16, rows_max=8)
    found: Counter[float] = Counter()
    cursor: Cursor | None = None
    deadline = time.monotonic() + 60
    while len(found) < 50:
        assert time.monotonic() < deadline, found
        reader = mine.open(cursor)
        heard = 0
        while heard < 2 and time.monotonic() < deadline and len(found) < 50:
            batch = reader.poll()
            if batch is None:
                continue
            cursor = batch.cursor  # durable now
            for key, count in contents(batch).items():
                if key[1] == "x":
                    found[bytes_to_float(key[-1])] += count
                    heard += 1
        reader.poll()  # asked, and never durable
        reader.close()
    assert found == Counter(float(n) for n in range(1, 51))
    assert {key["metric"] for key in keys_of(batch).to_pylist()} >= {"x", "up"}


def bytes_to_float(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits))[0]
