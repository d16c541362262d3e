"""How the fleet is: status, entities, their history, decisions, and what judged them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import (
    LIMIT,
    LIMIT_MAX,
    known,
    limit_of,
    moment_of,
    success,
)
from watchkeeper.http.table import Endpoint, Field, Says
from watchkeeper.http.view import HouseView
from watchkeeper.model import Assessed, Decision, Millis, State
from watchkeeper.reports import Entity
from watchkeeper.reports._words import rfc3339
from watchkeeper.reports.json import decision_document, entity_document
from watchkeeper.shown import kind as kind_of

HISTORY = Millis(24 * 3_600_000)  # shown when no time is given
HISTORY_MAX = 10_000  # assessments in one answer
WORST_FIRST = (State.FAIL, State.WARN, State.UNKNOWN, State.OK)
TIME = {"type": "string", "format": "date-time"}
NUMBER = {"type": ["number", "null"]}
PAGE = (
    Field("limit", f"how many; {LIMIT} unless said", {
        "type": "integer", "minimum": 1, "maximum": LIMIT_MAX}),
    Field("after", "the `next` of the page before"),
)  # fmt: skip
AMONG = (
    Field("label", "only entities with a series that has it: rack=r7, or rack for any value", {
        "type": "string", "minLength": 1}),
    Field("group", "only entities of this type (host), or with this label (rack=r7)", {
        "type": "string", "minLength": 1}),
)  # fmt: skip
NAMED = Field("entity", "such as host:web-1", {"type": "string", "minLength": 1}, "path")
SPAN = (
    Field("since", "RFC 3339; a day before `until` unless said", TIME),
    Field("until", "RFC 3339; now unless said", TIME),
)


def listed(name: str, item: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON Schema of one page of things."""
    return {
        "type": "object",
        "required": [name, "next"],
        "properties": {
            name: {"type": "array", "items": item or {"type": "object"}},
            "next": {"type": ["string", "null"]},
            "total": {"type": "integer", "minimum": 0},
        },
    }


ASSESSED = {
    "type": "object",
    "required": ["entity", "time", "state", "health", "coverage", "score", "contributions"],
    "properties": {
        "entity": {"type": "string"},
        "time": TIME,
        "state": {"enum": [str(state) for state in State]},
        "health": NUMBER,
        "coverage": {"type": "number"},
        "score": {"type": "number"},
        "contributions": {"type": "array", "items": {"type": "object"}},
    },
}


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return what is asked of the fleet."""
    api, read = _Api(view), Scope.STATUS_READ
    states = Field("state", "only those in it", {"enum": [str(state) for state in State]})
    kinds = Field("type", "only those of one type, such as host")
    order = Field("sort", "by name, or worst first", {"enum": ["name", "worst"]})
    of = Field("entity", "such as host:web-1", {"type": "string", "minLength": 1})
    key = Field("key", "of the decision", {"type": "string", "minLength": 1}, "path")
    rows: Sequence[tuple[str, Any, Says]] = (
        ("status", api.status, Says("Positions, counts, versions")),
        ("entities", api.entities, Says(
            "Entities, one page", (states, kinds, *AMONG, order, *PAGE), listed("entities"))),
        ("entities/{entity:name}", api.entity, Says("One entity, with its incidents", (NAMED,))),
        ("history", api.history, Says(
            "The kept assessments of one entity, oldest first", (of, *SPAN),
            listed("history", ASSESSED))),
        ("decisions", api.decisions, Says(
            "Decisions with their traces, newest first", (of, *PAGE), listed("decisions"))),
        ("decisions/{key:name}", api.decision, Says(
            "One decision, with its trace and what it owes", (key,))),
        ("collectors", api.collectors, Says("Sources, and the breakers of their targets")),
        ("models", api.models, Says("What judges: names, versions, digests of parameters")),
    )  # fmt: skip
    return [Endpoint("GET", f"/api/v1/{path}", read, do, says) for path, do, says in rows]


@dataclass(frozen=True, slots=True)
class _Api:
    """The endpoints over one view."""

    view: HouseView

    def status(self, request: Request) -> Response:
        known(request)
        return success(request, dict(self.view.status()))

    def entities(self, request: Request) -> Response:
        asked = known(request, "limit", "after", "state", "type", "label", "group", "sort")
        limit, after, state = limit_of(asked), asked.get("after", ""), asked.get("state")
        kind, sort = asked.get("type"), asked.get("sort", "name")
        if state is not None and state not in set(State):
            raise HTTPException(400, f"state: {state!r} is none of {', '.join(State)}")
        if sort not in ("name", "worst"):
            raise HTTPException(400, f"sort: {sort!r} is none of name, worst")
        wanted = among(self.view, asked)
        order = _by_name if sort == "name" else _by_trouble
        found = [
            entity
            for entity in sorted(self.view.findings().entities, key=order)
            if state in (None, entity.state)
            and kind in (None, kind_of(entity.name))
            and wanted(entity.name)
        ]
        if sort == "name":
            rest = [entity for entity in found if entity.name > after]
        else:
            rest = _behind(found, after)
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

    def history(self, request: Request) -> Response:
        asked = known(request, "entity", "since", "until")
        if not asked.get("entity"):
            raise HTTPException(400, "entity: which one?")
        until = moment_of(asked, "until", self.view.now())
        since = moment_of(asked, "since", Millis(max(0, until - HISTORY)))
        found = self.view.ledger.history(asked["entity"], since, until)
        more = len(found) > HISTORY_MAX
        shown = found[:HISTORY_MAX]
        data = {
            "history": [assessed_document(one) for one in shown],
            "next": rfc3339(shown[-1].time + 1) if more else None,
        }
        return success(request, data)

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

    def decision(self, request: Request) -> Response:
        known(request)
        key = request.path_params["key"]
        found: Decision | None = self.view.ledger.decision(key)
        if found is None:
            raise HTTPException(404, f"no decision {key!r}")
        orders = [order.key for order in self.view.ledger.orders_of(key)]
        return success(request, decision_document(found) | {"orders": orders})

    def collectors(self, request: Request) -> Response:
        known(request)
        status = self.view.status()
        sources, targets = status.get("sources", {}), status.get("targets", {})
        rows = [
            {"name": name, "state": said, "targets": list(targets.get(name, ()))}
            for name, said in sorted(sources.items())
        ]
        return success(request, {"collectors": rows})

    def models(self, request: Request) -> Response:
        known(request)
        rulebook = self.view.rulebook
        return success(request, {"rulebook": rulebook.digest, **rulebook.models()})


def among(view: HouseView, asked: Mapping[str, str]) -> Callable[[str], bool]:
    """Return whether an entity has the label and is in the group that are asked for."""
    label, group = asked.get("label"), asked.get("group")
    sets = [view.labelled(one) for one in (label, group) if one and (one is label or "=" in one)]
    kind = group if group and "=" not in group else None
    return lambda entity: kind in (None, kind_of(entity)) and all(entity in one for one in sets)


def assessed_document(one: Assessed) -> dict[str, Any]:
    """Return an assessment as the API and the events tell it."""
    shares = [
        {"metric": part.metric, "attributes": part.attributes, "share": part.share}
        for part in one.contributions
    ]
    return {
        "entity": one.entity,
        "time": rfc3339(one.time),
        "state": str(one.state),
        "health": one.health,
        "coverage": one.coverage,
        "score": one.score,
        "contributions": shares,
    }


def _by_name(entity: Entity) -> Any:
    return entity.name


def _by_trouble(entity: Entity) -> Any:
    health = 101.0 if entity.health is None else entity.health
    return WORST_FIRST.index(entity.state), health, entity.name


def _behind(found: list[Entity], after: str) -> list[Entity]:
    """Return what comes after a name; from the beginning when it is no longer there."""
    names = [entity.name for entity in found]
    return found[names.index(after) + 1 :] if after in names else found


def _summary(entity: Entity) -> dict[str, Any]:
    whole = entity_document(entity)
    return {name: part for name, part in whole.items() if name not in {"incidents", "line"}}
