"""Quarantine: samples that broke a contract, why, and the button that offers them again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.errors import Overloaded
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import allowed, page, query
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.model import Millis, Offset, Reason

ENTRIES = 50  # newest journal entries with rejected samples that are shown
EACH = 5  # samples shown of one reason and entry
ROWS = 200

REASONS = {  # what to do about each
    Reason.NOT_A_NUMBER: "mend the sender: it writes text where a number belongs",
    Reason.NOT_FINITE: "mend the sender: it writes NaN or an infinity",
    Reason.NO_TIME: "mend the sender: its times cannot be read",
    Reason.TOO_OLD: "send sooner, or score the files with `watchkeeper score`",
    Reason.IN_THE_FUTURE: "set the sender's clock",
    Reason.BELOW_BOUND: "look at the sensor; if the value is right, widen the contract and replay",
    Reason.ABOVE_BOUND: "look at the sensor; if the value is right, widen the contract and replay",
    Reason.WRONG_UNIT: "convert at the sender, or add the unit to the contract and replay",
    Reason.UNKNOWN_METRIC: "name the metric in a contract, then replay",
    Reason.BAD_NAME: "mend the sender's names",
    Reason.TOO_MANY_SERIES: "find the label whose values never repeat, or raise the limit",
    Reason.TOO_LARGE: "send fewer or shorter labels",
    Reason.MALFORMED: "mend the sender: this one record could not be read",
    Reason.UNSUPPORTED: "nothing: this kind of record says nothing to us",
}


class Rejected(NamedTuple):
    """One sample as it was refused."""

    entry: int
    arrived: Millis
    row: dict[str, Any]


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page, and what its button does."""
    shown = _Page(view)
    return [
        Endpoint("GET", "/quarantine", Scope.STATUS_READ, shown.page),
        Endpoint("POST", "/quarantine/replay", Scope.QUARANTINE_REPLAY, shown.replay),
    ]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def page(self, request: Request) -> Response:
        asked = known(request, "reason", "offered", "passed", "busy")
        wanted = asked.get("reason", "")
        entries = list(self.view.journal.rejected(Offset(0), ENTRIES, newest=True))
        counts: Counter[str] = Counter()
        rows: list[Rejected] = []
        for entry in reversed(entries):
            seen: Counter[str] = Counter()
            for row in entry.rejected.to_pylist():
                counts[row["reason"]] += 1
                seen[row["reason"]] += 1
                if wanted in ("", row["reason"]) and seen[row["reason"]] <= EACH:
                    rows.append(Rejected(entry.offset, entry.arrived, row))
        return page(
            request,
            self.view,
            "quarantine.html.j2",
            rows=rows[:ROWS],
            counts=sorted(counts.items(), key=lambda one: (-one[1], one[0])),
            total=self.view.ledger.counts().rejected,
            entries=len(entries),
            wanted=wanted,
            advice={str(reason): said for reason, said in REASONS.items()},
            may_replay=allowed(request, Scope.QUARANTINE_REPLAY),
            done={
                name: asked[name] for name in ("offered", "passed") if asked.get(name, "").isdigit()
            },
            busy="busy" in asked,
        )

    def replay(self, request: Request) -> Response:
        reason = known(request, "reason").get("reason", "")
        reason = reason if reason in set(Reason) else ""
        actor = getattr(request.scope.get("asker"), "name", "") or "page"
        try:
            offered, passed = self.view.replay(reason or None, actor)
            to = query("/quarantine", reason=reason, offered=str(offered), passed=str(passed))
        except Overloaded:
            to = query("/quarantine", reason=reason, busy="yes")
        return Response(status_code=303, headers={"Location": to, "Cache-Control": "no-store"})
