"""Cost of the default detectors: compile time, ns a sample, bytes a series, false alarms.

python benchmarks/detectors.py            # speed, then false alarms on clean telemetry
python benchmarks/detectors.py --live     # speed on entries of one sample a series, CPU time
python benchmarks/detectors.py --smd DIR  # VUS-PR on Server Machine Dataset parquet files
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet

from watchkeeper import plugins
from watchkeeper.detectors import Samples
from watchkeeper.detectors._ensemble import Ensemble, Scores
from watchkeeper.model import Traits

KINDS = ("bounds", "seasonal", "robust", "level_shift", "flatline", "absence")
START = 1_700_000_000_000
DAY = 86_400_000


def ensemble() -> Ensemble:
    return Ensemble(tuple(plugins.load("detectors", kind)() for kind in KINDS))


def unbounded(rows: int) -> Traits:
    nothing = np.full(rows, np.nan)
    gauge, both = np.zeros(rows, np.bool_), np.zeros(rows, np.int8)
    return Traits(gauge, both, nothing, nothing, nothing, nothing, np.ones(rows))


def score(values: Any, step: int) -> Scores:
    """Score a matrix, one row a series, sampled each `step` ms."""
    rows, count = values.shape
    when = np.tile(START + step * np.arange(count, dtype=np.int64), rows)
    row = np.repeat(np.arange(rows, dtype=np.uint32), count)
    house = ensemble()
    samples = Samples(row, when, when, np.ascontiguousarray(values, float).ravel())
    return house.score(house.fresh(rows), samples, unbounded(rows))[1]


def autoregressive(noise: Any, shape: tuple[int, int], keep: float, spread: float) -> Any:
    steps, out = noise.normal(0.0, spread, shape), np.zeros(shape)
    for i in range(1, shape[1]):
        out[:, i] = keep * out[:, i - 1] + steps[:, i]
    return out


def clean(rows: int, days: int, seed: int) -> dict[str, Any]:
    """Return telemetry without anomalies, 60 s apart, by kind."""
    noise = np.random.Generator(np.random.PCG64(seed))
    shape = (rows, days * 1440)
    phase = noise.uniform(0.0, 2 * np.pi, (rows, 1))
    daily = np.sin(2 * np.pi * np.arange(shape[1]) / 1440 + phase)
    return {
        "AR(1) 0.9": 50 + autoregressive(noise, shape, 0.9, 1.0),
        "AR(1) 0.9 + daily sine": 50 + 10 * daily + autoregressive(noise, shape, 0.9, 1.0),
        "white noise + daily sine": 50 + 10 * daily + noise.normal(0.0, 1.0, shape),
        "counter rate, daily": noise.poisson(600 * (1 + 0.5 * daily)) / 60.0,
        "rounded AR(1) 0.95": np.round(40 + autoregressive(noise, shape, 0.95, 0.6)),
        "lognormal AR(1) 0.5": np.exp(autoregressive(noise, shape, 0.5, 0.5)),
        "count, 0.3 a sample": noise.poisson(0.3, shape).astype(float),
        "count, 0.02 a sample": noise.poisson(0.02, shape).astype(float),
        "count, 0.7 a day": noise.poisson(0.0005, shape).astype(float),
        "constant": np.tile(noise.uniform(0.0, 100.0, (rows, 1)), (1, shape[1])),
    }


def false_alarms(rows: int, days: int, seed: int) -> None:
    print(
        f"onsets >= 1 a series and day: after the first day / on it ({rows} series each, {days} d)"
    )
    for kind, values in clean(rows, days, seed).items():
        onset = score(values, 60_000).onset.reshape(rows, -1) >= 1.0
        later = onset[:, 1440:].sum() / rows / (days - 1)
        print(f"  {kind:26s} {later:.4f} / {onset[:, :1440].sum() / rows:.3f}")


def speed(rows: int, count: int) -> None:
    began = time.perf_counter()
    score(np.zeros((1, 64)), 60_000)
    print(f"first call (compiles what is not cached): {time.perf_counter() - began:.1f} s")
    house, told = ensemble(), unbounded(rows)
    noise = np.random.Generator(np.random.PCG64(1))
    value = 50 + noise.normal(0.0, 1.0, rows * count)
    row = np.repeat(np.arange(rows, dtype=np.uint32), count)
    when = np.tile(START + 60_000 * np.arange(count, dtype=np.int64), rows)
    samples = Samples(row, when, when, value)
    best = min(timed(lambda: house.score(house.fresh(rows), samples, told)) for _ in range(3))
    print(f"{len(value) / best / 1e6:.2f} M samples/s ({best / len(value) * 1e9:.0f} ns a sample)")
    for kind, detector in zip(KINDS, house.detectors, strict=True):
        state = detector.fresh(rows)
        cost = timed(lambda d=detector, s=state: d.score(s, samples, told))  # type: ignore[misc]
        print(f"  {kind:12s} {cost / len(value) * 1e9:5.0f} ns a sample")
    state = house.fresh(rows)
    size = sum(array.nbytes for part in (*state.parts, state.rates) for array in part)
    print(f"{(size + state.alarms.nbytes) / rows:.0f} bytes a series")


def live(rows: int, size: int, rounds: int, scattered: bool) -> None:
    """Print the cost of entries of `size` series each, neighbours or drawn from all of them."""
    house, told = ensemble(), unbounded(rows)
    noise = np.random.Generator(np.random.PCG64(1))
    state, costs = house.fresh(rows), []
    for number in range(rounds * rows // size):
        first = number * size % rows
        row = np.arange(first, first + size, dtype=np.uint32)
        if scattered:
            row = np.sort(noise.choice(rows, size, replace=False)).astype(np.uint32)
        when = np.full(size, START + 15_000 * number, np.int64)
        samples = Samples(row, when, when, 50 + noise.normal(0.0, 1.0, size))
        costs.append(timed(lambda s=samples: house.score(state, s, told)))  # type: ignore[misc]
    usual = np.median(costs[len(costs) // 2 :]) / size
    kind = "scattered" if scattered else "neighbours"
    print(f"{rows:9,d} series, entries of {size:6,d} {kind:10s} {usual * 1e9:5.0f} ns a sample")


def timed(work: Callable[[], object]) -> float:
    """Return CPU seconds: the machine may be shared."""
    began = time.process_time()
    work()
    return time.process_time() - began


def machines(folder: Path, metrics: Any) -> None:
    """Print AUC-PR, best F1 and VUS-PR of the mean over metrics of scores clipped at 2."""
    found = []
    for path in sorted(folder.glob("*.test.parquet")):
        test = parquet.read_table(path)
        train = parquet.read_table(str(path).replace(".test.", ".train."))
        names = [n for n in train.column_names if n.startswith("m")]
        columns = [np.r_[train[n].to_numpy(), test[n].to_numpy()] for n in names]
        mean = np.minimum(score(np.array(columns), 60_000).score, 2.0)
        mean = mean.reshape(len(names), -1)[:, train.num_rows :].mean(axis=0)
        label = test["label"].to_numpy().astype(int)
        found.append((*metrics.auc_pr(label, mean), metrics.vus_pr(label, mean)))
        print(f"  {path.name.split('.')[0]:12s}" + " ".join(f"{x:.3f}" for x in found[-1]))
    print("  mean        " + " ".join(f"{x:.3f}" for x in np.mean(found, axis=0)))


def module(path: Path) -> Any:
    """Import one file by its path."""
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    loaded = importlib.util.module_from_spec(found)
    sys.modules[path.stem] = loaded
    found.loader.exec_module(loaded)
    return loaded


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--live", action="store_true")
    options.add_argument("--smd", type=Path)
    options.add_argument("--metrics", type=Path, help="detection_metrics.py, for --smd")
    chosen = options.parse_args()
    if chosen.smd:
        machines(chosen.smd, module(chosen.metrics))
        return
    if chosen.live:
        score(np.zeros((1, 64)), 60_000)
        live(1_000, 1_000, 100, False)
        live(20_000, 20_000, 60, False)
        live(1_000_000, 20_000, 20, False)
        live(1_000_000, 50_000, 20, True)
        return
    speed(chosen.rows, 2000)
    false_alarms(20, 14, chosen.seed)


if __name__ == "__main__":
    main()
