"""Decisions: what was decided, which clause held with which values, which guard said no."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import page, query, whole_number
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.model import Decision, Millis, Outcome, Phase

SHOWN = 100
READ = 5_000  # of the newest, looked through for those that are asked for
CAME = {  # of a decision, in words
    Outcome.ORDERED: "it was ordered",
    Outcome.NOTHING_TO_DO: "nothing, for this phase owes no act",
    Outcome.DRY_RUN: "nothing, for the policy is a dry run",
    Outcome.COOLDOWN: "kept from acting: this entity was acted on too recently",
    Outcome.RATE: "kept from acting: too many acts in the window",
    Outcome.BLAST_RADIUS: "kept from acting: too many entities would be acted on at once",
    Outcome.COVERAGE: "kept from acting: too little is known about the entity",
}
FIELDS = ("entity", "policy", "phase", "outcome", "until")


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the pages of decisions."""
    shown = _Page(view)
    return [
        Endpoint("GET", "/decisions", Scope.STATUS_READ, shown.all),
        Endpoint("GET", "/decisions/{key:name}", Scope.STATUS_READ, shown.one),
    ]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def all(self, request: Request) -> Response:
        asked = {name: known(request, *FIELDS).get(name, "") for name in FIELDS}
        until = whole_number(asked["until"])
        before = Millis(until) if until is not None else None
        read = self.view.ledger.decisions(asked["entity"] or None, before, READ)
        wanted = {name: asked[name] for name in ("policy", "phase", "outcome") if asked[name]}
        found = [one for one in read if all(getattr(one, n) == w for n, w in wanted.items())]
        more = ""
        if len(found) > SHOWN or len(read) == READ:
            last = found[SHOWN] if len(found) > SHOWN else read[-1]
            more = query("/decisions", **{**asked, "until": last.at})
        return page(
            request,
            self.view,
            "decisions.html.j2",
            decisions=found[:SHOWN],
            asked=asked,
            more=more,
            some=bool(wanted) or bool(asked["entity"]),
            policies=sorted({policy.name for policy in self.view.rulebook.policies}),
            phases=list(Phase),
            outcomes=list(Outcome),
        )

    def one(self, request: Request) -> Response:
        known(request)
        key = request.path_params["key"]
        made = self.view.ledger.decision(key)
        if made is None:
            raise HTTPException(404, "there is no such decision")
        ledger = self.view.ledger
        orders = [(order, ledger.receipts(order.key)) for order in ledger.orders_of(key)]
        return page(request, self.view, "decision.html.j2", orders=orders, **told(self.view, made))


def told(view: HouseView, made: Decision) -> dict[str, Any]:
    """Return a decision with its trace unfolded."""
    trace = json.loads(made.trace)
    policy = next((one for one in view.rulebook.policies if one.name == made.policy), None)
    return {
        "d": made,
        "clauses": trace.get("clauses", []),
        "guards": trace.get("guards", []),
        "rest": {n: v for n, v in trace.items() if n not in ("clauses", "guards")},
        "policy": policy,
        "came": CAME.get(made.outcome, str(made.outcome)),
    }
