"""Chromium, and houses to look at."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright
from tests.browser.site import SICK, Site

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]
SCREENS = Path(__file__).parents[2] / "out" / "screens"


@pytest.fixture(scope="module")
def chromium():
    """A browser. With it an event loop runs in this thread: no other test may meet it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


MINDS = """addEventListener("securitypolicyviolation", (event) => {
    console.error("policy: " + event.violatedDirective);
})"""
PATIENCE = 90_000  # ms until what is waited for is held to be missing
EXPECTED = r"status of (400|401|403|404|503)|ERR_FAILED|Failed to fetch|ERR_INCOMPLETE_CHUNKED"
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="package")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="package")
def paths(site):
    """Every kind of page, by a name for its picture."""
    decisions = site.until(lambda: site.get("/api/v1/decisions?entity=" + SICK)["decisions"])
    fired = next(one for one in decisions if one["outcome"] == "ordered")
    site.until(lambda: site.sink.taken)
    order = site.get(f"/api/v1/decisions/{fired['key']}")["orders"][0]
    return {
        "fleet": "/",
        "fleet-filtered": "/?state=fail",
        "fleet-nobody": "/?text=nobody",
        "entity": f"/entities/{SICK}",
        "entity-well": "/entities/host:web-1",
        "decisions": "/decisions",
        "decision": f"/decisions/{fired['key']}",
        "orders": "/orders",
        "order": f"/orders/{order}",
        "collectors": "/collectors",
        "quarantine": "/quarantine",
        "reports": "/reports",
        "report": "/reports/now.html",
        "rulebook": "/rulebook",
        "audit": "/audit",
        "status": "/status",
        "guide": "/guide",
        "runbook": "/guide/policies#host-failing",
        "sign-in": "/sign-in",
        "missing": "/entities/host:nobody",
        "refused": "/?colour=red",
    }


class Look:
    """One page of a browser that minds everything a reader would not see."""

    def __init__(self, chromium, site, **how):
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        self.page, self.site, self.wrong = self.context.new_page(), site, []
        self.page.set_default_timeout(PATIENCE)
        self.page.add_init_script(MINDS)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("console", self._said)

    def go(self, path):
        """Open a page and wait until its charts are drawn."""
        self.page.goto(self.site.address + path, wait_until="load")
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('[data-chart]')]"
            ".every(figure => figure.querySelector('canvas'))"
        )
        return self.page

    def _dialog(self, dialog):
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _said(self, message):
        if message.type in ("error", "warning") and not re.search(EXPECTED, message.text):
            self.wrong.append(f"console: {message.text}")


@pytest.fixture
def look(chromium, site):
    opened = []

    def begin(**how):
        opened.append(Look(chromium, site, **how))
        return opened[-1]

    yield begin
    for one in opened:
        one.context.close()
        assert one.wrong == []
