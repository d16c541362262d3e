"""How answers are written: the envelope of the API, tags, refusals; and how a query is read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.errors import (
    AccessError,
    Forbidden,
    RequestError,
    StoreError,
    TooLarge,
    TooManyFailures,
    Unauthenticated,
)
from watchkeeper.http._guard import SAFE
from watchkeeper.model import Millis, canonical

LIMIT, LIMIT_MAX = 100, 1_000
BODY_MAX = 16 << 10
ERRORS = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "bad_method",
    409: "conflict",
    413: "too_large",
    415: "bad_data",
    429: "too_many_requests",
    503: "unavailable",
}
LET_IN = {Unauthenticated: 401, Forbidden: 403, TooManyFailures: 429}
SIGN_IN = "/sign-in"


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


def moment_of(asked: Mapping[str, str], name: str, otherwise: Millis) -> Millis:
    """Return a time that is asked for, RFC 3339 or seconds since 1970."""
    said = asked.get(name)
    if said is None:
        return otherwise
    try:
        if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", said):
            return Millis(int(float(said) * 1000))
        # A plus sign in a query that was not quoted has become a space.
        found = datetime.fromisoformat(said.replace(" ", "+"))
        if found.tzinfo is None:
            raise ValueError
        return Millis(max(0, int(found.timestamp() * 1000)))
    except (ValueError, OverflowError):
        hint = "is no time such as 2026-11-20T03:12:00Z"
        raise HTTPException(400, f"{name}: {said[:40]!r} {hint}") from None


async def body_of(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
    """Return a small JSON object of known fields, each of its type or null."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            raise HTTPException(413, f"at most {BODY_MAX} bytes are read")
    try:
        told = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is no JSON") from None
    if not isinstance(told, dict):
        raise HTTPException(400, "the body is no JSON object")
    for name, value in told.items():
        kind = fields.get(name)
        if kind is None:
            raise HTTPException(400, f"unknown field {name[:40]!r}; known: {', '.join(fields)}")
        if value is not None and type(value) is not kind:
            raise HTTPException(400, f"{name}: not of type {kind.__name__}")
    return told


def success(request: Request, data: Any, status: int = 200) -> Response:
    """Answer in Prometheus' envelope; what was just made is not kept by anybody's cache."""
    body = canonical({"status": "success", "data": data}).encode("utf-8", "replace")
    if request.method not in ("GET", "HEAD"):
        headers = {"Cache-Control": "no-store"}
        return Response(body, status, headers, "application/json")
    return tagged(request, body, "application/json")


def tag_of(body: bytes) -> str:
    """Return the ETag of an answer."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tagged(
    request: Request,
    body: bytes,
    kind: str,
    headers: Mapping[str, str] | None = None,
    tag: str = "",
) -> Response:
    """Answer with an ETag, or with 304 when the client already has these bytes.

    :param tag: theirs, where it is known.
    """
    tag = tag or tag_of(body)
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


def not_let_in(request: Request, error: Exception) -> Response:
    """Answer one who is not let in; a person at a page is shown where to sign in."""
    assert isinstance(error, AccessError)
    status = next((code for kind, code in LET_IN.items() if isinstance(error, kind)), 400)
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, TooManyFailures):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if status == 401:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            to = f"{SIGN_IN}?next={quote(target, safe='')}"
            if request.headers.get("hx-request") == "true":  # an open page; it goes there whole
                return Response(status_code=204, headers={**headers, "HX-Redirect": to})
            return Response(status_code=303, headers={**headers, "Location": to})
        headers["WWW-Authenticate"] = 'Bearer realm="watchkeeper"'
    return _error(status, str(error.args[0]), headers)


def not_stored(request: Request, error: Exception) -> Response:
    """Answer when something cannot be written: then it is not done either."""
    assert isinstance(error, StoreError)
    return _error(503, "this cannot be written down now, so it was not done", {"Retry-After": "2"})


def malformed(request: Request, error: Exception) -> Response:
    """Answer a request whose body is not what it should be."""
    assert isinstance(error, RequestError)
    return _error(413 if isinstance(error, TooLarge) else 400, str(error.args[0]), None)


def failed(request: Request, error: Exception) -> Response:
    """Say nothing of the inside; the server logs the error, which is raised on."""
    return _error(500, "watchkeeper made a mistake; its log says more", SAFE)


def _error(status: int, said: str, headers: Mapping[str, str] | None) -> Response:
    kind = ERRORS.get(status, "internal" if status >= 500 else "bad_data")
    body = canonical({"status": "error", "errorType": kind, "error": said})
    return Response(
        body.encode("utf-8", "replace"), status, dict(headers or {}), "application/json"
    )
