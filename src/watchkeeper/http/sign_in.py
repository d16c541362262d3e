"""Sign in and out of the page, and who one is.

The session's cookie is for this host only, out of reach for scripts, and never sent along from
another site. Signing in always begins a new session.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, quote

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Asker, Scope
from watchkeeper.access.doorkeeper import Doorkeeper
from watchkeeper.errors import Malformed, TooLarge, TooManyFailures, Unauthenticated
from watchkeeper.http._gate import address_of, cookie_name, cookie_of
from watchkeeper.http.answers import SIGN_IN
from watchkeeper.http.pages._render import HTML, REFERRER, render
from watchkeeper.http.table import Endpoint

FORM_MAX = 8 << 10
AT_ONCE = 2  # passwords compared at one time: each takes 64 MiB
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", **REFERRER}


def endpoints(keeper: Doorkeeper) -> list[Endpoint]:
    """Return how people sign in and out."""
    door = _Door(keeper)
    return [
        Endpoint("GET", SIGN_IN, Scope.PUBLIC, door.page),
        Endpoint("POST", SIGN_IN, Scope.PUBLIC, door.sign_in),
        Endpoint("POST", "/sign-out", Scope.PUBLIC, door.sign_out),
    ]


def back(target: str) -> str:
    """Return where to go after signing in: only ever a page of this house."""
    away = not target.startswith("/") or target.startswith(("//", "/\\", "/sign-"))
    strange = any(letter < " " or letter == "\\" for letter in target)
    return "/" if away or strange else target


class _Door:
    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper
        self._limit: anyio.CapacityLimiter | None = None

    def page(self, request: Request) -> Response:
        return _page(request.query_params.get("next", "/"), "", 200)

    async def sign_in(self, request: Request) -> Response:
        form = await _form(request)
        target = back(form.get("next", "/"))
        if self._limit is None:
            self._limit = anyio.CapacityLimiter(AT_ONCE)
        try:
            cookie = await anyio.to_thread.run_sync(
                self._keeper.sign_in,
                form.get("name", ""),
                form.get("password", ""),
                address_of(request.scope),
                cookie_of(request.scope, request.headers),
                limiter=self._limit,
            )
        except Unauthenticated:
            return _page(target, "Name and password do not belong together.", 401)
        except TooManyFailures as error:
            said = "Too many failed attempts. Wait a minute, then try again."
            wait = {"Retry-After": str(max(1, round(error.retry_after)))}
            return _page(target, said, 429, wait)
        answer = Response(
            status_code=303, headers={"Location": target, "Cache-Control": "no-store"}
        )
        _set(answer, request, cookie, int(self._keeper.settings.session))
        return answer

    async def sign_out(self, request: Request) -> Response:
        asker: Asker = request.scope["asker"]
        cookie = cookie_of(request.scope, request.headers)
        if asker.csrf:
            out, where = self._keeper.sign_out, address_of(request.scope)
            await run_in_threadpool(out, cookie, asker, where)
        answer = Response(
            status_code=303, headers={"Location": SIGN_IN, "Cache-Control": "no-store"}
        )
        _set(answer, request, "", 0)
        return answer


def _go(target: str) -> Response:
    where = quote(target, safe="/?&=%:@,;+~!$'()*-._#")
    return Response(status_code=303, headers={"Location": where, "Cache-Control": "no-store"})


def _set(answer: Response, request: Request, cookie: str, seconds: int) -> None:
    name, secure = cookie_name(request.scope), request.scope["scheme"] == "https"
    answer.set_cookie(
        name, cookie, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict"
    )


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > FORM_MAX:
            raise TooLarge(f"a sign-in has at most {FORM_MAX} bytes")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise Malformed("this is no form") from None
    return {name: values[0] for name, values in fields.items()}


def _page(target: str, said: str, status: int, more: Mapping[str, str] | None = None) -> Response:
    body = render("sign_in.html.j2", {"said": said, "next": back(target)})
    return Response(body, status, {**HEADERS, **(more or {})}, HTML)
