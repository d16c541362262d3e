"""The page, the API, the probes and the doors of a running house, behind one guarded table.

A `HouseView` says what there is to see. What can be asked is a table of endpoints (`table`), each
with the scope that it takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from watchkeeper.http import api, flags, pages, probes, table
from watchkeeper.http._guard import Guard
from watchkeeper.http.answers import failed, refused
from watchkeeper.http.view import HouseView


def endpoints(view: HouseView) -> list[table.Endpoint]:
    """Return everything but the doors."""
    return [
        *pages.endpoints(view),
        *probes.endpoints(view),
        *api.endpoints(view),
        *flags.endpoints(view),
    ]


def app(
    view: HouseView, hosts: Sequence[str] = (), doors: Sequence[table.Endpoint] = ()
) -> Starlette:
    """Return the ASGI application.

    :param doors: where telemetry is pushed (`http.receive`).
    :param hosts: names and addresses beside those of loopback under which this house may be
        asked; any other Host is turned away, which is what stops DNS rebinding.
    """
    return Starlette(
        routes=table.routes([*endpoints(view), *doors]),
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: refused, Exception: failed},
    )
