"""How a page becomes bytes: one environment for all templates, one policy for all pages."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper import __version__
from watchkeeper.access import Scope
from watchkeeper.http.answers import SIGN_IN, tag_of, tagged
from watchkeeper.http.view import HouseView
from watchkeeper.reports import _words as words
from watchkeeper.reports._markup import environment
from watchkeeper.reports._plots import stacked
from watchkeeper.shown import Fleet

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HTML = "text/html; charset=utf-8"
# Without any referrer a browser sends forms with the origin `null`, as a stranger's page does.
REFERRER = {"Referrer-Policy": "same-origin"}
HEADERS = {"Content-Security-Policy": POLICY, "Vary": "HX-Request", **REFERRER}
KEPT = 64  # answers to the same question, kept until the fleet changes
FRESH = 0.5  # seconds for which nobody asks whether it did
BEHIND = 15_000  # ms after which a page says that the house is behind
TEMPLATES = files("watchkeeper.http").joinpath("templates")
MENU = (
    ("/", "Fleet"),
    ("/decisions", "Decisions"),
    ("/orders", "Orders"),
    ("/collectors", "Collectors"),
    ("/quarantine", "Quarantine"),
    ("/reports", "Reports"),
    ("/rulebook", "Rulebook"),
    ("/audit", "Audit"),
    ("/status", "Status"),
)
_DOCUMENT = re.compile(r"docs/(?P<name>[a-z0-9-]+(?:/[a-z0-9-]+)*)\.md(?:#(?P<part>[\w-]+))?")
SHAPES = {"ok": "●", "warn": "▲", "fail": "■", "unknown": "○"}
TOLD = {"firing": "■", "pending": "▲", "resolved": "●", "inactive": "○"}


def page(
    request: Request, view: HouseView, template: str, status: int = 200, **facts: Any
) -> Response:
    """Answer with a whole page, or the part of it that changes; with 304 to who has it already."""
    body = render(template, _around(request, view) | facts)
    if status != 200:
        return Response(body, status, {**HEADERS, "Cache-Control": "no-store"}, HTML)
    return tagged(request, body, HTML, HEADERS)


def _around(request: Request, view: HouseView) -> dict[str, Any]:
    """Return what every page shows around what it is about."""
    asker = request.scope.get("asker")
    path, here = request.url.path, _here(request)
    stranger = request.scope.get("stranger", lambda: False)()
    return {
        "layout": "part.html.j2" if _is_part(request) else "base.html.j2",
        "house": view.title if allowed(request, Scope.STATUS_READ) else "",
        "menu": [(to, what, _within(path, to)) for to, what in MENU],
        "here": here,
        "asker": asker,
        "csrf": getattr(asker, "csrf", "") or "",
        "sign_in": query(SIGN_IN, next=here) if stranger else "",
    }


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _is_part(request: Request) -> bool:
    """Return whether an open page asks for what changed in it; that is the same for everybody."""
    return request.headers.get("hx-request") == "true"


class _Part(NamedTuple):
    """What open pages bring up to date. :param until: by the monotonic clock, when to ask again."""

    body: bytes
    tag: str
    until: float


class _Now(NamedTuple):
    """What changes though the fleet stays: ms it is behind, and what is still compiled."""

    late: int
    getting_ready: str


class Shared:
    """A page that is the same for everybody around whom it stands: gathered once a tick.

    However many look, what they see is asked of the house once, and what their open pages bring up
    to date is filled in once. Only who makes it has a thread; who asks meanwhile waits without one,
    and who asks soon after is answered at once.
    """

    def __init__(self, view: HouseView, template: str) -> None:
        self._view, self._template = view, template
        self._lock = threading.RLock()  # a part is made of what is gathered
        self._fleet: Fleet | None = None
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._parts: dict[Any, _Part] = {}  # this and the next are of the event loop alone
        self._making: dict[Any, asyncio.Task[_Part]] = {}

    async def page(
        self, request: Request, gather: Callable[[Fleet], Mapping[str, Any]]
    ) -> Response:
        """Answer with the page. :param gather: what it shows, but for what is so only now."""
        if not _is_part(request):
            return await run_in_threadpool(self._whole, request, gather)
        asked = _asked(request)
        part = self._parts.get(asked)
        if part is None or part.until <= time.monotonic():
            task = self._making.get(asked)
            if task is None:
                made = self._made(asked, lambda: self._part(request, gather))
                task = self._making[asked] = asyncio.create_task(made)
            part = await asyncio.shield(task)  # whoever leaves, the others still wait for it
        return tagged(request, part.body, HTML, HEADERS, part.tag)

    async def _made(self, asked: Any, make: Callable[[], _Part]) -> _Part:
        try:
            part = await run_in_threadpool(make)
        finally:
            del self._making[asked]
        now = time.monotonic()
        fresh = {other: one for other, one in self._parts.items() if one.until > now}
        self._parts = {**dict(list(fresh.items())[1 - KEPT :]), asked: part}
        return part

    def _part(self, request: Request, gather: Callable[[Fleet], Mapping[str, Any]]) -> _Part:
        def filled() -> tuple[bytes, str]:
            around = _around(request, self._view)
            body = render(self._template, around | self._facts(request, fleet, now, gather))
            return body, tag_of(body)

        fleet = self._view.fleet()
        now = self._now(fleet)
        body, tag = self._once(fleet, (*_asked(request), now), filled)
        return _Part(body, tag, time.monotonic() + FRESH)

    def _whole(self, request: Request, gather: Callable[[Fleet], Mapping[str, Any]]) -> Response:
        fleet = self._view.fleet()
        facts = self._facts(request, fleet, self._now(fleet), gather)
        return page(request, self._view, self._template, **facts)

    def _facts(
        self,
        request: Request,
        fleet: Fleet,
        now: _Now,
        gather: Callable[[Fleet], Mapping[str, Any]],
    ) -> dict[str, Any]:
        return {**self._once(fleet, _asked(request), lambda: gather(fleet)), **now._asdict()}

    def _now(self, fleet: Fleet) -> _Now:
        late = max(0, self._view.now() - fleet.tick) // BEHIND * BEHIND if fleet.tick else 0
        return _Now(late, self._view.getting_ready())

    def _once(self, fleet: Fleet, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:  # one thread makes it, the others wait for it
            if self._fleet is not fleet:
                self._fleet = fleet
                self._kept.clear()
            if key not in self._kept:
                self._kept[key] = make()
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return self._kept[key]


def _asked(request: Request) -> tuple[str, str, bool]:
    """Return what an answer depends on, but for the house."""
    return request.headers.get("host", ""), _here(request), allowed(request, Scope.STATUS_READ)


def render(name: str, facts: Mapping[str, Any]) -> bytes:
    """Return a template, filled in. Whatever came from telemetry is escaped by it."""
    return _environment().get_template(name).render(facts).encode("utf-8", "replace")


def allowed(request: Request, scope: Any) -> bool:
    """Return whether who asks may do something."""
    asker = request.scope.get("asker")
    return bool(asker is not None and asker.may(scope))


def _within(path: str, to: str) -> bool:
    if to == "/":
        return path == "/" or path.startswith("/entities/")
    return path == to or path.startswith(f"{to}/")


def entity_link(entity: str) -> str:
    """Return where an entity is shown."""
    return f"/entities/{quote(entity, safe=':')}"


def query(path: str, **fields: Any) -> str:
    """Return a path with those fields that are not empty."""
    told = {name: value for name, value in fields.items() if value not in ("", None)}
    return f"{path}?{urlencode(told)}" if told else path


def whole_number(text: str) -> int | None:
    """Return what a query says in digits; None for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def safe_link(text: str) -> str:
    """Return an address that a browser may be sent to; empty for any other text.

    `docs/policies.md#host-failing` is a document of ours, and shown by us.
    """
    ours = _DOCUMENT.fullmatch(text)
    if ours is not None:
        return guide_link(ours["name"], ours["part"] or "")
    return text if text.startswith(("https://", "http://")) and text.isprintable() else ""


def guide_link(name: str, part: str = "") -> str:
    """Return where a document of ours is shown. :param part: the anchor of a heading."""
    return f"/guide/{quote(name)}" + (f"#{quote(part)}" if part else "")


def _state(name: Any) -> Markup:
    """A state in a word and a shape, so that it does not depend on colour."""
    shape = SHAPES.get(str(name), "○")
    return Markup('<span class="state {0}"><span aria-hidden="true">{1}</span> {0}</span>').format(
        name, shape
    )


def _phase(name: Any) -> Markup:
    return Markup('<span class="phase {0}"><span aria-hidden="true">{1}</span> {0}</span>').format(
        name, TOLD.get(str(name), "○")
    )


def _counts(states: Any) -> Markup:
    return Markup(stacked(states))  # noqa: S704 - numbers only


def _source(name: str) -> str | None:
    found = TEMPLATES.joinpath(name)
    return found.read_text("utf-8") if found.is_file() else None


@cache
def _environment() -> Environment:
    here = environment(FunctionLoader(_source))
    here.filters |= {"series": words.series, "entity_link": entity_link, "safe_link": safe_link}
    here.filters |= {"json": json.dumps, "quoted": quote}
    here.globals |= {"state": _state, "phase": _phase, "counts": _counts}
    here.globals |= {"query": query, "version": __version__}
    return here
