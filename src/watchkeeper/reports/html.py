"""The findings as one page: self-contained, no script, printable, light and dark.

The first screen says which entities are unhealthy, why and since when, worst first. Everything
that came from telemetry is data: the template escapes it, the pictures hold only numbers, and the
page forbids itself every request and script by its own content policy.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any, ClassVar

from jinja2 import Template
from markupsafe import Markup, escape

from watchkeeper.model import State
from watchkeeper.reports import _words as words
from watchkeeper.reports._findings import Entity, Findings, Plot
from watchkeeper.reports._markup import environment
from watchkeeper.reports._plots import health_plot, signal_plot, stacked

FULL = 12  # entities told in full, open; they are the ones whose signals are drawn
LISTED = 50  # entities on the first screens, and in full but folded
CALM = 3  # entities told in full when none was ever in trouble
INPUTS = 50
WORST_FIRST = (State.FAIL, State.WARN, State.UNKNOWN, State.OK)

STYLE = files("watchkeeper.reports").joinpath("page.css").read_text("utf-8")
PAGE = files("watchkeeper.reports").joinpath("page.html.j2").read_text("utf-8")


def content_policy() -> str:
    """Return the report's Content-Security-Policy: no script, no request, one style."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Html:
    """One HTML file."""

    file: ClassVar[str] = "report.html"
    media: ClassVar[str] = "text/html; charset=utf-8"

    def render(self, findings: Findings) -> bytes:
        """Return the page in UTF-8."""
        page = _template().render(_context(findings))
        return page.encode("utf-8", "replace")


def _context(f: Findings) -> dict[str, Any]:
    facts = f.facts
    told = f.entities[:LISTED]
    ids = {entity.name: f"e{place}" for place, entity in enumerate(told)}
    troubled = [entity for entity in told if entity.troubled]
    since_now = [entity for entity in troubled if entity.since is not None]
    recovered = [e for e in f.entities if e.since is None and e.troubled]
    then = [entity for entity in troubled if entity.since is None]
    states = [(state, f.count(state)) for state in WORST_FIRST if f.count(state)]
    chapters = [(e, ids[e.name]) for e in (troubled or told[:CALM])]
    return {
        "f": f,
        "style": Markup(STYLE),  # noqa: S704 - the package's own file
        "content_policy": content_policy(),
        "states": states,
        "share_of_states": Markup(stacked(states)),  # noqa: S704 - numbers only
        "recovered": recovered,
        "troubled": troubled,
        "now": [(e, ids[e.name]) for e in since_now],
        "now_more": sum(e.since is not None for e in f.entities) - len(since_now),
        "then": [(e, ids[e.name]) for e in then],
        "then_more": len(recovered) - len(then),
        "full": chapters[:FULL],
        "folded": chapters[FULL:],
        "rows": _rows(f.entities, ids),
        "inputs": facts.inputs[:INPUTS],
        "inputs_more": len(facts.inputs[INPUTS:]),
        "spark": partial(_spark, f),
        "health_picture": partial(_health_picture, f),
        "signal_picture": partial(_signal_picture, f),
    }


def _rows(entities: Sequence[Entity], ids: dict[str, str]) -> Markup:
    """The table of all, in one go: a template loop takes seconds for 10,000 rows."""
    rows = []
    for e in entities:
        name = escape(words.shown(e.name))
        if e.name in ids and e.troubled:
            name = Markup('<a href="#{}">{}</a>').format(ids[e.name], name)
        rows.append(
            f'<tr><td>{name}</td><td><span class="state {e.state}">{e.state}</span></td>'
            f'<td class="n">{words.health(e.health)}</td><td class="n">{words.number(e.worst)}</td>'
            f'<td class="n">{words.percent(e.coverage)}</td><td class="n">{e.incident_count:,}</td>'
            f'<td class="hide">{escape(words.shown(e.lead))}</td></tr>\n'
        )
    return Markup("".join(rows))  # noqa: S704 - each name is escaped above


def _spark(f: Findings, e: Entity) -> Markup:
    return Markup(  # noqa: S704 - numbers only
        health_plot(e.line, e.incidents, f.facts.since, f.facts.until, small=True).svg
    )


def _health_picture(f: Findings, e: Entity) -> Markup:
    drawn = health_plot(e.line, e.incidents, f.facts.since, f.facts.until)
    said = f"Health from {words.when(f.facts.since)} to {words.when(f.facts.until)}: lowest "
    said += f"{words.number(e.worst)} at {words.when(e.worst_at)}, now {words.health(e.health)}"
    return Markup('<div role="img" aria-label="{}">{}</div>').format(
        said,
        Markup(drawn.svg),  # noqa: S704 - numbers only
    )


def _signal_picture(f: Findings, e: Entity, metric: str, attributes: str, plot: Plot) -> Markup:
    drawn = signal_plot(plot, e.incidents, f.facts.since, f.facts.until)
    named = words.shown(words.series(metric, attributes))
    odd = sum(score >= 1 for score in plot.score)
    said = f"{named}: {words.number(drawn.low)} to {words.number(drawn.high)}, "
    said += words.count(odd, "anomaly drawn", "anomalies drawn")
    return Markup(
        '<div class="named"><span>{}</span></div><div class="plot signal">'
        '<div class="ys"><span>{}</span><span>{}</span></div>'
        '<div role="img" aria-label="{}">{}</div></div>'
    ).format(
        named,
        words.number(drawn.high),
        words.number(drawn.low),
        said,
        Markup(drawn.svg),  # noqa: S704 - numbers only
    )


@cache
def _template() -> Template:
    here = environment()
    here.filters |= {name: getattr(words, name) for name in ("verdict", "said", "why", "time_of")}
    return here.from_string(PAGE)


plugin = Html
