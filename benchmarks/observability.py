"""What watching the house costs: ingest and decide with traces off, sampled, and all kept.

Run it as `python -m benchmarks.observability`. The three take turns in one process, round by round,
so that a busy machine slows all alike; what counts is the ratio of their processor seconds, the
exporter's thread included. A collector in a process of its own takes what is sent.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from watchkeeper import config
from watchkeeper.intake import Intake
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Control, Cursor, Millis, canonical
from watchkeeper.observe.export import Exporter
from watchkeeper.observe.settings import Tracing
from watchkeeper.observe.witness import Witness
from watchkeeper.pipeline import Decider

SERIES, ROUNDS, WARM = 20_000, 100, 10
BEGIN = 1_700_000_000_000
KINDS = {"off": None, "sampled": 0.05, "all": 1.0}


class House:
    """Ingest and decide, one round at a time, timed on the processor."""

    def __init__(self, folder: Path, sample: float | None, url: str) -> None:
        folder.mkdir()
        rules = config.default().rules
        self.exporter = Exporter(Tracing(endpoint=url)) if sample is not None else None
        witness = Witness(self.exporter, sample or 0.0)
        self.journal = JournalFile(path=folder / "journal.sqlite").open()
        self.ledger = LedgerFile(path=folder / "ledger.sqlite").open()
        self.intake = Intake(self.journal, witness=witness)
        self.intake.note(
            Control("rulebook", "configuration", canonical(rules.document)), Millis(BEGIN)
        )
        self.intake.adopt(rules.contracts)
        self.decider = Decider(
            self.journal, self.ledger, config.read_rulebook, config.default().engine,
            witness=witness,
        )  # fmt: skip
        self.spent: list[float] = []

    def round(self, number: int) -> None:
        at = Millis(BEGIN + number * 1_000)
        batch = made(at)
        began = time.process_time()
        assert self.intake.offer(batch, at, lambda _: None)
        self.intake.round(0.0)
        self.decider.decide()
        self.spent.append(time.process_time() - began)

    def close(self) -> None:
        if self.exporter is not None:
            self.exporter.close(1.0)
        self.ledger.close()
        self.journal.close()


def made(at: int) -> Batch:
    names = [f"host:h{number // 50}" for number in range(SERIES)]
    metrics = [f"load{number % 50}" for number in range(SERIES)]
    keys = pa.record_batch([names, metrics, ["{}"] * SERIES], KEYS)
    values = np.random.default_rng(at).normal(10, 1, SERIES)
    samples = pa.record_batch(
        [np.arange(SERIES, dtype=np.uint32), np.full(SERIES, at), values], SAMPLES
    )
    unread = pa.RecordBatch.from_pylist([], REJECTS)
    return Batch("bench", Cursor(str(at)), keys, samples, unread)


COLLECTOR = """
import http.server
class Taker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
print(server.server_port, flush=True)
server.serve_forever()
"""


def main() -> None:
    collector = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True
    )
    assert collector.stdout is not None
    url = f"http://127.0.0.1:{collector.stdout.readline().strip()}/v1/traces"
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), url)
    finally:
        collector.kill()
        collector.wait()


def measure(folder: Path, url: str) -> None:
    houses = {name: House(folder / name, sample, url) for name, sample in KINDS.items()}
    for number in range(1, ROUNDS + 1):
        for house in houses.values():
            house.round(number)
    medians = {name: statistics.median(one.spent[WARM:]) for name, one in houses.items()}
    for house in houses.values():
        house.close()
    print(f"a round of {SERIES:,} samples: decode, check, journal, score, conclude, commit")
    for name, median in medians.items():
        print(f"traces {name:<8} {median * 1000:7.2f} ms  {median / medians['off'] - 1:+.1%}")
    for name, house in houses.items():
        if house.exporter is not None:
            print(f"spans {name:<9} {dict(house.exporter.counts)}")


if __name__ == "__main__":
    main()
