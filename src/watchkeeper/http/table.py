"""The table of routes: what can be asked, where, how, and which scope it takes.

Page, API and doors all go through here, so that each is guarded in one place. There is no way to
build a route that names no scope.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from watchkeeper.access import Scope

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SAFE = ("GET", "HEAD")
Answers = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked.

    :param method: HEAD is answered wherever GET is.
    :param path: as Starlette writes it: `/api/v1/entities/{entity:path}`.
    :param scope: what the one who asks must be allowed to do.
    :param answer: a function from request to response, run on a thread of its own; or an ASGI
        application.
    """

    method: str
    path: str
    scope: Scope
    answer: Answers | ASGIApp

    def __post_init__(self) -> None:
        assert self.method in METHODS, f"{self.path}: {self.method} is none of {METHODS}"
        assert isinstance(self.scope, Scope), f"{self.path}: a route without a scope"


def routes(endpoints: Iterable[Endpoint]) -> list[Route]:
    """Return one route for each path, in the order in which the paths are named first.

    Two endpoints of one path and method are a mistake.
    """
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        methods = paths.setdefault(endpoint.path, {})
        assert endpoint.method not in methods, f"{endpoint.method} {endpoint.path} twice"
        methods[endpoint.method] = endpoint
    return [Route(path, _Methods(methods), methods=[*methods]) for path, methods in paths.items()]


class _Methods:
    """What is at one path, by method."""

    def __init__(self, methods: Mapping[str, Endpoint]) -> None:
        self._apps = {method: _application(one.answer) for method, one in methods.items()}
        if "GET" in self._apps:
            self._apps["HEAD"] = self._apps["GET"]

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        await self._apps[scope["method"]](scope, receive, send)


def _application(answer: Any) -> ASGIApp:
    is_function = inspect.isfunction(answer) or inspect.ismethod(answer)
    return request_response(answer) if is_function else answer
