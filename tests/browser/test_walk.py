"""What a person does at the pages, in Chromium, on a house that runs with a fault in its fleet."""

import re
import signal
import time

import pytest
from playwright.sync_api import expect
from tests.browser.site import PASSWORD, SICK


def first_fired(page):
    fired = page.locator("tr", has_text="host-failing").filter(has_text="firing").first
    return fired.get_by_role("link", name="Trace")


def tab_to(page, wanted):
    """Press Tab until what is wanted has the focus, as one without a mouse does."""
    wanted.wait_for()
    for _ in range(150):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


def sign_in(page, name, password=PASSWORD):
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


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
    expect(page.get_by_role("link", name="Runbook").first).to_be_visible()
    expect(page.locator(".standings")).to_contain_text("does not hold")

    first_fired(page).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("host-failing: firing")
    expect(page.locator("tr", has_text='state == "fail"')).to_contain_text("yes")
    expect(page.locator("tr", has_text="blast radius")).to_contain_text("passes")

    page.locator("ul.orders a").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Order to pager")
    attempts = page.locator("section", has_text="Deliveries").locator("tbody tr")
    expect(attempts.first).to_contain_text("HTTP")
    expect(attempts.last).to_contain_text("done")  # the page brings itself up to date
    assert any(one["entity"] == SICK for one in site.sink.taken)


def test_the_same_without_a_mouse(look, paths):
    page = look().go("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    for landmark in ("banner", "navigation", "main", "contentinfo", "search"):
        expect(page.get_by_role(landmark)).to_have_count(1)

    for wanted, then in (
        (page.locator("table.fleet tbody tr").first.get_by_role("link"), SICK),
        (first_fired(page), "host-failing: firing"),
        (page.locator("ul.orders a").first, "Order to pager"),
    ):
        tab_to(page, wanted)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(then)


def test_a_fleet_is_filtered_as_one_types_and_the_address_says_so(look):
    page = look().go("/")
    box = page.get_by_label("Name")
    box.press_sequentially("web-5")
    rows = page.locator("table.fleet tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("host:web-5")
    expect(box).to_be_focused()
    page.wait_for_url("**text=web-5*")
    page.reload()
    expect(rows).to_have_count(1)
    rows.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("host:web-5")
    page.go_back()
    expect(page.get_by_label("Name")).to_have_value("web-5")
    expect(rows).to_have_count(1)
    page.get_by_role("combobox", name="State").select_option("unknown")
    expect(page.get_by_role("heading", name="No entity fits")).to_be_visible()


def test_a_page_is_told_what_changed_and_leaves_the_reader_alone(look, site):
    """Nobody loads the page again; the house tells it (server-sent events)."""
    page = look().go("/entities/host:web-6")
    expect(page.locator("html")).to_have_attribute("data-live", "yes")
    figure = page.locator(".verdict .figure")
    expect(figure).to_contain_text("ok")
    fold = page.locator(".standings details").first
    fold.locator("summary").click()
    fold.locator("summary").focus()
    page.evaluate("window.kept = document.getElementById('chart-health')")

    def told():
        full = {"metric": "system.filesystem.utilization", "value": 0.999}
        root = {"system.filesystem.mountpoint": "/"}
        site.push([{**full, "entity": "host:web-6", "attributes": root, "timestamp": time.time()}])
        return "ok" not in figure.inner_text()

    site.until(told)
    expect(page.locator("ol.why li").first).to_contain_text("system.filesystem.utilization")
    expect(fold).to_have_attribute("open", "")
    expect(fold.locator("summary")).to_be_focused()
    assert page.evaluate("kept === document.getElementById('chart-health')")
    expect(page.locator("#chart-health canvas")).to_be_visible()
    expect(figure).to_contain_text("ok")  # the next sample of its own is as ever


def test_old_health_does_not_look_like_present_health(look):
    page = look().go("/")
    page.route("**/*", lambda route: route.abort())
    page.evaluate("htmx.trigger('#live', 'refresh')")
    expect(page.get_by_role("alert")).to_contain_text("lost its connection")
    page.unroute("**/*")
    page.evaluate("htmx.trigger('#live', 'refresh')")
    expect(page.locator("#stale")).to_be_hidden()


def test_a_page_that_is_told_nothing_looks_by_itself(look):
    one = look()
    one.page.route("**/api/v1/events*", lambda route: route.fulfill(status=503))
    page = one.go("/")
    with page.expect_response(lambda answer: answer.url == site_root(one)):
        pass
    assert page.evaluate("document.documentElement.dataset.live") is None


def site_root(one):
    return one.site.address + "/"


def test_every_page_without_a_script_says_the_same(look, paths):
    page = look(java_script_enabled=False).page
    address = look().site.address
    page.goto(address + paths["entity"])
    expect(page.locator("#chart-health svg")).to_be_visible()
    page.goto(address + "/?text=web-5")
    expect(page.locator("table.fleet tbody tr")).to_have_count(1)


def test_a_viewer_is_refused_what_an_operator_may(look, site):
    ahead = {"entity": "host:ahead", "metric": "system.cpu.utilization", "value": 0.2}
    site.push([{**ahead, "timestamp": time.time() + 603}])
    page = look().go("/quarantine")
    expect(page.get_by_role("cell", name="in the future").first).to_be_visible()
    replay = page.get_by_role("button", name="Replay")
    expect(replay).to_have_count(0)

    page.get_by_role("banner").get_by_role("link", name="Sign in").click()
    sign_in(page, "vic", "a wrong password")
    expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    sign_in(page, "vic")
    expect(page.get_by_role("banner")).to_contain_text("vic, viewer")
    expect(page.get_by_role("heading", level=1)).to_have_text("Quarantine")
    expect(replay).to_have_count(0)
    page.evaluate("""() => {
        const form = document.querySelector("form.who");
        form.action = "/quarantine/replay";
        form.submit();
    }""")
    expect(page.get_by_role("heading", level=1)).to_have_text("You may not do this")

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    sign_in(page, "ann")
    expect(page.get_by_role("banner")).to_contain_text("ann, operator")
    page.get_by_role("link", name="Quarantine").click()

    page.get_by_role("button", name="Replay samples that were in the future").click()
    expect(page.get_by_role("status")).to_contain_text("0 of 1 samples passed")
    names = {one["entity"] for one in site.get("/api/v1/entities")["entities"]}
    assert "host:ahead" not in names  # it was too early when it came, and stays so
    (cookie,) = look_cookies(page)
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert look_cookies(page) == []


@pytest.fixture
def pumps(site):
    """A contract that can be mended while the house runs; it is as before when the test ends."""

    def may(high):
        before = site.get("/api/v1/status")["rulebook"]
        site.pumps_may(high)
        site.process.send_signal(signal.SIGHUP)
        site.until(lambda: site.get("/api/v1/status")["rulebook"] != before)

    yield may
    may(1)


def test_a_sample_that_was_refused_is_taken_once_the_contract_is_mended(look, site, pumps):
    flow = {"entity": "pump:a", "metric": "flow", "value": 5.0}
    site.push([{**flow, "timestamp": time.time() - second} for second in range(3)])
    page = look().go("/sign-in?next=/quarantine")
    sign_in(page, "ann")
    sample = page.locator("tr", has_text="pump:a").first
    expect(sample).to_contain_text("above bound")
    expect(sample).to_contain_text("value <= 1")
    expect(page.locator("tr", has_text="widen the contract and replay").first).to_be_visible()
    replay = page.get_by_role("button", name="Replay samples that were above bound")
    replay.click()
    expect(page.get_by_role("status")).to_contain_text(re.compile(r"\b0 of \d+ samples passed"))

    pumps(100)
    page.goto(site.address + "/quarantine")
    replay.click()
    told = page.get_by_role("status")
    expect(told).to_contain_text(re.compile(r"\b(\d+) of \1 samples passed and are scored"))
    expect(told).to_contain_text("the record of what was refused")

    (signal_,) = site.until(lambda: site.get("/api/v1/signals?entity=pump:a")["signals"])
    assert signal_["value"] == 5.0
    site.until(lambda: page.goto(site.address + "/entities/pump:a").status == 200)
    page.get_by_text("All 1 signal with").click()
    expect(page.get_by_role("region", name="All signals")).to_contain_text("flow")
    page.get_by_role("button", name="Sign out").click()


def look_cookies(page):
    return [one for one in page.context.cookies() if one["name"] == "wk_session"]
