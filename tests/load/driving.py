"""Start the whole program as users do, push at it, and hold what it acknowledged to its journal."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
from tests.lives import unmeasured

from watchkeeper import config, pipeline
from watchkeeper.engines.local import Local
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile

ROOT = Path(__file__).parents[2]
MAIN = "from watchkeeper.cli import main; main()"
CONFIG = """
version: 1
tick: 200ms
packs: [generic@1]
sources: []
"""


class House:
    """One data folder, and the processes that live in it one after the other."""

    def __init__(self, folder, more="", data=None):
        self.folder, self.data = folder, data or folder / "data"
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG + more)
        self.log = folder / "log"
        self.log.touch()
        self.port, self.child = 0, None

    def start(self, *before, program=("-c", MAIN), **options):
        """Start a process and do not wait; `before` comes before the interpreter."""
        arguments = ["run", "--config", self.config, "--data", self.data, "--listen", "127.0.0.1:0"]
        around = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONFAULTHANDLER": "1"}
        command = [*before, sys.executable, *program, *map(str, arguments)]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=around, **options)

    def begin(self, *before, wait=240.0, **how):
        """Start one and wait until it is ready; return how many seconds that took."""
        said = self.log.stat().st_size
        self.child = self.start(*before, **how)
        begun = time.monotonic()
        while time.monotonic() - begun < wait:
            told = re.search(rb"page    http://[^:]+:(\d+)/", self.log.read_bytes()[said:])
            if told:
                self.port = int(told[1])
                return time.monotonic() - begun
            if self.child.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(self.text())

    def end(self, within=10.0):
        """Tell it to stop; return its exit code. It must be gone in time."""
        if self.child is None or self.child.poll() is not None:
            return None if self.child is None else self.child.returncode
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(within)
        except subprocess.TimeoutExpired:
            threads = self.threads()
            self.child.send_signal(signal.SIGABRT)  # where each thread stands
            self.child.wait()
            raise AssertionError(f"not gone in {within} s\n{threads}\n{self.text()}") from None

    def threads(self):
        """Return what the system knows of each thread: its state, and signals it has not taken."""
        told = re.compile(r"^(?:Name|State|SigPnd|ShdPnd|SigBlk|SigCgt):.*$", re.MULTILINE)
        found = Path(f"/proc/{self.child.pid}/task").glob("*/status")
        return "\n".join(" ".join(told.findall(one.read_text())) for one in found)

    def kill(self):
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def text(self):
        return self.log.read_text(errors="replace")[-4000:]

    def ask(self, method, path, body=b"", headers=None, timeout=30):
        """Return status, headers and body of one request on a connection of its own."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(link):
            link.request(method, path, body, headers or {})
            answer = link.getresponse()
            return answer.status, answer.headers, answer.read()

    def status(self):
        return json.loads(self.ask("GET", "/api/v1/status")[2])["data"]

    def until(self, holds, seconds=30.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.05)
        assert holds(), self.text()

    def journalled(self):
        """Return how often each (entity, metric, time) is in the journal."""
        journal = JournalFile(path=self.data / "journal.sqlite").open(read_only=True)
        with contextlib.closing(journal):
            keys = journal.series().to_pylist()
            names = [(key["entity"], key["metric"]) for key in keys]
            held = {}
            for entry in pipeline.entries(journal):
                columns = (entry.samples[name].to_pylist() for name in ("series", "time"))
                for series, at in zip(*columns, strict=True):
                    held[*names[series], at] = held.get((*names[series], at), 0) + 1
        return held

    def loaded(self, *how, within=600.0):
        """Put load on it by the command, in a process of its own; return exit code and facts."""
        to = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-c", MAIN, "load", "--to", to, *map(str, how)]
        around = unmeasured() | {"PYTHONPATH": str(ROOT / "src")}
        told = subprocess.run(
            [*command, "--output", "json"],
            env=around, stdout=subprocess.PIPE, timeout=within, check=False,
        )  # fmt: skip
        return told.returncode, json.loads(told.stdout)

    def metrics(self):
        """Return the value of each line of /metrics."""
        text = self.ask("GET", "/metrics")[2].decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line[:1] not in "# ")
        return {name: float(value) for name, _, value in lines}

    def resident(self):
        """Return the bytes of memory that the process holds now."""
        return psutil.Process(self.child.pid).memory_info().rss

    def counts(self):
        ledger = LedgerFile(path=self.data / "ledger.sqlite").open(read_only=True)
        with contextlib.closing(ledger):
            return ledger.counts()

    def prove(self):
        """Prove the ledger and both files."""
        journal = JournalFile(path=self.data / "journal.sqlite").open(read_only=True)
        ledger = LedgerFile(path=self.data / "ledger.sqlite").open(read_only=True)
        with contextlib.closing(journal), contextlib.closing(ledger):
            journal._file.integrity()
            ledger._file.integrity()
            return pipeline.verify(journal, ledger, config.read_rulebook, Local(workers=1))


@contextlib.contextmanager
def house(folder, more="", data=None):
    """One house whose last process does not outlive the test."""
    one = House(folder, more, data)
    try:
        yield one
    finally:
        one.kill()


def balanced(told):
    """Hold P10 to what /metrics says."""
    names = ("offered", "accepted", "rejected", "shed")
    flow = [told[f'watchkeeper_ingest_samples_total{{outcome="{name}"}}'] for name in names]
    assert flow[0] == sum(flow[1:])
    for receiver in {name.split('"')[3] for name in told if "receiver_samples_total" in name}:
        of = f'watchkeeper_receiver_samples_total{{outcome="%s",receiver="{receiver}"}}'
        assert told[of % "offered"] == sum(told.get(of % name, 0) for name in names[1:])
    ended = ("scored", "duplicate", "late")
    concluded = [told[f'watchkeeper_scored_samples_total{{outcome="{name}"}}'] for name in ended]
    held = told["watchkeeper_journal_samples"]
    assert held == sum(concluded) + told["watchkeeper_pending_samples"]


class Pusher(threading.Thread):
    """Pushes JSON lines over one connection, and knows what became of each body.

    Every sample's time is told apart from every other, so the journal can be held to what was sent.

    :param pause: seconds between an answer and the next body.
    """

    def __init__(self, house, number, samples=50, pause=0.0):
        super().__init__(daemon=True)
        self.house, self.number, self.samples, self.pause = house, number, samples, pause
        self.acknowledged, self.unknown, self.refused = [], [], []
        self.answers = {}
        self.resets = 0  # connections that died while an answer was owed
        self.over = threading.Event()

    def body(self, turn):
        """Return the keys of one body, and the body."""
        first = self.house.first + turn * self.samples
        rows = [(f"host:p{self.number}", "load", first + n) for n in range(self.samples)]
        lines = [
            json.dumps({"timestamp": at, "entity": entity, "metric": metric, "value": at % 7})
            for entity, metric, at in rows
        ]
        return rows, "\n".join(lines).encode()

    def run(self):
        turn = 0
        link = http.client.HTTPConnection("127.0.0.1", self.house.port, timeout=30)
        while not self.over.is_set():
            rows, body = self.body(turn)
            turn += 1
            try:
                link.request("POST", "/api/v1/samples", body, {"Content-Type": NDJSON})
                answer = link.getresponse()
                answer.read()
            except ConnectionRefusedError:
                self.refused += rows
                break  # it takes nothing any more
            except (OSError, http.client.HTTPException):
                self.resets += 1
                self.unknown += rows
                link.close()
                continue
            self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
            (self.acknowledged if answer.status == 200 else self.refused).extend(rows)
            if answer.status == 503:
                assert int(answer.headers["Retry-After"]) >= 1
            self.over.wait(max(self.pause, 0.05 if answer.status == 503 else 0.0))
        link.close()


NDJSON = "application/x-ndjson"


@contextlib.contextmanager
def pushers(house, count=3, **how):
    """Push from so many connections while the block lasts."""
    house.first = getattr(house, "first", time.time_ns() // 1_000_000 - 3_600_000)
    crowd = [Pusher(house, number, **how) for number in range(count)]
    for one in crowd:
        one.start()
    try:
        yield crowd
    finally:
        for one in crowd:
            one.over.set()
        for one in crowd:
            one.join(40)


def nothing_lost(house, crowd):
    """Hold the journal to what was sent: I1 (acknowledged is there), I8 (nobody else's is)."""
    held = house.journalled()
    acknowledged = {row for one in crowd for row in one.acknowledged}
    unknown = {row for one in crowd for row in one.unknown}
    assert acknowledged - held.keys() == set()
    assert held.keys() - acknowledged - unknown == set()
    return held
