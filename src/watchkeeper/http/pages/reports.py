"""Reports: the last hours as a file to keep, made when asked for, and those that were scheduled."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.api.reports import FORMATS, kept, of_now, path_of
from watchkeeper.http.pages._render import page
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView

SHOWN = 200  # reports on the page; the API has all


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page of reports, and each of their files."""
    shown, read = _Page(view), Scope.STATUS_READ
    return [
        Endpoint("GET", "/reports", read, shown.page),
        Endpoint("GET", "/reports/now.{kind}", read, shown.now),
        Endpoint("GET", "/reports/{name}/{stamp}/{format}", read, shown.file),
    ]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def page(self, request: Request) -> Response:
        known(request)
        kinds = [(kind, about) for kind, (_, about) in FORMATS.items()]
        made = sorted(self.view.reports(), key=lambda one: (-one.until, one.name))
        rows = [
            (one, [(filed.kind, f"/{path_of(one, filed)}") for filed in one.files])
            for one in made[:SHOWN]
        ]
        more = len(made) - len(rows)
        return page(request, self.view, "reports.html.j2", kinds=kinds, made=rows, more=more)

    def now(self, request: Request) -> Response:
        known(request)
        if request.path_params["kind"] not in FORMATS:
            raise HTTPException(404, f"reports are made as {', '.join(FORMATS)}")
        return of_now(request, self.view, request.path_params["kind"])

    def file(self, request: Request) -> Response:
        return kept(request, self.view)
