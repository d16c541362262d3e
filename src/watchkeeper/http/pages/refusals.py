"""What a person at a page is told when he is refused: what is wrong, and what to do about it.

A program gets the same words in the envelope of the API (`answers`).
"""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.http.pages._render import page
from watchkeeper.http.view import HouseView

Refusal = Callable[[Request, Exception], Response]

TITLES = {
    400: "This cannot be asked",
    401: "Sign in first",
    403: "You may not do this",
    404: "There is no such page",
    405: "This cannot be done here",
    413: "This is too large",
    429: "Too many attempts",
    503: "Not now",
}
ADVICE = {
    400: "The address says something that this page does not know. Take what is after the ? away.",
    401: "What you asked for is not for everybody.",
    403: "Ask an administrator for the role: watchkeeper user role NAME --role operator.",
    404: "It may have been renamed, or the address was cut short.",
    405: "Go back to the page that you came from, load it again, and use its buttons.",
    413: "Send less at once.",
    429: "Wait a minute, then try again.",
    503: "Try again in a moment. If it stays so, look at the status page.",
}
FAILED = "Something went wrong"
LOOK = "It was not your fault. The log of the service says more."


def told(view: HouseView, refusal: Refusal) -> Refusal:
    """Return what answers as `refusal` does, but a person with a page that says what to do."""

    def answer(request: Request, error: Exception) -> Response:
        plain = refusal(request, error)
        if plain.status_code < 400 or not _is_person(request):
            return plain
        status = plain.status_code
        kept = ("retry-after", "allow", "www-authenticate")
        shown = page(
            request,
            view,
            "error.html.j2",
            status,
            code=status,
            title=TITLES.get(status, FAILED),
            said=_sentence(json.loads(bytes(plain.body))["error"]),
            advice=ADVICE.get(status, LOOK),
        )
        shown.headers.update({k: plain.headers[k] for k in kept if k in plain.headers})
        return shown

    return answer


def _is_person(request: Request) -> bool:
    """Return whether somebody at a browser asks, for what is no part of the API."""
    at_browser = "text/html" in request.headers.get("accept", "")
    return at_browser and not request.url.path.startswith("/api/")


def _sentence(said: str) -> str:
    return (said[:1].upper() + said[1:]).rstrip(".")
