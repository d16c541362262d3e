"""The table of routes: what can be asked, where, how, and which scope it takes.

Page, API and doors all go through here, so that each is guarded in one place. There is no way to
build a route that names no scope.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from watchkeeper.access import Scope
from watchkeeper.http._gate import RAISED, Gate

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
Answers = Callable[[Request], Response | Awaitable[Response]]


class _Name(Convertor[str]):
    """Starlette's own `path` ends at a line end: then no route, and no gate, would be asked."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("name", _Name())


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that a request may say.

    :param schema: JSON Schema of its value. :param where: `query` or `path`.
    """

    name: str
    said: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    where: str = "query"


@dataclass(frozen=True, slots=True)
class Says:
    """What the API's document says of an endpoint.

    :param data: JSON Schema of the envelope's `data`; None where there is no envelope.
    :param body: JSON Schema of the request's body; None where it has none.
    :param kind: media type of an answer without an envelope.
    """

    summary: str
    fields: tuple[Field, ...] = ()
    data: Mapping[str, Any] | None = field(default_factory=lambda: {"type": "object"})
    body: Mapping[str, Any] | None = None
    kind: str = "application/json"
    status: int = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked.

    :param method: HEAD is answered wherever GET is.
    :param path: as Starlette writes it, `/api/v1/entities/{entity:name}`; a `name` takes whatever
        telemetry may be named, slashes and line ends too.
    :param scope: what the one who asks must be allowed to do.
    :param says: for the API's document; None is left out of it.
    :param answer: a function from request to response, run on a thread of its own unless it is
        a coroutine function; or an ASGI application. `request.scope["asker"]` says who asks.
    """

    method: str
    path: str
    scope: Scope
    answer: Answers | ASGIApp
    says: Says | None = None

    def __post_init__(self) -> None:
        assert self.method in METHODS, f"{self.path}: {self.method} is none of {METHODS}"
        assert isinstance(self.scope, Scope), f"{self.path}: a route without a scope"


def routes(endpoints: Iterable[Endpoint], gate: Gate) -> list[Route]:
    """Return one route for each path, in the order in which the paths are named first.

    Every one of them is behind the gate.

    Two endpoints of one path and method are a mistake.
    """
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        methods = paths.setdefault(endpoint.path, {})
        assert endpoint.method not in methods, f"{endpoint.method} {endpoint.path} twice"
        methods[endpoint.method] = endpoint
    return [
        Route(path, _Methods(methods, gate), methods=[*methods]) for path, methods in paths.items()
    ]


class _Methods:
    """What is at one path, by method, behind the gate."""

    def __init__(self, methods: Mapping[str, Endpoint], gate: Gate) -> None:
        self._gate = gate
        self._apps = {
            method: (one.scope, application(one.answer)) for method, one in methods.items()
        }
        if "GET" in self._apps:
            self._apps["HEAD"] = self._apps["GET"]

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if RAISED in scope:  # see `_pushed`
            raise scope[RAISED]
        needed, application = self._apps[scope["method"]]
        receive = await self._gate.admit(scope, receive, needed)
        await application(scope, receive, send)


def application(answer: Any) -> ASGIApp:
    """Return an endpoint's answer as an ASGI application."""
    is_function = inspect.isfunction(answer) or inspect.ismethod(answer)
    return request_response(answer) if is_function else answer
