"""Every page as it is looked at: without barriers, on a desk and a phone, with hostile names in it.

What was seen is left in out/screens, for whoever wants to look too.
"""

import time
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from tests.browser.conftest import SCREENS
from tests.browser.site import Site

BAD = {"serious", "critical"}
ATTACKS = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "javascript:alert(1)",
    "'-alert(1)-'",
    "</script><svg onload=alert(1)>",
    "{{7*7}}${7*7}",
    "=cmd|' /C calc'!A0",
)


def barriers(one, path, name):
    """Look at one page; return its serious findings, and leave a picture."""
    page = one.go(path)
    said = Axe().run(page)
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"{name}.png", full_page=True)
    bad = [v for v in said.response["violations"] if v["impact"] in BAD]
    return [(v["id"], v["nodes"][0]["html"][:120]) for v in bad]


SCHEMES = ("light", pytest.param("dark", marks=pytest.mark.nightly))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_page_has_a_barrier(look, paths, scheme):
    one = look(color_scheme=scheme)
    found = {name: barriers(one, path, f"{name}-{scheme}") for name, path in paths.items()}
    assert {name: bad for name, bad in found.items() if bad} == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_phone_needs_no_scrolling_sideways(look, paths, scheme):
    one = look(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    wide = {}
    SCREENS.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        page = one.go(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 360:
            wide[name] = width
        page.screenshot(path=SCREENS / f"{name}-phone-{scheme}.png", full_page=True)
    assert wide == {}


def test_a_hostile_name_is_only_a_name(look, site):
    """The same by night for every attack and on every page."""
    attack = f"host:{ATTACKS[0]}"
    line = {"entity": attack, "metric": "system.cpu.utilization", "timestamp": time.time()}
    labelled = {**line, "value": 0.2, "attributes": {"label": ATTACKS[0]}}
    site.push([labelled, {**line, "metric": f"m.{attack}", "value": ATTACKS[0]}])
    one = look()
    one.go("/quarantine")
    expect(one.page.locator("main")).to_contain_text(ATTACKS[0])
    site.until(lambda: attack in {o["entity"] for o in site.get("/api/v1/entities")["entities"]})
    one.go("/entities/" + quote(attack))
    expect(one.page.get_by_role("heading", level=1)).to_have_text(attack)
    expect(one.page.locator("main img, main script, [onerror], [onload]")).to_have_count(0)
    assert one.wrong == []


@pytest.mark.nightly  # waits for seven made-up hosts to be decided about
def test_hostile_names_are_only_names(look, site):
    """Whatever a sender writes is shown as text: no dialog, no report of the policy."""

    def said():
        now = time.time()
        full = {"metric": "system.filesystem.utilization", "timestamp": now, "value": 0.999}
        lines = [
            {**full, "entity": f"host:{one}", "attributes": {"label": one, one[:60]: "x"}}
            for one in ATTACKS
        ]
        odd = [{**line, "metric": f"m.{line['entity']}", "value": ATTACKS[0]} for line in lines]
        site.push(lines + odd)
        decided = {one["entity"] for one in site.get("/api/v1/decisions")["decisions"]}
        return decided >= {f"host:{one}" for one in ATTACKS}

    site.until(said)
    hostile = f"host:{ATTACKS[0]}"
    one = look()
    page = one.go("/")
    page.get_by_role("link", name=hostile, exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(hostile)
    expect(page.locator("main")).to_contain_text(f"label={ATTACKS[0]}")
    page.get_by_role("link", name="Trace").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(": ")
    expect(page.locator("main")).to_contain_text(hostile)
    for path in (
        "/?group=label", f"/?text={ATTACKS[0]}", "/?label=label", "/quarantine", "/orders",
        f"/orders?entity={ATTACKS[1]}", "/decisions", f"/decisions?entity={ATTACKS[0]}",
        "/audit?steps=yes", "/collectors", "/rulebook", "/status", "/reports/now.html",
        f"/sign-in?next={ATTACKS[1]}", f"/entities/{ATTACKS[1]}", f"/?colour={ATTACKS[0]}",
    ):  # fmt: skip
        page = one.go(path)
        made = page.locator(
            "[onerror], [onload], main script, main img:not([src='/static/mark.svg'])"
        )
        expect(made).to_have_count(0)
    assert one.wrong == []


@pytest.mark.nightly  # a second house; what its pages say is held to in tests/http/test_pages.py
def test_an_empty_house_says_what_to_do(chromium, tmp_path):
    from tests.browser.conftest import Look

    with Site(tmp_path, past=False) as empty:
        for scheme in ("light", "dark"):
            one = Look(chromium, empty, color_scheme=scheme)
            for path in ("/", "/decisions", "/orders", "/quarantine", "/audit"):
                name = path.strip("/") or "fleet"
                assert barriers(one, path, f"empty-{name}-{scheme}") == []
            assert one.wrong == []
            one.context.close()
