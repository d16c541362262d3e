"""Measure the journal and the ledger: `python benchmarks/stores.py [FOLDER]`.

Every append and commit is durable (one fsync each). FOLDER should be on the disk to be measured.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from watchkeeper.journal import _entry
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Checked, Cursor, Millis, Offset
from watchkeeper.testing.ledger import receipt, step


def batch(keys: int, samples: int, at: int) -> Checked:
    """Return `samples` samples of `keys` host series, two decimals, one second apart."""
    names = [
        [f"host:web-{k // 30:05d}" for k in range(keys)],
        [f"system.metric.number{k % 30}" for k in range(keys)],
        [f'{{"device":"{k % 4}"}}' for k in range(keys)],
    ]
    each = samples // keys
    columns = [
        pa.array(np.repeat(np.arange(keys, dtype=np.uint32), each)),
        pa.array(np.tile(at + 1_000 * np.arange(each), keys)),
        pa.array(np.round(np.random.default_rng(at).normal(50, 10, samples), 2)),
    ]
    return Checked(
        "bench",
        Cursor(str(at)),
        Millis(at),
        pa.RecordBatch.from_arrays([pa.array(each) for each in names], schema=KEYS),
        pa.RecordBatch.from_arrays(columns, schema=SAMPLES),
        pa.RecordBatch.from_pylist([], schema=REJECTS),
        samples,
    )


def measured(work: Callable[[int], object], times: int) -> tuple[list[float], float, float]:
    """Return the sorted milliseconds of each call, and wall and CPU seconds of all of them."""
    taken, wall, cpu = [], time.perf_counter(), time.process_time()
    for k in range(times):
        start = time.perf_counter()
        work(k)
        taken.append(1e3 * (time.perf_counter() - start))
    return sorted(taken), time.perf_counter() - wall, time.process_time() - cpu


def told(name: str, taken: list[float]) -> str:
    """Return one line of figures."""
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    return f"{name:44s} p50 {p50:7.2f} ms  p99 {p99:7.2f} ms"


def journals(folder: Path) -> None:
    """Appends of several shapes, for both codecs; then reading and opening."""
    for codec in ("lz4", "zstd"):
        _entry.CODEC = codec
        path = folder / f"{codec}.sqlite"
        journal, total = Journal(path).open(), 0
        for keys, samples, times in (
            (1_000, 1_000, 500),
            (10_000, 10_000, 200),
            (50_000, 50_000, 200),
            (500, 50_000, 200),
        ):
            batches = [batch(keys, samples, 1_000 + k) for k in range(3)]
            journal.append(batches)  # compile, and make the series known
            taken, wall, cpu = measured(
                lambda k, log=journal, some=batches: log.append([some[k % 3]]), times
            )
            total += samples * (times + 3)
            line = told(f"append {codec} {samples} samples of {keys} series", taken)
            rate = times * samples / wall / 1e6
            print(f"{line}  {times / wall:6.0f}/s {rate:6.2f} M samples/s"
                  f"  {cpu / (times * samples / 1e6):.3f} CPU-s/M")  # fmt: skip
        start = time.perf_counter()
        read = sum(entry.samples.num_rows for entry in journal.read(Offset(0), 10**9))
        assert read == total
        print(f"read {codec}: {read / (time.perf_counter() - start) / 1e6:.1f} M samples/s")
        journal.close()
        print(f"size {codec}: {path.stat().st_size / total:.2f} bytes a sample")
        start = time.perf_counter()
        Journal(path).open().close()
        print(f"open and close {codec}: {1e3 * (time.perf_counter() - start):.1f} ms")


def many_series(folder: Path) -> None:
    """Open a journal of a million series."""
    journal = Journal(folder / "million.sqlite").open()
    whole = batch(1_000_000, 1_000_000, 1_000)
    for k in range(20):
        rows = slice(50_000 * k, 50_000)
        piece = whole.samples.slice(rows.start, 50_000)
        columns = [pa.array(np.arange(50_000, dtype=np.uint32)), piece.column(1), piece.column(2)]
        samples = pa.RecordBatch.from_arrays(columns, schema=SAMPLES)
        keys = whole.keys.slice(rows.start, 50_000)
        none = whole.rejected
        journal.append([Checked("b", Cursor(""), Millis(1), keys, samples, none, 50_000)])
    journal.close()
    start = time.perf_counter()
    Journal(folder / "million.sqlite").open().close()
    print(f"open with 1 M series: {time.perf_counter() - start:.2f} s")


def ledgers(folder: Path) -> None:
    """Commits of several sizes, receipts, the proof."""
    ledger, tick = Ledger(folder / "ledger.sqlite").open(), 0
    for entities, times in ((0, 500), (20, 300), (1_000, 20)):
        names = [f"host:{k}" for k in range(entities)]

        def commit(_: int, names: list[str] = names) -> None:
            nonlocal tick
            tick += 1_000
            ledger.commit(step(tick, names, owes=len(names) < 100))

        print(told(f"commit, {entities} entities and decisions", measured(commit, times)[0]))
    orders = [order for order, _ in ledger.outbox(Millis(10**12), 300)]
    settle = measured(lambda k: ledger.settle(receipt(orders[k], 1, "done")), len(orders))
    print(told("settle", settle[0]))
    start = time.perf_counter()
    links = ledger.prove()
    print(f"prove: {links} links in {time.perf_counter() - start:.2f} s")
    ledger.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="".join(sys.argv[1:2]) or None) as place:
        journals(Path(place))
        many_series(Path(place))
        ledgers(Path(place))
