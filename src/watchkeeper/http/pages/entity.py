"""One entity: how it is, why, how it came there, and why nothing happened."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from watchkeeper.access import Scope
from watchkeeper.bulk import possible
from watchkeeper.contracts import Metric, metrics_of, traits
from watchkeeper.core.state import Rulebook
from watchkeeper.http.answers import known
from watchkeeper.http.pages import _charts
from watchkeeper.http.pages._render import Shared, page
from watchkeeper.http.table import Endpoint
from watchkeeper.http.view import HouseView
from watchkeeper.model import KEYS, Assessed, Millis
from watchkeeper.reports import Range
from watchkeeper.reports import _words as words
from watchkeeper.reports._findings import ANY
from watchkeeper.reports._forecast import NEEDED, Forecast, Reach, forecast
from watchkeeper.reports._forecast import STRETCH as MEDIAN
from watchkeeper.shown import Place, Sampled, kind

STRETCH = 60_000  # ms of one point of the chart of health
WINDOW = Millis(3 * 3_600_000)
DRAWN = 6  # signals with a chart
DECISIONS = 20
SEVERITIES = ("critical", "error", "warning", "info")
PEERS = 3  # signals compared with others


class Shown(NamedTuple):
    """One series as the page shows it. :param lost: points of health it takes."""

    name: str
    metric: str
    attributes: str
    unit: str
    about: str
    lost: float
    share: float
    value: float | None
    expected: float | None
    normal: str
    score: float
    at: Millis


class Ahead(NamedTuple):
    """Where a signal goes. :param verb: `rises` or `falls`."""

    name: str
    unit: str
    verb: str
    trend: Forecast

    @property
    def next(self) -> Reach:
        """The bound that it reaches first."""
        found = self.trend.warn or self.trend.crit
        assert found is not None, "a forecast is of some bound"
        return found


class Peers(NamedTuple):
    """How a signal compares with those of other entities. Places are 0..1 of the widest range."""

    name: str
    unit: str
    mine: float
    median: float
    low: float
    high: float
    above: int
    others: int
    picture: Markup


def endpoints(view: HouseView) -> list[Endpoint]:
    """Return the page of one entity."""
    shown = _Page(view)
    return [Endpoint("GET", "/entities/{entity:name}", Scope.STATUS_READ, shown.page)]


class _Page:
    def __init__(self, view: HouseView) -> None:
        self._view, self._shared = view, Shared(view, "entity.html.j2")

    async def page(self, request: Request) -> Response:
        known(request)
        view, name = self._view, request.path_params["entity"]
        one = (await run_in_threadpool(view.fleet)).named(name)
        if one is None:
            return await run_in_threadpool(self._missing, request, name)
        return await self._shared.page(request, lambda _: facts(view, one))

    def _missing(self, request: Request, name: str) -> Response:
        history = self._view.ledger.decisions(name, limit=DECISIONS)
        said = {"what": "entity", "name": name, "decisions": history}
        return page(request, self._view, "missing.html.j2", 404, **said)


def facts(view: HouseView, one: Assessed) -> dict[str, Any]:
    """Return what the page shows."""
    name, until = one.entity, view.fleet().tick
    since = Millis(max(0, until - WINDOW))
    course = view.course(name, STRETCH)
    if course:
        since = max(since, Millis(course[0].time - STRETCH))
    ranges = possible(view.rulebook)
    samples = [within(one, ranges.get(one.metric, ANY)) for one in view.samples(name)]
    metrics = meanings(view.rulebook, name, samples)
    shown = sorted(
        (
            series_shown(metric, s, one, ranges.get(s.metric, ANY))
            for metric, s in zip(metrics, samples, strict=True)
        ),
        key=lambda each: (-each.lost, -each.score, each.name),
    )
    drawn = {(each.metric, each.attributes): each for each in shown[:DRAWN]}
    decisions = view.ledger.decisions(name, limit=DECISIONS)
    stack = _charts.stack(course, STRETCH, until)
    standings = view.standings(name)
    return {
        "one": one,
        "kind": kind(name),
        "trail": view.trail(name),
        "tick": until,
        "since": since,
        "health": stack | {"marks": _charts.marks(decisions, since), "from": since / 1000},
        "lowest": min((each.health for each in course if each.health is not None), default=None),
        "health_picture": _charts.stack_picture(course, since, until),
        "shown": shown,
        "taking": [each for each in shown if each.share > 0],
        "charts": [
            (
                drawn[s[:2]],
                _charts.signal(s),
                _charts.signal_picture(s, since, until),
            )
            for s in sorted(samples, key=lambda s: _place(shown, s))
            if (s.metric, s.attributes) in drawn
        ],
        "peers": _peers(view, one, shown),
        "ahead": ahead(view.rulebook, name, samples, until),
        "foresight": NEEDED * MEDIAN,
        "silent": [(words.series(m, a), at) for m, a, at in view.silent(name)],
        "decisions": decisions,
        "standings": sorted(standings, key=_nearest),
        "runbooks": _runbooks(view.rulebook, standings),
    }


def within(one: Sampled, range_of: Range) -> Sampled:
    """Return the same; what is normal ends where values cannot be."""
    low, high = range_of
    if low is None and high is None:
        return one
    return one._replace(
        lower=np.clip(one.lower, low, high),
        upper=np.clip(one.upper, low, high),
    )


def series_shown(
    metric: Metric | None, sampled: Sampled, one: Assessed, range_of: Range = ANY
) -> Shown:
    """Return a series with what its contract says and what it takes from health."""
    share = next(
        (
            part.share
            for part in one.contributions
            if (part.metric, part.attributes) == (sampled.metric, sampled.attributes)
        ),
        0.0,
    )
    value, expected, lower, upper = (
        _last(column) for column in (sampled.value, sampled.expected, sampled.lower, sampled.upper)
    )
    score = float(sampled.score[-1])
    return Shown(
        words.series(sampled.metric, sampled.attributes),
        sampled.metric,
        sampled.attributes,
        unit_of(metric),
        metric.description if metric is not None else "",
        share * (100.0 - one.health) if one.health is not None else 0.0,
        share,
        value,
        expected,
        _normal(*range_of.band(lower, upper)),
        score if math.isfinite(score) else 0.0,
        Millis(int(sampled.time[-1])),
    )


def ahead(rulebook: Rulebook, entity: str, samples: Sequence[Sampled], now: Millis) -> list[Ahead]:
    """Return the signals that are on their way to a bound of their contract, soonest first."""
    told = traits(rulebook.contracts, _keys(entity, samples))
    found = []
    for row, metric in enumerate(meanings(rulebook, entity, samples)):
        one, worse = samples[row], int(told.worse[row])
        bounds = float(told.warn[row]), float(told.crit[row])
        goes = forecast(one.time, one.value, worse, *bounds, now)
        if goes is not None:
            name, verb = words.series(one.metric, one.attributes), "rises" if worse > 0 else "falls"
            found.append(Ahead(name, unit_of(metric), verb, goes))
    return sorted(found, key=lambda one: (one.next.after, one.name))


def meanings(rulebook: Rulebook, entity: str, samples: Sequence[Sampled]) -> list[Metric | None]:
    """Return what the contracts say of each series; None where they do not name it."""
    return metrics_of(rulebook.contracts, _keys(entity, samples))


def _keys(entity: str, samples: Sequence[Sampled]) -> pa.RecordBatch:
    named = [(entity, one.metric, one.attributes) for one in samples]
    rows = [dict(zip(KEYS.names, each, strict=True)) for each in named]
    return pa.RecordBatch.from_pylist(rows, KEYS)


def unit_of(metric: Metric | None) -> str:
    """Return a unit as people read it; empty for a bare number."""
    if metric is None:
        return ""
    unit = "" if metric.unit == "1" else metric.unit.replace("{", "").replace("}", "")
    unit = {"By": "B", "Cel": "°C"}.get(unit, unit)
    if metric.kind == "counter":
        unit = f"{unit}/s" if unit else "per s"
    return unit


def _place(shown: Sequence[Shown], sampled: Sampled) -> int:
    names = [(each.metric, each.attributes) for each in shown[:DRAWN]]
    name = (sampled.metric, sampled.attributes)
    return names.index(name) if name in names else len(names)


def _last(column: Any) -> float | None:
    value = float(column[-1])
    return value if math.isfinite(value) else None


def _normal(lower: float | None, upper: float | None) -> str:
    if lower is not None and upper is not None:
        return f"{words.number(lower)} to {words.number(upper)}"
    if upper is not None:
        return f"up to {words.number(upper)}"
    return f"from {words.number(lower)}" if lower is not None else ""


def _peers(view: HouseView, one: Assessed, shown: Sequence[Shown]) -> list[Peers]:
    """Compare the signals that matter most with those of entities of the same type."""
    found: list[Peers] = []
    for each in shown[:DRAWN]:
        if len(found) == PEERS or each.value is None:
            break
        places = [
            place
            for place in view.places(each.metric, each.attributes)
            if kind(place.entity) == kind(one.entity) and math.isfinite(place.value)
        ]
        if len(places) > 2:
            found.append(compared(each, one.entity, places))
    return found


def compared(each: Shown, entity: str, places: Sequence[Place]) -> Peers:
    """Return how one entity's value stands among those of all."""
    mine = each.value if each.value is not None else math.nan
    others = sorted(place.value for place in places if place.entity != entity)
    middle = len(others) // 2
    median = others[middle] if len(others) % 2 else (others[middle - 1] + others[middle]) / 2
    low, high = min(others[0], mine), max(others[-1], mine)
    width = (high - low) or 1.0
    thin = others[:: max(1, len(others) // 200)]
    dots = "".join(
        f'<circle cx="{10 + 980 * (value - low) / width:.1f}" cy="50" r="7"/>' for value in thin
    )
    own = f'<circle class="own" cx="{10 + 980 * (mine - low) / width:.1f}" cy="50" r="11"/>'
    picture = f'<svg class="strip" viewBox="0 0 1000 100" aria-hidden="true">{dots}{own}</svg>'
    return Peers(
        each.name, each.unit, mine, median, others[0], others[-1],
        sum(value < mine for value in others), len(others), Markup(picture),  # noqa: S704 - numbers
    )  # fmt: skip


def _nearest(standing: dict[str, Any]) -> tuple[int, str]:
    order = ("firing", "pending", "resolved", "inactive")
    return order.index(standing["phase"]), standing["policy"]


def _runbooks(rulebook: Rulebook, standings: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return what to do, by the policies that fire or are about to."""
    named = {policy.name: policy for policy in rulebook.policies}
    acting = [
        (policy, standing["phase"])
        for standing in standings
        if standing["phase"] in ("firing", "pending")
        and (policy := named.get(standing["policy"])) is not None
    ]
    acting.sort(key=lambda each: (each[1] != "firing", SEVERITIES.index(each[0].severity)))
    return [
        {
            "policy": policy.name,
            "description": policy.description,
            "runbook": policy.runbook,
            "severity": policy.severity,
            "phase": phase,
        }
        for policy, phase in acting
    ]
