"""One version, said everywhere alike; what it promises is written down; changes are told."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tools import changelog
from tools.release import _run

from watchkeeper import __version__
from watchkeeper.http.api.document import document

ROOT = Path(__file__).parents[1]
POLICY = (ROOT / "docs" / "versioning.md").read_text(encoding="utf-8")
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_everything_that_says_a_version_says_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/watchkeeper/__init__.py"
    command = (sys.executable, "-m", "watchkeeper", "--version")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    said = {
        "package": importlib.metadata.version("watchkeeper"),
        "command": done.stdout.split()[1],
        "API": document(())["info"]["version"],
        "release tools": _run.version(),
        "changelog": next(iter(changelog.sections(CHANGES))),
    }
    assert said == dict.fromkeys(said, __version__)


def test_no_other_file_of_the_program_says_a_version_of_its_own():
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if re.search(r"__version__ *=", path.read_text(encoding="utf-8"))
    ]
    assert found == ["src/watchkeeper/__init__.py"]


@pytest.mark.parametrize(
    "surface",
    [
        *("command line", "configuration", "API", "wire", "journal and ledger", "results", "packs"),
        *("metrics and logs", "plugs"),
    ],
)
def test_a_public_surface_is_named_with_where_it_is_written_down(surface):
    row = re.search(rf"^\| {surface} \|(.+)\|(.+)\|$", POLICY, re.MULTILINE)
    assert row
    assert "](" in row[2]


def test_the_policy_says_cadence_support_and_deprecation():
    headings = re.findall(r"^## (.+)$", POLICY, re.MULTILINE)
    assert headings[1:4] == ["Cadence", "Support: N and N-1", "Deprecation"]


def test_every_section_of_the_changelog_has_highlights_and_upgrade_notes():
    headings = re.findall(r"^## (.+)$", CHANGES, re.MULTILINE)
    told = changelog.sections(CHANGES)
    assert [heading.split(",")[0] for heading in headings] == list(told)
    for version, under in told.items():
        assert under["Highlights"].strip().startswith("- "), version
        assert under["Upgrade notes"].strip().startswith("- "), version
        assert list(under) == [h for h in changelog.KINDS.values() if h in under], version


def test_versions_go_down():
    numbers = [tuple(map(int, one.split("."))) for one in changelog.sections(CHANGES)]
    assert numbers == sorted(numbers, reverse=True)


def test_every_fragment_is_one_item_of_a_known_kind():
    changelog.folded(CHANGES, changelog.fragments(ROOT / "changes"))


BEFORE = """# Changelog

As noticed.

## 0.2.0, not yet released

### Upgrade notes
- Nothing to do.

### Added
- One thing.

## 0.1.0, 2026-01-01

### Highlights
- The first.

### Upgrade notes
- None.
"""


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name.replace('_', '.')}.md").write_text(text)
    return folder


def test_fragments_are_folded_under_their_headings(tmp_path):
    write(tmp_path, pages_added="Two\nthings.\n", fast_highlight="- Twice as fast.")
    text = changelog.folded(BEFORE, changelog.fragments(tmp_path), "2026-02-01")
    told = changelog.sections(text)
    assert list(told) == ["0.2.0", "0.1.0"]
    assert told["0.2.0"]["Highlights"].strip() == "- Twice as fast."
    assert told["0.2.0"]["Added"].strip() == "- One thing.\n- Two things."
    assert "## 0.2.0, 2026-02-01\n\n### Highlights\n" in text
    assert text.endswith(BEFORE[BEFORE.index("## 0.1.0") :])


def test_without_fragments_nothing_changes():
    assert changelog.folded(BEFORE, {}) == BEFORE
    assert changelog.folded(CHANGES, {}).split() == CHANGES.split()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("one_odd", "text", "NAME.KIND.md"),
        ("added", "text", "NAME.KIND.md"),
        ("one_added", "", "one item"),
        ("one_added", "first\n\nsecond", "one item"),
    ],
)
def test_a_fragment_that_is_none_is_refused(tmp_path, name, text, said):
    with pytest.raises(ValueError, match=said):
        changelog.fragments(write(tmp_path, **{name: text}))


def test_a_release_without_highlights_is_refused():
    with pytest.raises(ValueError, match=r"0\.2\.0 has no Highlights"):
        changelog.folded(BEFORE, {}, "2026-02-01")


def test_what_was_released_is_not_written_to_again():
    released = BEFORE.replace("not yet released", "2026-02-01")
    with pytest.raises(ValueError, match="begin one"):
        changelog.folded(released, {})
