"""The rulebook: contracts, detectors, health model and policies in force, with their digests."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import page
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.policies import digest, document


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page of the rulebook."""
    return [Endpoint("GET", "/rulebook", Scope.STATUS_READ, _Page(view).page)]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def page(self, request: Request) -> Response:
        known(request)
        rulebook = self.view.rulebook
        models = rulebook.models()
        return page(
            request,
            self.view,
            "rulebook.html.j2",
            rulebook=rulebook,
            models=models,
            contracts=list(zip(rulebook.contracts, models["contracts"], strict=True)),
            policies=[(one, document(one), digest(one)) for one in rulebook.policies],
        )
