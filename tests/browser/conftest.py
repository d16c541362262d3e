"""Chromium, and houses to look at."""

from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from tests.browser.site import Site

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


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    with Site(tmp_path_factory.mktemp("site")) as running:
        yield running


class Look:
    """One page of a browser that minds everything a reader would not see."""

    def __init__(self, chromium, site, **how):
        self.context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        self.page, self.site, self.wrong = self.context.new_page(), site, []
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("console", self._said)

    def go(self, path):
        """Open a page and wait until its charts are drawn."""
        answer = self.page.goto(self.site.address + path, wait_until="load")
        assert answer.ok, f"{path}: {answer.status}"
        self.page.wait_for_function(
            "[...document.querySelectorAll('[data-chart]')].every(f => f.querySelector('canvas'))"
        )
        return self.page

    def _dialog(self, dialog):
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _said(self, message):
        if message.type in ("error", "warning"):
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
