"""Scheduled reports and history: due by the journal's time, whole, noted, kept for a while."""

import hashlib
import json
import signal
import threading
from types import SimpleNamespace

import duckdb
import polars
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from tests.commands import process
from tests.test_pipeline import rules

from watchkeeper import config
from watchkeeper.errors import OutputError, StoreError, StoreFull
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
from watchkeeper.live import _making
from watchkeeper.live._historian import Historian
from watchkeeper.live._reporter import Reporter
from watchkeeper.model import Control, Millis, canonical
from watchkeeper.observe.witness import Witness
from watchkeeper.reports import History, Schedule
from watchkeeper.store import shelf as shelves
from watchkeeper.store.shelf import Shelf
from watchkeeper.testing import ledger as t

DAY = 86_400_000
MIDNIGHT = 20_000 * DAY  # a Friday
HOURLY = Schedule("hourly", every=3_600_000, formats=("html", "json", "parquet", "text"), keep=3)
FILES = ["made.json", "report.html", "report.json", "report.parquet", "report.txt"]
FLEET = ("host:a", "link:l1")


class House:
    """A ledger and a journal in a folder, what looks after their reports, and no more."""

    def __init__(self, folder, *schedules):
        self.folder = folder / "reports"
        self.journal = JournalFile(path=folder / "journal.sqlite").open()
        self.ledger = LedgerFile(path=folder / "ledger.sqlite").open()
        if self.journal.head() == 0:
            document = canonical(rules().document)
            self.journal.note(Control("rulebook", "test", document), Millis(MIDNIGHT))
        self.service = SimpleNamespace(
            house=SimpleNamespace(
                journal=self.journal, ledger=self.ledger, reread=config.read_rulebook
            ),
            witness=Witness(), stop=threading.Event(), ready=threading.Event(), degraded="",
        )  # fmt: skip
        self.reporter = Reporter(self.service, Shelf(self.folder), self.labelled)
        self.reporter.schedules = schedules
        self.historian = Historian(self.service, Shelf(folder / "history"))

    def look(self):
        """What the threads of a house do once a second."""
        for one in (self.reporter, self.historian):
            one._making.look(one.look)

    def labelled(self, label):
        return frozenset(["host:a"] if label == "rack=r1" else [])

    def step(self, minute, entities=FLEET):
        self.ledger.commit(t.step(MIDNIGHT + minute * 60_000, entities))

    def steps(self, *minutes):
        for minute in minutes:
            self.step(minute)
        return self

    def stamps(self):
        return [(one.name, one.stamp) for one in self.reporter.made()]

    def bytes(self):
        return {
            (one.name, one.stamp, filed.kind): self.reporter.body(one, filed)
            for one in self.reporter.made()
            for filed in one.files
        }

    def notes(self):
        return [json.loads(one.body) for one in self.ledger.links() if one.kind == "report"]

    def close(self):
        self.ledger.close()
        self.journal.close()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path, HOURLY)
    yield made
    made.close()


times = st.integers(10**12, 2 * 10**12)


@given(times, times, st.integers(60_000, 30 * DAY), st.integers(1, 5))
def test_what_was_missed_is_due_once_each_and_never_more_than_is_kept(one, two, every, keep):
    schedule, (made, tick) = Schedule("x", every=every, keep=keep), sorted((one, two))
    due = schedule.due(Millis(tick), Millis(made))
    assert due == sorted(set(due))
    assert len(due) <= keep
    assert all(made < time <= tick for time in due)
    assert (due == []) == (schedule.due(Millis(tick), None)[0] <= made)
    if due:
        assert due[-1] > tick - every
        assert schedule.due(Millis(tick), due[-1]) == []


@pytest.mark.parametrize(
    ("every", "at", "first"),
    [
        (DAY, "", 0),
        (DAY, "06:30", 390 * 60_000),
        (7 * DAY, "", 3 * DAY),  # the Monday after
        (7 * DAY, "friday 01:00", 3_600_000),
        (7 * DAY, "01:00", 3 * DAY + 3_600_000),
    ],
)
def test_a_time_of_the_day_or_of_the_week_is_kept(every, at, first):
    schedule = Schedule("x", every=every, at=at)
    assert schedule.due(Millis(MIDNIGHT + first), None) == [MIDNIGHT + first]
    assert schedule.due(Millis(MIDNIGHT + first - 1), None) == [MIDNIGHT + first - every]


def test_a_report_is_made_when_the_time_of_the_journal_has_come(house):
    house.steps(1, 30, 59).look()
    assert house.stamps() == []
    house.steps(60).look()
    house.look()
    assert house.stamps() == [("hourly", "20241004T010000Z")]
    folder = house.folder / "hourly" / "20241004T010000Z"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    told = json.loads((folder / "report.json").read_bytes())
    assert told["run"]["until"] == "2024-10-04T01:00:00.000Z"
    assert told["run"]["since"] == "2024-10-04T00:00:00.000Z"
    assert told["run"]["counts"] == {
        "offered": 48, "accepted": 40, "rejected": 8, "scored": 28, "duplicate": 8, "late": 4
    }  # fmt: skip
    assert [one["entity"] for one in told["entities"]] == ["host:a", "link:l1"]
    assert polars.read_parquet(folder / "report.parquet")["entity"].to_list() == list(FLEET)


def test_each_file_is_in_the_audit_chain_by_its_sha256(house):
    house.steps(1, 60).look()
    (made,), (note,) = house.reporter.made(), house.notes()
    assert note["until"] == made.until == MIDNIGHT + 3_600_000
    said = {one["file"]: (one["sha256"], one["size"]) for one in note["files"]}
    assert len(said) == 4
    for filed in made.files:
        body = house.reporter.body(made, filed)
        assert said[filed.file] == (hashlib.sha256(body).hexdigest(), len(body))
    house.ledger.prove()


def test_one_that_is_made_late_says_the_same_byte_for_byte(tmp_path, house):
    house.steps(1, 30, 60).look()
    (tmp_path / "late").mkdir()
    late = House(tmp_path / "late", HOURLY)
    late.steps(1, 30, 60, 61, 75, 90).look()
    assert late.bytes() == house.bytes()
    late.close()


def test_what_was_missed_is_made_up_for_and_the_oldest_go(house):
    house.steps(1, 60).look()
    house.steps(*range(70, 6 * 60 + 1, 10)).look()
    assert [stamp[9:11] for _, stamp in house.stamps()] == ["06", "05", "04"]
    assert [json.loads(one)["run"]["until"][11:13] for kind, one in house.bytes().items()
            if kind[2] == "json"] == ["06", "05", "04"]  # fmt: skip


def test_no_report_is_made_of_a_time_before_anything_was_watched(house):
    house.steps(61).look()
    assert house.stamps() == []
    house.steps(120).look()
    assert house.stamps() == [("hourly", "20241004T020000Z")]


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ({"entity": "link:l1"}, ["link:l1"]),
        ({"group": "host"}, ["host:a"]),
        ({"group": "rack=r1"}, ["host:a"]),
    ],
)
def test_a_report_may_be_of_a_part_of_the_fleet(house, part, told):
    house.reporter.schedules = [Schedule("part", every=3_600_000, formats=("json",), **part)]
    house.steps(1, 60).look()
    (body,) = house.bytes().values()
    found = json.loads(body)
    assert [one["entity"] for one in found["entities"]] == told
    assert {one["entity"] for one in found["decisions"]} == set(told)
    assert found["run"]["scope"] in part.values()


class Killed(BaseException):
    """The end of the process, at one point."""


@pytest.mark.parametrize("point", [f"written {file}" for file in FILES] + ["confirmed"])
def test_what_a_crash_cuts_off_is_never_listed_and_made_at_the_next_start(
    tmp_path, monkeypatch, point
):
    def die(reached):
        if reached == point:
            raise Killed

    house = House(tmp_path, HOURLY)
    house.steps(1, 60)
    with monkeypatch.context() as patched:
        patched.setattr(shelves, "crash_point", die)
        patched.setattr(shelves.shutil, "rmtree", lambda *_, **__: None)  # nobody tidies up
        with pytest.raises(Killed):
            house.look()
    assert house.stamps() == []
    house.close()
    again = House(tmp_path, HOURLY)
    again.reporter._shelf.sweep()
    assert list((again.folder / "hourly").iterdir()) == []
    again.look()
    assert [filed.file for one in again.reporter.made() for filed in one.files] == sorted(FILES[1:])
    assert again.notes()[-1]["files"] == again.notes()[0]["files"]
    again.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.test_scheduled import HOURLY, House
from watchkeeper.store import shelf
shelf.crash_point = lambda name: name == "confirmed" and os.kill(os.getpid(), signal.SIGKILL)
House(Path(sys.argv[1]), HOURLY).steps(1, 60).look()
"""


def test_a_house_that_is_killed_makes_its_report_when_it_is_started_again(tmp_path):
    with process(tmp_path, code=KILLED, cwd=config.__file__.partition("/src/")[0]) as dead:
        err = dead.communicate(timeout=180)[1]
    assert dead.returncode == -signal.SIGKILL, err
    house = House(tmp_path, HOURLY)
    assert house.stamps() == []
    house.look()
    assert house.stamps() == [("hourly", "20241004T010000Z")]
    assert len(house.notes()) == 2
    house.close()


def test_a_ledger_that_cannot_be_read_now_is_asked_again(house, monkeypatch):
    def broken(*_, **__):
        raise StoreError("disk")

    house.steps(1, 60)
    with monkeypatch.context() as patched:
        patched.setattr(house.ledger, "histories", broken)
        house.look()
    assert house.stamps() == []
    house.look()
    assert len(house.stamps()) == 1


def test_the_thread_ends_with_the_house_and_says_when_it_breaks(house, monkeypatch):
    monkeypatch.setattr(_making, "LOOK", 0.0)
    house.service.ready.set()
    with structlog.testing.capture_logs() as said:
        house.steps(1, 60).reporter._making.run(lambda _: 1 / 0)
    assert [(one["event"], one["thread"]) for one in said] == [("stage_broke", "report")]
    house.service.stop.set()
    house.reporter.run()
    assert house.stamps() == []


@pytest.mark.parametrize("error", [OutputError("no room"), StoreFull("full")])
def test_what_cannot_be_written_now_is_tried_again(house, monkeypatch, error):
    def full(*_):
        raise error

    house.steps(1, 60)
    with monkeypatch.context() as patched:
        patched.setattr(house.service.house.ledger, "note", full)
        house.look()
    assert house.stamps() == []
    assert list((house.folder / "hourly").iterdir()) == []
    house.look()
    assert len(house.stamps()) == 1


def days(house):
    return house._shelf.stamps("health"), house._shelf.stamps("decisions")


def test_a_day_that_is_over_is_history_that_duckdb_and_polars_read(house, tmp_path):
    house.historian.wanted = History(keep=30)
    house.steps(1, 70, 1439).look()
    assert days(house.historian) == ([], [])
    house.steps(1440, 1441).look()
    house.look()
    assert days(house.historian) == (["day=2024-10-04"], ["day=2024-10-04"])
    day = (Millis(MIDNIGHT), Millis(MIDNIGHT + DAY - 1))
    kept = house.ledger.histories(*day)
    health = polars.read_parquet(tmp_path / "history/health/**/*.parquet", hive_partitioning=True)
    assert health.height == sum(map(len, kept.values())) == 6
    mine = health.filter(polars.col("entity") == "link:l1")
    assert mine["time"].dt.epoch("ms").to_list() == [one.time for one in kept["link:l1"]]
    assert mine["health"].to_list() == [one.health for one in kept["link:l1"]]
    assert [str(one) for one in mine["day"].unique()] == ["2024-10-04"]
    asked = f"from read_parquet('{tmp_path}/history/*/*/decisions.parquet') select key, trace"
    found = duckdb.sql(asked + " order by time").fetchall()
    made = [one for one in reversed(house.ledger.decisions()) if one.at <= day[1]]
    assert sorted(found) == sorted((one.key, one.trace) for one in made)
    notes = [json.loads(one.body) for one in house.ledger.links() if one.kind == "history"]
    for note in notes:
        path = tmp_path / "history" / note["name"] / "day=2024-10-04" / note["files"][0]["file"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == note["files"][0]["sha256"]
    assert [note["name"] for note in notes] == ["health", "decisions"]


def test_so_many_days_of_history_are_kept_and_what_was_missed_is_made_up_for(house):
    house.historian.wanted = History(keep=2)
    house.steps(1, 1500, 2 * 1440 + 1, 4 * 1440).look()
    last = ["day=2024-10-07", "day=2024-10-06"]
    assert days(house.historian) == (last, last)
    assert house.historian._shelf.card("health", last[0])["files"][0]["size"] > 0
    house.steps(4 * 1440 + 1, 5 * 1440).look()
    assert days(house.historian)[0] == ["day=2024-10-08", "day=2024-10-07"]


def test_without_history_nothing_is_written(house, tmp_path):
    house.steps(1, 1440).look()
    assert not (tmp_path / "history").exists()


def test_a_day_of_history_that_a_crash_cut_off_is_written_at_the_next_look(house, monkeypatch):
    def die(reached):
        if reached == "confirmed":
            raise Killed

    house.reporter.schedules = []
    house.historian.wanted = History(keep=2)
    house.steps(1, 1440)
    with monkeypatch.context() as patched:
        patched.setattr(shelves, "crash_point", die)
        with pytest.raises(Killed):
            house.look()
    assert days(house.historian) == ([], [])
    house.look()
    assert days(house.historian) == (["day=2024-10-04"], ["day=2024-10-04"])
