"""What is drawn: the numbers of a chart, and the same as a still picture for who has no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from watchkeeper.model import Assessed, Decision, Millis
from watchkeeper.reports import Line, Plot
from watchkeeper.reports import _words as words
from watchkeeper.reports._plots import health_plot, signal_plot
from watchkeeper.shown import Sampled, Trail

LAYERS = 5  # signals told apart in a chart; the others share one layer
SPARKS = 4_000  # kept
GAP = 3  # stretches without a word that break a line


@lru_cache(SPARKS)
def spark(trail: Trail, since: Millis, until: Millis) -> Markup:
    """Return a small picture of health."""
    line = Line(tuple(at for at, _ in trail.low), tuple(low for _, low in trail.low))
    return Markup(health_plot(line, (), since, until, small=True).svg)  # noqa: S704 - numbers only


def stack(course: Sequence[Assessed], stretch: int, until: Millis) -> dict[str, Any]:
    """Return health over time, and what took the rest of the 100 points, signal by signal.

    :return: `t` (seconds), `health`, `layers` of (`name`, `lost`), outermost first; None where
        nothing is known.
    """
    total: dict[tuple[str, str], float] = {}
    for one in course:
        for part in one.contributions:
            key = (part.metric, part.attributes)
            total[key] = total.get(key, 0.0) + part.share * (100.0 - (one.health or 0.0))
    leading = sorted(total, key=lambda key: (-total[key], key))[:LAYERS]
    times: list[float] = []
    health: list[float | None] = []
    lost: list[list[float | None]] = [[] for _ in range(len(leading) + 1)]
    before = None
    for one in course:
        if before is not None and one.time - before > GAP * stretch:
            _append(times, health, lost, before + stretch, None, ())
        before = one.time
        _append(times, health, lost, one.time, one.health, _taken(one, leading))
    if before is not None and until - before > GAP * stretch:
        _append(times, health, lost, before + stretch, None, ())
    names = [words.shown(words.series(*key)) for key in leading] + ["others"]
    layers = [{"name": name, "lost": part} for name, part in zip(names, lost, strict=True)]
    if not any(layers[-1]["lost"]):
        layers.pop()
    return {"t": times, "health": health, "layers": layers}


def _taken(one: Assessed, leading: Sequence[tuple[str, str]]) -> list[float]:
    gone = 100.0 - one.health if one.health is not None else 0.0
    shares = {(part.metric, part.attributes): part.share for part in one.contributions}
    taken = [gone * shares.pop(key, 0.0) for key in leading]
    return [*taken, gone * sum(shares.values())]


def _append(
    times: list[float],
    health: list[float | None],
    lost: list[list[float | None]],
    at: int,
    value: float | None,
    taken: Sequence[float],
) -> None:
    times.append(at / 1000)
    health.append(None if value is None else round(value, 2))
    for place, column in enumerate(lost):
        column.append(None if value is None else round(taken[place], 2))


def stack_picture(course: Sequence[Assessed], since: Millis, until: Millis) -> Markup:
    """Return health as a still picture."""
    line = Line(tuple(one.time for one in course), tuple(one.health for one in course))
    return Markup(health_plot(line, (), since, until).svg)  # noqa: S704 - numbers only


def signal(one: Sampled) -> dict[str, Any]:
    """Return a series with its normal range; `odd` marks the samples that alarmed."""
    return {
        "t": [at / 1000 for at in one.time.tolist()],
        "value": _numbers(one.value),
        "expected": _numbers(one.expected),
        "lower": _numbers(one.lower),
        "upper": _numbers(one.upper),
        "odd": [score >= 1.0 for score in one.score.tolist()],
    }


def signal_picture(one: Sampled, since: Millis, until: Millis) -> Markup:
    """Return a series as a still picture."""
    known = [place for place, value in enumerate(one.value.tolist()) if math.isfinite(value)]
    if not known:
        return Markup("")
    plot = Plot(
        tuple(Millis(at) for at in one.time[known].tolist()),
        tuple(one.value[known].tolist()),
        tuple(_numbers(one.lower[known])),
        tuple(_numbers(one.upper[known])),
        tuple(one.score[known].tolist()),
    )
    return Markup(signal_plot(plot, (), since, until).svg)  # noqa: S704 - numbers only


def marks(decisions: Sequence[Decision], since: Millis) -> list[dict[str, Any]]:
    """Return decisions as marks on a chart."""
    return [
        {"t": one.at / 1000, "phase": str(one.phase), "text": one.policy}
        for one in decisions
        if one.at >= since and str(one.phase) in ("firing", "resolved")
    ]


def _numbers(column: Any) -> list[float | None]:
    return [float(f"{x:.6g}") if math.isfinite(x) else None for x in column.tolist()]
