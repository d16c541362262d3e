"""Files that grow, are rotated, and are read on after a restart."""

import os

from tests.sources.reading import drain, written

from watchkeeper.model import Cursor
from watchkeeper.sources.file import File

HEAD = "timestamp,entity,metric,value"


def following(path, **more):
    return File(paths=(str(path),), follow=True, **more)


def values(reader):
    """Poll until there is nothing; return the values and the last cursor."""
    found, cursor = [], None
    while (batch := reader.poll()) is not None:
        found += batch.samples["value"].to_pylist()
        cursor = batch.cursor
    return found, cursor


def add(path, text):
    with path.open("a") as file:
        file.write(text)


def test_a_line_is_read_once_it_is_finished(tmp_path):
    path = tmp_path / "a.csv"
    reader = following(path).open(None)
    assert reader.poll() is None
    add(path, HEAD)
    assert reader.poll() is None
    add(path, "\n1,a,m,1\n2,a,m,2")
    assert values(reader)[0] == [1.0]
    add(path, "5\n")
    found, cursor = values(reader)
    assert found == [25.0]
    add(path, "3,a,m,3\n")
    reader.close()
    reader.close()
    again = following(path).open(cursor)
    assert values(again)[0] == [3.0]
    again.close()


def test_what_was_written_before_a_rotation_is_read_after_it(tmp_path):
    path = written(tmp_path, "a.csv", HEAD, "1,a,m,1")
    reader = following(path).open(None)
    assert values(reader)[0] == [1.0]
    add(path, "2,a,m,2\n2,a,m,2.5")
    path.rename(tmp_path / "a.csv.1")
    written(tmp_path, "a.csv", HEAD, "3,a,m,3")
    assert values(reader)[0] == [2.0, 2.5, 3.0]
    reader.close()


def test_a_rotation_while_nobody_looked_loses_nothing(tmp_path):
    path = written(tmp_path, "a.csv", HEAD, "1,a,m,1")
    reader = following(path).open(None)
    _, cursor = values(reader)
    reader.close()
    add(path, "2,a,m,2\n")
    path.rename(tmp_path / "a.csv.1")
    written(tmp_path, "a.csv", HEAD, "3,a,m,3")
    again = following(path).open(cursor)
    assert values(again)[0] == [2.0, 3.0]
    again.close()


def test_the_old_file_may_be_gone_altogether(tmp_path):
    path = written(tmp_path, "a.csv", HEAD, "1,a,m,1")
    spare = tmp_path / "keeps the inode number taken"
    os.link(path, spare)
    reader = following(path).open(None)
    _, cursor = values(reader)
    reader.close()
    path.unlink()
    (tmp_path / "elsewhere").mkdir()
    spare.rename(tmp_path / "elsewhere" / "x")
    written(tmp_path, "a.csv", HEAD, "3,a,m,3")
    again = following(path).open(cursor)
    assert values(again)[0] == [3.0]
    again.close()


def test_a_file_emptied_in_place_is_read_from_its_new_beginning(tmp_path):
    path = written(tmp_path, "a.csv", HEAD, "1,a,m,1", "2,a,m,2")
    reader = following(path).open(None)
    _, cursor = values(reader)
    path.write_text(HEAD + "\n3,a,m,3\n")
    assert values(reader)[0] == [3.0]
    reader.close()
    path.write_text(HEAD + "\n")
    again = following(path).open(Cursor(cursor))
    assert values(again)[0] == []
    add(path, "4,a,m,4\n")
    assert values(again)[0] == [4.0]
    again.close()


def test_files_that_appear_are_followed_and_a_hopeless_one_is_told_once(tmp_path):
    written(tmp_path, "a.jsonl", '{"timestamp": 1, "entity": "a", "metric": "m", "value": 1}')
    reader = following(tmp_path).open(None)
    assert values(reader)[0] == [1.0]
    written(tmp_path, "bad.csv", "what,is,this", "1,2,3")
    written(tmp_path, "c.csv", HEAD, "2,a,m,2")
    samples, _, errors = drain_open(reader)
    assert [s[4] for s in samples] == [2.0]
    assert len(errors) == len(reader.problems) == 1
    assert drain_open(reader) == ([], [], [])
    reader.close()


def drain_open(reader):
    close, reader.close = reader.close, lambda: None
    try:
        return drain(reader)
    finally:
        reader.close = close


def test_finished_files_are_read_once(tmp_path):
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((HEAD + "\n1,a,m,1\n").encode()))
    pq.write_table(pa.table({"timestamp": [1], "value": [2.0]}), tmp_path / "b.parquet")
    reader = following(tmp_path).open(None)
    found, cursor = values(reader)
    assert found == [1.0, 2.0]
    assert values(reader)[0] == []
    reader.close()
    again = following(tmp_path).open(cursor)
    assert values(again)[0] == []
    again.close()


def test_a_file_that_fails_is_left_alone_until_it_changes(tmp_path):
    import gzip

    whole = gzip.compress((HEAD + "\n" + "1,a,m,1\n" * 5000).encode())
    path = tmp_path / "a.csv.gz"
    path.write_bytes(whole[:-20])
    reader = following(tmp_path).open(None)
    samples, _, errors = drain_open(reader)
    assert (0 < len(samples) < 5000, len(errors)) == (True, 1)
    path.write_bytes(whole)
    more, _, errors = drain_open(reader)
    assert (len(samples) + len(more), errors) == (5000, [])
    reader.close()


def test_a_rotated_file_that_fails_does_not_hold_up_its_successor(tmp_path):
    path = written(tmp_path, "a.csv", HEAD, "1,a,m,1")
    reader = following(path).open(None)
    assert values(reader)[0] == [1.0]
    add(path, "x" * (1 << 24))
    path.rename(tmp_path / "a.csv.1")
    written(tmp_path, "a.csv", HEAD, "3,a,m,3")
    samples, _, errors = drain_open(reader)
    assert [s[4] for s in samples] == [3.0]
    assert "a line of more than" in str(errors[0])
    reader.close()
