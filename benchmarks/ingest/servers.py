"""The servers that are measured: each a process of its own, on a fresh folder, on loopback."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

READY = 180.0  # seconds in which a server must be ready; our kernels may have to be compiled
QUIET = 3.0  # seconds after the last acknowledgement in which a server's work still counts
DECIDED = 120.0  # seconds in which everything accepted must be decided
HZ = os.sysconf("SC_CLK_TCK")

POLICY = """\
version: 1
sources: []
limits: {tenant_series: 4000000, tenant_metric_series: 4000000, tenant_new_series: 4000000}
policies:
  - name: probed
    match: {entities: ["host:probe-*"]}
    when: signal["system.cpu.utilization"] > 1.0
    severity: info
"""


@dataclass
class Server:
    """A running server. :param path: where it takes remote write."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str
    folder: Path
    settle: Callable[[Server], None]
    stages: dict[str, float] = field(default_factory=dict)

    def cpu(self) -> float:
        """Return the processor seconds it has used, all threads together."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / HZ

    def peak(self) -> int:
        """Return the most memory it ever held, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        (line,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(line) * 1024

    def get(self, path: str) -> str:
        """Return what it answers."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text: str = answer.read().decode()
        return text

    def metric(self, name: str) -> float:
        """Return the sum of one family of its own metrics."""
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.get("/metrics"), re.MULTILINE)
        return sum(map(float, found))

    def spent(self) -> dict[str, float]:
        """Return the processor seconds of each stage; only ours tells."""
        told = self.get("/metrics")
        pattern = r'^watchkeeper_stage_cpu_seconds_total\{stage="(\w+)"\} (\S+)$'
        return {name: float(s) for name, s in re.findall(pattern, told, re.MULTILINE)}


def _quiet(server: Server) -> None:
    time.sleep(QUIET)


def _decided(server: Server) -> None:
    """Wait until everything accepted is decided, and as long as is waited for the others."""
    until = time.monotonic() + DECIDED
    while server.metric("watchkeeper_ledger_lag_entries") > 0:
        if time.monotonic() > until:
            raise SystemExit(f"watchkeeper has not decided everything within {DECIDED:g} s")
        time.sleep(0.1)
    time.sleep(QUIET)


def binary(name: str) -> str:
    """Return where a program is. A comparison without one of its sides is none, so it must be."""
    found = shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not installed: apt-get install {name}")
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def prometheus(folder: Path, port: int) -> tuple[list[str], str, str]:
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    command = [
        binary("prometheus"),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--log.level=warn",
    ]
    return command, "/api/v1/write", "/-/ready"


def victoria(folder: Path, port: int) -> tuple[list[str], str, str]:
    command = [
        binary("victoria-metrics"),
        f"-storageDataPath={folder}/data",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=12",
        "-loggerLevel=WARN",
    ]
    return command, "/api/v1/write", "/health"


def watchkeeper(folder: Path, port: int, config: str = POLICY) -> tuple[list[str], str, str]:
    (folder / "watchkeeper.yaml").write_text(config)
    own = Path(sys.executable).with_name("watchkeeper")
    command = [str(own), "run", f"--config={folder}/watchkeeper.yaml"]
    command += [f"--listen=127.0.0.1:{port}", f"--data={folder}/data"]
    return command, "/api/v1/write", "/-/ready"


KINDS = {"prometheus": prometheus, "victoria-metrics": victoria, "watchkeeper": watchkeeper}


@contextmanager
def running(name: str, folder: Path, *config: str, source: Path | None = None) -> Iterator[Server]:
    """Start a server and wait until it is ready; end it afterwards.

    :param config: what ours is configured with, if not with what is compared.
    :param source: where ours is imported from, if not from where it is installed.
    """
    folder.mkdir()
    port = _free_port()
    command, path, ready = KINDS[name](folder, port, *config)
    env = {**os.environ, "PYTHONPATH": str(source)} if source else None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
    settle = _decided if name == "watchkeeper" else _quiet
    server = Server(name, process, port, path, folder, settle)
    try:
        _wait_ready(server, ready)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(server: Server, path: str) -> None:
    until = time.monotonic() + READY
    while time.monotonic() < until and server.process.poll() is None:
        try:
            server.get(path)
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise SystemExit(f"{server.name} did not start:\n{(server.folder / 'log').read_text()[-2000:]}")
