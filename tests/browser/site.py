"""A running house with a past: an hour and a half of a small fleet in its journal, with faults.

The telemetry goes on, and orders go to a real receiver. A browser finds what a person would.
"""

import http.server
import json
import re
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from tests.commands import process

from watchkeeper import config, pipeline, simulate
from watchkeeper.access import Role
from watchkeeper.access.desk import Desk
from watchkeeper.cli._access import accounts_of
from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Control, Cursor, Millis, canonical
from watchkeeper.pipeline import Offer

PAST, INTERVAL, TOGETHER = 5_400_000, 20_000, 24  # ms, ms, batches
SICK = "host:web-2"
PEOPLE = {"vic": Role.VIEWER, "ann": Role.OPERATOR}
PASSWORD = "correct horse battery staple"
SCENARIO = """
name: browser
entities: {{count: 6, prefix: web-, rack: 3}}
metrics:
  - system.cpu.utilization
  - system.cpu.load_per_cpu
  - system.memory.utilization
  - system.filesystem.utilization
  - system.disk.latency
  - system.network.io
  - system.network.errors
  - hw.temperature
  - hw.fan.speed
  - hw.fan.speed_ratio
start: {start}
duration: 4h
interval: 20s
faults:
  - {{kind: disk_fill, entities: ["host:web-2"], onset: 20m, duration: 3h, full_after: 65m}}
  - {{kind: fan_fail, entities: ["host:web-5"], onset: 72m, duration: 3h}}
  - {{kind: nic_errors, entities: ["host:web-4"], onset: 40m, duration: 12m, per_second: 40}}
"""
CONFIG = """
version: 1
tick: 5s
data: {data}
packs: [./pump, host@1, generic@1]
listen: 127.0.0.1:0
sources: []
flags: {{action.webhook: true}}
actions:
  pager: {{type: webhook, url: "http://127.0.0.1:{port}/hook"}}
policies:
  - {{name: host-failing, mode: auto, for: 1m, action: [pager], runbook: "https://runbooks.example.org/host-failing"}}
  - {{name: host-degraded, mode: auto, for: 2m, action: [pager]}}
{more}
"""


PUMP = """
name: pump
version: 1
entities: [pump]
metrics:
  - {{name: flow, unit: "1", low: 0, high: {high}, worse: high}}
"""


class Sink(http.server.BaseHTTPRequestHandler):
    """Takes orders: unwell at the first attempt, as receivers are, and well from then on."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append(json.loads(body))
        self.send_response(503 if len(self.server.taken) == 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Site:
    """One `watchkeeper run` over a past of its own. Use as a context."""

    def __init__(self, folder: Path, more: str = "", past: bool = True):
        self.folder, self.data = folder, folder / "data"
        self.data.mkdir()
        self.sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
        self.sink.taken = []
        self.begin = int(time.time() * 1000) // INTERVAL * INTERVAL - PAST
        text = CONFIG.format(data=self.data, port=self.sink.server_port, more=more)
        (folder / "wk.yaml").write_text(text)
        (folder / "pump").mkdir()
        self.pumps_may(1)
        self.blocks = self._telemetry() if past else None
        self.stop = threading.Event()
        self.address = ""

    def __enter__(self):
        if self.blocks is not None:
            self._lay_down()
        threading.Thread(target=self.sink.serve_forever, daemon=True).start()
        self.process = process("run", "--config", self.folder / "wk.yaml")
        self.told = []
        self._read_address()
        with accounts_of(self.data) as accounts:
            desk = Desk(accounts, "local:test", "command line")
            for name, role in PEOPLE.items():
                desk.add_person(name, role, PASSWORD, Millis(int(time.time() * 1000)))
        threading.Thread(target=self._drain, daemon=True).start()
        if self.blocks is not None:
            threading.Thread(target=self._go_on, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.process.terminate()
        self.process.wait(30)
        self.sink.shutdown()
        self.sink.server_close()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()

    def pumps_may(self, high):
        """Write how much may flow through a pump into the contract of our own."""
        (self.folder / "pump" / "contract.yaml").write_text(PUMP.format(high=high))

    def push(self, lines, path="/api/v1/samples"):
        """Push samples as JSON lines; return the status and what was said."""
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        asked = urllib.request.Request(
            self.address + path, body, {"Content-Type": "application/x-ndjson"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def get(self, path):
        with urllib.request.urlopen(self.address + path, timeout=30) as answer:
            return json.loads(answer.read())["data"]

    def until(self, holds, seconds=180):
        end = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < end, "".join(self.told)
            time.sleep(0.2)
        return found

    def _telemetry(self):
        start = datetime.fromtimestamp(self.begin / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        (self.folder / "fleet.yaml").write_text(SCENARIO.format(start=start))
        scenario = simulate.read(self.folder / "fleet.yaml")
        for columns in simulate.blocks(scenario, 11, rows=1 << 15):
            keys = columns.keys
            times = columns.time
            for at in range(int(times[0]), int(times[-1]) + 1, INTERVAL):
                mine = times == at
                samples = [columns.series[mine], times[mine], columns.value[mine]]
                arrays = [pa.array(column) for column in samples]
                yield at, keys, pa.RecordBatch.from_arrays(arrays, schema=SAMPLES)

    def _lay_down(self):
        """Write the past into the journal, as if it had arrived then."""
        rulebook = config.load([self.folder / "wk.yaml"], {}).rules
        journal = Sqlite(path=self.data / "journal.sqlite").open()
        first = Millis(self.begin)
        journal.note(Control("rulebook", "configuration", canonical(rulebook.document)), first)
        journal.note(Control("started", "watchkeeper", "{}"), first)
        waiting, now = [], int(time.time() * 1000)
        unread = pa.RecordBatch.from_pylist([], REJECTS)
        for at, keys, samples in self.blocks:
            if at > now - INTERVAL:
                break
            assert keys.schema.equals(KEYS)
            batch = Batch("past", Cursor(""), keys, samples, unread)
            waiting.append(Offer(batch, Millis(at + 500)))
            if len(waiting) == TOGETHER:
                pipeline.ingest(waiting, rulebook.contracts, journal)
                waiting = []
        pipeline.ingest(waiting, rulebook.contracts, journal)
        journal.close()

    def _read_address(self):
        for line in self.process.stderr:
            self.told.append(line)
            if found := re.match(r"page +(http://\S+?)/$", line.strip()):
                self.address = found[1]
                return
        raise AssertionError("".join(self.told))

    def _drain(self):
        for line in self.process.stderr:
            self.told.append(line)

    def _go_on(self):
        for at, keys, samples in self.blocks:
            if self.stop.wait(max(0.0, at / 1000 + 0.5 - time.time())):
                return
            names = keys.to_pylist()
            lines = [
                {
                    "entity": names[series]["entity"],
                    "metric": names[series]["metric"],
                    "attributes": json.loads(names[series]["attributes"]),
                    "timestamp": at / 1000,
                    "value": value,
                }
                for series, value in zip(
                    samples["series"].to_pylist(), samples["value"].to_pylist(), strict=True
                )
            ]
            try:
                self.push(lines)
            except OSError:  # the house is stopping
                return
