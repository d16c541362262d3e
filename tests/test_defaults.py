"""Every default is listed with why it is safe, and the list tells no default that is not one."""

import dataclasses
import re
from pathlib import Path

import pytest

from watchkeeper import config, plugins
from watchkeeper.config import _plugs, _schema, _settings
from watchkeeper.policies import document, read
from watchkeeper.secret import Secret

TEXT = (Path(__file__).parents[1] / "docs" / "defaults.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z_]+)` \| ([a-z0-9_., ]+) \| `([^`]*)` \| (.+) \|$", re.MULTILINE)
FAMILIES = ("receivers", "sources", "detectors", "health", "actions", "engines", "secrets")


def spelled(value):
    """A default as the list spells it."""
    if isinstance(value, Secret):
        return value.reveal() or "none"
    if value in ("", (), {}, None):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def of(owner, plug):
    for field in dataclasses.fields(plug):
        if field.name not in _plugs.types_of(plug):
            continue
        missing = dataclasses.MISSING
        if field.default is not missing:
            yield owner, field.name, spelled(field.default)
        elif field.default_factory is not missing:
            # How many workers run depends on the machine.
            value = field.default_factory()
            yield owner, field.name, "all cores" if field.name == "workers" else spelled(value)


def real():
    """Every default there is: (whose, field, spelled)."""
    for family in FAMILIES:
        for kind in plugins.kinds(family):
            yield from of(f"{family}.{kind}", plugins.load(family, kind))
    for name, section in (_schema.SECTIONS | _schema.ROWS).items():
        yield from of(name, section)
    for name, value in document(read({"name": "x", "when": "health < 1.0"}, "")).items():
        if name not in ("name", "when", "match"):
            yield "policies", name, spelled(value)


def listed():
    for field, owners, value, why in ROW.findall(TEXT):
        for owner in owners.split(", "):
            yield (owner, field, value), why


def test_every_default_is_listed_with_why_it_is_safe():
    told = dict(listed())
    missing = [one for one in real() if one not in told]
    assert not missing, "add a row to docs/defaults.md: " + str(missing)
    gone = told.keys() - set(real())
    assert not gone, f"docs/defaults.md lists what is no default: {sorted(gone)}"
    assert all(len(why) > 15 for why in told.values())


def test_the_top_level_is_listed_too():
    top = re.findall(r"^\| `([a-z_]+)` \| `[^`]*` \| .{15,} \|$", TEXT, re.MULTILINE)
    assert top == [name for name in _settings.Settings.model_fields if name != "version"]


def test_nothing_leaves_this_host_and_nothing_acts_by_default():
    loaded = config.default()
    assert loaded.listen.host == "127.0.0.1"
    assert [type(one).__name__ for one in loaded.sources] == ["Host"]
    assert loaded.rules.needs == {}  # no action that reaches out is configured
    assert loaded.rules.flags == {}
    assert {policy.mode for policy in loaded.rules.policies} == {"dry_run"}


@pytest.mark.parametrize("family", ["sources", "actions"])
def test_whatever_reaches_out_is_off_until_its_flag_is_on(family):
    for kind in plugins.kinds(family):
        plug = plugins.load(family, kind)
        at_home = getattr(plug, "at_home", False)
        assert at_home == (kind in {"sources": ("host", "file"), "actions": ("log",)}[family])
