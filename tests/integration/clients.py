"""Real clients and servers as Debian ships them, on loopback; a test fails where one is absent."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.sources.agents import WAIT, free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "receivers.md"
SCRAPES = """
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{node}"]}}]
"""


def snippet(name: str, port: int) -> str:
    """Return what docs/receivers.md tells users of `name` to write, with another port of ours."""
    marks = rf"<!-- connect: {name} -->\n(?:<!--[^\n]*-->\n)*"
    told = re.search(rf"{marks}```\w*\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert told, f"{DOCUMENT.name} says nothing of {name}"
    return told[1].replace("8470", str(port))


def program(name: str, package: str) -> str:
    """Return the path of a program of a Debian package."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    assert found, f"install Debian's {package}"
    return found


def fetched(port: int, path: str) -> bytes:
    """Return a page of a server on loopback."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, 10)) as line:
        line.request("GET", path)
        answer = line.getresponse()
        body = answer.read()
        assert answer.status == 200, (path, answer.status, body[:500])
        return body


class Server:
    """A program that answers over HTTP."""

    def __init__(self, folder: Path, command: Sequence[str], port: int, ready: str) -> None:
        self.port, self.log = port, folder / f"{Path(command[0]).name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        end = time.monotonic() + WAIT
        while True:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < end, f"{command[0]} does not answer"
            with contextlib.suppress(OSError, AssertionError, http.client.HTTPException):
                fetched(port, ready)
                return
            time.sleep(0.05)

    def end(self) -> None:
        """End it, and wait until it has."""
        self.process.terminate()
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def counters(self) -> dict[str, float]:
        """Return its own metrics, each summed over its labels."""
        sums: dict[str, float] = {}
        for line in fetched(self.port, "/metrics").decode().splitlines():
            if line.startswith("#"):
                continue
            series, value = line.rsplit(" ", 1)
            name = series.split("{")[0]
            sums[name] = sums.get(name, 0.0) + float(value)
        return sums


@contextlib.contextmanager
def node_exporter(folder: Path) -> Iterator[Server]:
    """Run Debian's node-exporter."""
    port = free_port()
    command = [program("prometheus-node-exporter", "prometheus-node-exporter")]
    one = Server(folder, [*command, f"--web.listen-address=127.0.0.1:{port}"], port, "/metrics")
    try:
        yield one
    finally:
        one.end()


class Prometheus(Server):
    """Debian's Prometheus: it scrapes what it is told to, and writes it to a URL."""

    def __init__(self, folder: Path, config: str) -> None:
        self.file = folder / "prometheus.yml"
        self.file.write_text(config)
        port = free_port()
        super().__init__(
            folder,
            [
                program("prometheus", "prometheus"), f"--config.file={self.file}",
                f"--storage.tsdb.path={folder / 'prometheus-data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            port, "/-/ready",
        )  # fmt: skip

    def rest(self, seconds: float) -> dict[str, float]:
        """Have it scrape no more; return its counters when it has nothing left to send."""
        self.file.write_text(re.sub(r"(?ms)^scrape_configs:.*?(?=^\w)", "", self.file.read_text()))
        self.process.send_signal(signal.SIGHUP)
        end, before = time.monotonic() + seconds, {}
        while True:
            now = {
                name.removeprefix("prometheus_remote_storage_"): value
                for name, value in self.counters().items()
                if name.startswith(("prometheus_remote_storage_", "prometheus_target_scrape_pools"))
            }
            idle = now["samples_pending"] == 0 and not self.targets()
            if (
                idle
                and before
                and now["samples_in_total"]
                == before["samples_in_total"]
                == (
                    now["samples_total"]
                    - now["samples_retried_total"]
                    + now["samples_dropped_total"]
                )
            ):
                return now
            assert time.monotonic() < end, f"it still sends: {now}"
            before = now
            time.sleep(0.5)

    def targets(self) -> list[Any]:
        """What it scrapes now."""
        found: list[Any] = json.loads(fetched(self.port, "/api/v1/targets"))["data"][
            "activeTargets"
        ]
        return found

    def raw(self, selector: str) -> dict[tuple[str, str], list[tuple[float, float]]]:
        """Return the raw samples of some series by metric and canonical labels."""
        from urllib.parse import quote

        told = fetched(self.port, f"/api/v1/query?query={quote(selector + '[1h]')}")
        return {
            (one["metric"]["__name__"], json.dumps(one["metric"], sort_keys=True)): [
                (at, float(value)) for at, value in one["values"]
            ]
            for one in json.loads(told)["data"]["result"]
        }
