"""How Watchkeeper itself is: what flows, what waits, how far it has concluded, what is switched."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import page
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page about the house itself."""
    return [Endpoint("GET", "/status", Scope.STATUS_READ, _Page(view).page)]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def page(self, request: Request) -> Response:
        known(request)
        ready, reason = self.view.ready()
        fleet = self.view.fleet()
        return page(
            request,
            self.view,
            "status.html.j2",
            ready=ready,
            reason=reason,
            said=self.view.status(),
            flags=sorted(self.view.flags(), key=lambda one: str(one["flag"])),
            fleet=fleet,
            late=max(0, self.view.now() - fleet.tick) if fleet.tick else None,
        )
