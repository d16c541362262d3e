"""Why."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from watchkeeper.cli._terminal import Output, When, emit, progress, stamp

ELSEWHERE = "the policy does not look at this entity"  # as `policies` puts it


def explain(
    entity: str,
    /,
    *,
    at: When = None,
    results: Path | None = None,
    data: Path = Path("watchkeeper-data"),
    output: Output = "text",
) -> int:
    """Say why an entity has this health, why this decision, why nothing happened.

    From a folder of results, or derived again from the journal of a data folder. Without --at it
    tells the worst moment of results, and the latest moment of a data folder.

    Examples:

      watchkeeper explain host:web-1
      watchkeeper explain host:web-1 --at 2026-11-20T03:12:00Z
      watchkeeper explain host:web-1 --results out

    Parameters
    ----------
    entity
        `type:name`.
    at
        RFC 3339, `YYYY-MM-DD HH:MM` (UTC) or epoch.
    results
        A folder that `score` or `replay` wrote.
    data
        Folder of journal and ledger.
    output
        text or json.
    """
    from watchkeeper import rerun
    from watchkeeper.beginning import reaches
    from watchkeeper.cli._house import stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.explain import explain as told_by

    if results is not None:
        facts = told_by(results, entity, at, read_rulebook)
    else:
        with (
            tempfile.TemporaryDirectory(prefix="watchkeeper-") as folder,
            stores(data) as (journal, _),
            progress("entries") as tell,
        ):
            if at is not None:
                reaches(journal, at)
            total = journal.head()
            again = Path(folder) / "results"
            run = rerun.replayed(
                journal, read_rulebook, Local(workers=1), again, str(data),
                lambda offset: tell("replay", offset, total),
            )  # fmt: skip
            last = at if at is not None else run["window"]["last_tick"]
            facts = told_by(again, entity, last, read_rulebook)
    emit(output, {**facts, "at": stamp(facts["at"])}, _text(facts))
    return 0


def _text(facts: dict[str, Any]) -> str:
    health = "unknown" if facts["health"] is None else f"{facts['health']:.1f}"
    lines = [
        f"{facts['entity']} at {stamp(facts['at'])}",
        f"health {health} ({facts['state']}), coverage {facts['coverage']:.0%},"
        f" anomaly score {facts['score']:.2f}",
        "",
        "signals",
    ]
    lines += [_signal(one) for one in facts["signals"]]
    lines += ["", "policies"]
    concerned = [one for one in facts["policies"] if one["why"] != ELSEWHERE]
    for one in concerned:
        lines.append(f"  {one['policy']}: {one['phase']}")
        lines.append(f"      {one['why']}")
    others = [one["policy"] for one in facts["policies"] if one["why"] == ELSEWHERE]
    if not concerned:
        lines.append("  none looks at this entity")
    if others:
        lines.append(f"  of other entities: {', '.join(others)}")
    if facts["decisions"]:
        lines += ["", "decisions until then"]
        lines += [
            f"  {stamp(one['at'])} {one['policy']} {one['phase']}: {one['reason']},"
            f" {one['outcome']}"
            for one in facts["decisions"][-10:]
        ]
    else:
        lines += ["", "no decision until then"]
    return "\n".join(lines)


def _signal(one: dict[str, Any]) -> str:
    from watchkeeper.reports._words import number, series

    name = series(one["metric"], one["attributes"])
    took = f"took {one['points']:5.1f} points" if one["share"] else "took nothing     "
    low, high = one["lower"], one["upper"]
    band = "no band yet"
    if low is not None and high is not None:
        band = f"expected {number(one['expected'])} ({number(low)} to {number(high)})"
    elif low is not None or high is not None:
        band = f"normal up to {number(high)}" if low is None else f"normal from {number(low)}"
    return f"  {took}  {name} = {number(one['value'])}, {band}, score {one['score']:.2f}"
