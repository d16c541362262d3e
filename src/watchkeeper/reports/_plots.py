"""Small pictures as SVG text: no script, no style attributes, no fonts.

Each is drawn in a box of 1000 × 100 that the page stretches to any width; strokes keep their width
(`vector-effect` in the style sheet), and all words stay outside, in HTML, where they keep their
size. A dot is a line of no length with a round end: it stays round when the box is stretched.
Only numbers get into the markup, so nothing has to be escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from watchkeeper.model import Millis, State
from watchkeeper.reports._findings import Incident, Line, Plot

WIDTH, HEIGHT = 1000.0, 100.0
MARGIN = 0.06  # of the range, above and below, so that no line touches the frame


class Drawn(NamedTuple):
    """One picture with the range of its vertical axis, for the labels beside it."""

    svg: str
    low: float
    high: float


class _Scale(NamedTuple):
    since: int
    until: int
    low: float
    high: float

    def x(self, time: int) -> str:
        share = (time - self.since) / max(1, self.until - self.since)
        return f"{WIDTH * min(max(share, 0.0), 1.0):.1f}"

    def y(self, value: float) -> str:
        share = (value - self.low) / (self.high - self.low)
        return f"{HEIGHT * (1 - min(max(share, 0.0), 1.0)):.1f}"


def health_plot(
    line: Line, incidents: Sequence[Incident], since: Millis, until: Millis, small: bool = False
) -> Drawn:
    """Draw health from 0 to 100 over the window, incidents shaded; gaps where it is unknown."""
    scale = _Scale(since, until, -3.0, 103.0)
    marks = [_incident(scale, incident) for incident in incidents]
    grid = "" if small else "".join(_level(scale, level) for level in (0, 50, 100))
    path = _path(scale, line.time, line.health)
    dots = "" if small else _dots(scale, [(i.worst_at, i.worst) for i in incidents], "low")
    return Drawn(_svg([*marks, grid, f'<path class="line" d="{path}"/>', dots]), 0.0, 100.0)


def signal_plot(plot: Plot, incidents: Sequence[Incident], since: Millis, until: Millis) -> Drawn:
    """Draw one series in its normal band; a dot where its anomaly score reaches 1."""
    bounds = [v for v in (*plot.lower, *plot.upper) if v is not None]
    low, high = min(plot.value), max(plot.value)
    if bounds:  # a band much wider than the data must not flatten the data
        room = max(high - low, 1e-9 * max(abs(low), abs(high), 1e-300)) * 2
        low, high = max(min(low, *bounds), low - room), min(max(high, *bounds), high + room)
    margin = (high - low) * MARGIN or max(abs(high), 1.0) * MARGIN
    scale = _Scale(since, until, low - margin, high + margin)
    marks = [_incident(scale, incident) for incident in incidents]
    odd = [
        (time, value)
        for time, value, score in zip(plot.time, plot.value, plot.score, strict=True)
        if score >= 1
    ]
    path = _path(scale, plot.time, plot.value)
    parts = [*marks, _band(scale, plot), f'<path class="line" d="{path}"/>', _dots(scale, odd)]
    return Drawn(_svg(parts), low, high)


def bar(share: float, state: State | None = None) -> str:
    """Draw one share of 0..1 as a filled bar."""
    filled = f'<rect class="{state or "fill"}" width="{WIDTH * share:.1f}" height="100"/>'
    return _svg(['<rect class="rest" width="1000" height="100"/>', filled], kind="bar")


def stacked(parts: Sequence[tuple[State, int]]) -> str:
    """Draw counts as one bar, in the order given; what is there at all is at least a sliver."""
    there = [(state, count) for state, count in parts if count]
    total = sum(count for _, count in there)
    least = WIDTH * 0.006
    widths = [max(least, WIDTH * count / total) for _, count in there]
    stretch = WIDTH / sum(widths) if widths else 1.0
    at, drawn = 0.0, []
    for (state, _), width in zip(there, widths, strict=True):
        size = width * stretch
        drawn.append(f'<rect class="{state}" x="{at:.1f}" width="{size:.1f}" height="100"/>')
        at += size
    return _svg(drawn or ['<rect class="rest" width="1000" height="100"/>'], kind="bar")


def _svg(parts: Sequence[str], kind: str = "") -> str:
    shape = f' class="{kind}"' if kind else ""
    return (
        f'<svg{shape} viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        + "".join(parts)
        + "</svg>"
    )


def _incident(scale: _Scale, incident: Incident) -> str:
    start = float(scale.x(incident.start))
    stop = float(scale.x(incident.end if incident.end is not None else scale.until))
    width = max(stop - start, 2.0)
    return f'<rect class="in {incident.state}" x="{start:.1f}" width="{width:.1f}" height="100"/>'


def _level(scale: _Scale, level: float) -> str:
    return f'<path class="grid" d="M0 {scale.y(level)}H1000"/>'


def _path(scale: _Scale, times: Sequence[int], values: Sequence[float | None]) -> str:
    """Connect neighbours; None lifts the pen; a lone point becomes a dot."""
    drawn, pen = [], False
    for time, value in zip(times, values, strict=True):
        if value is None:
            pen = False
            continue
        drawn.append(f"{'L' if pen else 'M'}{scale.x(time)} {scale.y(value)}")
        if not pen:
            drawn.append("h0")
        pen = True
    return "".join(drawn)


def _band(scale: _Scale, plot: Plot) -> str:
    """Fill between lower and upper; an absent side reaches the edge of the picture."""
    runs: list[list[tuple[int, float, float]]] = [[]]
    for time, lower, upper in zip(plot.time, plot.lower, plot.upper, strict=True):
        if lower is None and upper is None:
            runs.append([])
            continue
        floor = scale.low if lower is None else lower
        roof = scale.high if upper is None else upper
        runs[-1].append((time, floor, roof))
    shapes = []
    for run in runs:
        if run:
            above = [f"{scale.x(t)} {scale.y(roof)}" for t, _, roof in run]
            below = [f"{scale.x(t)} {scale.y(floor)}" for t, floor, _ in reversed(run)]
            shapes.append(f'<path class="band" d="M{"L".join(above + below)}Z"/>')
    return "".join(shapes)


def _dots(scale: _Scale, points: Sequence[tuple[int, float | None]], kind: str = "odd") -> str:
    path = "".join(f"M{scale.x(t)} {scale.y(v)}h0" for t, v in points if v is not None)
    return f'<path class="dot {kind}" d="{path}"/>' if path else ""
