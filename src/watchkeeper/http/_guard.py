"""What holds for every answer: who may ask, and what a browser may do with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
SAFE = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SAFE = [(name.lower().encode(), text.encode()) for name, text in SAFE.items()]
HOSTS_KEPT = 64  # that senders named lately, and what became of them
HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(:[0-9]{1,5})?", re.ASCII)


class Guard:
    """Turns away requests for another host, and adds safe headers where none are set.

    A page of a stranger can make a browser ask loopback under a name the stranger owns (DNS
    rebinding), but it cannot make the browser lie about that name.
    """

    def __init__(self, hosts: Sequence[str] = ()) -> None:
        self.hosts = frozenset(name.lower().rstrip(".") for name in (*LOOPBACK, *hosts))
        self._ours = lru_cache(HOSTS_KEPT)(self._is_ours)

    def knows(self, scope: Scope) -> bool:
        """Return whether exactly one Host came, and it is one of ours, on any port."""
        given = [text for name, text in scope["headers"] if name == b"host"]
        return len(given) == 1 and self._ours(given[0])

    @staticmethod
    def safely(send: Send) -> Send:
        """Return what sends an answer with safe headers."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                named = {name for name, _ in headers}
                message["headers"] = headers + [one for one in _SAFE if one[0] not in named]
            await send(message)

        return guarded

    def _is_ours(self, host: bytes) -> bool:
        match = HOST.fullmatch(host.decode("latin-1").lower())
        return match is not None and match["name"].rstrip(".") in self.hosts


class Guarding:
    """An ASGI application behind a guard."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        guarded = self._guard.safely(send)
        if self._guard.knows(scope):
            await self._app(scope, receive, guarded)
            return
        said = "this house is not known under that name; add it to the allowed hosts"
        answer = JSONResponse({"status": "error", "errorType": "bad_host", "error": said}, 421)
        await answer(scope, receive, guarded)
