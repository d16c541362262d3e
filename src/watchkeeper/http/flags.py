"""Feature flags over the API: what is on, and switching one."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from watchkeeper.access import Asker, Scope
from watchkeeper.errors import StoreError
from watchkeeper.http.answers import known, success
from watchkeeper.http.table import Endpoint, Field, Says
from watchkeeper.http.view import HouseView

BODY_MAX, REASON_MAX = 4_096, 500
NAMED = Field("flag", "such as source.scrape", {"type": "string", "minLength": 1}, "path")
BODY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["on", "reason"],
    "properties": {
        "on": {"type": "boolean"},
        "reason": {"type": "string", "minLength": 1, "maxLength": REASON_MAX},
    },
}


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return what can be asked about flags."""
    flags = _Flags(view)
    return [
        Endpoint("GET", "/api/v1/flags", Scope.STATUS_READ, flags.listed, Says(
            "Every feature flag, and who said so")),
        Endpoint("PUT", "/api/v1/flags/{flag}", Scope.FLAGS_WRITE, flags, Says(
            "Switch a feature flag", (NAMED,), body=BODY)),
    ]  # fmt: skip


class _Flags:
    def __init__(self, view: HouseView) -> None:
        self._view = view

    def listed(self, request: Request) -> Response:
        known(request)
        return success(request, {"flags": [dict(one) for one in self._view.flags()]})

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        known(request)
        on, reason = _read(request, await _body(request))
        name = request.path_params["flag"]
        asker: Asker = scope["asker"]
        try:
            await run_in_threadpool(self._view.flip, name, on, asker.name, reason)
        except KeyError:
            raise HTTPException(404, f"no flag {name!r} switches anything here") from None
        except StoreError as error:
            raise HTTPException(503, str(error)) from None
        await success(request, {"flag": name, "on": on})(scope, receive, send)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_MAX:
            raise HTTPException(413, f"more than {BODY_MAX} bytes")
    return body


def _read(request: Request, body: bytes) -> tuple[bool, str]:
    """Return whether to switch on, and why."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send application/json")  # which no form of a stranger's page can
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    on = said.get("on") if isinstance(said, dict) else None
    reason = said.get("reason") if isinstance(said, dict) else None
    if not isinstance(on, bool) or not isinstance(reason, str) or len(said) != 2:
        raise HTTPException(400, 'send {"on": true or false, "reason": "why"}')
    if not reason.strip() or len(reason) > REASON_MAX:
        raise HTTPException(400, f"reason: 1 to {REASON_MAX} characters")
    return on, reason.strip()
