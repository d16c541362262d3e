"""The site: every document has its place, nothing is undocumented, and no link is believed."""

import re
from pathlib import Path

import pytest
from tools.site import api, build, commands, keys, links, packs, python

from watchkeeper.cli import COMMANDS
from watchkeeper.contracts import Contract
from watchkeeper.policies import Policy

ROOT = Path(__file__).parents[1]
KEYS = list(keys.keys())


def test_every_document_has_its_place_on_the_site():
    placed = {name for names in build.sections().values() for name in names}
    folders = {path.parent.name for path in (ROOT / "docs").glob("*/*.md")}
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    globbed = {name for name in there if Path(name).parent.name in build.FOLDERS}
    missing = there - placed - globbed - {"docs/index.md"}
    assert not missing, f"name them in a table of docs/index.md: {sorted(missing)}"
    assert set(build.FOLDERS) - folders <= {"runbooks"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_documented(name):
    told, examples = commands.text(name)
    assert told
    assert examples.startswith("watchkeeper ")
    options = commands.options(name)
    silent = [one.name for one in options if not one.says]
    assert not silent, f"say under Parameters what they mean: {silent}"
    for word in {word for one in options for word in one.name.split("`, `")}:
        assert f"`{word}`" in commands.page()


def test_every_key_of_the_configuration_is_documented():
    silent = [f"{one.section} {one.name}" for one in KEYS if not (one.meaning and one.type)]
    assert not silent, f"say what they mean: {silent}"
    reasonless = [f"{one.section} {one.name}" for one in KEYS if not one.why]
    assert not reasonless, f"add a row to docs/defaults.md: {reasonless}"
    assert len({(one.section, one.name) for one in KEYS}) == len(KEYS) > 200


@pytest.mark.parametrize(
    ("document", "path"), [(Policy, "policies.md"), (Contract, "contracts.md")]
)
def test_every_key_of_policies_and_contracts_is_documented(document, path):
    text = (ROOT / "docs" / path).read_text(encoding="utf-8")
    schema = document.model_json_schema(by_alias=True)
    every = [schema, *schema.get("$defs", {}).values()]
    names = {name for one in every for name in one.get("properties", {})}
    missing = {name for name in names if not re.search(rf"`{name}\b|\b{name}:", text)}
    assert not missing, f"docs/{path} does not speak of {sorted(missing)}"


def test_every_operation_of_the_api_is_documented():
    for method, path, says in api.operations():
        assert says["summary"], f"{method} {path}"
        silent = [one["name"] for one in says["parameters"] if not one["description"]]
        assert not silent, f"{method} {path}: {silent}"
        assert f"## {method.upper()} {path}\n" in api.page()


def test_every_shipped_pack_and_every_public_module_is_documented():
    assert {"generic", "host", "link"} <= set(packs.SHIPPED)
    for folder in (ROOT / "src/watchkeeper/packs").glob("*/policies.yaml"):
        pack = folder.parent.name
        for policy in re.findall(r"- name: (\S+)", packs.source(pack, "policies.yaml")):
            assert f"| `{policy}` |" in packs.page()
    assert "watchkeeper.testing.detectors" in python.modules()


def test_what_is_made_is_the_same_each_time():
    for page in build.MADE.values():
        assert page() == page()


def site(folder, body, other='<h1 id="there">x</h1>'):
    folder.mkdir()
    (folder / "index.html").write_text(f"<html>{body}</html>")
    (folder / "other.html").write_text(other)
    return links.check(folder, ("versions.js",))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="gone.html">x</a>', "gone.html leads nowhere"),
        ('<a href="other.html#gone">x</a>', "no such place"),
        ('<a href="#gone">x</a>', "no such place"),
        ('<a href="../../outside.html">x</a>', "leads nowhere"),
        ('<img src="gone.png">', "gone.png leads nowhere"),
        ('<script src="https://cdn.example/x.js"></script>', "fetches https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "fetches //cdn.example/x.css"),
    ],
)
def test_a_link_that_does_not_hold_is_found(body, said, tmp_path):
    (wrong, _) = site(tmp_path / "site", body)
    assert any(said in one for one in wrong)


def test_links_that_hold_are_left_alone_and_those_that_lead_out_are_listed(tmp_path):
    body = (
        '<a href="other.html#there">x</a><a href="#top" id="top">x</a>'
        '<a href="https://example.org/">x</a><script src="../versions.js"></script>'
    )
    assert site(tmp_path / "site", body) == ([], ["https://example.org/"])


def test_versions_stand_side_by_side_and_the_newest_is_shown_first(tmp_path):
    for version in ("0.2", "0.10", "0.1", "drafts"):
        (tmp_path / version).mkdir()
    build.listed(tmp_path)
    assert (tmp_path / "versions.js").read_text() == (
        'window.watchkeeperVersions = ["0.10", "0.2", "0.1"];\n'
    )
    assert "url=0.10/index.html" in (tmp_path / "index.html").read_text()
