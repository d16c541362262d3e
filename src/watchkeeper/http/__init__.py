"""The page, the API, the probes and the doors of a running house, behind one guarded table.

A `HouseView` says what there is to see. What can be asked is a table of endpoints (`table`), each
with the scope that it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from watchkeeper.access.doorkeeper import Doorkeeper
from watchkeeper.errors import AccessError, RequestError, StoreError
from watchkeeper.http import answers, api, pages, probes, sign_in, table
from watchkeeper.http._gate import Guarded, Open
from watchkeeper.http._guard import Guard, Guarding
from watchkeeper.http._pushed import Pushed
from watchkeeper.http.pages.refusals import Refusal, told
from watchkeeper.http.view import HouseView

REFUSALS: Mapping[type[Exception], Refusal] = {
    HTTPException: answers.refused,
    AccessError: answers.not_let_in,
    StoreError: answers.not_stored,
    RequestError: answers.malformed,
    Exception: answers.failed,
}


def endpoints(view: HouseView, keeper: Doorkeeper | None = None) -> list[table.Endpoint]:
    """Return everything but the doors.

    :param keeper: who knows the people and the programs that may ask; without, nobody is known.
    """
    return [
        *pages.endpoints(view),
        *probes.endpoints(view),
        *api.endpoints(view, keeper),
        *(sign_in.endpoints(keeper) if keeper is not None else ()),
    ]


def app(
    view: HouseView,
    hosts: Sequence[str] = (),
    doors: Sequence[table.Endpoint] = (),
    keeper: Doorkeeper | None = None,
) -> Starlette:
    """Return the ASGI application.

    :param doors: where telemetry is pushed (`http.receive`).
    :param hosts: names and addresses beside those of loopback under which this house may be
        asked; any other Host is turned away, which is what stops DNS rebinding.
    :param keeper: as `endpoints` takes it.
    """
    gate = Guarded(keeper) if keeper is not None else Open()
    guard = Guard(hosts)
    return Pushed(
        [(one.path, one.method, one.scope, table.application(one.answer)) for one in doors],
        guard,
        gate,
        routes=table.routes([*doors, *endpoints(view, keeper)], gate),  # the most asked first
        middleware=[Middleware(Guarding, guard=guard)],
        exception_handlers={kind: told(view, answer) for kind, answer in REFUSALS.items()},
    )
