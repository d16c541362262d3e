"""The pages: what is unhealthy and why, what was decided, done and refused, for people.

Each page is one file: a function from the view and a query to a template filled in. Pages work
without a script; with one they bring themselves up to date and draw charts to look into. A page
loads nothing from elsewhere, and its policy lets it do nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import tagged
from watchkeeper.http.pages import (
    audit,
    collectors,
    decisions,
    entity,
    guide,
    orders,
    overview,
    quarantine,
    reports,
    rulebook,
    status,
)
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.reports.html import STYLE

PARTS = (
    overview, entity, decisions, orders, collectors, quarantine, reports, rulebook, audit, status,
    guide,
)  # fmt: skip
KINDS = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
KINDS |= {"svg": "image/svg+xml"}
OURS = ("page.js", "charts.js", "page.css", "mark.svg")
FOLDER = files("watchkeeper.http").joinpath("static")


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return every page, and what they are drawn with."""
    return [*_drawn_with(), *(one for part in PARTS for one in part.endpoints(view))]


def _drawn_with() -> list[Endpoint]:
    vendored = json.loads(FOLDER.joinpath("vendor.json").read_text("utf-8"))
    names = [*OURS, *(one["file"] for one in vendored if not one["file"].endswith(".txt"))]
    bodies = {name: FOLDER.joinpath(name).read_bytes() for name in names}
    bodies["report.css"] = STYLE.encode()
    return [
        Endpoint("GET", f"/static/{name}", Scope.PUBLIC, _file(name, body))
        for name, body in bodies.items()
    ]


def _file(name: str, body: bytes) -> Callable[[Request], Response]:
    kind = KINDS[name.rpartition(".")[2]]

    def answer(request: Request) -> Response:
        return tagged(request, body, kind)

    return answer
