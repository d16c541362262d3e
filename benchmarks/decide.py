"""Measure what follows the journal: score, show, conclude and commit, in one thread of one process.

Run `python -m benchmarks.decide`. The requests of `benchmarks.ingest` (20,000 series of node
exporters, 5,000 samples each) are journalled first, some to an entry, as if a million samples a
second arrived. Then they are decided, and only that is measured: CPU nanoseconds a sample, by
portions of eight entries. The quartiles of portions say more than the mean on a shared machine;
`--from DIR` measures another checkout in turn with this one, portion by portion, which says most.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import structlog

WARM, PORTION = 64, 8  # ticks that are not counted, as in `benchmarks.ingest`; entries at once
SERIES, RATE = 20_000, 1_000_000


def portions(folder: Path, ticks: int, together: int) -> Iterator[dict[str, float]]:
    """Journal everything, then decide portion by portion; yield what each took, by stage.

    :param together: requests to an entry.
    """
    # imported here: whoever only compares must not import one of the two that are compared
    from benchmarks.ingest.payloads import requests
    from benchmarks.ingest.servers import POLICY
    from watchkeeper import config, core, pipeline
    from watchkeeper.cli._memory import keep_memory
    from watchkeeper.contracts import Known
    from watchkeeper.engines.local import Local
    from watchkeeper.identity import Identity
    from watchkeeper.journal.sqlite import Sqlite as JournalFile
    from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
    from watchkeeper.live._recent import Recent
    from watchkeeper.model import Control, Millis, canonical
    from watchkeeper.receivers import Delivery, Limits
    from watchkeeper.receivers.remote_write import RemoteWrite
    from watchkeeper.stopwatch import Stopwatch

    keep_memory()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rules, engine, spent = config.load((), {}, POLICY).rules, Local(workers=1), Stopwatch()
    most = 4_000_000
    limits = Limits(tenant_series=most, tenant_metric_series=most, tenant_new_series=most)
    decoder, known = RemoteWrite().open(limits, Identity()), Known(rules.contracts)
    journal = JournalFile(folder / "journal.sqlite", recent=8 << 30).open()
    ledger = LedgerFile(folder / "ledger.sqlite").open()
    start = time.time_ns() // 1_000_000  # samples are of about now, and none may be of later
    journal.note(Control("rulebook", "benchmark", canonical(rules.document)), Millis(start))
    named = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    offers, samples, warm = [], 0, 1
    for one in requests(SERIES, ticks):
        at = Millis(start + samples * 1000 // RATE)
        batch = decoder.decode(Delivery("POST", "/api/v1/write", {}, named, one.body, at))
        offers.append(pipeline.Offer(batch, at))
        samples += one.samples
        if len(offers) == together:
            pipeline.ingest(offers, rules.contracts, journal, known)
            offers, warm = [], warm + (one.tick < WARM)
    core.warm_up(rules, engine)
    decider = pipeline.Decider(
        journal, ledger, config.read_rulebook, engine, Recent().add, spent=spent
    )
    decider.decide(warm)
    size = PORTION * together * one.samples
    while True:
        before, begun = dict(spent.seconds), time.process_time()
        if decider.decide(PORTION) < PORTION:
            break
        told = {"all": time.process_time() - begun}
        told |= {name: s - before.get(name, 0.0) for name, s in spent.seconds.items()}
        yield {name: seconds / size * 1e9 for name, seconds in told.items()}
    journal.close()
    ledger.close()


def serve(given: argparse.Namespace) -> None:
    """Measure a portion whenever a line comes in."""
    with tempfile.TemporaryDirectory(prefix="watchkeeper-decide-") as name:
        each = portions(Path(name), given.ticks, given.together)
        while sys.stdin.readline() and (told := next(each, None)):
            print(*(f"{stage}={ns}" for stage, ns in told.items()), flush=True)


def side(folder: Path, given: argparse.Namespace) -> subprocess.Popen[str]:
    """Start to measure a checkout, with the programs of this one."""
    command = [sys.executable, "-m", "benchmarks.decide", "--serve", f"--ticks={given.ticks}"]
    paths = {"PYTHONPATH": f"{folder / 'src'}{os.pathsep}{Path.cwd()}"}
    kernels = {"NUMBA_CACHE_DIR": str(folder.resolve() / ".numba")}
    return subprocess.Popen(
        [*command, f"--together={given.together}"], env=os.environ | paths | kernels,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def told_by(process: subprocess.Popen[str]) -> dict[str, float]:
    """Let a checkout decide one portion; return what it took, nothing when there is no more."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    return {name: float(ns) for name, _, ns in (part.partition("=") for part in line.split())}


def main() -> None:
    """Read the command line, measure, and print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ticks", type=int, default=300)
    parser.add_argument("--together", type=int, default=2, help="requests to an entry")
    parser.add_argument("--from", dest="other", type=Path, help="another checkout, to compare with")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given)
        return
    folders = [Path.cwd(), *([given.other] if given.other else [])]
    sides = [side(folder, given) for folder in folders]
    found: list[list[dict[str, float]]] = [[] for _ in sides]
    while all(told := [told_by(one) for one in sides]):
        for kept, one in zip(found, told, strict=True):
            kept.append(one)
    for folder, kept in zip(folders, found, strict=True):
        low, middle, high = np.percentile([one["all"] for one in kept], (25, 50, 75))
        print(f"{folder}: {len(kept)} portions, ns a sample {low:.0f} {middle:.0f} {high:.0f}")
        for stage in kept[-1]:
            print(f"  {stage:10s} mean {np.mean([one.get(stage, 0.0) for one in kept]):6.1f}")
    if given.other:
        pairs = zip(*([one["all"] for one in kept] for kept in found), strict=True)
        print(f"this / other, median of pairs: {np.median([a / b for a, b in pairs]):.3f}")


if __name__ == "__main__":
    main()
