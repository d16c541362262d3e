"""Measure the start: `python -m benchmarks.startup [SAMPLES]`, a million unless said.

A journal is made of so many samples of 10,000 series, once in entries of 5,000 samples and once in
entries of 100. Then `watchkeeper run` is started on it and asked until it is ready: first with
nothing concluded (as after a kill in the worst moment: everything is scored again), then after an
orderly stop. The first line is a start on an empty folder, kernels compiled before.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from watchkeeper import config
from watchkeeper.contracts import Known
from watchkeeper.identity import Identity
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.model import Control, Millis, canonical
from watchkeeper.pipeline import Offer, ingest
from watchkeeper.receivers import Delivery, Limits
from watchkeeper.receivers.remote_write import RemoteWrite
from watchkeeper.simulate.payloads import Course, fleet, template

SERIES = 10_000
CONFIG = "version: 1\npacks: [generic@1]\nsources: []\nlisten: 127.0.0.1:0\n"
PATIENCE = 600.0  # seconds
HZ = os.sysconf("SC_CLK_TCK")


def fill(data: Path, settings: config.Config, samples: int, batch: int) -> int:
    """Write a journal of so many samples in entries of `batch`; return how many entries it has."""
    journal = Journal(data / "journal.sqlite").open()
    at = time.time_ns() // 1_000_000 - 1_000 * (samples // SERIES + 10)
    journal.note(Control("rulebook", "bench", canonical(settings.rules.document)), Millis(at))
    series = fleet(100, SERIES)
    parts = [series[k : k + batch] for k in range(0, SERIES, batch)]
    requests = [(template("remote_write", p), Course(len(p), 1, k)) for k, p in enumerate(parts)]
    decoder = RemoteWrite().open(Limits(), Identity())
    known = Known(settings.rules.contracts)  # or each entry would look all series up again
    for second in range(samples // SERIES):
        now = Millis(at + 1_000 * (second + 1))
        for request, course in requests:
            headers = {name.lower(): value for name, value in request.headers.items()}
            body = request.body(course.next(), now)
            found = decoder.decode(Delivery("POST", request.path, {}, headers, body, now))
            assert found is not None
            ingest([Offer(found, now)], settings.rules.contracts, journal, known)
    head = journal.head()
    journal.close()
    return int(head)


def started(folder: Path, data: Path) -> tuple[float, float, float]:
    """Start the program, wait until it is ready, stop it.

    :return: seconds, processor seconds, which show less who else is at work, and the peak in MiB.
    """
    log = folder / "log"
    with log.open("wb") as out:
        begun = time.perf_counter()
        program = Path(sys.executable).with_name("watchkeeper")
        command = [program, "run", "--config", folder / "config.yaml", "--data", data]
        child = subprocess.Popen(command, stdout=out, stderr=out)
    while not (told := re.search(rb"page    http://[^:]+:(\d+)/", log.read_bytes())):
        if child.poll() is not None or time.perf_counter() - begun > PATIENCE:
            child.kill()
            raise SystemExit(log.read_text())
        time.sleep(0.02)
    seconds = time.perf_counter() - begun
    link = http.client.HTTPConnection("127.0.0.1", int(told[1]), timeout=10)
    link.request("GET", "/-/ready")
    assert link.getresponse().status == 200
    spent = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    status = Path(f"/proc/{child.pid}/status").read_text()
    child.send_signal(signal.SIGTERM)
    child.wait()
    peak = re.search(r"VmHWM:\s+(\d+)", status)
    assert peak is not None
    return seconds, sum(map(int, spent)) / HZ, int(peak[1]) / 1024


def show(what: str, seconds: float, spent: float, peak: float) -> None:
    """Print one start."""
    print(f"{what:<52} {seconds:6.1f} s {spent:6.1f} CPU s {peak:6.0f} MiB", flush=True)


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(CONFIG)
        settings = config.load([folder / "config.yaml"], {})
        started(folder, folder / "cold")  # compiles what is not compiled yet
        show("empty", *started(folder, folder / "empty"))
        for batch in (5_000, 100):
            data = folder / str(batch)
            data.mkdir()
            head = fill(data, settings, samples, batch)
            for how in ("nothing concluded", "stopped in order"):
                what = f"{samples:,} samples in {head:,} entries, {how}"
                show(what, *started(folder, data))


if __name__ == "__main__":
    main()
