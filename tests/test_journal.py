"""Journals, through the promises every backend makes and through what is special to SQLite."""

from __future__ import annotations

import os
import struct

import apsw
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper import plugins
from watchkeeper.errors import CorruptionError, StoreError, StoreLocked, StoreVersion
from watchkeeper.journal._numbers import ABSENT, Numbers
from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.model import KEYS, Control, Millis, Offset
from watchkeeper.testing import journal as promises
from watchkeeper.testing.journal import START, checked

KEY = ("host:a", "m", "{}")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "journal.sqlite"


@pytest.mark.parametrize("check", list(promises.journal_checks()), ids=lambda check: check.__name__)
def test_sqlite_keeps_the_promise(check, path):
    check(lambda: Sqlite(path).open())


def test_the_file_is_the_plug():
    assert plugins.load("journal", "sqlite") is Sqlite


def test_a_second_writer_is_refused_with_the_pid_of_the_first(path):
    journal = Sqlite(path).open()
    with pytest.raises(StoreLocked, match=rf"WK302 .*process {os.getpid()} owns this journal"):
        Sqlite(path).open()
    journal.close()
    Sqlite(path).open().close()


def test_a_reader_sees_what_a_writer_acknowledged(path):
    with pytest.raises(StoreError, match="there is no journal"):
        Sqlite(path).open(read_only=True)
    writer = Sqlite(path).open()
    reader = Sqlite(path).open(read_only=True)
    assert reader.head() == 0
    for k in range(1, 4):
        writer.append([checked({("host:a", f"m{k}", "{}"): [(k, 1.0)]}, cursor=str(k))])
        assert reader.head() == k
        assert reader.cursor("test") == str(k)
        assert reader.series().num_rows == k
        assert [entry.offset for entry in reader.read(START, 9)] == list(range(1, k + 1))
    with pytest.raises(AssertionError, match="read-only"):
        reader.append([checked({KEY: [(1, 1.0)]})])
    with pytest.raises(AssertionError, match="read-only"):
        reader.note(Control("started", "x", "{}"), Millis(1))
    writer.close()
    assert reader.head() == 3
    reader.close()


@pytest.mark.parametrize(("version", "hint"), [(3, "use that release"), (1, "watchkeeper migrate")])
def test_another_schema_version_is_refused_untouched(path, version, hint):
    Sqlite(path).open().close()
    with apsw.Connection(str(path)) as db:
        db.execute(f"pragma user_version={version}")
    db.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreVersion, match=hint):
            Sqlite(path).open(read_only=read_only)
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused_untouched(path):
    path.parent.mkdir()
    with apsw.Connection(str(path)) as db:
        db.execute("create table t(a)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreVersion, match="not a journal of watchkeeper"):
        Sqlite(path).open()
    assert path.read_bytes() == before


def test_text_is_no_database(path):
    path.parent.mkdir()
    path.write_text("timestamp,value\n" * 1000)
    with pytest.raises(CorruptionError, match="WK301"):
        Sqlite(path).open()


def test_a_changed_table_is_refused(path):
    Sqlite(path).open().close()
    with apsw.Connection(str(path)) as db:
        db.execute("drop index entry_rejected")
    db.close()
    with pytest.raises(CorruptionError, match="its tables are not those"):
        Sqlite(path).open()


EDITS = {
    "update entry set cursor = 'x' where \"offset\" = 3": "entry 3: its bytes do not match",
    'update entry set arrived = arrived + 1 where "offset" = 3': "entry 3: its bytes",
    'update entry set samples = zeroblob(10) where "offset" = 3': "entry 3: its bytes",
    "update entry set controls = '[1]' where \"offset\" = 3": "entry 3: its bytes",
    'delete from entry where "offset" = 3': "entry 3 is missing",
    "delete from series where first = 2": "new series of entry 3 are missing",
    "update series set keys = zeroblob(9) where first = 2": "series 2: the bytes do not match",
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_entry_is_an_error_where_it_is_and_nowhere_before(path, edit):
    filled(path).close()
    change(path, edit)
    journal = Sqlite(path).open(read_only=True)
    entries = journal.read(START, 10)
    assert [next(entries).offset, next(entries).offset] == [1, 2]
    with pytest.raises(CorruptionError, match=EDITS[edit]):
        next(entries)
    journal.close()


OPENING = {
    'delete from entry where "offset" = 5': "entry 5 is missing",
    "delete from head": "its head is missing",
    "update head set series = 4": "its head does not match",
    "update source set cursor = '4'": "source 'test' does not match",
    "delete from source": "a source is missing",
    "delete from series where first = 0": "series 0 is missing",
    "delete from series where first = 2": "series 2 is missing",
    "delete from series where first = 4": "series 4 is missing",
}


@pytest.mark.parametrize("edit", OPENING)
def test_a_journal_that_lost_something_does_not_open(path, edit):
    filled(path).close()
    change(path, edit)
    with pytest.raises(CorruptionError, match=OPENING[edit]):
        Sqlite(path).open()


def test_a_hole_at_the_end_of_a_read_is_an_error(path):
    filled(path).close()
    journal = Sqlite(path).open()
    change(path, 'delete from entry where "offset" in (3, 4)', "delete from entry where 0")
    entries = journal.read(Offset(2), 10)
    with pytest.raises(CorruptionError, match="entry 3 is missing"):
        next(entries)
    journal.close()


@pytest.mark.parametrize("recent", [0, 2_000, 1 << 20])
def test_what_is_at_hand_is_bounded_and_never_missed(path, recent):
    journal = Sqlite(path, recent=recent).open()
    for k in range(30):
        journal.append([checked({KEY: [(k, float(k))] * 20}, cursor=str(k))])
        assert [entry.cursor for entry in journal.read(Offset(k), 5)] == [str(k)]
        assert [entry.offset for entry in journal.read(START, 99)] == list(range(1, k + 2))
    at_hand = journal.read(Offset(29), 1)
    assert (next(at_hand) is next(journal.read(Offset(29), 1))) == (recent > 0)
    journal.close()


def test_a_failed_append_is_forgotten_whole(path):
    journal = filled(path)
    good = checked({("host:n", "new", "{}"): [(1, 1.0)]}, source="other")
    broken = checked({KEY: [(1, 1.0)]}, source="bro\udcffken")
    with pytest.raises(UnicodeEncodeError):
        journal.append([good, broken])
    assert (journal.head(), journal.cursor("other"), journal.series().num_rows) == (5, None, 5)
    assert journal.append([good]) == [6]
    assert next(iter(journal.read(Offset(5), 1))).first == 5
    assert journal.series(5).to_pylist()[0]["entity"] == "host:n"
    journal.close()


def test_rows_of_one_key_are_one_series(path):
    journal = Sqlite(path).open()
    batch = checked({("host:a", "x", "{}"): [(5, 1.0)], ("host:a", "y", "{}"): [(3, 2.0)]})
    twice = pa.RecordBatch.from_pylist(batch.keys.to_pylist()[:1] * 2, schema=KEYS)
    object.__setattr__(batch, "keys", twice)
    journal.append([batch])
    (entry,) = journal.read(START, 1)
    assert entry.samples.column("series").to_pylist() == [0, 0]
    assert entry.samples.column("time").to_pylist() == [3, 5]
    assert entry.new.num_rows == 1
    journal.close()


names = st.text(st.characters(codec="utf-8"), max_size=12)
moments = st.integers(-(2**63), 2**63 - 1)
values = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
series = st.dictionaries(
    st.tuples(names, names, names),
    st.lists(st.tuples(moments, values), max_size=5).map(
        lambda rows: sorted(rows, key=lambda r: r[0])
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(groups=st.lists(st.lists(series, max_size=3), max_size=3))
def test_whatever_goes_in_comes_out(tmp_path_factory, groups):
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    sent = []
    for group in groups:
        journal = Sqlite(path).open()
        batches = [checked(content, cursor=str(k), rejected=k) for k, content in enumerate(group)]
        journal.append(batches)
        sent += group
        journal.close()
    journal = Sqlite(path).open()
    entries = list(journal.read(START, 100))
    assert len(entries) == len(sent)
    for entry, content in zip(entries, sent, strict=True):
        expected = {
            key: sorted((time, struct.pack("<d", value)) for time, value in rows)
            for key, rows in content.items()
            if rows
        }
        found = promises.points(journal, entry)
        assert {key: sorted(rows) for key, rows in found.items()} == expected
    journal.close()


@settings(max_examples=100, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"), max_size=3)] * 3), max_size=9),
        max_size=6,
    ),
    forget=st.integers(0, 20),
)
def test_numbers_agree_with_a_dictionary(batches, forget):
    numbers, twin = Numbers(), {}
    for rows in batches:
        keys = pa.RecordBatch.from_pylist(
            [dict(zip(KEYS.names, row, strict=True)) for row in [("pad", "", ""), *rows]],
            schema=KEYS,
        ).slice(1)
        expected = [twin.setdefault(row, len(twin)) for row in rows]
        assert numbers.resolve(keys).tolist() == expected
        if len(twin) > forget:
            twin = {row: number for row, number in twin.items() if number < forget}
            numbers.forget(forget)
    assert numbers.count == len(twin)


def test_many_series_keep_their_numbers_as_the_table_grows():
    numbers = Numbers()

    def keys(start, stop):
        columns = [
            [f"host:{k // 30}" for k in range(start, stop)],
            [f"m{k}" for k in range(start, stop)],
        ]
        return pa.RecordBatch.from_arrays(
            [pa.array(columns[0]), pa.array(columns[1]), pa.array(["{}"] * (stop - start))],
            schema=KEYS,
        )

    for start in range(0, 30_000, 1_000):
        assert numbers.resolve(keys(start, start + 1_000)).tolist() == list(
            range(start, start + 1_000)
        )
    assert numbers.resolve(keys(0, 30_000)).tolist() == list(range(30_000))
    numbers.forget(29_999)
    wanted = np.ones(30_000, dtype=np.bool_)
    wanted[29_999] = False
    assert numbers.resolve(keys(0, 30_000), wanted)[29_999] == ABSENT
    assert numbers.count == 29_999


def filled(path):
    """Return an open journal of five entries, each with one new series."""
    journal = Sqlite(path).open()
    for k in range(5):
        journal.append(
            [checked({("host:a", f"m{k}", "{}"): [(k, 1.0)], KEY: []}, cursor=str(k + 1))]
        )
    return journal


def change(path, *edits):
    db = apsw.Connection(str(path))
    for edit in edits:
        db.execute(edit)
    db.close()
