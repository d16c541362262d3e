"""Seeded fleets."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.cli._terminal import Output, emit, progress


def simulate(
    *,
    out: Path,
    seed: int = 1,
    scenario: str = "small",
    hosts: int | None = None,
    duration: str | None = None,
    interval: str = "60s",
    output: Output = "text",
) -> int:
    """Make a seeded fleet with faults, and the truth about them beside it.

    The same scenario and seed give the same bytes on every machine.

    Examples:

      watchkeeper simulate --out fleet.parquet
      watchkeeper simulate --scenario fleet --seed 7 --out day.parquet
      watchkeeper simulate --scenario my.yaml --out trial.csv.gz

    Parameters
    ----------
    out
        File to write: .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz.
    seed
        Every random number follows from it.
    scenario
        fleet, small, quiet, or a YAML file.
    hosts
        How many hosts, for a preset.
    duration
        How long, such as 1d, for a preset.
    interval
        Time between samples, such as 60s, for a preset.
    output
        text or json.
    """
    from watchkeeper import simulate as fleets
    from watchkeeper.simulate.writing import truth_path, write

    if scenario in fleets.PRESETS:
        chosen = fleets.preset(scenario, hosts, duration, interval)
    else:
        chosen = fleets.read(Path(scenario))
    with progress("samples") as tell:
        count = write(chosen, seed, out, lambda done, whole: tell("write", done, whole))
    beside = truth_path(out)
    text = f"{out}: {count} samples\n{beside}: the truth"
    emit(output, {"out": str(out), "truth": str(beside), "samples": count}, text)
    return 0
