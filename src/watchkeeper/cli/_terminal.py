"""What every command shares: output as text or JSON, progress on a terminal, the clock."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from watchkeeper.model import Millis

Output = Literal["text", "json"]


def emit(output: Output, facts: Any, text: str) -> None:
    """Print a result to stdout: facts as JSON, or the text."""
    if output == "json":
        print(json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False, default=str))
    else:
        print(text.rstrip("\n"))


def say(text: str) -> None:
    """Print a diagnostic to stderr."""
    print(text, file=sys.stderr, flush=True)


def now() -> Millis:
    """Return the wall clock; commands and the service are the only ones that read it."""
    return Millis(time.time_ns() // 1_000_000)


@contextmanager
def progress(unit: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a bar on a terminal: call with stage, done and total; silent anywhere else."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn(f"{{task.completed:>12,.0f}} {unit}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell


def moment(text: str) -> Millis:
    """Read a time an operator typed: RFC 3339, `YYYY-MM-DD HH:MM[:SS]` (UTC) or epoch.

    :raises ValueError: it is none of these.
    """
    from datetime import UTC, datetime

    if text.lstrip("-").replace(".", "", 1).isdigit():
        value = float(text)
        return Millis(int(value if value >= 1e11 else value * 1000))
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return Millis(int(when.timestamp() * 1000))


def stamp(millis: int) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
