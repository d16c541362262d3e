"""Two checkouts' houses side by side, sent the same requests in turn: what a sample costs each.

Servers that follow one another meet another machine each time: its speed changes by a third from
minute to minute. These share it, and a pair of portions lasts a second or two.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.ingest.payloads import SERIES, WARM, Request, requests
from benchmarks.ingest.sender import expect_all, send
from benchmarks.ingest.servers import Server, running

CONFIG = "version: 1\nsources: []\n"  # which every checkout knows
PORTION = 24  # ticks: what one house is sent at a time
AFTER = 0.5  # seconds after the last acknowledgement in which a house's work still counts


def pairs(folder: Path, other: Path, count: int) -> None:
    """Print what a sample costs in this checkout and in another, and the ratio of neighbours."""
    ours = Path(__file__).parents[2]
    by_tick: dict[int, list[Request]] = {}
    for one in requests(SERIES, WARM + count * PORTION):
        by_tick.setdefault(one.tick, []).append(one)
    with ExitStack() as both:
        houses = [
            both.enter_context(
                running("watchkeeper", folder / name, CONFIG, source=checkout / "src")
            )
            for name, checkout in (("other", other), ("ours", ours))
        ]
        for house in houses:
            first = _of(by_tick, 0, WARM)
            expect_all(house.name, send(house.port, house.path, first, seconds=600.0))
            house.settle(house)
        took: list[tuple[float, float]] = []
        for number in range(count):
            begin = WARM + number * PORTION
            portion = _of(by_tick, begin, begin + PORTION)
            turn = houses if number % 2 else houses[::-1]
            found = {house.folder: _cost(house, portion) for house in turn}
            took.append((found[houses[0].folder], found[houses[1].folder]))
            print(f"{took[-1][0]:6.0f} {took[-1][1]:6.0f} ns a sample", flush=True)
    ratios = [mine / theirs for theirs, mine in took]
    theirs, mine = (statistics.median(column) for column in zip(*took, strict=True))
    in_all = sum(mine for _, mine in took) / sum(theirs for theirs, _ in took)
    print(f"{other}: {theirs:.0f} ns a sample in the median; {ours}: {mine:.0f}")
    print(
        f"{statistics.median(ratios):.3f} times in the median of {count} pairs"
        f" ({min(ratios):.2f} to {max(ratios):.2f}), {in_all:.3f} in all;"
        f" load average {os.getloadavg()[0]:.1f}"
    )


def _of(by_tick: dict[int, list[Request]], begin: int, end: int) -> list[Request]:
    return [one for tick in range(begin, end) for one in by_tick[tick]]


def _cost(house: Server, portion: Sequence[Request]) -> float:
    """Return the processor time of a sample, in ns, until it is decided."""
    begun = _cpu(house)
    sent = expect_all(house.name, send(house.port, house.path, portion, seconds=600.0))
    while house.metric("watchkeeper_ledger_lag_entries") > 0:
        time.sleep(0.2)
    time.sleep(AFTER)
    return (_cpu(house) - begun) / sent.samples * 1e9


def _cpu(house: Server) -> float:
    """Return the processor seconds of all its threads, finer than /proc tells.

    The number is that of clock_getcpuclockid(3), for which Python has no name.
    """
    return time.clock_gettime((~house.process.pid << 3) | 2)
