"""What every journal promises, as checks. A backend is a journal when all of them pass.

    @pytest.mark.parametrize("check", journal_checks(), ids=lambda check: check.__name__)
    def test_sqlite_keeps_the_promises(check, tmp_path):
        check(lambda: Sqlite(tmp_path / "journal.sqlite").open())

Each check is given a function that opens one store: empty at first, the same one each time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from watchkeeper.journal import Journal
from watchkeeper.key_table import KeyTable
from watchkeeper.model import (
    KEYS,
    REJECTS,
    SAMPLES,
    STALE_BITS,
    Checked,
    Control,
    Cursor,
    Entry,
    Millis,
    Offset,
    Reason,
)

Opener = Callable[[], Journal]
Key = tuple[str, str, str]
START = Offset(0)
STALE = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]


def journal_checks() -> Iterator[Callable[[Opener], None]]:
    """Yield every check of this module, in the order in which they are written."""
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            yield check


def checked(
    points: Mapping[Key, Sequence[tuple[int, float]]],
    *,
    source: str = "test",
    cursor: str = "1",
    arrived: int = 1_000,
    rejected: int = 0,
) -> Checked:
    """Return a checked batch of (time, value) points by (entity, metric, attributes).

    :param rejected: how many samples were rejected beside them.
    """
    keys = [dict(zip(KEYS.names, key, strict=True)) for key in points]
    rows = [(row, time) for row, key in enumerate(points) for time, _ in points[key]]
    values = np.array([value for key in points for _, value in points[key]], dtype=np.float64)
    columns = [
        pa.array([row for row, _ in rows], type=pa.uint32()),
        pa.array([time for _, time in rows], type=pa.int64()),
        pa.array(values),
    ]
    bad = {
        **{"entity": "host:a", "metric": "m", "attributes": "{}", "time": 1, "value": None},
        **{"offered": "x", "origin": "f:1", "reason": Reason.NOT_A_NUMBER.value, "detail": "d"},
    }
    return Checked(
        source,
        Cursor(cursor),
        Millis(arrived),
        pa.RecordBatch.from_pylist(keys, schema=KEYS),
        pa.RecordBatch.from_arrays(columns, schema=SAMPLES),
        pa.RecordBatch.from_pylist([bad] * rejected, schema=REJECTS),
        len(rows) + rejected,
    )


def points(journal: Journal, entry: Entry) -> dict[Key, list[tuple[int, bytes]]]:
    """Return an entry's samples by key, each as (time, the eight bytes of its value)."""
    names = [tuple(row.values()) for row in journal.series().to_pylist()]
    found: dict[Key, list[tuple[int, bytes]]] = {}
    for sample in entry.samples.to_pylist():
        value = struct.pack("<d", sample["value"])
        found.setdefault(names[sample["series"]], []).append((sample["time"], value))
    return found


def check_an_empty_journal_has_nothing(open_journal: Opener) -> None:
    """No entry, no series, no cursor; and that survives opening again."""
    for _ in range(2):
        journal = open_journal()
        assert journal.head() == 0
        assert journal.series().num_rows == 0
        assert journal.series().schema.equals(KEYS)
        assert journal.cursor("test") is None
        assert list(journal.read(START, 10)) == []
        assert list(journal.rejected(START, 10)) == []
        assert journal.append([]) == []
        journal.close()
        journal.close()


def check_an_entry_comes_back_as_it_was(open_journal: Opener) -> None:
    """Every field, every bit of every value, before and after opening again."""
    odd = [1.5, -0.0, 5e-324, 1e308, STALE, float("inf"), 0.1 + 0.2]
    batch = checked(
        {
            ("host:a", "cpu", '{"cpu":"0"}'): list(enumerate(odd)),
            ("host:ü", "m", "{}"): [(-5, 1.0), (2**62, 2.0)],
        },
        cursor="file:7",
        rejected=2,
    )
    journal = open_journal()
    assert journal.append([batch]) == [1]
    for _ in range(2):
        (entry,) = journal.read(START, 10)
        assert (entry.offset, entry.source, entry.cursor) == (1, "test", "file:7")
        assert (entry.arrived, entry.first, entry.controls) == (1_000, 0, ())
        assert entry.new.equals(batch.keys)
        assert entry.rejected.equals(batch.rejected)
        assert points(journal, entry)["host:a", "cpu", '{"cpu":"0"}'] == [
            (time, struct.pack("<d", value)) for time, value in enumerate(odd)
        ]
        assert points(journal, entry)["host:ü", "m", "{}"][1][0] == 2**62
        assert journal.cursor("test") == "file:7"
        journal.close()
        journal = open_journal()
    journal.close()


def check_offsets_are_dense_from_one(open_journal: Opener) -> None:
    """Each batch is one entry; a group is read back in order, in pieces of any size."""
    journal = open_journal()
    batches = [checked({("host:a", "m", "{}"): [(k, k)]}, cursor=str(k)) for k in range(30)]
    assert journal.append(batches[:20]) == list(range(1, 21))
    assert journal.append(batches[20:]) == list(range(21, 31))
    assert journal.head() == 30
    for size in (1, 7, 8, 9, 100):
        found: list[Entry] = []
        while entries := list(journal.read(Offset(len(found)), size)):
            assert len(entries) <= size
            found += entries
        assert [entry.offset for entry in found] == list(range(1, 31))
        assert [entry.cursor for entry in found] == [str(k) for k in range(30)]
    assert list(journal.read(Offset(30), 5)) == []
    assert list(journal.read(START, 0)) == []
    journal.close()


def check_series_are_numbered_in_order_of_appearance(open_journal: Opener) -> None:
    """Across batches of a group, across groups, across opening again; never twice."""
    a, b, c, d = (("host:a", name, "{}") for name in "abcd")
    journal = open_journal()
    journal.append([checked({b: [(1, 1)], a: [(1, 2)]}), checked({c: [(1, 3)], b: [(2, 4)]})])
    journal.close()
    journal = open_journal()
    journal.append([checked({d: [(3, 5)], c: [(3, 6)], a: [(3, 7)]})])
    entries = list(journal.read(START, 10))
    assert [entry.first for entry in entries] == [0, 2, 3]
    assert [entry.new.column("metric").to_pylist() for entry in entries] == [
        ["b", "a"],
        ["c"],
        ["d"],
    ]
    assert journal.series().column("metric").to_pylist() == ["b", "a", "c", "d"]
    for first in range(6):
        assert journal.series(first).column("metric").to_pylist() == ["b", "a", "c", "d"][first:]
    assert entries[2].samples.column("series").to_pylist() == [1, 2, 3]
    assert entries[2].samples.column("value").to_pylist() == [7, 6, 5]
    journal.close()


def check_samples_are_sorted_by_series_and_time(open_journal: Opener) -> None:
    """Whatever order the keys of the batch have."""
    names = [("host:a", f"m{k}", "{}") for k in range(40)]
    journal = open_journal()
    journal.append([checked({name: [(1, 0.0)] for name in names})])
    journal.append([checked({name: [(5, 1.0), (9, 2.0)] for name in reversed(names)})])
    entry = list(journal.read(START, 10))[1]
    order = list(
        zip(*(entry.samples.column(name).to_pylist() for name in ("series", "time")), strict=True)
    )
    assert order == sorted(order)
    assert len(order) == 80
    assert entry.new.num_rows == 0
    journal.close()


def check_a_series_needs_an_accepted_sample(open_journal: Opener) -> None:
    """A key whose samples were all rejected gets no number."""
    journal = open_journal()
    journal.append([checked({("host:a", "bad", "{}"): [], ("host:a", "good", "{}"): [(1, 1.0)]})])
    assert journal.series().column("metric").to_pylist() == ["good"]
    journal.close()


def check_names_that_run_together_differ(open_journal: Opener) -> None:
    """`ab`+`c` is not `a`+`bc`."""
    names = [
        ("ab", "c", "d"),
        ("a", "bc", "d"),
        ("a", "b", "cd"),
        ("abc", "", "d"),
        ("", "abcd", ""),
    ]
    journal = open_journal()
    journal.append([checked({name: [(1, 1.0)] for name in names})])
    assert journal.series().num_rows == len(names)
    journal.close()


def check_arrival_never_goes_back(open_journal: Opener) -> None:
    """A clock that was set back does not show, even after opening again."""
    journal = open_journal()
    key = ("host:a", "m", "{}")
    journal.append([checked({key: [(1, 1.0)]}, arrived=t) for t in (500, 400)])
    journal.close()
    journal = open_journal()
    journal.append([checked({key: [(2, 1.0)]}, arrived=300)])
    journal.note(Control("started", "service", "{}"), Millis(200))
    journal.append([checked({key: [(3, 1.0)]}, arrived=600)])
    assert [entry.arrived for entry in journal.read(START, 10)] == [500, 500, 500, 500, 600]
    journal.close()


def check_a_note_is_an_entry_of_its_own(open_journal: Opener) -> None:
    """It has no samples, moves no cursor, and comes back as it was."""
    control = Control("rulebook", "operator:jo", '{"a":[1,"é"]}')
    journal = open_journal()
    journal.append([checked({("host:a", "m", "{}"): [(1, 1.0)]}, cursor="9")])
    assert journal.note(control, Millis(2_000)) == 2
    entry = next(iter(journal.read(Offset(1), 10)))
    assert entry.controls == (control,)
    assert (entry.samples.num_rows, entry.rejected.num_rows, entry.new.num_rows) == (0, 0, 0)
    assert (entry.first, entry.arrived) == (1, 2_000)
    assert journal.cursor("test") == "9"
    assert journal.cursor("") is None
    journal.close()


def check_each_source_has_its_own_cursor(open_journal: Opener) -> None:
    """The last one of each; a batch without samples moves it too."""
    journal = open_journal()
    key = ("host:a", "m", "{}")
    journal.append(
        [
            checked({key: [(1, 1.0)]}, source="a", cursor="a1"),
            checked({key: [(2, 1.0)]}, source="b", cursor="b1"),
            checked({}, source="a", cursor="a2"),
        ]
    )
    journal.close()
    journal = open_journal()
    assert [journal.cursor(name) for name in ("a", "b", "c")] == ["a2", "b1", None]
    journal.close()


def check_rejected_samples_are_found(open_journal: Opener) -> None:
    """Only entries that hold some, in order, at most as many as asked for."""
    journal = open_journal()
    key = ("host:a", "m", "{}")
    journal.append([checked({key: [(k, 1.0)]}, rejected=k % 3) for k in range(30)])
    found = list(journal.rejected(START, 100))
    assert [entry.offset for entry in found] == [k + 1 for k in range(30) if k % 3]
    assert [entry.rejected.num_rows for entry in found[:2]] == [1, 2]
    assert [entry.offset for entry in journal.rejected(Offset(3), 2)] == [5, 6]
    assert [entry.offset for entry in journal.rejected(START, 3, newest=True)] == [27, 29, 30]
    assert list(journal.rejected(Offset(30), 3, newest=True)) == []
    journal.close()


def check_a_table_of_keys_is_as_good_as_a_batch_of_them(open_journal: Opener) -> None:
    """Samples name rows of a table that many batches share, that grows and may repeat a key."""
    a, b, c, d = (("host:a", name, "{}") for name in "abcd")
    table = KeyTable(KEYS)
    journal = open_journal()
    table.add(_keys([a, b, c, a]))  # two spellings of `a` came to the same
    first = _of_table(table, {3: [(5, 1.0)], 1: [(1, 2.0)], 0: [(7, 3.0)]}, "1")
    second = _of_table(table, {1: [(2, 4.0)], 2: [(2, 5.0)]}, "2")
    assert journal.append([first, second]) == [1, 2]
    table.add(_keys([d]))
    journal.append([_of_table(table, {k: [(9, float(k))] for k in (4, 2, 0)}, "3")])
    journal.append([checked({d: [(10, 1.0)], b: [(10, 2.0)]}, cursor="4")])
    for _ in range(2):
        entries = list(journal.read(START, 10))
        found = [points(journal, entry) for entry in entries]
        assert [set(one) for one in found] == [{a, b}, {b, c}, {a, c, d}, {b, d}]
        assert [time for time, _ in found[0][a]] == [5, 7]
        assert journal.series().column("metric").to_pylist() == ["a", "b", "c", "d"]
        assert [entry.first for entry in entries] == [0, 2, 3, 4]
        journal.close()
        journal = open_journal()
    journal.append([_of_table(table, {4: [(11, 1.0)], 0: [(11, 2.0)]}, "5")])
    assert journal.series().num_rows == 4
    journal.close()


def check_an_append_that_fails_makes_no_row_known(open_journal: Opener) -> None:
    """A table's rows that did not become durable are new again the next time."""
    a, b, c = (("host:a", name, "{}") for name in "abc")
    table = KeyTable(KEYS)
    table.add(_keys([a, b, c]))
    journal = open_journal()
    journal.append([_of_table(table, {2: [(1, 1.0)]}, "1")])
    good = _of_table(table, {0: [(2, 1.0)], 1: [(2, 2.0)], 2: [(2, 3.0)]}, "2")
    broken = checked({("host:z", "z", "{}"): [(1, 1.0)]}, cursor="not \udcff text")
    try:
        journal.append([good, broken])
    except UnicodeEncodeError:
        pass
    else:
        raise AssertionError("a cursor that is no text was stored")
    assert (journal.head(), journal.series().num_rows) == (1, 1)
    assert journal.append([good]) == [2]
    entry = list(journal.read(START, 10))[1]
    assert (entry.first, entry.new.column("metric").to_pylist()) == (1, ["a", "b"])
    assert set(points(journal, entry)) == {a, b, c}
    journal.close()


def check_an_entry_may_hold_samples_and_controls(open_journal: Opener) -> None:
    """A batch moves its cursor whatever else it says."""
    said = (Control("collector", "scrape", '{"up":0}'), Control("alert", "am", '{"é":1}'))
    journal = open_journal()
    both = checked({("host:a", "m", "{}"): [(1, 1.0)]}, cursor="1", rejected=1)
    alone = checked({}, source="other", cursor="7")
    journal.append([replace(both, controls=said), replace(alone, controls=said[:1])])
    for _ in range(2):
        entries = list(journal.read(START, 10))
        assert [entry.controls for entry in entries] == [said, said[:1]]
        found = list(journal.controls("collector", START))
        assert found == [(entry.arrived, said[0]) for entry in entries]
        assert [one for _, one in journal.controls("alert", START)] == [said[1]]
        assert not list(journal.controls("collector", Offset(2)))
        assert [entry.samples.num_rows for entry in entries] == [1, 0]
        assert (journal.cursor("test"), journal.cursor("other")) == ("1", "7")
        journal.close()
        journal = open_journal()
    journal.close()


def check_what_is_read_at_once_is_what_is_read_later(open_journal: Opener) -> None:
    """Whoever appends may keep entries at hand; they equal those on disk, from any offset."""
    table = KeyTable(KEYS)
    table.add(_keys([("host:t", f"m{k}", "{}") for k in range(20)]))
    said = (Control("alert", "am", '{"a":1.5}'),)
    journal = open_journal()
    for k in range(20):
        one = checked({("host:a", f"m{k}", "{}"): [(k, STALE), (k + 1, 0.1)]}, rejected=k % 2)
        two = _of_table(table, {row: [(k, float(row))] for row in range(k, -1, -3)}, str(k))
        journal.append([one, replace(two, controls=said * (k % 3))])
        journal.note(Control("started", "x", "{}"), Millis(500 * k))
    at_once = [list(journal.read(Offset(after), 7)) for after in range(62)]
    journal.close()
    journal = open_journal()
    later = [list(journal.read(Offset(after), 7)) for after in range(62)]
    assert [list(map(_bits, some)) for some in at_once] == [
        list(map(_bits, some)) for some in later
    ]
    assert sum(map(len, later)) == 7 * 54 + 6 + 5 + 4 + 3 + 2 + 1
    journal.close()


def _bits(entry: Entry) -> tuple[object, ...]:
    """Return all there is to an entry, NaN by its bits."""
    facts = tuple(getattr(entry, name) for name in Entry.__dataclass_fields__)
    batches = [part.to_pydict() for part in facts if isinstance(part, pa.RecordBatch)]
    bits = entry.samples.column("value").to_numpy().tobytes()
    del batches[1]["value"]
    plain = [part for part in facts if not isinstance(part, pa.RecordBatch)]
    schemas = [part.schema for part in facts if isinstance(part, pa.RecordBatch)]
    return (*plain, batches, schemas, bits)


def _keys(keys: Sequence[Key]) -> pa.RecordBatch:
    rows = [dict(zip(KEYS.names, key, strict=True)) for key in keys]
    return pa.RecordBatch.from_pylist(rows, schema=KEYS)


def _of_table(
    table: KeyTable, rows: Mapping[int, Sequence[tuple[int, float]]], cursor: str
) -> Checked:
    """Return a checked batch of (time, value) points by row of a table, sorted by row."""
    names = [(str(row), "", "") for row in sorted(rows)]
    batch = checked({name: rows[int(name[0])] for name in names}, cursor=cursor)
    numbers = np.array([row for row in sorted(rows) for _ in rows[row]], dtype=np.uint32)
    columns = [pa.array(numbers), batch.samples.column(1), batch.samples.column(2)]
    samples = pa.RecordBatch.from_arrays(columns, schema=SAMPLES)
    return replace(batch, keys=table, samples=samples)
