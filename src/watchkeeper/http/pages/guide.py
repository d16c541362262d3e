"""The documentation of this very program: what to do is one click from what happens."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.http.answers import known
from watchkeeper.http.pages._render import guide_link, page
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView

FRONT = "index"


class Document(NamedTuple):
    """One document as a page shows it."""

    title: str
    body: Markup


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the pages of the documentation."""

    def answer(request: Request) -> Response:
        known(request)
        name = request.path_params.get("name", FRONT)
        shown = document(name)
        if shown is None:
            raise HTTPException(404, f"there is no document {name!r}; see /guide")
        return page(request, view, "guide.html.j2", name=name, shown=shown)

    return [
        Endpoint("GET", "/guide", Scope.STATUS_READ, answer),
        Endpoint("GET", "/guide/{name:name}", Scope.STATUS_READ, answer),
    ]


@cache
def documents() -> Mapping[str, Path]:
    """Return where each document lies: within the package, or beside a checkout's sources."""
    package = Path(str(files("watchkeeper")))
    folder = package / "guide"
    if not folder.is_dir():
        folder = package.parents[1] / "docs"
    found = sorted(folder.rglob("*.md"))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}


def document(name: str) -> Document | None:
    """Return a document by its path without `.md`; None when there is none."""
    path = documents().get(name)
    return _shown(name, path.read_text("utf-8")) if path is not None else None


@cache
def _shown(name: str, text: str) -> Document:
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("image", _instead_of_image)
    tokens, title, taken = reader.parse(text), name, set[str]()
    for at, token in enumerate(tokens):
        token.attrs.pop("style", None)  # columns of tables; the policy of pages forbids it
        if token.type == "heading_open":
            heading = _plain(tokens[at + 1].children or ())
            title = heading if token.tag == "h1" else title
            token.attrs["id"] = _anchor(heading, taken)
        for part in token.children or ():
            if part.type == "link_open":
                _led(part, name)
    # The reader escapes what it reads, and takes no HTML.
    return Document(title, Markup(reader.renderer.render(tokens, reader.options, {})))  # noqa: S704


def _led(link: Token, name: str) -> None:
    """Let a link lead to where its document is shown; nowhere, when that is not in the package."""
    to, _, part = str(link.attrs.pop("href", "")).partition("#")
    if to.startswith(("https://", "http://")):
        link.attrs |= {"href": f"{to}#{part}" if part else to, "rel": "noreferrer"}
        return
    beside = posixpath.join(posixpath.dirname(name), to.removesuffix(".md"))
    other = posixpath.normpath(beside) if to else name
    if other in documents():
        link.attrs["href"] = guide_link(other, part)


def _anchor(heading: str, taken: set[str]) -> str:
    """Return what a heading is linked to by, as forges and the documentation's site make it."""
    plain = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    anchor, number = plain, 0
    while anchor in taken:
        number += 1
        anchor = f"{plain}-{number}"
    taken.add(anchor)
    return anchor


def _plain(parts: Sequence[Token]) -> str:
    return "".join(part.content for part in parts if part.type in ("text", "code_inline"))


def _instead_of_image(_: Any, tokens: Sequence[Token], at: int, *__: Any) -> str:
    return escape(tokens[at].content)
