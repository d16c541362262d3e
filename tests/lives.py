"""Processes that begin where their imports end: each is a fork of one that stands ready.

A start of the program takes some seconds of processor time before its first line of work: imports
and compiled kernels. Tests about what happens afterwards, most of all those that kill it at once,
would spend all their time there. A life here is a process of its own all the same, with its own
memory, threads, files, signals and environment. How a start itself goes is for tests that execute
the program.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
MESSAGE = 1 << 17  # bytes; an environment fits
STATUS = Path("/proc/self/status")
MEASURING = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


class Life:
    """One process; speaks as `subprocess.Popen` does."""

    def __init__(self, ready: Ready, pid: int) -> None:
        self._ready, self.pid = ready, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._ready.ask({"pid": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired(f"life {self.pid}", timeout or 0.0)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # only asking lets the system use its number again
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Ready:
    """A process that has imported a module, and forks whenever one is to call its `main`."""

    def __init__(self, module: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line, self._lock = ours, threading.Lock()
        paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        self._process = subprocess.Popen(
            [sys.executable, __file__, module, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**unmeasured(), "PYTHONPATH": paths},
        )
        theirs.close()

    def begin(
        self,
        *arguments: object,
        out: IO[Any] | int,
        env: Mapping[str, str],
        error: int | None = None,
        into: int | None = None,
        at: str = "",
        traced: bool = False,
    ) -> Life:
        """Begin a life, and wait for nothing.

        :param out: the file of its output, and of what it says of errors if `error` has none.
        :param into: the file it reads; an empty one unless told.
        :param at: its folder; this one unless told.
        :param traced: it does nothing until a tracer holds it.
        """
        order = {
            "arguments": [str(one) for one in arguments],
            "env": dict(env),
            "at": at or str(Path.cwd()),
            "traced": traced,
        }
        said = out if isinstance(out, int) else out.fileno()
        with Path(os.devnull).open() as nothing:
            reads = nothing.fileno() if into is None else into
            return Life(self, self.ask(order, reads, said, said if error is None else error))

    def ask(self, order: dict[str, Any], *files: int) -> Any:
        with self._lock:
            socket.send_fds(self._line, [json.dumps(order).encode()], files)
            answer = self._line.recv(MESSAGE)
        assert answer, "the process that stands ready has ended"
        return json.loads(answer)

    def close(self) -> None:
        self._line.close()
        self._process.wait(30)


@functools.cache
def ready(module: str) -> Ready:
    """Return the process of this module, the same for the whole run."""
    one = Ready(module)
    atexit.register(one.close)
    return one


def unmeasured() -> dict[str, str]:
    """Return this environment for a process that will be killed: it leaves no coverage behind."""
    return {name: value for name, value in os.environ.items() if name not in MEASURING}


def _stand_ready(module: str, line: socket.socket) -> None:
    """Fork as often as told; return in each life when it is over, and here when nobody asks."""
    program = importlib.import_module(module)
    gc.freeze()  # a collection would write to every page that a life shares
    while True:
        message, files, *_ = socket.recv_fds(line, MESSAGE, 3)
        if not message:
            return
        order = json.loads(message)
        if "pid" in order:
            pid, status = os.waitpid(order["pid"], os.WNOHANG)
            line.send(json.dumps(os.waitstatus_to_exitcode(status) if pid else None).encode())
            continue
        life = os.fork()
        if life == 0:
            line.close()
            for number, file in enumerate(files):
                os.dup2(file, number)
            for file in files:
                os.close(file)
            _live(program.main, order)
        for file in files:
            os.close(file)
        line.send(json.dumps(life).encode())


def _live(main: Any, order: dict[str, Any]) -> None:
    os.chdir(order["at"])
    os.environ.clear()
    os.environ.update(order["env"])
    while order["traced"] and "TracerPid:\t0\n" in STATUS.read_text():
        time.sleep(0.002)
    if any(name in os.environ for name in MEASURING):
        import coverage

        coverage.process_startup(slug="life")
    sys.exit(main(order["arguments"]))


if __name__ == "__main__":
    _stand_ready(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
