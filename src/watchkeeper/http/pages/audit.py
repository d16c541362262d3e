"""The audit chain: every step, receipt and deed, each link holding on to the one before."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.access.audit import KIND
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import allowed, page, query, whole_number
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView

SHOWN = 50
READ = 5_000  # links looked through for those that are asked for
BODY = 2_000  # characters of a link that are shown


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page of the audit chain."""
    return [Endpoint("GET", "/audit", Scope.STATUS_READ, _Page(view).page)]


@dataclass(frozen=True)
class _Page:
    view: HouseView

    def page(self, request: Request) -> Response:
        asked = known(request, "before", "steps")
        head = self.view.ledger.head()
        until = whole_number(asked.get("before", "")) or head.seq + 1
        with_steps = asked.get("steps") == "yes"
        reach = SHOWN if with_steps else READ
        after = max(0, until - 1 - reach)
        read = list(itertools.islice(self.view.ledger.links(after), until - 1 - after))
        hidden = {"step"} if not with_steps else set()
        if not allowed(request, Scope.AUDIT_READ):
            hidden.add(KIND)  # who signed in, and who was refused, is not for everybody
        found = [link for link in reversed(read) if link.kind not in hidden]
        shown = found[:SHOWN]
        oldest = shown[-1].seq if len(found) > SHOWN else after + 1
        return page(
            request,
            self.view,
            "audit.html.j2",
            head=head,
            links=[(link, link.body[:BODY], len(link.body) > BODY) for link in shown],
            with_steps=with_steps,
            reach=reach,
            older=query("/audit", before=oldest, steps="yes" if with_steps else "")
            if oldest > 1
            else "",
        )
