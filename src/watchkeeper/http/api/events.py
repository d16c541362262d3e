"""Live updates: server-sent events of what each tick changed.

However many listen, the house is asked once a tick, and what is told is spelled once. A listener
who does not keep up is let go; his browser comes back and says what it saw last
(`Last-Event-ID`), and gets what happened since, or is told to load everything anew. A page is
told names only (`brief`): what it shows it asks for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse

from watchkeeper.access import Scope
from watchkeeper.http._gate import ENDLESS
from watchkeeper.http.answers import known
from watchkeeper.http.api.fleet import assessed_document
from watchkeeper.http.table import Endpoint, Field, Says
from watchkeeper.http.view import HouseView
from watchkeeper.model import Millis, canonical
from watchkeeper.reports._words import rfc3339

LISTENERS_MAX = 500
LOOK_EVERY = 0.5  # seconds between looks at the ledger while somebody listens
APART = 2.0  # seconds between two brief events: a page looks no more often than every five
HEARTBEAT = 15.0  # seconds of silence after which a listener hears that we are there
BEHIND = 32  # events that wait for one listener
RESUME_MAX = Millis(600_000)  # how far back what happened is told again
CHANGES_MAX = 1_000  # entities in one event; with more, listeners load everything anew
DECISIONS_MAX = 200
NAMED = 100  # entities named in a brief event; with more, pages load everything anew
SORTS = (False, True)  # of listeners: told in full, told briefly
BRIEF = Field(
    "brief", "`yes`: only the names of what changed", {"type": "string", "enum": ["yes", "no"]}
)
KIND = "text/event-stream"


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return where one listens."""
    says = Says("What each tick changed, as server-sent events", (BRIEF,), data=None, kind=KIND)
    return [Endpoint("GET", "/api/v1/events", Scope.STATUS_READ, Events(view).listen, says)]


class Events:
    """Tells all listeners the same bytes. Lives on one event loop."""

    def __init__(self, view: HouseView) -> None:
        self._view = view
        self._listeners: dict[asyncio.Queue[bytes | None], bool] = {}  # and whether briefly
        self._task: asyncio.Task[None] | None = None
        self._tick = dict.fromkeys(SORTS, Millis(0))  # up to which either sort was told
        self._due = dict.fromkeys(SORTS, 0.0)  # when either may be told more, by the loop's clock
        self._spoke = dict.fromkeys(SORTS, 0.0)  # when either last heard anything

    async def listen(self, request: Request) -> StreamingResponse:
        """Answer with a stream that lasts until the listener goes, or may no longer listen."""
        brief = known(request, "brief").get("brief") == "yes"
        if len(self._listeners) >= LISTENERS_MAX:
            raise HTTPException(503, "too many listen already", {"Retry-After": "30"})
        last = request.headers.get("last-event-id", "")
        since = Millis(int(last)) if last.isascii() and last.isdigit() and len(last) < 16 else None
        request.scope[ENDLESS] = True
        heard: asyncio.Queue[bytes | None] = asyncio.Queue(BEHIND)
        self._listeners[heard] = brief
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._heard(request, heard, brief, since), 200, headers, KIND)

    async def _heard(
        self,
        request: Request,
        heard: asyncio.Queue[bytes | None],
        brief: bool,
        since: Millis | None,
    ) -> AsyncIterator[bytes]:
        still = request.scope.get("still", lambda: True)
        try:
            if self._task is None or self._task.done():
                tick = self._newest()  # at once: no second listener may come between
                self._tick = dict.fromkeys(SORTS, tick)
                self._spoke = dict.fromkeys(SORTS, asyncio.get_running_loop().time())
                self._task = asyncio.create_task(self._watch())
            yield b"retry: 3000\n\n"
            if since is not None:
                yield await run_in_threadpool(self._missed, since, brief)
            while (event := await heard.get()) is not None and still():
                yield event
        finally:
            self._listeners.pop(heard, None)

    async def _watch(self) -> None:
        """Look at the ledger for as long as anybody listens; if that fails, they come again."""
        try:
            while self._listeners:
                await asyncio.sleep(LOOK_EVERY)
                await self._look()
        finally:
            for heard in list(self._listeners):
                self._let_go(heard)

    async def _look(self) -> None:
        clock = asyncio.get_running_loop().time
        tick = await run_in_threadpool(self._newest)
        sorts = set(self._listeners.values())
        for brief, told in self._tick.items():
            if brief not in sorts:
                self._tick[brief] = tick
            elif tick > told and clock() >= self._due[brief]:
                event = await run_in_threadpool(self._event, told, tick, brief)
                self._tick[brief], self._due[brief] = tick, clock() + (APART if brief else 0.0)
                self._tell(event, brief)
            elif clock() - self._spoke[brief] >= HEARTBEAT:
                self._tell(b": still here\n\n", brief)

    def _tell(self, event: bytes, brief: bool) -> None:
        """Tell it all listeners of one sort."""
        self._spoke[brief] = asyncio.get_running_loop().time()
        for heard in [one for one, sort in self._listeners.items() if sort == brief]:
            if heard.full():
                self._let_go(heard)
            else:
                heard.put_nowait(event)

    def _let_go(self, heard: asyncio.Queue[bytes | None]) -> None:
        del self._listeners[heard]
        while not heard.empty():
            heard.get_nowait()
        heard.put_nowait(None)

    def _newest(self) -> Millis:
        mark = self._view.ledger.watermark()
        return mark.tick if mark is not None else Millis(0)

    def _missed(self, since: Millis, brief: bool) -> bytes:
        """Return as one event what happened after a tick that a listener saw."""
        tick = self._tick[brief]
        if tick <= since:
            return b": nothing was missed\n\n"
        if tick - since > RESUME_MAX:
            return _reset(tick)
        return self._event(since, tick, brief)

    def _event(self, after: Millis, tick: Millis, brief: bool) -> bytes:
        """Return what the ticks after `after` up to `tick` changed."""
        changed = self._view.ledger.changes(after)
        if len(changed) > CHANGES_MAX:
            return _reset(tick)
        latest = {one.entity: one for one in changed}
        made = self._view.ledger.decisions(limit=DECISIONS_MAX)
        if brief:
            names = sorted({*latest, *(one.entity for one in made if one.at > after)})
            if len(names) > NAMED:
                return _reset(tick)
            decided = sum(one.at > after for one in made)
            return _spelled(tick, "tick", {"entities": names, "decisions": decided})
        told = {
            "tick": rfc3339(tick),
            "entities": [assessed_document(one) for one in latest.values()],
            "decisions": [
                {
                    "key": one.key,
                    "entity": one.entity,
                    "policy": one.policy,
                    "phase": str(one.phase),
                    "outcome": str(one.outcome),
                    "time": rfc3339(one.at),
                }
                for one in made
                if one.at > after
            ],
        }
        return _spelled(tick, "tick", told)


def _reset(tick: Millis) -> bytes:
    return _spelled(tick, "reset", {"tick": rfc3339(tick)})


def _spelled(tick: Millis, name: str, told: dict[str, Any]) -> bytes:
    return f"id: {int(tick)}\nevent: {name}\ndata: {canonical(told)}\n\n".encode("utf-8", "replace")
