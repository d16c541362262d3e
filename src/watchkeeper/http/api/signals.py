"""Signals: what each series said last, what was expected of it, and how odd that is."""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known, limit_of, success
from watchkeeper.http.api.fleet import AMONG, NUMBER, PAGE, TIME, among, listed
from watchkeeper.http.table import Endpoint, Field, Says
from watchkeeper.http.view import HouseView
from watchkeeper.model import canonical
from watchkeeper.reports._words import rfc3339
from watchkeeper.shown import Heard

NUMBERS = ("value", "expected", "lower", "upper", "score")  # null while not known
SIGNAL = {
    "type": "object",
    "required": ["entity", "metric", "attributes", "time", *NUMBERS],
    "properties": {
        "entity": {"type": "string"},
        "metric": {"type": "string"},
        "attributes": {"type": "object", "additionalProperties": {"type": "string"}},
        "time": TIME,
        **dict.fromkeys(NUMBERS, NUMBER),
    },
}


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return what is asked of signals."""
    text = {"type": "string", "minLength": 1}
    fields = (
        Field("entity", "only its own, such as host:web-1", text),
        *AMONG,
        Field("metric", "only of this name", text),
        Field("score", "only at least so odd; 1 is the alarm threshold", {
            "type": "number", "minimum": 0, "maximum": 1e9}),
        *PAGE,
    )  # fmt: skip
    says = Says(
        "The newest sample of each signal that is kept in memory, with its band and score, by name",
        fields,
        listed("signals", SIGNAL),
    )
    api = _Api(view)
    return [Endpoint("GET", "/api/v1/signals", Scope.STATUS_READ, api.signals, says)]


@dataclass(frozen=True, slots=True)
class _Api:
    view: HouseView

    def signals(self, request: Request) -> Response:
        asked = known(request, "limit", "after", "entity", "label", "group", "metric", "score")
        limit, entity, metric = limit_of(asked), asked.get("entity"), asked.get("metric")
        least, wanted = _least(asked.get("score")), among(self.view, asked)
        found = [
            one
            for one in self.view.heard(entity)
            if metric in (None, one.metric)
            and wanted(one.entity)
            and (least is None or one.score >= least)
        ]
        after = asked.get("after")
        start = bisect_right(found, _place(after), key=_named) if after is not None else 0
        rest = found[start:]
        data = {
            "signals": [_document(one) for one in rest[:limit]],
            "total": len(found),
            "next": _cursor(rest[limit - 1]) if len(rest) > limit else None,
        }
        return success(request, data)


def _least(text: str | None) -> float | None:
    """Return the score that is asked for."""
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= 1e9:
        raise HTTPException(400, f"score: {text[:40]!r} is not a number from 0 to 1e9")
    return found


def _named(one: Heard) -> list[str]:
    return [one.entity, one.metric, one.attributes]


def _cursor(one: Heard) -> str:
    return urlsafe_b64encode(canonical(_named(one)).encode("utf-8", "replace")).decode()


def _place(text: str) -> list[str]:
    try:
        found = json.loads(urlsafe_b64decode(text.encode()))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) != 3 or {type(one) for one in found} != {str}:
        raise HTTPException(400, "after: this is no cursor of ours")
    return found


def _document(one: Heard) -> dict[str, Any]:
    return {
        "entity": one.entity,
        "metric": one.metric,
        "attributes": json.loads(one.attributes),
        "time": rfc3339(one.time),
        **{name: _finite(getattr(one, name)) for name in NUMBERS},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
