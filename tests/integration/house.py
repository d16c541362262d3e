"""The whole service as a process: `watchkeeper run` over one data folder and one port, through
all its lives. What a test knows of it is what an operator could: its API, its files, its log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests import lives
from tests.commands import MAIN, SOURCE, finished
from tests.sources.agents import free_port

from watchkeeper import pipeline
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile

READY = 240.0  # seconds: kernels that were never compiled take half a minute and more
DRAINED = 30.0  # seconds until a house that was told to stop has ended
SETTLED = 60.0  # seconds until what came in is concluded


class Sample(NamedTuple):
    """One sample of the journal, named."""

    entity: str
    metric: str
    attributes: str
    time: int
    value: float


class House:
    """One house that can be started, stopped, killed, asked, and read afterwards."""

    patience = 30.0  # seconds until an answer

    def __init__(self, folder: Path, config: str = "sources: []") -> None:
        self.folder, self.data, self.log = folder, folder / "data", folder / "house.log"
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.config = folder / "watchkeeper.yaml"
        self.config.write_text(f"version: 1\n{config}\n")
        self.dies: tuple[str, ...] = ()  # at a named point, as tests/program.py takes it
        self.life: subprocess.Popen[bytes] | lives.Life | None = None
        self._tracer: subprocess.Popen[bytes] | None = None

    def words(self) -> list[str]:
        """What a user types after the program's name."""
        listen = f"127.0.0.1:{self.port}"
        where = ["--config", str(self.config), "--data", str(self.data), "--listen", listen]
        return ["run", *where]

    def begin(self, inject: str = "", **env: str) -> subprocess.Popen[bytes] | lives.Life:
        """Begin a life, and wait for nothing.

        It is a fork of the program that stands ready, or executed where a library of the
        environment has to be there from its first instruction on.

        :param inject: what strace does to its system calls, as its option of that name says.
        """
        around = lives.unmeasured() if inject or self.dies else dict(os.environ)
        with self.log.open("ab") as log:
            if env:
                around |= {"PYTHONPATH": str(SOURCE), **env}
                around.pop("PYTHONDONTWRITEBYTECODE", None)  # a life begins in half the time
                command = [sys.executable, "-c", MAIN, *self.words()]
                self.life = subprocess.Popen(command, stdout=log, stderr=log, env=around)
            else:
                ready, words = lives.ready("tests.program"), (*self.dies, *self.words())
                self.life = ready.begin(*words, out=log, env=around, traced=bool(inject))
        if inject:
            self._trace(inject)
        return self.life

    def _trace(self, inject: str) -> None:
        """Let strace hold the life, which waits for that."""
        assert self.life is not None
        assert shutil.which("strace"), "install Debian's strace"
        call = inject.partition(":")[0]
        what = ("-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}")
        self._tracer = subprocess.Popen(["strace", *what, "-p", str(self.life.pid)])

    def died(self) -> int:
        """Return how the life ended, which ends by itself."""
        life, self.life = self.life, None
        assert life is not None
        code = life.wait(DRAINED)
        if self._tracer is not None:
            self._tracer.wait(DRAINED)
            self._tracer = None
        return code

    def start(self, **env: str) -> House:
        """Begin a life, and wait until it takes telemetry in."""
        life = self.begin(**env)
        self.until(lambda: life.poll() is not None or self.ready(), READY)
        assert life.poll() is None, self.said()
        return self

    def stop(self) -> None:
        """Tell it to stop, and hold it to an orderly end."""
        assert self.life is not None
        self.life.send_signal(signal.SIGTERM)
        assert self.died() == 0, self.said()

    def kill(self) -> None:
        """End it as a power switch would, but for the page cache."""
        assert self.life is not None
        self.life.kill()
        self.died()

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Ask it something; GET without a body, else POST. Raises OSError when nobody answers."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, self.patience)
        ) as line:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            line.request("GET" if body is None else "POST", path, body, named)
            answer = line.getresponse()
            return answer.status, answer.read()

    def ready(self) -> bool:
        """Whether it takes telemetry in now."""
        try:
            return self.ask("/-/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        code, body = self.ask("/api/v1/status")
        assert code == 200, body
        status: dict[str, Any] = json.loads(body)["data"]
        return status

    def rss(self) -> int:
        """Bytes of memory it holds."""
        assert self.life is not None
        held = Path(f"/proc/{self.life.pid}/statm").read_text().split()[1]
        return int(held) * os.sysconf("SC_PAGESIZE")

    def until(self, holds: Callable[[], Any], seconds: float = SETTLED) -> None:
        """Wait until something holds; fails with what the house said last."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"not within {seconds:g} s\n{self.said()}"
            time.sleep(0.05)

    def said(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    def settle(self) -> None:
        """Stop it once more, starting it first if need be; then everything is concluded."""
        if self.life is None:
            self.start()
        self.stop()

    @contextlib.contextmanager
    def _journal(self) -> Iterator[Any]:
        journal = JournalFile(path=self.data / "journal.sqlite").open(read_only=True)
        try:
            yield journal
        finally:
            journal.close()

    def samples(self) -> list[Sample]:
        """Every sample that its journal holds, as often as it holds it."""
        found: list[Sample] = []
        with self._journal() as journal:
            keys = [tuple(one.values()) for one in journal.series().to_pylist()]
            for entry in pipeline.entries(journal):
                columns = (entry.samples[name].to_pylist() for name in ("series", "time", "value"))
                for series, at, value in zip(*columns, strict=True):
                    found.append(Sample(*keys[series], at, value))
        return found

    def rejected(self) -> list[dict[str, Any]]:
        """Every sample in quarantine."""
        with self._journal() as journal:
            return [
                row for entry in pipeline.entries(journal) for row in entry.rejected.to_pylist()
            ]

    def controls(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of the inputs of one kind, in order."""
        with self._journal() as journal:
            return [
                json.loads(one.body)
                for entry in pipeline.entries(journal)
                for one in entry.controls
                if one.kind == kind
            ]

    def decisions(self) -> list[Any]:
        """Every decision of its ledger."""
        ledger = LedgerFile(path=self.data / "ledger.sqlite").open(read_only=True)
        try:
            return list(ledger.decisions(limit=1_000_000))
        finally:
            ledger.close()

    def prove(self) -> dict[str, Any]:
        """Have `watchkeeper verify` prove the ledger, and hold the accounting.

        Every sample of the journal was scored once, as often as it is in there; none is left. That
        holds for senders that keep the order within a series, as all of ours do.
        """
        assert self.life is None, "stop it first"
        code, out, err = finished("verify", "--data", self.data, "--output", "json")
        assert code == 0, out + err + self.said()
        proof: dict[str, Any] = json.loads(out)
        assert (proof["ok"], proof["not_yet_committed"]) == (True, 0), proof
        counts = proof["samples"]
        held = self.samples()
        once = Counter(sample[:4] for sample in held)
        assert counts["accepted"] == len(held)
        assert counts["scored"] == len(once), "each is scored once"
        assert counts["duplicate"] + counts["late"] == len(held) - len(once)
        return proof


@contextlib.contextmanager
def a_house(folder: Path, config: str = "sources: []") -> Iterator[House]:
    """Yield a house that is ready; whatever happens, no process of it is left."""
    house = House(folder, config)
    try:
        yield house.start()
    finally:
        if house.life is not None:
            house.life.kill()
            house.life.wait()
