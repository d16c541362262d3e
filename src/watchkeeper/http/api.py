"""The API under /api/v1: answers in Prometheus' envelope, paged with a cursor, tagged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known, limit_of, success
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.model import State
from watchkeeper.reports import Entity
from watchkeeper.reports.json import decision_document, entity_document


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return what the API answers."""
    api, read = _Api(view), Scope.STATUS_READ
    return [
        Endpoint("GET", "/api/v1/status", read, api.status),
        Endpoint("GET", "/api/v1/entities", read, api.entities),
        Endpoint("GET", "/api/v1/entities/{entity:path}", read, api.entity),
        Endpoint("GET", "/api/v1/decisions", read, api.decisions),
    ]


@dataclass(frozen=True, slots=True)
class _Api:
    """The endpoints over one view."""

    view: HouseView

    def status(self, request: Request) -> Response:
        known(request)
        return success(request, dict(self.view.status()))

    def entities(self, request: Request) -> Response:
        asked = known(request, "limit", "after", "state")
        limit, after, state = limit_of(asked), asked.get("after", ""), asked.get("state")
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
        return success(request, data)

    def entity(self, request: Request) -> Response:
        known(request)
        name = request.path_params["entity"]
        for entity in self.view.findings().entities:
            if entity.name == name:
                made = [decision_document(decision) for decision in entity.decisions]
                return success(request, entity_document(entity) | {"decisions": made})
        raise HTTPException(404, f"no entity {name!r}")

    def decisions(self, request: Request) -> Response:
        asked = known(request, "limit", "after", "entity")
        limit, after, entity = limit_of(asked), asked.get("after"), asked.get("entity")
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
        return success(request, data)


def _summary(entity: Entity) -> dict[str, Any]:
    whole = entity_document(entity)
    return {name: part for name, part in whole.items() if name not in {"incidents", "line"}}
