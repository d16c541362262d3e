"""How answers are written: the envelope of the API, tags, refusals; and how a query is read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.http._guard import SAFE
from watchkeeper.model import canonical

LIMIT, LIMIT_MAX = 100, 1_000
ERRORS = {400: "bad_data", 404: "not_found", 405: "bad_method", 503: "unavailable"}


def known(request: Request, *names: str) -> dict[str, str]:
    """Return the query; a parameter nobody knows would silently not filter."""
    asked = dict(request.query_params)
    for name in asked:
        if name not in names:
            allowed = ", ".join(names) or "none"
            raise HTTPException(400, f"unknown parameter {name!r}; known: {allowed}")
    return asked


def limit_of(asked: Mapping[str, str]) -> int:
    """Return how many rows are asked for."""
    text = asked.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise HTTPException(400, f"limit: {text!r} is not a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def success(request: Request, data: Any) -> Response:
    """Answer in Prometheus' envelope."""
    body = canonical({"status": "success", "data": data}).encode("utf-8", "replace")
    return tagged(request, body, "application/json")


def tagged(
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


def text(said: str, status: int = 200) -> Response:
    """Answer with a line that is true now only."""
    return Response(said, status, {"Cache-Control": "no-store"}, "text/plain")


def refused(request: Request, error: Exception) -> Response:
    """Answer an HTTPException in the envelope of the API."""
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, error.headers)


def failed(request: Request, error: Exception) -> Response:
    """Say nothing of the inside; the server logs the error, which is raised on."""
    return _error(500, "watchkeeper made a mistake; its log says more", SAFE)


def _error(status: int, said: str, headers: Mapping[str, str] | None) -> Response:
    kind = ERRORS.get(status, "internal" if status >= 500 else "bad_data")
    body = canonical({"status": "error", "errorType": kind, "error": said})
    return Response(
        body.encode("utf-8", "replace"), status, dict(headers or {}), "application/json"
    )
