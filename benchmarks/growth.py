"""Measure what a growing fleet costs: memory, samples, ticks, enrolment and checkpoints.

Run `python -m benchmarks.growth`. Every size is a process of its own; series come 5,000 an entry,
40 to an entity, and every entry brings samples of a tenth of the series. Times are CPU time of the
process, except for the checkpoint, which waits for a disk; only the second copy of the state, the
pause, is made while nothing is decided. `--fast` shows only that it runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from watchkeeper import config, core
from watchkeeper.core import checkpoint
from watchkeeper.core.state import Rulebook, State
from watchkeeper.engines.local import Local
from watchkeeper.ledger.sqlite import Sqlite
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Cursor, Entry, Millis, Offset, Rows

SIZES = (1_000, 10_000, 100_000, 1_000_000)
FAST = (1_000, 5_000)
PORTION = 5_000  # new series an entry
EACH = 40  # series an entity
SHARE = 10  # an entry brings samples of one series in so many
METRICS = (
    "system.cpu.utilization",
    "system.memory.utilization",
    "system.network.io",
    "queue.depth",
)
START = 1_700_000_000_000
TICK = 1_000


@dataclass(frozen=True)
class Figures:
    """What one size costs."""

    series: int
    bytes_per_series: int
    enrol_ms: float  # an entry of PORTION new series, on average
    enrol_ms_most: float
    sample_ns: float
    quiet_ms: float  # a tick in which nothing arrived
    busy_ms: float  # a tick in which a tenth of the series spoke
    pause_s: float  # how long nothing is decided while a checkpoint is made
    checkpoint_s: float
    checkpoint_mb: float
    peak_mb: int


def _memory(name: str) -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def keys(first: int, count: int) -> pa.RecordBatch:
    """Return the KEYS of some series, counted from 0."""
    numbers = range(first, first + count)
    columns = [
        [f"host:rack-{n // EACH // 40}-node-{n // EACH}" for n in numbers],
        [METRICS[n % len(METRICS)] for n in numbers],
        [f'{{"device":"{n % EACH // len(METRICS)}"}}' for n in numbers],
    ]
    return pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in columns], schema=KEYS)


class House:
    """One state, and the entries that are carried into it."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.rulebook, self.engine = rulebook, Local(workers=1)
        self.offset, self.at = 0, START
        self.random = np.random.default_rng(1)
        self.state: State = core.begun(rulebook, self.entry(keys(0, 0), np.zeros(0, np.uint32)))
        self.offset = 0

    def entry(self, new: pa.RecordBatch, rows: Rows) -> Entry:
        """Return the next entry, half a second after a tick."""
        self.offset, self.at = self.offset + 1, self.at + TICK
        value = 0.2 + 0.05 * self.random.standard_normal(len(rows))
        columns = [pa.array(rows, pa.uint32()), np.full(len(rows), self.at - 600), value]
        return Entry(
            offset=Offset(self.offset), source="", cursor=Cursor(""), arrived=Millis(self.at - 500),
            first=0, new=new,
            samples=pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=SAMPLES),
            rejected=pa.RecordBatch.from_pylist([], REJECTS),
        )  # fmt: skip

    def carry(self, entry: Entry) -> tuple[float, float]:
        """Carry one entry in; return CPU seconds of the ticks it closed, and of its samples."""
        begin = time.process_time()
        self.state, _, _ = core.close(self.rulebook, self.state, entry)
        middle = time.process_time()
        self.state, _ = core.take(self.rulebook, self.state, [entry], self.engine)
        return middle - begin, time.process_time() - middle


def _portions(series: int) -> Iterator[Rows]:
    """Yield a tenth of the series after the other: whole entities, as they report."""
    size = max(series // SHARE, 1)
    while True:
        for first in range(0, series, size):
            yield np.arange(first, min(first + size, series), dtype=np.uint32)


def measure(series: int, rounds: int) -> Figures:
    """Grow a house to `series` series and measure it there."""
    rulebook = config.load((), {}, "version: 1\ntick: 1s\nsources: []\n").rules
    core.warm_up(rulebook, Local(workers=1))
    before = _memory("VmRSS")
    house, none = House(rulebook), np.zeros(0, np.uint32)
    enrolled = []
    for first in range(0, series, PORTION):
        entry = house.entry(keys(first, min(PORTION, series - first)), none)
        enrolled.append(house.carry(entry)[1])
    portions = _portions(series)
    for _ in range(SHARE):
        house.carry(house.entry(keys(0, 0), next(portions)))
    spent = [house.carry(house.entry(keys(0, 0), next(portions))) for _ in range(rounds)]
    house.carry(house.entry(keys(0, 0), none))
    quiet = [house.carry(house.entry(keys(0, 0), none))[0] for _ in range(max(rounds // 4, 3))]
    held = (_memory("VmRSS") - before) // series
    ticks, samples = np.array(spent).T
    return Figures(
        series, held,
        1e3 * float(np.mean(enrolled)), 1e3 * max(enrolled),
        1e9 * float(np.median(samples)) / max(series // SHARE, 1),
        1e3 * float(np.median(quiet)), 1e3 * float(np.median(ticks)),
        *_saved(house),
        _memory("VmHWM") // 10**6,
    )  # fmt: skip


def _saved(house: House) -> tuple[float, float, float]:
    """Return seconds nothing is decided, seconds until the checkpoint is kept, and its MB."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Sqlite(Path(folder) / "ledger.sqlite").open()
        begin = time.perf_counter()
        room = checkpoint.copied(checkpoint.picture(house.rulebook, house.state), None)
        middle = time.perf_counter()
        still = checkpoint.copied(checkpoint.picture(house.rulebook, house.state), room)
        pause = time.perf_counter() - middle
        ledger.save_pieces(still.offset, still.tick, checkpoint.pieces(still))
        spent = time.perf_counter() - begin
        ledger.close()
        size = (Path(folder) / "ledger.sqlite").stat().st_size / 1e6
    return pause, spent, size


HEADS = (
    ("series", ",d"), ("bytes_per_series", ",d"), ("enrol_ms", ".1f"), ("enrol_ms_most", ".1f"),
    ("sample_ns", ".0f"), ("quiet_ms", ".2f"), ("busy_ms", ".2f"), ("pause_s", ".2f"),
    ("checkpoint_s", ".2f"), ("checkpoint_mb", ".1f"), ("peak_mb", ",d"),
)  # fmt: skip


def main() -> int:
    """Read the command line and print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="two small sizes, few rounds")
    parser.add_argument("--sizes", type=int, nargs="+", help="series")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(asdict(measure(given.one, 4 if given.fast else 40))))
        return 0
    print(" ".join(f"{name:>16}" for name, _ in HEADS), flush=True)
    rows = []
    for size in given.sizes or (FAST if given.fast else SIZES):
        command = [sys.executable, "-m", "benchmarks.growth", "--one", str(size)]
        told = subprocess.run(
            [*command, *(["--fast"] if given.fast else [])], check=True, stdout=subprocess.PIPE
        )
        rows.append(json.loads(told.stdout))
        print(" ".join(f"{rows[-1][name]:>16{form}}" for name, form in HEADS), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
