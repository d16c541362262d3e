"""Reports: the last hours as a file to keep, in each format, made when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper import plugins
from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import page
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.reports.html import content_policy

KINDS = {
    "html": ("text/html; charset=utf-8", "one self-contained page: to print, mail or keep"),
    "json": ("application/json", "the same for programs, in a versioned schema"),
    "text": ("text/plain; charset=utf-8", "the same for a terminal or a ticket"),
}


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page of reports, and each format."""
    shown = _Page(view)
    return [
        Endpoint("GET", "/reports", Scope.STATUS_READ, shown.page),
        Endpoint("GET", "/reports/now.{kind}", Scope.STATUS_READ, shown.file),
    ]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def page(self, request: Request) -> Response:
        known(request)
        kinds = [(kind, about) for kind, (_, about) in KINDS.items()]
        return page(request, self.view, "reports.html.j2", kinds=kinds)

    def file(self, request: Request) -> Response:
        known(request)
        kind = request.path_params["kind"]
        if kind not in KINDS:
            raise HTTPException(404, f"reports are made as {', '.join(KINDS)}")
        report = plugins.load("reports", kind)()
        headers = {"Content-Type": KINDS[kind][0], "Cache-Control": "no-store"}
        if kind == "html":
            headers["Content-Security-Policy"] = content_policy() + "; frame-ancestors 'none'"
        else:
            headers["Content-Disposition"] = f'attachment; filename="{report.file}"'
        return Response(report.render(self.view.findings()), headers=headers)
