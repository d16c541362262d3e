"""Folders of older releases are refused with the way out, and the way out keeps what they saw.

`eras/` holds folders that the code of their time wrote: `layout-1` with journal layout 1 (Arrow
streams), `noisy-or-1` with layout 2; both by version 1 of the health method `noisy_or`.
"""

import json

import apsw
import pytest
from tests.commands import wk
from tests.test_pipeline import CPU, START, Stores, drain, rules
from tests.upkeep.houses import NOW, READ, a_house, an_era, entries, opened, picture

from watchkeeper import config
from watchkeeper.errors import CorruptionError, StoreVersion, VerifyError
from watchkeeper.upkeep.migrate import migrate, plan

ERAS = ("layout-1", "noisy-or-1")
LAYOUTS = {"layout-1": 1, "noisy-or-1": 2}


@pytest.fixture(params=ERAS)
def era(request, tmp_path):
    (tmp_path / "data").mkdir()
    return request.param, an_era(request.param, tmp_path / "data")


def test_an_older_folder_is_refused_with_the_way_out(era, capsys):
    _, folder = era
    assert wk("verify", "--data", folder) == 1
    said = capsys.readouterr()
    assert "WK304" in said.err
    assert "watchkeeper migrate" in said.err


def test_a_migration_keeps_what_was_seen_and_delivered_and_proves_its_era(era):
    name, folder = era
    wanted = plan(folder, config.carried_on)
    assert (wanted.layout, len(wanted.rulebooks), wanted.entries) == (LAYOUTS[name], 1, 4)
    _, done = migrate(folder, config.carried_on, *READ, NOW)
    seen = [(samples, new) for *_, samples, new, _ in entries(folder)]
    values = [value for samples, _ in seen for value in samples["value"]]
    assert len(values) == 80
    assert sorted(set(values))[-1] == 5.0
    assert sum(values) == pytest.approx(80 * 0.22 + 14 * 5.0 - 14 * 0.2206, abs=0.1)
    assert {key for _, new in seen for key in new["entity"]} == {"host:a", "host:b"}
    says = picture(folder)
    assert says[0] == 4
    assert [last for _, last in says[2]] == [[1, "done"]], "what was delivered is not sent again"
    assert ["upkeep", NOW] in says[3]
    assert (done.aside / "journal.sqlite").exists()
    assert (done.aside / "ledger.sqlite.head").exists()


def test_a_migrated_house_goes_on(era):
    _, folder = era
    migrate(folder, config.carried_on, *READ, NOW)
    stores = Stores(folder, rules())
    at = stores.journal.head() and NOW
    stores.offer([("host:a", CPU, at, 0.2)], at)
    drain(stores.decider())
    stores.verify()
    stores.close()
    assert START < NOW


def test_a_second_migration_finds_nothing_to_do(era, capsys):
    _, folder = era
    assert wk("migrate", "--data", folder, "--dry-run", "--output", "json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["needed"], facts["done"]) == (True, False)
    assert wk("migrate", "--data", folder) == 0
    capsys.readouterr()
    before = picture(folder)
    assert wk("migrate", "--data", folder) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert picture(folder) == before


@pytest.mark.parametrize("store", ["journal", "ledger"])
def test_a_folder_of_a_newer_release_is_refused_and_not_touched(tmp_path, store, capsys):
    folder = a_house(tmp_path / "data", seconds=3)
    with apsw.Connection(str(folder / f"{store}.sqlite")) as db:
        db.execute("pragma user_version=99")
    db.close()
    before = (folder / f"{store}.sqlite").read_bytes()
    for command in (["verify"], ["migrate"], ["repair", "--yes"]):
        assert wk(*command, "--data", folder) == 1
        said = capsys.readouterr().err
        assert "WK304" in said
        assert "no way back" in said
    assert (folder / f"{store}.sqlite").read_bytes() == before


def test_a_method_of_a_newer_release_is_refused():
    document = json.loads(json.dumps(config.rulebook(config.default())))
    document["health"]["version"] = 99
    with pytest.raises(StoreVersion, match="no way back"):
        config.carried_on(document)


def test_a_rulebook_of_today_is_not_touched():
    document = config.rulebook(config.default())
    assert config.carried_on(document) is document


def test_what_is_damaged_is_not_carried_on(era):
    _, folder = era
    with apsw.Connection(str(folder / "ledger.sqlite")) as db:
        db.execute("update link set body = '{}' where seq = 2")
    with pytest.raises(VerifyError, match="not carried on"):
        migrate(folder, config.carried_on, *READ, NOW)
    with apsw.Connection(str(folder / "journal.sqlite")) as db:
        db.execute("update entry set cursor = 'x' where \"offset\" = 2")
    with pytest.raises(CorruptionError, match="not carried on"):
        migrate(folder, config.carried_on, *READ, NOW)
    for one in opened_or_none(folder):
        one.close()


def opened_or_none(folder):
    try:
        return opened(folder)
    except StoreVersion:
        return ()
