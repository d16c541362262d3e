"""Reports: of this moment, and those that were made by their schedule, each file as it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper import plugins
from watchkeeper.access import Scope
from watchkeeper.http.answers import known, limit_of, success, tagged
from watchkeeper.http.api.fleet import PAGE, TIME, listed
from watchkeeper.http.table import Endpoint, Field, Says
from watchkeeper.http.view import HouseView
from watchkeeper.reports._words import rfc3339
from watchkeeper.reports.html import content_policy
from watchkeeper.shown import Filed, Made

# A page that was made by another release has another style; its own policy, in it, names that.
MADE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
FORMATS: Mapping[str, tuple[str, str]] = {
    "html": ("text/html; charset=utf-8", "one self-contained page: to print, mail or keep"),
    "json": ("application/json", "the same for programs, in a versioned schema"),
    "text": ("text/plain; charset=utf-8", "the same for a terminal or a ticket"),
    "parquet": ("application/vnd.apache.parquet", "one row an entity, for tables and notebooks"),
}  # media type, what it is for
TEXT = {"type": "string", "minLength": 1}
REPORT = {
    "type": "object",
    "required": ["name", "stamp", "since", "until", "scope", "files"],
    "properties": {
        "name": TEXT,
        "stamp": {**TEXT, "description": "when it was due, as its path has it"},
        "since": TIME,
        "until": TIME,
        "scope": {"type": "string", "description": "entity or group; empty is the whole fleet"},
        "files": {"type": "array", "items": {
            "type": "object",
            "required": ["format", "size", "sha256", "path"],
            "properties": {
                "format": {"enum": [*FORMATS]},
                "size": {"type": "integer", "minimum": 0},
                "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                "path": TEXT,
            },
        }},
    },
}  # fmt: skip
LISTED = listed("reports", REPORT)
LISTED["required"] = [*LISTED["required"], "now"]
LISTED["properties"]["now"] = {"type": "array", "items": {"type": "string"}}


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return what is asked of reports."""
    api, read = _Api(view), Scope.STATUS_READ
    formats = Field("format", "json unless said", {"enum": [*FORMATS]})
    only = Field("name", "only those of one schedule", TEXT)
    path = (
        Field("name", "of its schedule", TEXT, "path"),
        Field("stamp", "when it was due", TEXT, "path"),
        Field("format", "one of its files", {"enum": [*FORMATS]}, "path"),
    )
    return [
        Endpoint("GET", "/api/v1/reports", read, api.reports, Says(
            "The reports that were made, by name, of each the newest first; and `now`, in which "
            "formats that of this moment can be had", (only, *PAGE), LISTED)),
        Endpoint("GET", "/api/v1/reports/now", read, api.now, Says(
            "The report of this moment", (formats,), None, None, "*/*")),
        Endpoint("GET", "/api/v1/reports/{name}/{stamp}/{format}", read, api.file, Says(
            "One file of a report that was made", path, None, None, "*/*")),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Api:
    view: HouseView

    def reports(self, request: Request) -> Response:
        asked = known(request, "limit", "after", "name")
        limit, after, name = limit_of(asked), asked.get("after"), asked.get("name")
        found = [one for one in self.view.reports() if name in (None, one.name)]
        start = 0
        if after is not None:
            places = [n for n, one in enumerate(found) if f"{one.name}/{one.stamp}" == after]
            if not places:
                raise HTTPException(400, "after: no such report is kept any more")
            start = places[0] + 1
        rest = found[start:]
        last = rest[limit - 1] if len(rest) > limit else None
        data = {
            "now": [*FORMATS],
            "reports": [_document(one) for one in rest[:limit]],
            "total": len(found),
            "next": f"{last.name}/{last.stamp}" if last is not None else None,
        }
        return success(request, data)

    def now(self, request: Request) -> Response:
        return of_now(request, self.view, known(request, "format").get("format", "json"))

    def file(self, request: Request) -> Response:
        return kept(request, self.view)


def of_now(request: Request, view: HouseView, wanted: str) -> Response:
    """Answer with the report of this moment, in one format."""
    if wanted not in FORMATS:
        raise HTTPException(400, f"format: {wanted!r} is none of {', '.join(FORMATS)}")
    report = plugins.load("reports", wanted)()
    return _file(request, report.render(view.findings()), wanted, report.file, content_policy())


def kept(request: Request, view: HouseView) -> Response:
    """Answer with one file of a report that was made: the one that the path names."""
    known(request)
    name, stamp, wanted = (request.path_params[part] for part in ("name", "stamp", "format"))
    for made in view.reports():
        for filed in made.files if (made.name, made.stamp) == (name, stamp) else ():
            if filed.kind == wanted and (body := view.report(made, filed)) is not None:
                return _file(request, body, wanted, f"{name}-{stamp}-{filed.file}", MADE)
    raise HTTPException(404, "no such report, or it is kept no more")


def path_of(made: Made, filed: Filed) -> str:
    """Return the end of the path of one file of a report."""
    return f"reports/{made.name}/{made.stamp}/{filed.kind}"


def _file(request: Request, body: bytes, wanted: str, file: str, policy: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    if wanted == "html":
        headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}
    return tagged(request, body, FORMATS[wanted][0], headers)


def _document(made: Made) -> dict[str, Any]:
    return {
        "name": made.name,
        "stamp": made.stamp,
        "since": rfc3339(made.since),
        "until": rfc3339(made.until),
        "scope": made.scope,
        "files": [
            {
                "format": one.kind,
                "size": one.size,
                "sha256": one.sha256,
                "path": f"/api/v1/{path_of(made, one)}",
            }
            for one in made.files
        ],
    }
