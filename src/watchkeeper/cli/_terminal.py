"""What every command shares: output as text or JSON, progress on a terminal, the clock."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

if TYPE_CHECKING:  # the nouns bring numpy and pyarrow with them, and help must not wait for those
    from watchkeeper.model import Millis

Output = Literal["text", "json"]
LATEST = 7_258_118_400_000  # 2200-01-01


def emit(output: Output, facts: Any, text: str) -> None:
    """Print a result to stdout: facts as JSON, or the text."""
    if output == "json":
        shown = _finite(facts)
        print(json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False, default=str))
    else:
        print(text.rstrip("\n"))


def _finite(facts: Any) -> Any:
    """JSON has no word for NaN and infinities; they become null, as nothing is known there."""
    if isinstance(facts, float):
        return facts if math.isfinite(facts) else None
    if isinstance(facts, dict):
        return {name: _finite(value) for name, value in facts.items()}
    return [_finite(one) for one in facts] if isinstance(facts, list | tuple) else facts


def say(text: str) -> None:
    """Print a diagnostic to stderr."""
    print(text, file=sys.stderr, flush=True)


def now() -> Millis:
    """Return the wall clock; commands and the service are the only ones that read it."""
    from watchkeeper.model import Millis

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

    from watchkeeper.model import Millis

    if text.isdecimal():
        value = int(text)
        millis = value if value >= 1e11 else value * 1000
    else:
        try:
            when = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a time such as 2026-11-20T03:12:00Z") from error
        millis = int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= millis < LATEST:
        raise ValueError(f"{text!r} is not within 1970..2200")
    return Millis(millis)


def _moment(_: Any, tokens: Sequence[Token]) -> Millis:
    return moment(tokens[0].value)


if TYPE_CHECKING:
    When = Millis | None
else:
    When = Annotated[int | None, Parameter(converter=_moment)]


def stamp(millis: int) -> str:
    """Return a time as RFC 3339 in UTC, to the second."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(millis / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
