"""What is owed and what was refused: orders with their receipts, rejected samples."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Asker, Scope
from watchkeeper.errors import Overloaded
from watchkeeper.http.answers import known, limit_of, success
from watchkeeper.http.api.fleet import PAGE, listed
from watchkeeper.http.table import Endpoint, Field, Says
from watchkeeper.http.view import HouseView
from watchkeeper.model import Offset, Order, Reason, Receipt
from watchkeeper.reports._words import rfc3339

ORDERS_MAX = 5_000  # looked through
CLOSED = ("refused", "dead")  # what can be tried again


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return what is asked of the outbox and of the quarantine."""
    api, read = _Owed(view), Scope.STATUS_READ
    key = Field("key", "of the order", {"type": "string", "minLength": 1}, "path")
    reason = Field("reason", "only samples refused for it", {"enum": [str(r) for r in Reason]})
    return [
        Endpoint("GET", "/api/v1/orders", read, api.orders, Says(
            "Orders with their last receipt, newest first", PAGE, listed("orders"))),
        Endpoint("POST", "/api/v1/orders/{key:name}/retry", Scope.OUTBOX_RETRY, api.retry, Says(
            "Try an order again that was refused or given up", (key,))),
        Endpoint("GET", "/api/v1/orders/{key:name}", read, api.order, Says(
            "One order, with every receipt", (key,))),
        Endpoint("GET", "/api/v1/quarantine", read, api.quarantine, Says(
            "Rejected samples, oldest first", (reason, *PAGE), listed("samples"))),
        Endpoint("POST", "/api/v1/quarantine/replay", Scope.QUARANTINE_REPLAY, api.replay, Says(
            "Offer the newest rejected samples again", (reason,))),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Owed:
    view: HouseView

    def orders(self, request: Request) -> Response:
        asked = known(request, "limit", "after")
        limit, after = limit_of(asked), asked.get("after")
        found = self.view.ledger.orders(limit + 1 if after is None else ORDERS_MAX)
        if after is not None:
            places = [place for place, (order, _) in enumerate(found) if order.key == after]
            if not places:
                raise HTTPException(400, "after: no such order is among the newest any more")
            found = found[places[0] + 1 :]
        data = {
            "orders": [order_document(*one) for one in found[:limit]],
            "next": found[limit - 1][0].key if len(found) > limit else None,
        }
        return success(request, data)

    def order(self, request: Request) -> Response:
        known(request)
        order, receipts = self._order(request)
        told = order_document(order, receipts[-1] if receipts else None)
        return success(request, told | {"receipts": [_receipt(one) for one in receipts]})

    def retry(self, request: Request) -> Response:
        known(request)
        order, receipts = self._order(request)
        last = receipts[-1] if receipts else None
        if last is None or last.outcome not in CLOSED:
            raise HTTPException(409, "this order was neither refused nor given up")
        asker: Asker = request.scope["asker"]
        now = self.view.now()
        again = Receipt(
            order.key, last.attempt + 1, "retry", f"asked for by {asker.name}", now, now
        )
        self.view.ledger.settle(again)
        return success(request, order_document(order, again))

    def quarantine(self, request: Request) -> Response:
        asked = known(request, "limit", "after", "reason")
        limit, reason = limit_of(asked), asked.get("reason")
        if reason is not None and reason not in set(Reason):
            raise HTTPException(400, f"reason: {reason!r} is none of {', '.join(Reason)}")
        found = list(_rejected(self.view, *_place(asked.get("after", "0.0")), reason, limit + 1))
        data = {
            "samples": found[:limit],
            "next": found[limit - 1]["place"] if len(found) > limit else None,
        }
        return success(request, data)

    def replay(self, request: Request) -> Response:
        reason = known(request, "reason").get("reason")
        if reason is not None and reason not in set(Reason):
            raise HTTPException(400, f"reason: {reason!r} is none of {', '.join(Reason)}")
        asker: Asker = request.scope["asker"]
        try:
            offered, accepted = self.view.replay(reason, asker.name)
        except Overloaded as error:
            raise HTTPException(503, str(error.args[0]), {"Retry-After": "2"}) from None
        return success(request, {"offered": offered, "accepted": accepted})

    def _order(self, request: Request) -> tuple[Order, list[Receipt]]:
        key = request.path_params["key"]
        order = self.view.ledger.order(key)
        if order is None:
            raise HTTPException(404, f"no order {key!r}")
        return order, self.view.ledger.receipts(key)


def order_document(order: Order, receipt: Receipt | None) -> dict[str, Any]:
    """Return an order with its last receipt."""
    return {
        "key": order.key,
        "action": order.action,
        "decision": order.decision,
        "entity": order.entity,
        "created": rfc3339(order.created),
        "payload": _payload(order.payload),
        "receipt": None if receipt is None else _receipt(receipt),
    }


def _receipt(one: Receipt) -> dict[str, Any]:
    return {
        "attempt": one.attempt,
        "outcome": one.outcome,
        "detail": one.detail,
        "time": rfc3339(one.at),
        "due": rfc3339(one.due) if one.outcome == "retry" else None,
    }


def _payload(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _place(text: str) -> tuple[int, int]:
    """Return entry and row of a cursor."""
    entry, _, row = text.partition(".")
    if not (entry.isascii() and entry.isdigit() and row.isascii() and row.isdigit()):
        raise HTTPException(400, "after: this is no cursor of ours")
    if len(entry) > 18 or len(row) > 9:
        raise HTTPException(400, "after: this is no cursor of ours")
    return int(entry), int(row)


def _rejected(
    view: HouseView, entry: int, row: int, reason: str | None, limit: int
) -> Iterator[dict[str, Any]]:
    """Yield rejected samples after a place, which is one of the entry it names."""
    for one in view.journal.rejected(Offset(max(0, entry - 1)), 1 << 20):
        for number, sample in enumerate(one.rejected.to_pylist(), 1):
            if (one.offset, number) <= (entry, row) or reason not in (None, sample["reason"]):
                continue
            if limit == 0:
                return
            limit -= 1
            value = sample["value"]
            finite = value is None or math.isfinite(value)
            yield {
                **sample,
                "place": f"{one.offset}.{number}",
                "arrived": rfc3339(one.arrived),
                "time": None if sample["time"] is None else _spelled(sample["time"]),
                "value": value if finite else None,
                "offered": sample["offered"] or (None if finite else str(value)),
            }


def _spelled(millis: int) -> str:
    """Return a time that may be far from any calendar, which is why it was refused."""
    try:
        return rfc3339(millis)
    except (ValueError, OverflowError, OSError):
        return f"{millis} ms"
