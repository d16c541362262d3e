"""The page, the API and the metrics of a running house.

Everything but the receivers' doors (`receive`) reads: a `HouseView` says what there is, and nothing
is changed through it. Answers of the API have Prometheus' envelope. The page is the same report
that is kept as a file, made once for each new `Findings` and served from memory.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchkeeper.http._guard import SAFE, Guard
from watchkeeper.model import State, canonical
from watchkeeper.reports import Entity, Findings
from watchkeeper.reports.html import Html, content_policy
from watchkeeper.reports.json import decision_document, entity_document

LIVE = files("watchkeeper.http").joinpath("live.js").read_bytes()
PAGE_POLICY = content_policy(script=True) + "; frame-ancestors 'none'"
LIMIT, LIMIT_MAX = 100, 1_000
ERRORS = {400: "bad_data", 404: "not_found", 405: "bad_method", 503: "unavailable"}


class HouseView(Protocol):
    """What a running house shows of itself. Called from several threads at once."""

    def findings(self) -> Findings:
        """Return the newest findings; the same object until there is a newer one."""

    def status(self) -> Mapping[str, Any]:
        """Return counts, versions and positions as canonical JSON can hold them."""

    def metrics(self) -> bytes:
        """Return our own metrics in Prometheus' text format 0.0.4."""

    def ready(self) -> tuple[bool, str]:
        """Return whether telemetry can be taken in now, and why in one line."""


def app(view: HouseView, hosts: Sequence[str] = (), doors: Sequence[Route] = ()) -> Starlette:
    """Return the ASGI application.

    :param doors: the routes through which telemetry is pushed (`http.receive`).

    :param hosts: names and addresses beside those of loopback under which this house may be
        asked; any other Host is turned away, which is what stops DNS rebinding.
    """
    shown = _Shown(view)
    routes: dict[str, Callable[[Request], Response]] = {
        "/": shown.page,
        "/static/live.js": _live,
        "/metrics": shown.metrics,
        "/api/v1/status": shown.status,
        "/api/v1/entities": shown.entities,
        "/api/v1/entities/{entity:path}": shown.entity,
        "/api/v1/decisions": shown.decisions,
        "/-/healthy": _healthy,
        "/livez": _healthy,
        "/healthz": _healthy,
        "/-/ready": shown.ready,
        "/readyz": shown.ready,
    }
    return Starlette(
        routes=[
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()),
            *doors,
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


@dataclass
class _Shown:
    """The endpoints over one view; each runs in a worker thread."""

    view: HouseView
    lock: threading.Lock = field(default_factory=threading.Lock)
    made: tuple[Findings, bytes] | None = None

    def page(self, request: Request) -> Response:
        findings = self.view.findings()
        with self.lock:  # one thread makes the page, the others wait for it
            if self.made is None or self.made[0] is not findings:
                self.made = (findings, Html(script="/static/live.js").render(findings))
            body = self.made[1]
        headers = {"Content-Security-Policy": PAGE_POLICY}
        return _tagged(request, body, "text/html; charset=utf-8", headers)

    def metrics(self, request: Request) -> Response:
        return Response(
            self.view.metrics(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    def ready(self, request: Request) -> Response:
        ready, why = self.view.ready()
        return _text(f"{why}\n", 200 if ready else 503)

    def status(self, request: Request) -> Response:
        _known(request)
        return _success(request, dict(self.view.status()))

    def entities(self, request: Request) -> Response:
        asked = _known(request, "limit", "after", "state")
        limit, after, state = _limit(asked), asked.get("after", ""), asked.get("state")
        if state is not None and state not in set(State):
            raise HTTPException(400, f"state: {state!r} is none of {', '.join(State)}")
        found = [
            entity
            for entity in sorted(self.view.findings().entities, key=lambda e: e.name)
            if state in (None, entity.state)
        ]
        rest = [entity for entity in found if entity.name > after]
        data = {
            "entities": [_summary(entity) for entity in rest[:limit]],
            "total": len(found),
            "next": rest[limit - 1].name if len(rest) > limit else None,
        }
        return _success(request, data)

    def entity(self, request: Request) -> Response:
        _known(request)
        name = request.path_params["entity"]
        for entity in self.view.findings().entities:
            if entity.name == name:
                made = [decision_document(decision) for decision in entity.decisions]
                return _success(request, entity_document(entity) | {"decisions": made})
        raise HTTPException(404, f"no entity {name!r}")

    def decisions(self, request: Request) -> Response:
        asked = _known(request, "limit", "after", "entity")
        limit, after, entity = _limit(asked), asked.get("after"), asked.get("entity")
        findings = self.view.findings()
        found = [d for d in findings.decisions if entity in (None, d.entity)]
        start = 0
        if after is not None:
            places = [place for place, d in enumerate(found) if d.key == after]
            if not places:
                raise HTTPException(400, "after: no such decision is kept here any more")
            start = places[0] + 1
        rest = found[start:]
        data = {
            "decisions": [decision_document(decision) for decision in rest[:limit]],
            "total": findings.decision_count,
            "next": rest[limit - 1].key if len(rest) > limit else None,
        }
        return _success(request, data)


def _live(request: Request) -> Response:
    return _tagged(request, LIVE, "text/javascript; charset=utf-8")


def _healthy(request: Request) -> Response:
    return _text("watchkeeper is up\n", 200)


def _summary(entity: Entity) -> dict[str, Any]:
    whole = entity_document(entity)
    return {name: part for name, part in whole.items() if name not in {"incidents", "line"}}


def _known(request: Request, *names: str) -> dict[str, str]:
    """Return the query; a parameter nobody knows would silently not filter."""
    asked = dict(request.query_params)
    for name in asked:
        if name not in names:
            allowed = ", ".join(names) or "none"
            raise HTTPException(400, f"unknown parameter {name!r}; known: {allowed}")
    return asked


def _limit(asked: Mapping[str, str]) -> int:
    text = asked.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise HTTPException(400, f"limit: {text!r} is not a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def _success(request: Request, data: Any) -> Response:
    body = canonical({"status": "success", "data": data}).encode("utf-8", "replace")
    return _tagged(request, body, "application/json")


def _tagged(
    request: Request, body: bytes, kind: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with an ETag, or with 304 when the client already has these bytes."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    all_headers = {
        "Content-Type": kind,
        "ETag": tag,
        "Cache-Control": "no-cache",
        **(headers or {}),
    }
    offered = request.headers.get("if-none-match", "")
    if tag in [part.strip().removeprefix("W/") for part in offered.split(",")]:
        return Response(status_code=304, headers=all_headers)
    return Response(body, headers=all_headers)


def _text(text: str, status: int) -> Response:
    return Response(text, status, {"Cache-Control": "no-store"}, "text/plain")


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, error.headers)


def _failed(request: Request, error: Exception) -> Response:
    """Say nothing of the inside; the server logs the error, which is raised on."""
    return _error(500, "watchkeeper made a mistake; its log says more", SAFE)


def _error(status: int, said: str, headers: Mapping[str, str] | None) -> Response:
    kind = ERRORS.get(status, "internal" if status >= 500 else "bad_data")
    body = canonical({"status": "error", "errorType": kind, "error": said})
    return Response(
        body.encode("utf-8", "replace"), status, dict(headers or {}), "application/json"
    )
