"""Hold what a sample costs to a baseline, in ratios: `python -m benchmarks.gate`, under a minute.

    make bench-gate                       compare, and say for readiness what held
    python -m benchmarks.gate --write     make this machine's ratios the baseline

The same remote write requests go through every stage of the house, one thread, one process. Beside
each stage, in turn with it, runs what somebody would write in its place: protobuf's own library and
a walk, a loop of plain Python, a file that is written and synced. The best round of each counts,
and only their ratio is compared, so neither a slower machine nor a busy one is a regression; a
ratio that fell below its part of the baseline is. One that is missed is measured up to three times.

The profile is the share of each stage in the processor time of all: a budget stands for each, in
shares. The machine's own limits stand beside the baseline, to read it by; they are not compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tools.evidence.facts import note

from benchmarks import decode, detectors
from benchmarks.pipeline import memory_copy
from watchkeeper import config, core
from watchkeeper.contracts import Known, check
from watchkeeper.detectors import Samples
from watchkeeper.engines.local import Local
from watchkeeper.identity import Identity
from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.model import Batch, Millis, Offset
from watchkeeper.receivers import Delivery, Limits
from watchkeeper.receivers._unpack import unpack
from watchkeeper.receivers.remote_write import RemoteWrite

BASELINE = Path(__file__).with_name("baseline.json")
SERIES, ROUNDS, STEP = 5_000, 12, 15_000  # one sample of each series a request, 15 s apart
WARM = 3  # rounds that compile and enrol, and are not counted
TRIES = 3
PARTS = {"decode": 0.4, "check": 0.4, "journal": 0.4, "score": 0.4, "conclude": 0.4,
         "sync": 0.2, "parallel": 0.5}  # fmt: skip
BUDGET = {"decode": 0.40, "check": 0.20, "journal": 0.40, "score": 0.65, "conclude": 0.50}
Clock = Callable[[], float]


class Told(NamedTuple):
    """What was measured: seconds of the best round, of ours and of what stands beside it."""

    ours: dict[str, float]
    beside: dict[str, float]

    def ratios(self) -> dict[str, float]:
        """How many times faster we are than what stands beside each."""
        return {name: self.beside[name] / self.ours[name] for name in self.ours}

    def shares(self) -> dict[str, float]:
        """The part of each stage in the processor time of all."""
        whole = sum(self.ours[stage] for stage in BUDGET)
        return {stage: self.ours[stage] / whole for stage in BUDGET}


class Best:
    """Keeps the least time of each thing that is done again and again."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(lambda: float("inf"))

    def of(self, name: str, work: Callable[[], Any], clock: Clock = time.process_time) -> Any:
        """Do it once, and return what it gives."""
        begun = clock()
        given = work()
        self.seconds[name] = min(self.seconds[name], clock() - begun)
        return given


def requests() -> Iterator[Delivery]:
    """Yield requests as they are sent, each 15 s after the one before."""
    for at in range(WARM + ROUNDS):
        sent = decode.delivery(decode.first(SERIES, at), decode.V1)
        yield replace(sent, arrived=Millis(sent.arrived + STEP * at))


def bounded(rows: list[tuple[Any, int, float]]) -> list[tuple[Any, int, float]]:
    """Hold samples to a bound and a time, as a loop would."""
    return [row for row in rows if row[2] >= 0.0 and 0 < row[1] < 7_258_118_400_000]


def scored(rows: list[tuple[Any, int, float]], memory: dict[Any, list[float]]) -> list[float]:
    """Score samples by their distance from a running mean, as a loop would."""
    out = []
    for key, _, value in rows:
        known = memory.setdefault(key, [value, 1.0])
        away = value - known[0]
        known[0] += 0.1 * away
        known[1] += 0.1 * (away * away - known[1])
        out.append(abs(away) / (known[1] ** 0.5 + 1e-9))
    return out


def concluded(scores: list[float], ticks: int) -> list[float]:
    """Combine the scores of each 40 series into a health, tick by tick, as a loop would."""
    healths = []
    for _ in range(ticks):
        for first in range(0, len(scores), 40):
            left = 1.0
            for one in scores[first : first + 40]:
                left *= 1.0 - 0.3 * min(1.0, max(0.0, (one - 0.7) / 1.3))
            healths.append(100.0 * left)
    return healths


def synced(path: Path, body: bytes) -> None:
    """Write bytes behind a file, and wait until they are on the disk."""
    with path.open("ab") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def stages(folder: Path) -> Told:
    """Send requests through every stage, and through what stands beside it, in turn."""
    rules = config.load((), {}, "version: 1\ntick: 1s\nsources: []\n").rules
    known, engine = Known(rules.contracts), Local(workers=1)
    decoder = RemoteWrite().open(Limits(), Identity())
    message, memory, state = decode.message_of_upb(), dict[Any, list[float]](), None
    journal = Sqlite(folder / "journal.sqlite").open()
    for round_, sent in enumerate(requests()):
        if round_ in (0, WARM):
            ours, beside = Best(), Best()
        batch = ours.of("decode", lambda sent=sent: decoder.decode(sent))
        assert isinstance(batch, Batch)
        taken = ours.of(
            "check", lambda b=batch, s=sent: check(rules.contracts, b, s.arrived, known=known)
        )
        stored = time.process_time()
        (offset,) = ours.of("sync", lambda t=taken: journal.append([t]), time.perf_counter)
        ours.seconds["journal"] = min(ours.seconds["journal"], time.process_time() - stored)
        (entry,) = journal.read(Offset(offset - 1), 1)
        if state is None:
            state = core.begun(rules, entry)
        state, *_ = ours.of("conclude", lambda s=state, e=entry: core.close(rules, s, e))
        state, _ = ours.of("score", lambda s=state, e=entry: core.take(rules, s, [e], engine))

        rows = beside.of(
            "decode", lambda r=sent: decode.walk(message, unpack(r.body, "snappy", 1 << 25))
        )
        rows = beside.of("check", lambda r=rows: bounded(r))
        packed = beside.of("journal", lambda r=rows: json.dumps(r).encode())
        beside.of("sync", lambda p=packed: synced(folder / "beside", p), time.perf_counter)
        scores = beside.of("score", lambda r=rows: scored(r, memory))
        beside.of("conclude", lambda s=scores: concluded(s, STEP // 1_000))
    journal.close()
    return Told(dict(ours.seconds), dict(beside.seconds))


def parallel() -> tuple[float, float]:
    """Return the wall seconds of scoring two lots at once, and one after the other."""
    one, two, best = Local(workers=1), Local(workers=2), Best()
    house, traits = detectors.ensemble(), detectors.unbounded(2_000)
    values = 50.0 + np.random.default_rng(1).standard_normal(2_000 * 50)
    row = np.repeat(np.arange(2_000, dtype=np.uint32), 50)
    when = np.tile(detectors.START + 60_000 * np.arange(50, dtype=np.int64), 2_000)
    samples = Samples(row, when, when, values)
    for round_ in range(5):
        if round_ == 1:
            best = Best()
        for name, engine in (("two", two), ("one", one)):
            states = [house.fresh(2_000) for _ in range(2)]
            work = lambda state: house.score(state, samples, traits)  # noqa: E731
            best.of(name, lambda e=engine, s=states, w=work: e.map(w, s), time.perf_counter)
    return best.seconds["two"], best.seconds["one"]


def measured() -> Told:
    """Measure everything once."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-gate-", dir=".") as name:
        told = stages(Path(name))
    told.ours["parallel"], told.beside["parallel"] = parallel()
    return told


def limits() -> dict[str, Any]:
    """Return what this machine can do at most, to read a baseline by."""
    block = bytes(1 << 24)
    begun = time.perf_counter()
    hashlib.sha256(block).digest()
    hashed = len(block) / (time.perf_counter() - begun) / 1e9
    return {
        "machine": f"{platform.machine()} {platform.system()} Python {platform.python_version()}",
        "processors": os.cpu_count(),
        "memory_copy_gb_s": round(memory_copy(), 1),
        "sha256_gb_s": round(hashed, 2),
    }


def compared(told: Told, baseline: dict[str, float]) -> dict[str, float]:
    """Return of each ratio how much of what it must reach it reached; below 1 is a regression."""
    return {name: ratio / (PARTS[name] * baseline[name]) for name, ratio in told.ratios().items()}


def lines(told: Told, held: dict[str, float]) -> Iterator[str]:
    """Yield the table."""
    heads = (("µs a sample", 12), ("beside", 9), ("ratio", 9), ("reached", 9), ("share", 8))
    yield f"{'stage':10}{''.join(f'{head:>{wide}}' for head, wide in heads)}{'budget':>8}"
    for name, ratio in told.ratios().items():
        each = 1e6 / (SERIES if name != "parallel" else 200_000)
        row = f"{name:10}{told.ours[name] * each:12.3f}{told.beside[name] * each:9.3f}{ratio:8.2f}x"
        row += f"{held[name]:9.2f}"
        if name in BUDGET:
            row += f"{told.shares()[name]:8.0%}{BUDGET[name]:8.0%}"
        yield row


def main() -> None:
    """Measure, then write the baseline or compare with it."""
    parser = argparse.ArgumentParser(description="hold what a sample costs to a baseline")
    parser.add_argument("--write", action="store_true", help="make this the baseline")
    given = parser.parse_args()
    if given.write:
        told = measured()
        ratios = {name: round(ratio, 3) for name, ratio in told.ratios().items()}
        kept = {"ratios": ratios, "limits": limits()}
        BASELINE.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        print("\n".join(lines(told, compared(told, ratios))))
        return
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))["ratios"]
    held: dict[str, float] = {}
    spare = 0.0
    for _ in range(TRIES):
        told = measured()
        found = compared(told, baseline)
        held = {name: max(share, held.get(name, 0.0)) for name, share in found.items()}
        spare = max(spare, min(BUDGET[s] / share for s, share in told.shares().items()))
        if min(held.values()) >= 1.0 and spare >= 1.0:
            break
    print("\n".join(lines(told, held)))
    parted = held.pop("parallel")
    note("bench", min(held.values()), worst=min(held, key=lambda name: held[name]))
    note("bench-stages", spare)
    note("bench-parallel", parted)
    if min(*held.values(), parted, spare) < 1.0:
        sys.exit("slower than the baseline allows, or a stage beyond its share; see the table")


if __name__ == "__main__":
    main()
