"""Which files are meant, what they are called, and what stands in the way."""

import hashlib

import pytest
from tests.sources.reading import read, written

from watchkeeper.errors import NothingToRead, UnknownLayout, Unreadable
from watchkeeper.sources.file import scan

NAB = ("timestamp,value", "2024-01-01 00:00:00,1")


@pytest.fixture
def folder(tmp_path):
    for name in ("in/b/two.csv", "in/a/one.csv", "in/three.csv", "in/.hidden/x.csv"):
        written(tmp_path, name, *NAB)
    written(tmp_path, "in/README.md", "not data")
    written(tmp_path, "in/three.truth.json", "{}")
    return tmp_path / "in"


def test_a_folder_is_searched_through_and_names_are_relative_to_it(folder):
    found = scan([str(folder)])
    assert [part.name for part in found.parts] == ["a/one.csv", "b/two.csv", "three.csv"]
    assert found.problems == []
    one = found.parts[0]
    data = (folder / "a/one.csv").read_bytes()
    assert (one.size, one.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    samples = [read_part(part) for part in found.parts]
    assert [rows[0][0] for rows in samples] == ["series:a/one", "series:b/two", "series:three"]


def read_part(part):
    from tests.sources.reading import drain

    return drain(part.source.open(None))[0]


def test_the_folder_in_which_inputs_lie_does_not_show(folder, tmp_path, monkeypatch):
    absolute = scan([str(folder)])
    monkeypatch.chdir(tmp_path)
    relative = scan(["in"])
    assert [(p.name, p.sha256, read_part(p)) for p in absolute.parts] == [
        (p.name, p.sha256, read_part(p)) for p in relative.parts
    ]


def test_patterns_are_relative_to_their_plain_part(folder):
    assert [part.name for part in scan([str(folder / "*" / "*.csv")]).parts] == [
        "a/one.csv", "b/two.csv",
    ]  # fmt: skip
    assert [part.name for part in scan([str(folder / "**" / "t*.csv")]).parts] == [
        "b/two.csv", "three.csv",
    ]  # fmt: skip


def test_a_file_given_itself_is_read_whatever_it_is_called(tmp_path):
    path = written(tmp_path, "metrics.txt", *NAB)
    assert read(path)[0][0][0] == "series:metrics.txt"


def test_a_file_given_twice_is_read_once_and_equal_names_stay_apart(tmp_path):
    one, two = written(tmp_path, "a/x.csv", *NAB), written(tmp_path, "b/x.csv", *NAB)
    found = scan([str(one), str(one), str(two)])
    assert [part.name for part in found.parts] == ["x.csv", "x.csv#2"]
    assert [read_part(part)[0][0] for part in found.parts] == ["series:x"] * 2
    assert len(read(one, two)[0]) == 2


def test_what_is_not_there_is_a_problem_and_the_rest_is_read(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    inputs = [str(folder / "three.csv"), str(tmp_path / "gone.csv"), str(tmp_path / "*.xyz"),
              str(tmp_path / "empty"), str(loop)]  # fmt: skip
    found = scan(inputs)
    assert [part.name for part in found.parts] == ["three.csv"]
    assert [type(problem) for problem in found.problems] == [NothingToRead] * 3 + [Unreadable]
    samples, _, errors = read(*inputs)
    assert len(samples) == 1
    assert sorted(type(error).__name__ for error in errors) == ["NothingToRead"] * 3 + [
        "Unreadable"
    ]


def test_a_folder_that_may_not_be_entered_is_a_problem(folder, monkeypatch):
    import os

    real = os.scandir

    def refuse(path):  # root may enter everything, so the refusal must be played
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = scan([str(folder)])
    assert [part.name for part in found.parts] == ["a/one.csv", "three.csv"]
    assert [type(problem) for problem in found.problems] == [Unreadable]
    assert "Permission denied" in str(found.problems[0])


def test_one_bad_file_does_not_stop_the_others(folder):
    written(folder, "b/bad.csv", "a,b", "1,2")
    samples, _, errors = read(folder)
    assert len(samples) == 3
    assert [type(error) for error in errors] == [UnknownLayout]
    assert "b/bad.csv" in str(errors[0])


def test_nothing_at_all_is_an_error():
    with pytest.raises(NothingToRead):
        scan([])
