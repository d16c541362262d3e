"""The fleet: what is unhealthy, and why, worst first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.bulk import possible
from watchkeeper.http.answers import known
from watchkeeper.http.pages import _charts
from watchkeeper.http.pages._render import Shared, query, whole_number
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.model import Assessed, Millis, State
from watchkeeper.reports import Range, Signal
from watchkeeper.reports import _words as words
from watchkeeper.reports._findings import ANY
from watchkeeper.shown import Fleet, Group, Said, Trail, Wanted, chosen, counted, grouped

ROWS, ROWS_MAX = 50, 1_000
GROUPS = 24
WINDOW, SHORTEST = Millis(3 * 3_600_000), 900_000  # ms that a sparkline reaches back
STEP = 30_000  # ms in which sparklines move on, all at once; between, they need not be drawn anew
FIELDS = ("text", "state", "kind", "label", "group", "rows")


class Row(NamedTuple):
    """One entity as the fleet shows it. :param why: (series or fact, what about it)."""

    one: Assessed
    since: Millis | None
    why: list[tuple[str, str]]
    spark: Markup


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page of the fleet."""
    return [Endpoint("GET", "/", Scope.STATUS_READ, _Overview(view).page)]


class _Overview:
    def __init__(self, view: HouseView) -> None:
        self._view, self._shared = view, Shared(view, "overview.html.j2")

    async def page(self, request: Request) -> Response:
        asked = known(request, *FIELDS)
        state = asked.get("state", "")
        wanted = Wanted(
            asked.get("text", "").strip()[:200],
            state if state in set(State) else "",
            asked.get("kind", ""),
            asked.get("label", "").strip()[:400],
        )
        rows, group = _rows_of(asked.get("rows", "")), asked.get("group", "")
        address = request.headers.get("host", "")

        def gather(fleet: Fleet) -> dict[str, Any]:
            return {"address": address, **facts(self._view, fleet, wanted, group, rows)}

        return await self._shared.page(request, gather)


def facts(view: HouseView, fleet: Fleet, wanted: Wanted, group: str, rows: int) -> dict[str, Any]:
    """Return what the page shows."""
    found = chosen(fleet, wanted, view.labelled)
    trails = [(one, view.trail(one.entity)) for one in found[:rows]]
    until = Millis(-(-fleet.tick // STEP) * STEP)
    begin = min((trail.low[0][0] for _, trail in trails if trail.low), default=until)
    begin = max(Millis(until - WINDOW), min(begin, Millis(until - SHORTEST)))
    same = {"text": wanted.text, "label": wanted.label, "kind": wanted.kind, "group": group}
    ranges, labels = possible(view.rulebook), view.labels()
    groups = grouped(found, view.values_of(group) if group else None)
    every = counted(chosen(fleet, wanted._replace(state=""), view.labelled))
    return {
        "fleet": fleet,
        "verdict": verdict(fleet),
        "states": every,
        "state_links": {s: query("/", **same, state=s) for s, _ in every},
        "any_state": query("/", **same),
        "total": sum(amount for _, amount in every),
        "wanted": wanted,
        "group": group,
        "groups": [(one, _group_link(wanted, group, one)) for one in groups[:GROUPS]],
        "groups_more": max(0, len(groups) - GROUPS),
        "found": len(found),
        "rows": [_row(view, one, trail, begin, until, ranges) for one, trail in trails],
        "reach": fleet.tick - begin,
        "more": query("/", **same, state=wanted.state, rows=min(rows + 100, ROWS_MAX))
        if len(found) > rows and rows < ROWS_MAX
        else "",
        "kinds": fleet.kinds(),
        "labels": labels,
        "label_names": sorted({label.partition("=")[0] for label in labels}),
    }


def verdict(fleet: Fleet) -> str:
    """Return the one sentence to read when there is time for only one."""
    total, counts = len(fleet.entities), dict(counted(fleet.entities))
    sick, unknown = counts[State.FAIL] + counts[State.WARN], counts[State.UNKNOWN]
    if not total:
        return "No telemetry yet"
    if sick:
        noun = "entity is" if total == 1 else ("entities is" if sick == 1 else "entities are")
        return f"{sick:,} of {total:,} {noun} unhealthy"
    if unknown == total:
        return "Nothing is known"
    return f"Nothing is unhealthy, {unknown:,} of {total:,} unknown" if unknown else "All is well"


def why(
    one: Assessed, said: Mapping[tuple[str, str], Said], ranges: Mapping[str, Range]
) -> list[tuple[str, str]]:
    """Return what matters first, as (series or fact, what about it); at most two."""
    if one.state is State.UNKNOWN:
        here = words.percent(one.coverage)
        return [("signals are missing", f"{here} of those expected are here")]
    if one.state is State.OK:
        return []
    told = []
    for part in one.contributions[:2]:
        about = [f"{words.percent(part.share)} of the loss"]
        now = said.get((part.metric, part.attributes))
        if now is not None:
            known = Signal(part.metric, part.attributes, part.share, *_known(now))
            about.insert(0, words.brief(known.within(ranges.get(part.metric, ANY))))
        told.append((words.series(part.metric, part.attributes), "; ".join(filter(None, about))))
    return told


def _known(said: Said) -> list[float | None]:
    return [x if x == x and abs(x) != float("inf") else None for x in said]


def _row(
    view: HouseView,
    one: Assessed,
    trail: Trail,
    begin: Millis,
    until: Millis,
    ranges: Mapping[str, Range],
) -> Row:
    said = view.newest(one.entity) if one.state in (State.FAIL, State.WARN) else {}
    return Row(one, trail.since, why(one, said, ranges), _charts.spark(trail, begin, until))


def _group_link(wanted: Wanted, group: str, one: Group) -> str:
    fields = wanted._asdict()
    fields |= {"label": f"{group}={one.name}"} if group else {"kind": one.name}
    return query("/", **fields, group=group)


def _rows_of(text: str) -> int:
    return min(max(whole_number(text) or ROWS, 1), ROWS_MAX)
