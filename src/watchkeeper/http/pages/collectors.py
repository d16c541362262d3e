"""Collectors: who is asked, how their breakers stand, and what they last complained of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import page
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView

TARGETS = 500
MEANING = {
    "closed": "asked every round",
    "open": "left alone for a while after repeated failures",
    "half_open": "on trial: asked once",
}


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page of collectors."""
    return [Endpoint("GET", "/collectors", Scope.STATUS_READ, _Page(view).page)]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def page(self, request: Request) -> Response:
        known(request)
        status = self.view.status()
        targets = [(source, one) for source, states in status["targets"].items() for one in states]
        targets.sort(key=_worst_first)
        return page(
            request,
            self.view,
            "collectors.html.j2",
            sources=sorted(status["sources"].items()),
            targets=targets[:TARGETS],
            count=len(targets),
            requests=_requests(status["requests"]),
            meaning=MEANING,
        )


def _worst_first(target: tuple[str, dict[str, Any]]) -> tuple[bool, int, str]:
    one = target[1]
    return one["state"] == "closed", -one["failures"], one["name"]


def _requests(counts: dict[str, int]) -> list[tuple[str, str, int]]:
    return [(*name.split(": ", 1), count) for name, count in sorted(counts.items())]  # type: ignore[misc]
