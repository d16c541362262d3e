"""What a house costs, and which limit comes first."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from watchkeeper.cli._terminal import Output, emit

if TYPE_CHECKING:
    from watchkeeper.upkeep.capacity import Capacity, Limit, Machine


def capacity(
    *,
    data: Path = Path("watchkeeper-data"),
    config: tuple[Path, ...] = (),
    output: Output = "text",
) -> int:
    """Say what this house costs by its own history, and which limit it reaches first.

    Costs are of this folder on this machine: bytes of disk a sample, time of a processor a sample,
    memory a series and an entity. While the house runs, the whole process is measured, else
    scoring only. What cannot be known is said.

    Examples:

      watchkeeper capacity
      watchkeeper capacity --data /var/lib/watchkeeper --output json

    Parameters
    ----------
    data
        Folder of journal and ledger.
    config
        Configuration whose reserve: is left free.
    output
        text or json.
    """
    from watchkeeper.cli._house import configured, stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.store.placed import held_by
    from watchkeeper.upkeep.capacity import capacity as found
    from watchkeeper.upkeep.capacity import history

    reserve = configured(config).reserve
    sizes = held_by(data, "journal"), held_by(data, "ledger")
    with stores(data) as (journal, ledger):
        past = history(journal, ledger, sizes, read_rulebook, Local(workers=1))
    disk = shutil.disk_usage(data)
    told = found(past, _machine(data, max(disk.free - reserve.kept(disk.total), 0)))
    first = told.first
    facts = {**asdict(told), "first": asdict(first) if first is not None else None}
    emit(output, facts, _text(told))
    return 0


def _machine(data: Path, free: int) -> Machine:
    """Look at this machine, and at the process that owns the folder, if one does."""
    from watchkeeper.memory import allowed
    from watchkeeper.upkeep.capacity import Machine

    cores = len(os.sched_getaffinity(0))
    busy, resident = _owner(data / "journal.sqlite.lock")
    return Machine(cores, free, allowed().size, busy, resident)


def _owner(lock: Path) -> tuple[float | None, int | None]:
    """Return the processors that the owner keeps busy since its start, and the bytes it holds."""
    try:
        number = int(lock.read_text().strip())
        stat = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
    except (OSError, ValueError):
        return None, None
    ticks = os.sysconf("SC_CLK_TCK")
    spent = (int(stat[11]) + int(stat[12])) / ticks
    lived = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / ticks
    return spent / max(lived, 1.0), pages * os.sysconf("SC_PAGESIZE")


def _text(told: Capacity) -> str:
    past = told.history
    lines = [
        f"history  {past.samples} samples in {past.entries} entries over {_span(past.lived)};"
        f" {past.series} series, {past.entities} entities",
        f"of late  {past.rate:.1f} samples a second, {past.series_a_day:.0f} new series a day",
        "",
    ]
    for name, value in told.costs.items():
        said = "not known" if value is None else f"{value:.4g}"
        lines.append(f"cost     {name.replace('_', ' '):<40} {said}")
    lines.append("")
    lines += [_limit(one) for one in told.limits]
    first = told.first
    if first is not None:
        lines += ["", f"next     {first.name} in {first.days:.0f} days: {first.advice}"]
    lines += ["", *(f"unknown  {one}" for one in told.unknown)]
    return "\n".join(lines)


def _limit(one: Limit) -> str:
    used, of = (_bytes(n) if one.unit == "bytes" else f"{n:.2f}" for n in (one.used, one.of))
    when = "not forecast" if one.days is None else f"reached in {one.days:.0f} days at this pace"
    return f"limit    {one.name:<12}{used} of {of}; {when}"


def _bytes(number: float) -> str:
    return f"{number / (1 << 30):.2f} GiB" if number >= 1 << 30 else f"{number / (1 << 20):.1f} MiB"


def _span(millis: int) -> str:
    hours = millis / 3_600_000
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
