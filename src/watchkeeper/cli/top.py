"""How things are, again and again."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from watchkeeper.cli import _screen

Sort = Literal["health", "score", "coverage", "name"]
SORTS: tuple[Sort, ...] = ("health", "score", "coverage", "name")
KEYS = {"h": "health", "s": "score", "c": "coverage", "n": "name"}
WIDTH_MIN, HEIGHT_MIN = 40, 8


def top(
    *,
    data: Path = Path("watchkeeper-data"),
    interval: float = 2.0,
    sort: Sort = "health",
    once: bool = False,
) -> int:
    """Show the worst entities with their reasons, rates and lag, and refresh. Keys: q, h, s, c, n.

    Reads the data folder beside a running service, as `status` does.

    Examples:

      watchkeeper top
      watchkeeper top --sort score --interval 5
      watchkeeper top --once                     one frame, for a script or a pipe

    Parameters
    ----------
    data
        Folder of journal and ledger.
    interval
        Seconds between two looks.
    sort
        What comes first: the worst health, the highest anomaly score, the least coverage, or names.
    once
        Print one frame and end.
    """
    from watchkeeper.cli.status import looked_up

    facts = looked_up(data)
    if once or not sys.stdout.isatty():
        width, height = shutil.get_terminal_size((80, 24))
        print("\n".join(frame(facts, None, width, height, sort)))
        return 0
    with _screen.taken() as key:
        _show(lambda: looked_up(data), facts, sort, max(0.2, interval), key)
    return 0


def _show(
    look: Callable[[], dict[str, Any]],
    facts: dict[str, Any],
    sort: Sort,
    interval: float,
    key: Callable[[float], str],
) -> None:
    """Draw until somebody types q."""
    before: tuple[float, dict[str, Any]] | None = None
    taken = time.monotonic()
    while True:
        width, height = shutil.get_terminal_size((80, 24))
        rates = None if before is None else _rates(before[1], facts, taken - before[0])
        _screen.draw(frame(facts, rates, width, height, sort))
        typed = key(max(0.0, taken + interval - time.monotonic()))
        if typed in ("q", "\x03", "\x1b"):
            return
        if typed in KEYS:
            sort = next(one for one in SORTS if one == KEYS[typed])
            continue
        if not typed:
            before, taken, facts = (taken, facts), time.monotonic(), look()


def _rates(before: dict[str, Any], now: dict[str, Any], seconds: float) -> dict[str, float]:
    """Return counts as they grew a second."""
    names = ("accepted", "rejected", "scored")
    return {n: max(0, now["counts"][n] - before["counts"][n]) / seconds for n in names}


def frame(
    facts: dict[str, Any], rates: dict[str, float] | None, width: int, height: int, sort: Sort
) -> list[str]:
    """Return one screen: at most `height` lines of at most `width` columns, plain text."""
    width, height = max(WIDTH_MIN, width), max(HEIGHT_MIN, height)
    lines = [*_head(facts, rates), ""]
    room = height - len(lines) - 2
    entities = sorted(facts["entities"], key=_ORDER[sort])
    lines += _screen.table(entities[:room], width)
    left = len(entities) - room
    rest = f"{left} more; " if left > 0 else ""
    lines.append(f"{rest}q ends, h s c n sort by health, score, coverage, name")
    return [_screen.cut(line, width) for line in lines]


def _head(facts: dict[str, Any], rates: dict[str, float] | None) -> Iterator[str]:
    states = [one["state"] for one in facts["entities"]]
    told = ", ".join(f"{states.count(s)} {s}" for s in ("fail", "warn", "unknown", "ok"))
    yield f"{len(states)} {'entity' if len(states) == 1 else 'entities'}: {told}"
    tick = facts["tick"] or "no tick yet"
    yield f"tick {tick}, {facts['behind']} entries behind, {facts['open_orders']} orders open"
    counts = facts["counts"]
    flow = " ".join(f"{name} {rate:,.0f}/s" for name, rate in (rates or {}).items())
    yield f"samples {flow or str(counts['accepted']) + ' accepted'}, {counts['rejected']} rejected"
    low = [one for one in facts["objectives"] if one["burning"] or one["remaining"] < 1]
    budget = ", ".join(f"{one['name']} {one['remaining']:.0%}" for one in low)
    if facts["objectives"]:  # else no service has written any down here
        yield f"error budget left: {budget or 'all of it'}"


def _known(value: float | None) -> float:
    return -1.0 if value is None else value


_ORDER: dict[Sort, Callable[[dict[str, Any]], Any]] = {
    "health": lambda one: (_known(one["health"]), one["entity"]),
    "score": lambda one: (-_known(one["score"]), one["entity"]),
    "coverage": lambda one: (_known(one["coverage"]), one["entity"]),
    "name": lambda one: one["entity"],
}
