"""Measure the whole pipeline over files: `simulate`, then `score` with 1 and with 2 workers.

Run `python -m benchmarks.pipeline`. Everything goes through the command line, each step a process
of its own, measured by the kernel's accounting of it (wall, CPU, peak resident memory). Beside the
figures stands what this machine can do at most, measured in the same run: copying memory and
writing Parquet. Exits 1 when the digests of the runs differ.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WATCHKEEPER = Path(sys.executable).with_name("watchkeeper")


@dataclass(frozen=True)
class Cost:
    """What one process took; `best` of several is the one with the least wall time."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def measured(arguments: Sequence[object], log: Path) -> Cost:
    """Run `watchkeeper` with arguments; stop everything when it fails."""
    command = [str(WATCHKEEPER), *map(str, arguments)]
    begin = time.perf_counter()
    with log.open("wb") as told:
        child = os.posix_spawn(
            command[0],
            command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, told.fileno(), descriptor) for descriptor in (1, 2)
            ],
        )
        _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - begin
    if status:
        code = os.waitstatus_to_exitcode(status)
        sys.exit(f"{' '.join(command)} failed with {code}:\n{log.read_text()[-4000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024.0)


def memory_copy() -> float:
    """Return GB/s of one thread copying memory (bytes copied, not bytes moved)."""
    source, target = np.zeros(1 << 25), np.zeros(1 << 25)
    return target.nbytes / _best(lambda: np.copyto(target, source)) / 1e9


def parquet_write(folder: Path) -> float:
    """Return million samples/s of one thread writing a table shaped like scores.parquet."""
    rows = 1 << 20
    names = pa.DictionaryArray.from_arrays(
        pa.array(np.arange(rows, dtype=np.int32) % 6000), pa.array([f"s{i}" for i in range(6000)])
    )
    numbers = [np.sqrt(np.arange(rows) + 0.1 * k) for k in range(6)]
    columns = {"series": names, "time": np.repeat(np.arange(rows // 64), 64)}
    table = pa.table(columns | {f"c{k}": column for k, column in enumerate(numbers)})
    path = folder / "limit.parquet"
    return rows / _best(lambda: pq.write_table(table, path, use_dictionary=["series"])) / 1e6


def _best(work: object, times: int = 3) -> float:
    assert callable(work)
    spent = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def bench(folder: Path, given: argparse.Namespace) -> dict[str, object]:
    """Run everything in `folder`; return the figures, and print them as they come."""
    score = ["score", *(["--config", given.config] if given.config else [])]
    limits = {
        "memory_copy_gb_s": memory_copy(),
        "parquet_write_m_samples_s": parquet_write(folder),
        "processors": os.cpu_count(),
        "machine": f"{platform.machine()} {platform.system()} Python {platform.python_version()}",
    }
    print(f"machine   {limits['machine']}, {limits['processors']} processors")
    print(f"          memory copy {limits['memory_copy_gb_s']:.1f} GB/s, one thread")
    print(
        f"          Parquet write {limits['parquet_write_m_samples_s']:.1f} M samples/s, one thread"
    )

    log, data, small = folder / "log", folder / "fleet.parquet", folder / "small.parquet"
    measured(["simulate", "--scenario", "small", "--duration", "2h", "--out", small], log)
    cold = measured([*score, small, "--out", folder / "warm"], log)
    print(
        f"first     {cold.wall_s:.1f} s for 86,400 samples, kernels compiled when they were not yet"
    )

    whole = ["--scenario", "fleet", "--hosts", given.hosts]
    whole += ["--duration", given.duration, "--seed", given.seed]
    made = measured(["simulate", *whole, "--out", data], log)
    samples = pq.read_metadata(data).num_rows
    _line("simulate", samples, made)

    runs: dict[int, Cost] = {}
    digests: dict[int, str] = {}
    for workers in (1, 2):
        out = folder / f"out-{workers}"
        tries = [
            measured([*score, data, "--out", out, "--workers", workers], log)
            for _ in range(given.repeat)
        ]
        runs[workers] = min(tries, key=lambda cost: cost.wall_s)
        digests[workers] = json.loads((out / "run.json").read_text())["digest"]
        _line(f"score x{workers}", samples, runs[workers])
    same = digests[1] == digests[2]
    speedup = runs[1].wall_s / runs[2].wall_s
    print(f"speed-up  {speedup:.2f} with 2 workers")
    print(f"digest    {digests[1]} {'the same' if same else 'BUT ' + digests[2]}")
    return {
        "limits": limits,
        "samples": samples,
        "simulate": asdict(made),
        "score": {str(workers): asdict(cost) for workers, cost in runs.items()},
        "speedup": speedup,
        "digests": digests,
        "same_digest": same,
    }


def _line(name: str, samples: int, cost: Cost) -> None:
    rate, cpu = samples / cost.wall_s / 1e6, cost.cpu_s / samples * 1e6
    print(
        f"{name:<9} {samples:,} samples in {cost.wall_s:.2f} s: {rate:.2f} M/s,"
        f" {cpu:.2f} CPU-s per million, peak {cost.peak_mib:.0f} MiB",
        flush=True,
    )


def main() -> int:
    """Read the command line, measure, and say whether the digests agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--duration", default="1d")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeat", type=int, default=2, help="the best of so many runs counts")
    parser.add_argument("--config", type=Path, help="configuration for `score`")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-bench-"))
    try:
        figures = bench(folder, given)
    finally:
        shutil.rmtree(folder)
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0 if figures["same_digest"] else 1


if __name__ == "__main__":
    sys.exit(main())
