"""The short way of what is pushed: guard, gate and door, without the layers that find pages.

Nearly every request of a busy house is one of these, and the layers between took a third of the
time that HTTP takes. Whatever the short way refuses is answered by the long one, which has the
answers: the error is raised again where it would have been raised there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from watchkeeper.access import Scope
from watchkeeper.http._gate import RAISED, Gate
from watchkeeper.http._guard import Guard


class Pushed(Starlette):
    """The application of a house.

    :param doors: path, method, scope, and the ASGI application behind; each is a route as well.
    """

    def __init__(
        self,
        doors: Sequence[tuple[str, str, Scope, ASGIApp]],
        guard: Guard,
        gate: Gate,
        **usual: Any,
    ) -> None:
        super().__init__(**usual)
        self._guard, self._gate = guard, gate
        self._doors = {(path, method): (scope, door) for path, method, scope, door in doors}

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one request."""
        found = None
        if scope["type"] == "http" and not scope.get("root_path"):
            found = self._doors.get((scope["path"], scope["method"]))
        if found is None or not self._guard.knows(scope):
            await super().__call__(scope, receive, send)
            return
        needed, door = found
        try:
            rest = await self._gate.admit(scope, receive, needed)
            await door(scope, rest, self._guard.safely(send))
        except Exception as error:
            scope[RAISED] = error
            await super().__call__(scope, receive, send)
