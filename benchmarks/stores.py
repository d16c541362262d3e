"""Measure the journal and the ledger: `python benchmarks/stores.py [FOLDER]`.

Every append and commit is durable (one fsync each). FOLDER should be on the disk to be measured.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from watchkeeper.journal._samples import pack
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.key_table import KeyTable
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


def scraped(series: int, samples: int, at: int) -> pa.RecordBatch:
    """Return SAMPLES as node exporters give them: mostly counts, many zeros, few fractions."""
    chance = np.random.default_rng(7)
    number = np.sort(np.arange(samples) % series).astype(np.uint32)
    nth = np.arange(samples) - np.searchsorted(number, number)
    kind = chance.integers(0, 20, series)[number]
    size = chance.lognormal(10, 5, series)[number]
    value = np.floor(size) % 1_000
    value = np.where(kind < 8, 0.0, np.where(kind < 10, 1.0, value))
    value = np.where((kind >= 10) & (kind < 13), np.floor(1e3 * size) + nth * np.floor(size), value)
    value = np.where((kind >= 13) & (kind < 16), np.round(size / 100 + 15 * nth, 2), value)
    value = np.where(kind == 16, size / 7 + nth, value)
    columns = [pa.array(number), pa.array(at + 15_000 * nth), pa.array(value)]
    return pa.RecordBatch.from_arrays(columns, schema=SAMPLES)


def streamed(samples: pa.RecordBatch, codec: str) -> bytes:
    """Return SAMPLES as an Arrow IPC stream, series and time as differences."""
    series, time_, value = (samples.column(name) for name in SAMPLES.names)
    columns = [
        pa.array(np.diff(series.to_numpy(), prepend=np.uint32(0))),
        pa.array(np.diff(time_.to_numpy(), prepend=np.int64(0))),
        value,
    ]
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
    with pa.ipc.new_stream(sink, SAMPLES, options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SAMPLES))
    return bytes(sink.getvalue().to_pybytes())


def layouts() -> None:
    """What an entry's samples cost, packed as they are and as Arrow would."""
    ways: dict[str, Callable[[pa.RecordBatch], bytes]] = {
        "packed, lz4": pack,
        "Arrow, lz4": lambda samples: streamed(samples, "lz4"),
        "Arrow, zstd": lambda samples: streamed(samples, "zstd"),
    }
    for series, count in ((1_000, 1_000), (20_000, 50_000), (50_000, 50_000), (5_000, 50_000)):
        samples = scraped(series, count, 1_750_000_000_000)
        for name, way in ways.items():
            size = len(way(samples))
            cpu = measured(lambda _, way=way, samples=samples: way(samples), 50)[2]
            print(f"{count} of {series} series, {name:12s} {size / count:5.2f} bytes a sample"
                  f"  {1e3 * cpu / 50:6.3f} ms CPU")  # fmt: skip


def journals(folder: Path) -> None:
    """Appends of several shapes, their keys a batch or a table; then reading and opening."""
    path = folder / "journal.sqlite"
    journal, total = Journal(path).open(), 0
    for keys, samples, times in (
        (1_000, 1_000, 1_000),
        (20_000, 50_000, 300),
        (50_000, 50_000, 200),
        (500, 50_000, 200),
    ):
        told_once = KeyTable(KEYS)
        first = batch(keys, keys, 1_000)
        told_once.add(first.keys)
        for kind, known in (("table", told_once), ("batch", first.keys)):
            batches = [
                replace(first, keys=known, samples=scraped(keys, samples, k), offered=samples)
                for k in range(3)
            ]
            journal.append(batches)  # compile, and make the series known
            taken, wall, cpu = measured(
                lambda k, some=batches: journal.append([some[k % 3]]), times
            )
            total += samples * (times + 3)
            line = told(f"append {samples} samples of {keys} series, {kind}", taken)
            print(f"{line}  {times / wall:6.0f}/s  {1e3 * cpu / times:6.3f} ms CPU"
                  f"  {cpu / (times * samples / 1e6):.3f} CPU-s/M")  # fmt: skip
    journal.close()
    journal = Journal(path).open()
    start = time.process_time()
    read = sum(entry.samples.num_rows for entry in journal.read(Offset(0), 10**9))
    assert read == total
    print(f"read: {(time.process_time() - start) / (read / 1e6):.3f} CPU-s/M")
    journal.close()
    print(f"size: {path.stat().st_size / total:.2f} bytes a sample")
    start = time.perf_counter()
    Journal(path).open().close()
    print(f"open and close: {1e3 * (time.perf_counter() - start):.1f} ms")


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
        layouts()
        journals(Path(place))
        many_series(Path(place))
        ledgers(Path(place))
