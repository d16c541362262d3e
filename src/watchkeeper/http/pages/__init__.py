"""The page: the same report that is kept as a file, made once for each new `Findings`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import tagged
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.reports import Findings
from watchkeeper.reports.html import Html, content_policy

LIVE = files("watchkeeper.http.pages").joinpath("live.js").read_bytes()
PAGE_POLICY = content_policy(script=True) + "; frame-ancestors 'none'"


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page, and what it is drawn with."""
    return [
        Endpoint("GET", "/", Scope.STATUS_READ, _Page(view).whole),
        Endpoint("GET", "/static/live.js", Scope.PUBLIC, _live),
    ]


@dataclass
class _Page:
    view: HouseView
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: tuple[Findings, bytes] | None = None

    def whole(self, request: Request) -> Response:
        findings = self.view.findings()
        with self.lock:  # one thread makes the page, the others wait for it
            if self.made is None or self.made[0] is not findings:
                self.made = (findings, Html(script="/static/live.js").render(findings))
            body = self.made[1]
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return tagged(request, body, "text/html; charset=utf-8", headers)


def _live(request: Request) -> Response:
    return tagged(request, LIVE, "text/javascript; charset=utf-8")
