"""The API under /api/v1: answers in Prometheus' envelope, paged with a cursor, tagged.

What it can do is in the table of endpoints, each with what the document of the API (OpenAPI 3.1,
`document`) says of it.
"""

from __future__ import annotations

from typing import Any

from watchkeeper.access.doorkeeper import Doorkeeper
from watchkeeper.http import flags
from watchkeeper.http.api import accounts, document, events, fleet, owed, reports, signals
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView


def endpoints(view: HouseView, keeper: Doorkeeper | None = None) -> list[Endpoint]:
    """Return what the API answers.

    :param keeper: who knows people and tokens; without, there is nothing to ask about them.
    """
    found = [
        *fleet.endpoints(view),
        *signals.endpoints(view),
        *reports.endpoints(view),
        *owed.endpoints(view),
        *events.endpoints(view),
        *flags.endpoints(view),
        accounts.whoami(),
        *(accounts.endpoints(keeper) if keeper is not None else ()),
    ]
    return [*found, document.endpoint(found)]


def openapi() -> dict[str, Any]:
    """Return the document of the whole API; it needs no house, as nothing is asked of it."""
    nobody: Any = object()
    return document.document(endpoints(nobody, nobody))
