"""The documents agree with the code."""

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest

from watchkeeper import config, errors, plugins
from watchkeeper.cli import COMMANDS
from watchkeeper.config import _plugs, _settings
from watchkeeper.model import Reason

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCUMENTS = sorted(
    path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("src/**/*.md")]
)
CONFIGURED = ("sources", "detectors", "health", "actions", "engines", "secrets")


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def sections(path: str) -> list[str]:
    """The headings of the third level, which are entries of a reference."""
    return re.findall(r"^### (.+)$", text(path), re.MULTILINE)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")
        for heading in headings
    }


def test_every_error_code_and_every_quarantine_reason_has_an_entry():
    codes = [kind.code for kind in vars(errors).values() if isinstance(kind, type)]
    assert sections("docs/errors.md") == [*codes, *Reason]


def test_every_command_is_in_the_documentation():
    listed = re.findall(r"^\| `watchkeeper (\w+)`", text("docs/index.md"), re.MULTILINE)
    assert listed == list(COMMANDS)


def test_every_document_is_reachable_from_the_index():
    index = text("docs/index.md")
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "index.md" or f"({path.name})" in index, path.name
    for path in (ROOT / "docs" / "decisions").glob("0*.md"):
        assert f"({path.name})" in text("docs/decisions/README.md"), path.name


def test_every_dependency_has_its_reason():
    listed = re.findall(r"^\| ([^|]+) \|", text("docs/dependencies.md"), re.MULTILINE)
    named = {name.strip() for cell in listed for name in cell.split(",")} - {"package", "---"}
    groups = PROJECT["dependency-groups"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(entry for group in groups.values() for entry in group if isinstance(entry, str)),
    ]
    assert named == {re.split(r"[<>=!~; \[]", entry)[0] for entry in wanted}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_repository_resolve(path):
    prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target) or target == "docs/report.png":
            continue
        name, _, anchor = target.partition("#")
        found = path.parent / name if name else path
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_top_level_field_is_documented():
    fields = text("docs/configuration.md").partition("## Profiles")[0]
    documented = re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)
    assert documented == list(_settings.Settings.model_fields)


@pytest.mark.parametrize("family", CONFIGURED)
def test_every_field_of_a_plug_says_what_it_means(family):
    for kind in plugins.kinds(family):
        plug = plugins.load(family, kind)
        assert dataclasses.is_dataclass(plug)
        assert plug.__dataclass_params__.frozen, f"{family}.{kind}: configuration does not change"
        said = _plugs.described(plug)
        silent = [field for field in _plugs.types_of(plug) if not said.get(field)]
        assert not silent, f"{family}.{kind}: no `:param` line for {silent}"


COLLECTORS = re.findall(
    r"```yaml\n((?:flags: [^\n]*\n)?sources:\n.*?)```", text("docs/collectors.md"), re.DOTALL
)


@pytest.mark.parametrize("block", COLLECTORS, ids=lambda block: block.split("type: ")[1].split()[0])
def test_collectors_of_the_documents_are_collectors(block, tmp_path):
    """Each is loaded as it stands; the files of secrets it names are ours."""
    secret = tmp_path / "secret"
    secret.write_text("open-sesame")
    secret.chmod(0o600)
    block = re.sub(r"(_file): /\S+", rf"\1: {secret}", block)
    packs = "" if "packs:" in block else "packs: [link@1, host@1, generic@1]\n"
    flags = (
        ""
        if "flags:" in block
        else f"flags: {{source.{block.split('type: ')[1].split()[0]}: true}}\n"
    )
    file = tmp_path / "watchkeeper.yaml"
    file.write_text(f"version: 1\n{packs}{flags}{block}")
    (source,) = config.load([file], {}).sources
    fields = {field.name for field in dataclasses.fields(source)}
    assert not {one for one in fields if f"`{one}`" not in text("docs/collectors.md")}


def test_every_test_that_is_said_to_hold_a_promise_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text("docs/reliability.md"))
    rows = re.findall(r"^\| ([PABCDS]\d+) \|.*`tests/", text("docs/reliability.md"), re.MULTILINE)
    assert len(rows) == len(set(rows)) == 50
    for path, name in named:
        assert re.search(rf"^def {name}\(", text(path), re.MULTILINE), f"{path}::{name}"
