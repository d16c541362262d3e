"""What a person does at the pages, in Chromium, on a house that runs with a fault in its fleet."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from tests.browser.conftest import SCREENS
from tests.browser.site import SICK

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


pytestmark = pytest.mark.nightly  # Chromium is not installed for every change


@pytest.fixture(scope="module")
def paths(site):
    """Every kind of page, by a name for its picture."""
    decisions = site.until(lambda: site.get("/api/v1/decisions?entity=" + SICK)["decisions"])
    fired = next(one for one in decisions if one["outcome"] == "ordered")
    order = site.until(lambda: site.sink.taken and fired["key"])
    return {
        "fleet": "/",
        "fleet-filtered": "/?state=fail",
        "entity": f"/entities/{SICK}",
        "decisions": "/decisions",
        "decision": f"/decisions/{order}",
        "orders": "/orders",
        "collectors": "/collectors",
        "quarantine": "/quarantine",
        "reports": "/reports",
        "rulebook": "/rulebook",
        "audit": "/audit",
        "status": "/status",
    }


def test_from_the_first_look_to_the_delivered_order(look, site, paths):
    page = look().go("/")
    expect(page.get_by_role("heading", level=1)).to_contain_text("unhealthy")
    worst = page.locator("table.fleet tbody tr").first
    expect(worst).to_contain_text(SICK)
    expect(worst).to_contain_text("system.filesystem.utilization")

    worst.get_by_role("link", name=SICK).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(SICK)
    why = page.locator("ol.why li").first
    expect(why).to_contain_text("system.filesystem.utilization")
    expect(why).to_contain_text("is normal")
    expect(page.locator("#chart-health canvas")).to_be_visible()
    expect(page.get_by_role("heading", name="What to do")).to_be_visible()
    expect(page.locator(".standings")).to_contain_text("does not hold")

    fired = page.locator("tr", has_text="host-failing").filter(has_text="firing").first
    fired.get_by_role("link", name="Trace").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("host-failing: firing")
    expect(page.locator("tr", has_text='state == "fail"')).to_contain_text("yes")
    expect(page.locator("tr", has_text="blast radius")).to_contain_text("passes")

    page.locator("ul.orders a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Order to pager")
    attempts = page.locator("section", has_text="Deliveries").locator("tbody tr")
    expect(attempts.first).to_contain_text("HTTP")
    site.until(lambda: page.reload() and "done" in attempts.last.inner_text())
    assert any(one["entity"] == SICK for one in site.sink.taken)


def test_a_fleet_is_filtered_as_one_types_and_the_focus_stays(look):
    page = look().go("/")
    box = page.get_by_label("Name")
    box.press_sequentially("web-5")
    rows = page.locator("table.fleet tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("host:web-5")
    expect(box).to_be_focused()
    assert "text=web-5" in page.url
    page.get_by_label("State").select_option("unknown")
    expect(page.get_by_role("heading", name="No entity fits")).to_be_visible()


def test_a_page_brings_itself_up_to_date_and_leaves_the_reader_alone(look):
    page = look().go(f"/entities/{SICK}")
    fold = page.locator(".standings details").first
    fold.locator("summary").click()
    fold.locator("summary").focus()
    chart = page.locator("#chart-health")
    before = chart.get_attribute("data-chart")
    with page.expect_response(lambda answer: SICK in answer.url):
        page.evaluate("htmx.trigger('#live', 'refresh')")
    page.wait_for_function(
        "before => document.getElementById('chart-health').dataset.chart !== before", arg=before
    )
    expect(fold).to_have_attribute("open", "")
    expect(fold.locator("summary")).to_be_focused()
    expect(chart.locator("canvas")).to_be_visible()


def test_old_health_does_not_look_like_present_health(look):
    one = look()
    page = one.go("/")
    page.route("**/*", lambda route: route.abort())
    page.evaluate("htmx.trigger('#live', 'refresh')")
    expect(page.get_by_role("alert")).to_contain_text("lost its connection")
    page.unroute("**/*")
    page.evaluate("htmx.trigger('#live', 'refresh')")
    expect(page.locator("#stale")).to_be_hidden()
    one.wrong = [what for what in one.wrong if "ERR_FAILED" not in what and "fetch" not in what]


def test_the_keyboard_reaches_the_content_first(look):
    page = look().go("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    for landmark in ("banner", "navigation", "main", "contentinfo", "search"):
        expect(page.get_by_role(landmark)).to_have_count(1)


def test_every_page_without_a_script_says_the_same(look, paths):
    page = look(java_script_enabled=False).context.pages[0]
    page.goto(look().site.address + paths["entity"])
    expect(page.locator("#chart-health svg")).to_be_visible()
    page.goto(look().site.address + "/?text=web-5")
    expect(page.locator("table.fleet tbody tr")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_barrier(look, paths, scheme):
    one = look(color_scheme=scheme)
    SCREENS.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, path in paths.items():
        page = one.go(path)
        said = Axe().run(page)
        bad = [v for v in said.response["violations"] if v["impact"] in BAD]
        if bad:
            found[name] = [(v["id"], v["nodes"][0]["html"][:120]) for v in bad]
        page.screenshot(path=SCREENS / f"{name}-{scheme}.png", full_page=True)
    assert found == {}


def test_a_phone_needs_no_scrolling_sideways(look, paths):
    one = look(viewport={"width": 360, "height": 740})
    wide = {}
    for name, path in paths.items():
        page = one.go(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 360:
            wide[name] = width
        page.screenshot(path=SCREENS / f"{name}-phone.png", full_page=True)
    assert wide == {}


def test_hostile_names_are_only_names(look, site):
    """Whatever a sender writes is shown as text: no dialog, no report of the policy."""
    import time

    now = time.time()
    lines = [
        {
            "entity": f"thing:{attack}",
            "metric": f"m.{attack}",
            "attributes": {"label": attack, attack[:60]: "x"},
            "timestamp": now,
            "value": 1.0,
        }
        for attack in ATTACKS
    ]
    lines += [{**line, "entity": f"host:{line['entity']}", "value": attack}
              for line, attack in zip(lines, ATTACKS, strict=True)]  # fmt: skip
    site.push(lines)
    hostile = f"thing:{ATTACKS[0]}"
    site.until(lambda: site.get("/api/v1/status")["entities"] > 6)
    one = look()
    page = one.go("/?kind=thing")
    page.evaluate(
        "window.reports = []; document.addEventListener('securitypolicyviolation',"
        " e => reports.push(e.violatedDirective))"
    )
    site.until(lambda: page.reload() and page.get_by_role("link", name=hostile, exact=True).count())
    page.get_by_role("link", name=hostile, exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(hostile)
    for path in ("/?group=label", "/quarantine", f"/decisions?entity={ATTACKS[0]}", "/audit"):
        page = one.go(path)
        page.wait_for_timeout(200)
    expect(page.locator("main img, main script, main svg[onload]")).to_have_count(0)
    assert one.wrong == []
