"""A backup is a moment of a living house; restored, it is that moment and proves it."""

import json
import shutil
import threading

import pytest
from tests.commands import wk
from tests.test_pipeline import CPU, START, Stores, drain, rules, telemetry
from tests.upkeep.houses import NOW, READ, a_house, entries, picture

from watchkeeper.access.accounts import Accounts
from watchkeeper.errors import BackupError, OutputError, StoreError
from watchkeeper.store.shelf import Shelf
from watchkeeper.upkeep.backup import back_up, read_manifest
from watchkeeper.upkeep.restore import Until, restore


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return a_house(tmp_path_factory.mktemp("house") / "data")


@pytest.fixture
def backup(house, tmp_path):
    back_up(house, tmp_path / "kept", NOW)
    return tmp_path / "kept"


def test_restored_it_says_what_the_house_said_and_that_it_was_restored(house, backup, tmp_path):
    done = restore(backup, tmp_path / "data", None, *READ, NOW)
    assert done.proven
    before, after = picture(house), picture(tmp_path / "data")
    noted = after[3].pop()
    assert noted[0] == "upkeep"
    assert after == before
    assert wk("audit", "--data", tmp_path / "data") == 0


def test_what_was_made_and_who_is_let_in_come_back_as_they_were(tmp_path, capsys):
    house = a_house(tmp_path / "house")
    for shelf, stamp in (("reports", "20260101T000000Z"), ("history", "day=2026-01-01")):
        files = {"it.html": lambda path: path.write_bytes(b"made")}
        Shelf(house / shelf).put("daily", stamp, files, {"name": "daily"}, lambda _card: None)
        (house / shelf / "daily" / f".{stamp}x").mkdir()  # half made: not carried
    (house / "configuration.json").write_text('{"version":1}')
    assert wk("token", "create", "rack-7", "--role", "agent", "--data", house) == 0
    back_up(house, tmp_path / "kept", NOW)
    restore(tmp_path / "kept", tmp_path / "data", None, *READ, NOW)

    def held(folder):
        names = ("reports", "history", "keys", "configuration.json")
        paths = [folder / name for name in names]
        inside = [below for path in paths for below in (path, *path.rglob("*"))]
        return {str(one.relative_to(folder)): one.read_bytes() for one in inside if one.is_file()}

    carried = {name for name in held(house) if "/." not in name}
    assert {"reports/daily/20260101T000000Z/it.html", "keys/ledger.key"} <= carried
    assert held(tmp_path / "data") == {name: held(house)[name] for name in carried}
    told = []
    for folder in (house, tmp_path / "data"):
        capsys.readouterr()
        assert wk("token", "list", "--data", folder, "--output", "json") == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1] != []


def test_a_report_that_goes_while_it_is_copied_is_left_out_whole(tmp_path, monkeypatch):
    house = a_house(tmp_path / "house", seconds=6)
    files = {"it.html": lambda path: path.write_bytes(b"made")}
    shelf = Shelf(house / "reports")
    for stamp in ("1", "2"):
        shelf.put("daily", stamp, files, {}, lambda _card: None)
    copyfile = shutil.copyfile

    def going(source, target, **how):
        if "reports/daily/1" in str(source):
            shelf.keep("daily", 1)
        return copyfile(source, target, **how)

    monkeypatch.setattr("watchkeeper.upkeep.backup.shutil.copyfile", going)
    back_up(house, tmp_path / "kept", NOW)
    assert Shelf(tmp_path / "kept" / "reports").stamps("daily") == ["2"]


def test_backups_made_while_the_house_writes_are_each_a_whole_beginning_of_it(tmp_path):
    stores = Stores(tmp_path / "data", rules())
    telemetry(stores.begin(), seconds=5)
    over, begun = threading.Event(), threading.Event()

    def living():
        decider, second = stores.decider(), 5
        while not over.is_set():
            second += 1
            at = START + second * 1_000
            stores.offer([("host:a", CPU, at - 5, 0.99), ("host:b", CPU, at - 5, 0.2)], at)
            drain(decider)
            begun.set()

    life = threading.Thread(target=living)
    life.start()
    try:
        assert begun.wait(120)
        made = [back_up(tmp_path / "data", tmp_path / f"kept{n}", NOW) for n in range(3)]
    finally:
        over.set()
        life.join()
    stores.close()
    whole = entries(tmp_path / "data")
    for number, one in enumerate(made):
        restore(tmp_path / f"kept{number}", tmp_path / f"data{number}", None, *READ, NOW)
        again = entries(tmp_path / f"data{number}")
        assert len(again) == one.entries > 5
        assert again == whole[: len(again)]
        assert picture(tmp_path / f"data{number}")[0] == one.entries


@pytest.mark.parametrize("by", ["entry", "time"])
def test_up_to_a_moment_the_ledger_follows_and_deliveries_are_remembered(
    house, backup, tmp_path, by
):
    until = Until(entry=20) if by == "entry" else Until(time=entries(house)[19][1])
    done = restore(backup, tmp_path / "data", until, *READ, NOW)
    assert (done.entries, done.proven, done.rebuilt.differ) == (20, True, 0)
    assert entries(tmp_path / "data") == entries(house, upto=20)
    owed = dict(picture(tmp_path / "data")[2])
    before = {key: last for key, last in picture(house)[2] if key in owed}
    assert owed == before
    assert [1, "done"] in owed.values()
    kinds = [kind for kind, _ in picture(tmp_path / "data")[3]]
    assert "handover" in kinds
    assert "access" not in kinds
    accounts = Accounts(tmp_path / "data")
    assert len(accounts.unlinked()) == 1, "the next start tells the chain again"
    accounts.close()


def test_a_restored_house_goes_on(backup, tmp_path):
    restore(backup, tmp_path / "data", Until(entry=20), *READ, NOW)
    stores = Stores(tmp_path / "data", rules())
    stores.offer([("host:a", CPU, START + 90_000, 0.2)], START + 90_005)
    drain(stores.decider())
    stores.verify()
    stores.close()


def test_a_changed_byte_of_any_file_is_refused_and_nothing_is_put_in_place(backup, tmp_path):
    for name in read_manifest(backup).files:
        path = backup / name
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        for until in (None, Until(entry=3)):
            with pytest.raises(BackupError, match=name):
                restore(backup, tmp_path / "data", until, *READ, NOW)
        path.write_bytes(kept)
    assert not [one for one in (tmp_path / "data").iterdir() if one.suffix != ".lock"]
    (backup / "manifest.json").write_text('{"schema": "watchkeeper.backup/9"}')
    with pytest.raises(BackupError, match=r"watchkeeper\.backup/9"):
        restore(backup, tmp_path / "data", None, *READ, NOW)


def test_a_manifest_cannot_lead_out_of_the_folder(backup, tmp_path):
    text = (backup / "manifest.json").read_text()
    (backup / "manifest.json").write_text(text.replace("objectives.json", "../x").replace(
        "keys/ledger.key", "../../ledger.key"))  # fmt: skip
    shutil.copy(backup / "keys" / "ledger.key", tmp_path.parent / "ledger.key")
    with pytest.raises(BackupError, match="missing"):
        restore(backup, tmp_path / "data", None, *READ, NOW)


def test_nothing_that_is_there_is_written_over(house, backup, tmp_path):
    with pytest.raises(OutputError, match="there already"):
        back_up(house, backup, NOW)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").touch()
    with pytest.raises(OutputError, match="mine is there"):
        restore(backup, tmp_path / "data", None, *READ, NOW)
    with pytest.raises(StoreError, match="no journal"):
        back_up(tmp_path, tmp_path / "other", NOW)
    with pytest.raises(BackupError, match="nothing is as old"):
        restore(backup, tmp_path / "new", Until(time=5), *READ, NOW)


def test_the_commands_say_what_was_done(house, tmp_path, capsys):
    kept, data = tmp_path / "kept", tmp_path / "data"
    assert wk("backup", "--data", house, "--to", kept, "--output", "json") == 0
    made = json.loads(capsys.readouterr().out)
    assert wk("verify", "--data", kept) == 0
    capsys.readouterr()
    assert wk("restore", kept, "--data", data, "--until", "20", "--output", "json") == 0
    back = json.loads(capsys.readouterr().out)
    assert (back["entries"], back["entries_in_backup"]) == (20, made["entries"])
    assert wk("restore", kept, "--data", data, "--until", "yesterday") == 78
    assert "--until" in capsys.readouterr().err
    assert wk("restore", kept, "--data", data) == 1
    assert "WK600" in capsys.readouterr().err
