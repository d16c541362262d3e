"""Run the comparison, the latencies, the budget; `--million` shows what a million series take."""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.ingest.pairs import pairs
from benchmarks.ingest.payloads import SERIES, SHARD, WARM, Request, probe, requests
from benchmarks.ingest.sender import Connection, expect_all, send
from benchmarks.ingest.servers import KINDS, Server, binary, running
from watchkeeper.ledger.sqlite import Sqlite

TICKS = 600
TOUCHED = 3 << 30  # bytes
MILLION_TICKS = 6
GOALS = {"prometheus": 8.0, "victoria-metrics": 2.0}  # times ours, in samples per CPU second
STAGES = {  # CPU seconds per million samples that each may take
    "decode": 0.11,  # unpack, read, and find each series' row; `benchmarks.decode` splits it
    "check": 0.03,
    "journal": 0.10,
    "score": 0.14,
    "show": 0.02,  # the newest samples, for the pages
    "conclude": 0.02,  # health and policies, at ticks
    "commit": 0.02,
    "http and other": 0.12,
}
PROBES, EVERY = 200, 0.1  # injected values, seconds between two


@dataclass(frozen=True)
class Figures:
    """One run of one server."""

    rate: float  # samples a second
    cost: float  # CPU seconds per million samples
    p50: float
    p99: float
    peak: int
    stages: dict[str, float]  # CPU seconds per million samples


def measured(name: str, folder: Path, all_requests: Sequence[Request], seconds: float) -> Figures:
    """Let a server make the acquaintance of all series, then send as fast as it takes it."""
    with running(name, folder) as server:
        warm(server, all_requests)
        cpu, stages, begun = server.cpu(), spent(server), time.perf_counter()
        steady = [request for request in all_requests if request.tick >= WARM]
        sent = send(server.port, server.path, steady, seconds=seconds)
        took = time.perf_counter() - begun
        expect_all(server.name, sent)
        server.settle(server)
        used, millions = server.cpu() - cpu, sent.samples / 1e6
        each = {k: (s - stages.get(k, 0.0)) / millions for k, s in spent(server).items()}
        each["http and other"] = used / millions - sum(each.values())
        return Figures(
            sent.samples / took,
            used / millions,
            sent.wait(0.5),
            sent.wait(0.99),
            server.peak(),
            each,
        )


def touch_memory() -> None:
    """Have this machine own memory that servers will ask for.

    A virtual machine that was never asked for it before takes ten times as long to give it; who
    is measured first would pay for that.
    """
    memory = np.empty(TOUCHED, np.uint8)
    memory[::4096] = 1


def warm(server: Server, all_requests: Sequence[Request]) -> None:
    first = [request for request in all_requests if request.tick < WARM]
    expect_all(server.name, send(server.port, server.path, first, seconds=600.0))
    server.settle(server)


def spent(server: Server) -> dict[str, float]:
    return server.spent() if server.name == "watchkeeper" else {}


def compare(folder: Path, seconds: float, rounds: int, names: Sequence[str]) -> None:
    """Print throughput and cost of each server, the ratios, and our budget by stage."""
    runs: dict[str, list[Figures]] = {name: [] for name in names}
    touch_memory()
    sent = list(requests(SERIES, TICKS))
    size = sum(len(one.body) for one in sent) / len(sent)
    print(f"{SERIES} series, requests of {sent[0].samples} samples, {size / 1e3:.0f} kB each")
    print(f"{'':18s}{'samples/s':>12s}{'CPU-s/M':>9s}{'ack p50':>9s}{'p99 ms':>9s}{'peak MiB':>9s}")
    for turn in range(rounds):
        for name in names:
            one = measured(name, folder / f"{name}-{turn}", sent, seconds)
            runs[name].append(one)
            print(
                f"{name:18s}{one.rate:12,.0f}{one.cost:9.3f}{one.p50:9.1f}{one.p99:9.1f}"
                f"{one.peak >> 20:9d}",
                flush=True,
            )
    cost = {name: statistics.median(one.cost for one in many) for name, many in runs.items()}
    for name, goal in [(name, goal) for name, goal in GOALS.items() if name in cost]:
        ratio = cost[name] / cost["watchkeeper"]
        print(f"samples per CPU second: {ratio:.2f} x {name} (goal {goal:g})")
    print(f"{'stage':18s}{'CPU-s/M':>9s}{'budget':>9s}")
    for stage, budget in STAGES.items():
        took = statistics.median(one.stages[stage] for one in runs["watchkeeper"])
        print(f"{stage:18s}{took:9.3f}{budget:9.3f}{'  over' if took > budget else ''}")
    print(f"{'all':18s}{cost['watchkeeper']:9.3f}{sum(STAGES.values()):9.3f}")


def waits(folder: Path, seconds: float) -> None:
    """Print how long acknowledgements take below saturation."""
    for rate, goal in ((100_000, 15), (500_000, 100)):
        count = WARM + int(seconds * rate / SERIES)
        sent = list(requests(SERIES, count))
        with running("watchkeeper", folder / f"paced-{rate}") as server:
            warm(server, sent)
            steady = [request for request in sent if request.tick >= WARM]
            told = send(server.port, server.path, steady, seconds=2 * seconds, rate=rate)
            expect_all(server.name, told)
            print(
                f"acknowledged at {rate:,} samples/s: p50 {told.wait(0.5):.1f} ms,"
                f" p99 {told.wait(0.99):.1f} ms (goal {goal} ms)",
                flush=True,
            )


def decisions(folder: Path) -> None:
    """Print how long it takes from a bad value's sending to a committed decision about it.

    The service is sent 200,000 samples a second meanwhile. Each probe is a host of its own, which
    was well before; a policy fires on it. The ledger is looked at as another process sees it.
    """
    rate = 200_000
    count = WARM + int((PROBES * EVERY + 5) * rate / SERIES)
    sent = list(requests(SERIES, count))
    with running("watchkeeper", folder / "decisions") as server:
        warm(server, sent)
        side = Connection(server.port, "/api/v1/samples", "Content-Type: application/x-ndjson\r\n")
        for number in range(PROBES):
            assert side.post(probe(f"host:probe-{number}", 0.0))[0] == 200
        steady = [request for request in sent if request.tick >= WARM]
        load = threading.Thread(
            target=send,
            args=(server.port, server.path, steady),
            kwargs={"seconds": PROBES * EVERY + 4, "rate": rate},
        )
        load.start()
        time.sleep(2)
        begun: dict[str, float] = {}
        prober = threading.Thread(target=_probe, args=(side, begun))
        prober.start()
        took = _took(server.folder / "data" / "ledger.sqlite", begun)
        prober.join()
        load.join()
    took.sort()
    print(
        f"sample to committed decision at {rate:,} samples/s: p50 {took[len(took) // 2]:.2f} s,"
        f" p99 {took[int(0.99 * len(took))]:.2f} s, most {took[-1]:.2f} s (goal p99 2 s)",
        flush=True,
    )


def _probe(side: Connection, begun: dict[str, float]) -> None:
    for number in range(PROBES):
        entity = f"host:probe-{number}"
        begun[entity] = time.monotonic()
        assert side.post(probe(entity, 0.9))[0] == 200
        time.sleep(EVERY * (0.5 + number % 11 / 10))  # not in step with the ticks


def _took(path: Path, begun: dict[str, float]) -> list[float]:
    """Return for each probe how long after its sending the ledger held its decision."""
    ledger, seen = Sqlite(path=path).open(read_only=True), dict[str, float]()
    until = time.monotonic() + PROBES * EVERY + 20
    while len(seen) < PROBES:
        if time.monotonic() > until:
            raise SystemExit(f"only {len(seen)} of {PROBES} probes were decided on")
        for decision in ledger.decisions(limit=50):
            if decision.policy == "probed":
                seen.setdefault(decision.entity, time.monotonic() - begun[decision.entity])
        time.sleep(0.01)
    ledger.close()
    return list(seen.values())


def million(folder: Path, series: int) -> None:
    """Print what a million active series take: memory of the whole service."""
    with running("watchkeeper", folder / "million") as server:
        stream = requests(series, MILLION_TICKS)
        for tick in range(MILLION_TICKS):
            batch = list(itertools.islice(stream, series // SHARD))
            cpu, begun = server.cpu(), time.perf_counter()
            sent = send(server.port, server.path, batch, seconds=600.0)
            expect_all(server.name, sent)
            server.settle(server)
            print(
                f"tick {tick}: {sent.samples:,} samples decided in"
                f" {time.perf_counter() - begun:.1f} s, {server.cpu() - cpu:.1f} CPU s;"
                f" ack p99 {sent.wait(0.99):.0f} ms; peak {server.peak() / 2**30:.2f} GiB",
                flush=True,
            )
        print(f"{series:,} active series: peak {server.peak() / 2**30:.2f} GiB (goal 4 GiB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of one run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server")
    parser.add_argument("--only", choices=("compare", "ours", "waits", "decisions"))
    parser.add_argument("--million", action="store_true", help="a million series, and nothing else")
    parser.add_argument("--from", dest="other", type=Path, help="beside another checkout")
    parser.add_argument("--pairs", type=int, default=20, help="of portions, with --from")
    asked = parser.parse_args()
    if asked.other is not None:
        with tempfile.TemporaryDirectory() as named:
            pairs(Path(named), asked.other.resolve(), asked.pairs)
        return
    if asked.only != "ours":
        for name in GOALS:
            binary(name)
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        if asked.million:
            million(folder, 1_000_000)
            return
        if asked.only in (None, "compare"):
            compare(folder, asked.seconds, asked.rounds, list(KINDS))
        if asked.only == "ours":
            compare(folder, asked.seconds, asked.rounds, ["watchkeeper"])
        if asked.only in (None, "waits"):
            waits(folder, asked.seconds)
        if asked.only in (None, "decisions"):
            decisions(folder)


if __name__ == "__main__":
    main()
