"""The documentation that the page shows: what every runbook names is there, and harmless."""

import re
from itertools import chain
from pathlib import Path

import pytest
import yaml
from tests.http.test_pages import empty  # noqa: F401 - a fixture
from tests.test_http import ask

from watchkeeper import config
from watchkeeper.http.pages import guide
from watchkeeper.http.pages._render import safe_link

DOCS = Path(__file__).parents[2] / "docs"
PACKS = DOCS.parent / "src" / "watchkeeper" / "packs"


def runbooks():
    """What the shipped policies, and the alerts about us, name as their runbook."""
    named = {policy.runbook for policy in config.load((), {}).rules.policies}
    rules = yaml.safe_load((PACKS / "house" / "rules.yaml").read_text())
    alerts = chain.from_iterable(group["rules"] for group in rules["groups"])
    return named | {one["annotations"]["runbook"] for one in alerts if "alert" in one}


def test_every_runbook_that_is_shipped_is_a_heading_of_a_document_that_is_shown():
    found = sorted(runbooks())
    assert len(found) > 15
    for runbook in found:
        to, _, anchor = safe_link(runbook).partition("#")
        shown = guide.document(to.removeprefix("/guide/"))
        assert shown is not None, runbook
        assert f'id="{anchor}"' in shown.body, runbook


@pytest.mark.parametrize(
    ("named", "to"),
    [
        ("docs/policies.md#host-failing", "/guide/policies#host-failing"),
        ("docs/runbooks/disk-full.md", "/guide/runbooks/disk-full"),
        ("https://wiki.example.org/a?b=c#d", "https://wiki.example.org/a?b=c#d"),
        ("docs/../etc/passwd.md", ""),
        ("docs/policies.md#<b>", ""),
        ("javascript:alert(1)", ""),
        ("our wiki, page 7", ""),
    ],
)
def test_a_runbook_leads_to_a_document_of_ours_or_an_address_and_nowhere_else(named, to):
    assert safe_link(named) == to


def test_every_document_is_shown_and_its_links_hold():
    names = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert set(guide.documents()) == names
    for name in sorted(names):
        shown = guide.document(name)
        assert shown.title not in ("", name), name
        assert shown.body.count("<h1") == 1, name
        assert not re.search(r"<script|<img|\sstyle=|\son\w+=|javascript:", shown.body), name
        for to, anchor in re.findall(r'href="/guide/([^"#]*)#?([^"]*)"', shown.body):
            other = guide.document(to)
            assert other is not None, f"{name}: {to}"
            assert not anchor or f'id="{anchor}"' in other.body, f"{name}: {to}#{anchor}"


def test_what_a_document_says_is_text_and_no_markup_of_the_page():
    hostile = "# T <b>\n\n<script>x</script> [a](javascript:x) ![<i>](x)\n\n|a|\n|-:|\n|<u>|\n"
    shown = guide._shown("index", hostile)
    assert shown.title == "T <b>"
    assert not re.search(r"<(script|b|i|u|img)\b|href|style=", shown.body)


def test_the_page_of_a_document_that_does_not_exist_says_so(empty):  # noqa: F811
    assert ask(empty, "/guide/../../etc/passwd").status_code == 404
    answer = ask(empty, "/guide/nothing")
    assert answer.status_code == 404
    assert "there is no document" in answer.text
    assert 'href="/guide"' in ask(empty, "/guide/runbooks/disk-full").text
