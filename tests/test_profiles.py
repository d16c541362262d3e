"""Profiles: what lies under a configuration in dev, staging and prod, and how one is named."""

import json
import re
from pathlib import Path

import pytest
from tests.commands import wk

from watchkeeper import config
from watchkeeper.cli.run import _furnished
from watchkeeper.config import _profiles
from watchkeeper.errors import ConfigError

DOCS = Path(__file__).parents[1] / "docs" / "configuration.md"
ACTING = "policies: [{name: host-failing, mode: auto, action: [log]}]\n"


def loaded(tmp_path, text="", env=None, overlay=""):
    file = tmp_path / "c.yaml"
    file.write_text(f"version: 1\n{text}")
    return config.load([file], env or {}, overlay)


def owed(settings):
    """The modes of the policies under which a house of these settings decides."""
    house = _furnished(settings, None, None, dry_run=False)
    return {policy.name: policy.mode for policy in house.rulebook.policies}


def test_the_documentation_has_the_same_table():
    part = DOCS.read_text("utf-8").partition("<!-- profiles -->\n")[2].partition("<!-- end -->")[0]
    told = [re.split(r" \| ", line.strip("| ")) for line in part.splitlines()[2:]]
    ours = [
        [f"`{one.path}`", *(f"`{str(value).lower()}`" for value in one[1:4]), one.why]
        for one in _profiles.DIFFERENCES
    ]
    assert told == ours
    for one in _profiles.DIFFERENCES:
        assert len({json.dumps(value) for value in one[1:4]}) > 1, f"{one.path} does not differ"


@pytest.mark.parametrize("name", _profiles.NAMES)
def test_what_a_profile_says_holds_in_the_configuration(name, tmp_path):
    settings = loaded(tmp_path, f"profile: {name}\n")
    assert settings.profile == name
    for one in _profiles.DIFFERENCES:
        value = settings
        for step in one.path.split("."):
            value = getattr(value, step)
        assert value == getattr(one, name), one.path


def test_without_a_profile_the_defaults_hold(tmp_path):
    settings = loaded(tmp_path)
    assert (settings.profile, config.of_profile(settings)) == ("", {})
    assert not settings.dry_run
    assert settings.written.difference(config.default().written) == []


def test_what_a_file_says_comes_before_the_profile(tmp_path):
    own = "access: {anonymous: local}\nlog: {level: error}\n"
    settings = loaded(tmp_path, f"profile: prod\n{own}")
    assert settings.access.anonymous == "local"
    assert settings.access.environment == "prod"
    assert (settings.log.level, settings.log.format) == ("error", "json")


def test_the_command_line_names_it_before_the_environment_and_that_before_the_files(tmp_path):
    text, env = "profile: dev\n", {"WATCHKEEPER_PROFILE": "staging"}
    assert loaded(tmp_path, text).profile == "dev"
    assert loaded(tmp_path, text, env).profile == "staging"
    assert loaded(tmp_path, text, env).access.environment == "staging"
    settings = loaded(tmp_path, text, env, '{"profile": "prod"}')
    assert (settings.profile, settings.access.environment) == ("prod", "prod")
    assert config.load((), env).profile == "staging"  # also without any file


def test_a_dry_run_owes_nothing_whatever_the_policies_say(tmp_path):
    assert owed(loaded(tmp_path, ACTING))["host-failing"] == "auto"
    assert set(owed(loaded(tmp_path, f"{ACTING}dry_run: true\n")).values()) == {"dry_run"}
    assert set(owed(loaded(tmp_path, f"{ACTING}profile: dev\n")).values()) == {"dry_run"}
    assert owed(loaded(tmp_path, f"{ACTING}profile: prod\n"))["host-failing"] == "auto"


def test_an_unknown_profile_is_refused_wherever_it_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"\$WATCHKEEPER_PROFILE:1:1: profile: no such profile"):
        loaded(tmp_path, "", {"WATCHKEEPER_PROFILE": "prd"})
    with pytest.raises(ConfigError, match="no such profile 'prd'") as caught:
        loaded(tmp_path, "", None, '{"profile": "prd"}')
    assert "did you mean 'prod'?" in caught.value.hint


def test_check_tells_what_holds_where_profiles_differ(tmp_path, capsys, monkeypatch):
    file = tmp_path / "c.yaml"
    file.write_text("version: 1\nlog: {level: error}\n")
    assert wk("check", "--syntax-only", "--profile", "prod", file) == 0
    told = capsys.readouterr().out
    assert "profile prod" in told
    assert "access.anonymous: 'none'" in told
    assert "log.level: 'error'" in told
    monkeypatch.setenv("WATCHKEEPER_PROFILE", "dev")
    assert wk("check", "--syntax-only", "--output", "json", file) == 0
    (facts,) = json.loads(capsys.readouterr().out)["checked"]
    assert facts["profile"] == "dev"
    assert facts["differs"]["access.environment"] == "'dev'"
    assert wk("check", "--syntax-only", "--profile", "dvv", file) == 78
    assert "did you mean 'dev'?" in capsys.readouterr().out
