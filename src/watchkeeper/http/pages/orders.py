"""Orders: what is owed to the outside, every attempt at it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import page, query
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.model import Receipt

SHOWN, READ = 100, 2_000
STANDS = ("waiting", "done", "refused", "dead")


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the pages of orders."""
    shown = _Page(view)
    return [
        Endpoint("GET", "/orders", Scope.STATUS_READ, shown.all),
        Endpoint("GET", "/orders/{key:name}", Scope.STATUS_READ, shown.one),
    ]


def stands(receipt: Receipt | None) -> str:
    """Return how an order stands after its last attempt."""
    return "waiting" if receipt is None or receipt.outcome == "retry" else receipt.outcome


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def all(self, request: Request) -> Response:
        asked = known(request, "stands", "entity", "rows")
        wanted, entity = asked.get("stands", ""), asked.get("entity", "")
        rows = SHOWN if asked.get("rows") != "all" else READ
        found = [
            (order, receipt, stands(receipt))
            for order, receipt in self.view.ledger.orders(READ)
            if wanted in ("", stands(receipt)) and entity in ("", order.entity)
        ]
        more = query("/orders", stands=wanted, entity=entity, rows="all")
        return page(
            request,
            self.view,
            "orders.html.j2",
            orders=found[:rows],
            found=len(found),
            more=more if len(found) > rows else "",
            wanted=wanted,
            entity=entity,
            stands=STANDS,
        )

    def one(self, request: Request) -> Response:
        known(request)
        order = self.view.ledger.order(request.path_params["key"])
        if order is None:
            raise HTTPException(404, "there is no such order")
        receipts = self.view.ledger.receipts(order.key)
        decision = self.view.ledger.decision(order.decision)
        last = receipts[-1] if receipts else None
        return page(
            request,
            self.view,
            "order.html.j2",
            order=order,
            receipts=receipts,
            decision=decision,
            stands=stands(last),
            due=last.due if last is not None and last.outcome == "retry" else None,
        )
