"""What a reload changes is told and audited, and what is on the disk is compared with what runs."""

import json
import os
from types import SimpleNamespace

import pytest
from tests.commands import wk
from tests.test_pipeline import START, Stores, rules

from watchkeeper import config
from watchkeeper.cli._reload import _Reload
from watchkeeper.errors import ConfigError
from watchkeeper.live import Live
from watchkeeper.model import Control, Millis, canonical
from watchkeeper.secrets import Keeper

BEFORE = """\
version: 1
tick: 1s
packs: [generic@1]
sources:
  - {type: host, interval: 10s}
actions:
  tell: {type: webhook, url: 'http://127.0.0.1:9/services/aaa', secret: one,
         headers: {Authorization: first}}
policies:
  - {name: cold, when: health < 10.0}
"""
AFTER = (
    BEFORE.replace("tick: 1s", "tick: 2s")
    .replace("interval: 10s", "interval: 20s")
    .replace("aaa", "bbb")
    .replace("actions:", "reports: [{name: nightly}]\nactions:")
    .replace("secret: one", "secret: two")
    .replace("first", "second")
    .replace("  - {name: cold", "  - {name: hot, when: health < 5.0}\n  - {name: cold")
)


class Seen:
    """A house that remembers what it was told."""

    def __init__(self):
        self.controls, self.houses, self.drift, self.well = [], [], [], []
        self.service = SimpleNamespace(
            reload=self.houses.append, features=SimpleNamespace(tell=self.controls.append)
        )

        self.kept = []

    def keep(self, schedules, history):
        self.kept.append((schedules, history))

    def reloaded(self, well, beyond=()):
        self.well.append((well, tuple(beyond)))

    def drifted(self, drift):
        self.drift.append(drift)


@pytest.fixture
def written(tmp_path):
    """A configuration on the disk, and a way to change it."""
    file, turn = tmp_path / "c.yaml", iter(range(1, 100))

    def write(text):
        file.write_text(text)
        os.utime(file, ns=(next(turn), next(turn)))

    write(BEFORE)

    def read(keeper):
        return config.load([file], {"WORD": "from outside"}, keeper=keeper or Keeper(blind=True))

    return read, write


def begun(written):
    seen = Seen()
    return seen, _Reload(written[0](Keeper()), written[0], lambda settings: settings, seen)


def test_what_differs_is_told_by_path_and_secrets_only_that_they_differ(written):
    read, write = written
    older = read(None).written
    write(AFTER)
    assert [tuple(one) for one in older.difference(read(None).written)] == [
        ("actions.tell.headers.Authorization", "<secret>", "<secret>"),
        ("actions.tell.secret", "<secret>", "<secret>"),
        ("actions.tell.url", "<secret>", "<secret>"),
        ("policies.hot.name", "", "'hot'"),
        ("policies.hot.when", "", "'health < 5.0'"),
        ("reports", "a list", ""),
        ("reports.nightly.name", "", "'nightly'"),
        ("sources[0].interval", "'10s'", "'20s'"),
        ("tick", "'1s'", "'2s'"),
    ]
    assert older.difference(older) == []
    assert "one" not in repr(older)


def test_a_reload_journals_the_difference(written):
    seen, reload = begun(written)
    written[1](AFTER)
    reload.take_up()
    (control,) = seen.controls
    assert (control.kind, control.actor) == ("configuration", "reload")
    said = json.loads(control.body)
    assert said["files"] == ["c.yaml"]
    assert {"path": "tick", "was": "'1s'", "now": "'2s'"} in said["changes"]
    assert seen.houses[0].rules.tick == 2000
    assert [one.name for one in seen.kept[0][0]] == ["nightly"]
    assert seen.well == [(True, ())]
    reload.look()
    assert seen.drift == [""]
    reload.take_up()  # nothing differs
    assert len(seen.controls) == 1


def test_what_is_told_of_ourselves_waits_for_a_restart_and_is_named(written):
    seen, reload = begun(written)
    written[1](BEFORE + "metrics: {series: 9}\nlog: {level: debug}\n")
    reload.take_up()
    assert seen.well == [(True, ("log", "metrics"))]


def test_a_reload_that_fails_changes_nothing(written):
    seen, reload = begun(written)
    written[1](BEFORE + "tock: 1\n")
    reload.take_up()
    assert (seen.controls, seen.houses, seen.well) == ([], [], [(False, ())])


def test_a_configuration_that_drifts_from_what_runs_is_noticed(written):
    seen, reload = begun(written)
    reload.look()
    assert seen.drift == []  # no file was touched
    written[1](BEFORE.replace("tick: 1s", "tick: 3s"))
    reload.look()
    written[1](BEFORE + "# only a remark\n")
    reload.look()
    written[1]("version: [")
    reload.look()
    assert seen.drift[:2] == ["tick: '1s' -> '3s'", ""]
    assert "cannot be read any more: WK100" in seen.drift[2]
    written[1](AFTER)
    reload.look()
    assert seen.drift[3].endswith("; and 4 more")


def test_status_tells_of_a_configuration_that_is_not_the_one_that_runs(tmp_path, capsys):
    stores = Stores(tmp_path, rules()).begin()
    house = SimpleNamespace(journal=stores.journal, ledger=stores.ledger)
    live = Live(SimpleNamespace(house=house, witness=None), "test", lambda: START, folder=tmp_path)

    def status():
        capsys.readouterr()
        assert wk("status", "--data", tmp_path) == 0
        return capsys.readouterr().out

    assert "configuration" not in status()
    live.drifted("tick: '1s' -> '2s'")
    assert "configuration on disk differs, SIGHUP takes it up: tick: '1s' -> '2s'" in status()
    live.drifted("")
    live.reloaded(True, ["listen", "log"])
    assert "only a restart takes up: listen, log\n" in status()
    live.reloaded(False)
    assert "the last reload was refused" in status()
    assert "listen, log" in status()
    (tmp_path / "configuration.json").write_text("{")
    assert "restart" not in status()
    stores.close()


def test_the_audit_chain_has_what_a_reload_changed(tmp_path):
    stores = Stores(tmp_path, rules()).begin()
    change = {"path": "tick", "was": "'1s'", "now": "'2s'"}
    body = canonical({"changes": [change], "files": ["c.yaml"]})
    stores.journal.note(Control("configuration", "reload", body), Millis(START + 1000))
    decider = stores.decider()
    while decider.decide():
        pass
    (link,) = [link for link in stores.ledger.links() if link.kind == "configuration"]
    assert json.loads(link.body)["changes"] == [change]
    assert json.loads(link.body)["by"] == "reload"
    assert stores.verify()
    stores.close()


def test_a_broken_file_is_a_configuration_error(written):
    written[1]("version: [")
    with pytest.raises(ConfigError):
        written[0](None)
