"""Hold a built site to its links: what is inside must be there, nothing is fetched from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
# A link of these relations is fetched by the browser; others only say something.
LOADED = {"stylesheet", "icon", "preload", "modulepreload", "shortcut"}


@dataclass
class Page(HTMLParser):
    """What one page refers to, and what in it can be referred to."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take one tag's identity and references."""
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        loaded = tag == "link" and LOADED & set((given.get("rel") or "").split())
        for name, value in attrs:
            if value and ((tag, name) in FETCHED or (loaded and name == "href")):
                self.fetched.append(value)
            elif value and tag == "a" and name == "href":
                self.links.append(value)


def check(site: Path, beside: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """Return what is wrong with a built site, and the links that lead out of it.

    :param beside: files that lie beside the site, not in it.
    """
    pages = {path: _page(path) for path in sorted(site.rglob("*.html"))}
    wrong, outside = list[str](), set[str]()
    for path, page in pages.items():
        where = str(path.relative_to(site))
        wrong += [f"{where}: fetches {one}" for one in page.fetched if urlsplit(one).netloc]
        for link in (*page.links, *page.fetched):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                outside.add(link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.parent == site.resolve().parent and target.name in beside:
                continue
            if not target.is_file() or site.resolve() not in target.resolve().parents:
                wrong.append(f"{where}: {link} leads nowhere")
            elif parts.fragment and target.suffix == ".html":
                found = pages.get(target) or pages.get(site / target.relative_to(site.resolve()))
                if found is None or unquote(parts.fragment) not in found.anchors:
                    wrong.append(f"{where}: {link}: no such place on that page")
    return wrong, sorted(outside)


def _page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page
