"""Whatever an operator does to a folder may be killed at any moment, and is simply called again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.upkeep.houses import NOW, READ, a_house, about_to_be_cut, an_era

from watchkeeper.store import swap
from watchkeeper.upkeep.backup import back_up

KILLING = Path(__file__).parent / "killing.py"


def spoiled(folder):
    """Change a byte of the ledger's chain, and of a late entry of the journal."""
    import apsw

    with apsw.Connection(str(folder / "ledger.sqlite")) as db:
        db.execute("update link set body = replace(body, '\"tick\"', '\"tock\"') where seq = 9")
    with apsw.Connection(str(folder / "journal.sqlite")) as db:
        db.execute("update entry set cursor = 'changed' where \"offset\" = 41")
    (folder / "ledger.sqlite.head.new").write_text("cut")


def root_of(command, folder):
    if command == "migrate":
        (folder / "data").mkdir(parents=True)
        an_era("layout-1", folder / "data")
        return folder
    if command == "cut":
        about_to_be_cut(folder / "data")
        return folder
    a_house(folder / "data", seconds=12)
    if command.startswith("restore"):
        back_up(folder / "data", folder / "kept", NOW)
        shutil.rmtree(folder / "data")
    if command == "repair":
        spoiled(folder / "data")
    return folder


def attempts(folder, **every):
    wanted = []
    for command, step in every.items():
        wanted += [command, str(root_of(command, folder / command)), str(step)]
    run = [sys.executable, str(KILLING), str(folder / "scratch"), *wanted]
    done = subprocess.run(run, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one for one in found if one["again"] != 0 or not one["same"]] == []
    return found


def test_killed_at_moments_it_is_called_again_and_ends_the_same(tmp_path):
    found = attempts(tmp_path, migrate=12, repair=40, restore=9, backup=4, cut=7)
    for command in ("migrate", "repair", "restore"):
        met = {one["at"] for one in found if one["command"] == command}
        assert met >= {"swap.whole", "swap.placed"}
    assert "backup" in {one["command"] for one in found}
    met = {one["at"] for one in found if one["command"] == "cut"}
    assert met >= {"base.written", "base.placed", "base.dropped", "journal.after_commit"}


@pytest.mark.nightly
@pytest.mark.parametrize(
    "command", ["migrate", "repair", "restore", "restore_until", "backup", "cut"]
)
def test_killed_at_each_statement_it_is_called_again_and_ends_the_same(command, tmp_path):
    assert len(attempts(tmp_path, **{command: 1})) > 4


def test_a_house_that_starts_finishes_what_was_cut_off_and_a_reader_is_told(tmp_path):
    from watchkeeper.cli._house import stores
    from watchkeeper.errors import Unfinished
    from watchkeeper.upkeep.restore import restore

    data = a_house(tmp_path / "data")
    back_up(data, tmp_path / "kept", NOW)
    restore(tmp_path / "kept", tmp_path / "again", None, *READ, NOW)
    whole = tmp_path / "again" / swap.WHOLE
    whole.mkdir()
    (tmp_path / "again" / "journal.sqlite").rename(whole / "journal.sqlite")
    with pytest.raises(Unfinished, match="cut off"), stores(tmp_path / "again"):
        pass
    with stores(tmp_path / "again", read_only=False) as (journal, _):
        assert journal.head() > 20
    assert not whole.exists()
