"""Configurations of older versions mean what they meant, and what is done to them is told."""

from pathlib import Path

import pytest
from tests.commands import wk

from watchkeeper import config
from watchkeeper.config._ladder import STEPS, VERSION
from watchkeeper.errors import ConfigError

OLD = """\
version: 0
sources:
  - {type: host}
  - {type: scrape, targets: ["127.0.0.1:9"]}
actions:
  log: {type: log}
  tell: {type: webhook, url: "http://127.0.0.1:9/"}
"""
FLAGS = {"action.webhook": True, "source.scrape": True}


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def loaded(*texts):
        files = [Path(f"{number}.yaml") for number, _ in enumerate(texts)]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return config.load(files, {})

    return loaded


def test_from_each_older_version_steps_lead_to_this_one():
    assert sorted(STEPS) == list(range(VERSION))


def test_what_left_this_host_before_there_were_flags_goes_on_to(load):
    old, new = load(OLD), load(OLD.replace("version: 0", "version: 1"))
    assert (old.rules.flags, new.rules.flags) == (FLAGS, {})
    assert old.climbed == (
        "0.yaml: version 0 is read as 1",
        "0.yaml: flags: {action.webhook: true}, as it is configured here",
        "0.yaml: flags: {source.scrape: true}, as it is configured here",
    )
    assert new.climbed == ()
    by_hand = OLD.replace("version: 0", "version: 1") + f"flags: {str(FLAGS).lower()}\n"
    assert load(by_hand).rules.digest == old.rules.digest


@pytest.mark.parametrize("place", [0, 1])
def test_what_a_file_says_itself_goes_before_what_a_step_adds(load, place):
    texts = [OLD]
    texts.insert(place, "version: 1\nflags: {action.webhook: false}\n")
    assert load(*texts).rules.flags == {**FLAGS, "action.webhook": False}


@pytest.mark.parametrize("version", ["2", "-1", "false", "'0'", "0.0", "[]"])
def test_no_step_leads_from_what_was_never_a_version(load, version):
    with pytest.raises(ConfigError, match="version: must be 1"):
        load(OLD.replace("version: 0", f"version: {version}"))


@pytest.mark.parametrize("part", ["sources: 1", "sources: [1]", "actions: {a: {type: [1]}}"])
def test_what_is_wrong_in_an_old_file_is_told_as_in_a_new_one(load, part):
    said = []
    for version in (0, 1):
        with pytest.raises(ConfigError) as caught:
            load(f"version: {version}\n{part}\n")
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_check_tells_what_was_done(load, capsys):
    load(OLD)
    assert wk("check", "--offline", "0.yaml") == 0
    assert "  warning: 0.yaml: version 0 is read as 1\n" in capsys.readouterr().out
    assert wk("check", "--offline", "--strict", "0.yaml") == 1
