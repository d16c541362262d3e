"""What is broken is said, and mended without losing what may still be of use."""

import json

import apsw
import pytest
from tests.commands import wk
from tests.test_pipeline import Stores, rules, telemetry
from tests.upkeep.houses import NOW, READ, a_house, entries, picture

from watchkeeper.errors import CorruptionError, StoreLocked
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.upkeep.repair import examine, repair


@pytest.fixture
def house(tmp_path):
    return a_house(tmp_path / "data")


def change(path, sql):
    with apsw.Connection(str(path)) as db:
        db.execute(sql)
    db.close()


def found(folder):
    return [one.what for one in examine(folder, *READ)]


def test_a_whole_house_is_left_alone(house):
    before = picture(house)
    assert found(house) == []
    assert repair(house, *READ, NOW).remade is None
    assert picture(house) == before
    assert not (house / "aside").exists()


def test_a_journal_is_cut_where_it_stops_being_whole(house):
    before = entries(house)
    change(house / "journal.sqlite", "update entry set source = 'x' where \"offset\" = 21")
    damaged = (house / "journal.sqlite").read_bytes()
    assert found(house) == ["journal", "ledger"]
    assert (house / "journal.sqlite").read_bytes() == damaged, "looking changes nothing"
    done = repair(house, *READ, NOW)
    assert done.remade.prefix.offset == 20
    assert done.remade.prefix.lost == len(before) - 20
    assert entries(house) == before[:20]
    assert (done.aside / "journal.sqlite").read_bytes() == damaged
    assert found(house) == []


def test_a_torn_file_is_read_as_far_as_it_goes(house):
    stores = Stores(house, rules())
    telemetry(stores, seconds=90)
    stores.close()
    before = entries(house)
    path = house / "journal.sqlite"
    path.write_bytes(path.read_bytes()[:-9000])
    done = repair(house, *READ, NOW)
    assert 0 < done.remade.prefix.offset < len(before)
    assert entries(house) == before[: done.remade.prefix.offset]
    assert picture(house)[0] == done.remade.prefix.offset


@pytest.mark.parametrize(
    "sql",
    [
        "update head set arrived = arrived + 1",
        "delete from head",
        "update source set cursor = 'x'",
        "delete from source",
    ],
)
def test_what_follows_from_the_entries_is_made_again_and_none_is_lost(house, sql):
    before = entries(house)
    change(house / "journal.sqlite", sql)
    assert "journal" in found(house)
    repair(house, *READ, NOW)
    assert entries(house) == before
    journal = JournalFile(path=house / "journal.sqlite").open()
    assert journal.cursor("test") == "1"
    journal.close()


@pytest.mark.parametrize(
    "sql",
    [
        "update link set body = replace(body, 'tick', 'tock') where seq = 9",
        "delete from link where seq > 12",
        "update health set health = 1.0 where id = 3",
        "delete from decision",
        "drop table receipt",
    ],
)
def test_a_ledger_that_does_not_hold_is_derived_again(house, sql):
    before = picture(house)
    change(house / "ledger.sqlite", sql)
    assert found(house) == ["ledger"]
    done = repair(house, *READ, NOW)
    after = picture(house)
    assert (after[0], after[1], after[4]) == (before[0], before[1], before[4])
    ledger = done.remade.rebuilt
    assert ledger.closed + ledger.open + ledger.receipts == len(before[2])
    assert found(house) == []


def test_what_may_have_been_sent_is_not_sent_again(house):
    change(house / "ledger.sqlite", "delete from link where seq > 12")
    repair(house, *READ, NOW)
    assert {outcome for _, (_, outcome) in picture(house)[2]} == {"dead"}


def test_known_deliveries_and_open_orders_stay_what_they_were(house):
    before = picture(house)[2]
    change(house / "ledger.sqlite", "update health set health = 1.0 where id = 3")
    assert sorted(map(str, before)) == sorted(map(str, picture_after(house)))


def picture_after(house):
    repair(house, *READ, NOW)
    return picture(house)[2]


def test_a_lost_ledger_or_key_or_head_is_made_again(house):
    before = picture(house)
    for names in (["ledger.sqlite", "ledger.sqlite.head"], ["keys/ledger.key"]):
        for name in names:
            (house / name).unlink()
        assert found(house) == ["ledger"]
        repair(house, *READ, NOW)
        assert picture(house)[4] == before[4]
    (house / "keys" / "ledger.key").write_bytes(b"short")
    assert found(house) == ["key", "ledger"]
    repair(house, *READ, NOW)
    assert found(house) == []


def test_stray_files_go_aside(house):
    for name in ("ledger.sqlite.head.new", "journal.sqlite.rewrite"):
        (house / name).write_text("half")
    (house / ".next").mkdir()
    assert found(house) == ["stray"] * 3
    done = repair(house, *READ, NOW)
    assert done.remade is None
    assert (done.aside / "journal.sqlite.rewrite").read_text() == "half"
    assert found(house) == []


def test_a_journal_of_which_nothing_is_whole_is_left_as_it_is(house):
    (house / "journal.sqlite").write_bytes(b"no database" * 1000)
    before = (house / "ledger.sqlite").read_bytes()
    with pytest.raises(CorruptionError, match="not one entry"):
        repair(house, *READ, NOW)
    assert (house / "ledger.sqlite").read_bytes() == before


def test_a_house_that_runs_is_not_touched(house):
    journal = JournalFile(path=house / "journal.sqlite").open()
    with pytest.raises(StoreLocked):
        repair(house, *READ, NOW)
    journal.close()


def test_the_command_says_first_and_does_only_when_told(house, capsys):
    change(house / "ledger.sqlite", "delete from link where seq > 12")
    assert wk("repair", "--data", house) == 1
    assert "nothing was changed" in capsys.readouterr().out
    assert wk("repair", "--data", house, "--yes", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out)["ledger"]["closed"] > 0
    assert wk("repair", "--data", house) == 0
    assert capsys.readouterr().out == "nothing is broken\n"
