"""A scored simulation against its truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from watchkeeper.cli._terminal import Output, emit


def drill(results: Path, /, *, truth: Path, output: Output = "text") -> int:
    """Hold a scored simulation against its truth: detection, lead time, false incidents.

    Examples:

      watchkeeper simulate --out fleet.parquet
      watchkeeper score fleet.parquet --out out
      watchkeeper drill out --truth fleet.parquet.truth.json

    Parameters
    ----------
    results
        The folder that `score` wrote.
    truth
        The file that `simulate` wrote beside the telemetry.
    output
        text or json.
    """
    from watchkeeper.simulate.drill import drill as held_against
    from watchkeeper.simulate.truth import read_truth

    facts: dict[str, Any] = held_against(read_truth(truth), results).document()
    lines = [
        f"noticed {facts['noticed']} of {facts['faults']} faults"
        f" ({facts['causes_noticed']} of {facts['causes']} causes)",
        f"median delay {_seconds(facts['delay_median_s'])},"
        f" median lead before failure {_seconds(facts['lead_median_s'])}",
        f"false incidents {facts['false_incidents']}"
        f" ({facts['false_incidents_per_1000_entity_days']:.1f} per 1,000 entity-days),"
        f" false decisions {facts['false_decisions']}",
        "",
    ]
    for one in facts["findings"]:
        seen = "benign" if one["benign"] else "missed" if one["noticed"] is None else "noticed"
        lines.append(f"{seen:<8} {one['fault']:<16} {one['entity']:<24} {_seconds(one['delay_s'])}")
    emit(output, facts, "\n".join(lines))
    return 0


def _seconds(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.0f} s" if abs(value) < 600 else f"{value / 60:.0f} min"
