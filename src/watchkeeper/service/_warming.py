"""Have kernels compiled, or loaded, before anybody waits for them.

What this house needs to collect, judge and show comes first. Receivers follow one by one, and each
is let in when its decoder is ready. numba compiles one kernel at a time in a process; so on a first
start another process compiles the decoders meanwhile, into the same cache (`_beside`). Where there
can be no other process, they are compiled here, only later.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from numba.core import event
from numba.core.dispatcher import Dispatcher

from watchkeeper import core
from watchkeeper.contracts import tried
from watchkeeper.intake import Intake
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Cursor, Millis
from watchkeeper.receivers import Receiver
from watchkeeper.service._house import House

OURS = "watchkeeper."
JUDGING = tuple(
    f"{OURS}{family}"
    for family in ("contracts", "core.panel", "core.state", "detectors", "health", "journal",
                   "policies", "slots")
)  # fmt: skip


class Warming(event.Listener):
    """The start of one house, as far as it waits for kernels."""

    def __init__(self, house: House, intake: Intake, stop: threading.Event) -> None:
        self._house, self._intake, self._stop = house, intake, stop
        self._beside: subprocess.Popen[str] | None = None
        self._compiles = False
        intake.expected = tuple(one.name for one in house.receivers)

    @property
    def said(self) -> str:
        """What is being compiled, and how far that is; empty when nothing is."""
        if not self._compiles:
            return ""
        if self._intake.closed:
            compiled, every = _compiled()
            return f"compiling what judges: {compiled} of about {every} kernels"
        late = ", ".join(self._intake.expected)
        return f"compiling what decodes pushed telemetry: {late}" if late else ""

    def judging(self) -> None:
        """Make ready what collects from sources, judges and decides."""
        event.register("numba:compile", self)  # type: ignore[no-untyped-call]
        try:
            core.warm_up(self._house.rulebook, self._house.engine)
            self._rehearse(_made_up(), Millis(1))
        finally:
            event.unregister("numba:compile", self)  # type: ignore[no-untyped-call]

    def receiving(self, ready: threading.Event) -> None:
        """Let each receiver in when its decoder is compiled; say when all are."""
        receivers = {one.name: one for one in self._house.receivers}
        for name in self._ready_beside():
            self.let_in(receivers.pop(name))
        for receiver in receivers.values():
            if self._stop.is_set():
                return
            self.let_in(receiver)
        ready.set()

    def let_in(self, receiver: Receiver) -> None:
        """Take a receiver's examples as far as the journal; then let it take what is pushed."""
        for example in receiver.examples():
            batch = receiver.open(self._house.limits, self._house.identity).decode(example)
            assert batch is not None, f"{receiver.name}: an example says nothing"
            self._rehearse(batch, example.arrived)
        late = self._intake.expected
        self._intake.expected = tuple(name for name in late if name != receiver.name)

    def on_start(self, _: Any) -> None:
        """Have the rest compiled beside as soon as something has to be compiled at all."""
        if not self._compiles:
            self._compiles = True
            self._beside = _beside(self._house.receivers)
            threading.Thread(target=self._end, name="beside", daemon=True).start()

    def on_end(self, _: Any) -> None:
        """What is compiled counts itself."""

    def _rehearse(self, batch: Batch, arrived: Millis) -> None:
        """Take a batch as far as the journal, which stores nothing of it."""
        contracts = self._house.rulebook.contracts
        checked = tried(contracts, batch, arrived)
        self._house.journal.warm_up([checked] if batch.samples.num_rows else [])

    def _ready_beside(self) -> Iterator[str]:
        """Yield the names of receivers whose decoders the other process has compiled."""
        if self._beside is None:
            return
        with self._beside as process:
            assert process.stdout is not None
            with contextlib.suppress(ValueError):  # closed, as the house stops
                yield from (line.rstrip("\n") for line in process.stdout)

    def _end(self) -> None:
        """Leave nothing running beside a house that stops."""
        self._stop.wait()
        if self._beside is not None:
            self._beside.kill()
            with self._beside:  # which waits for it
                pass


def _made_up() -> Batch:
    """Return a batch as sources hand it over."""
    keys = [{"entity": "host:warm-up", "metric": m, "attributes": "{}"} for m in ("a", "b")]
    columns = [pa.array([0, 1], pa.uint32()), pa.array([1, 1]), pa.array([1.0, 2.0])]
    return Batch(
        "warm-up",
        Cursor(""),
        pa.RecordBatch.from_pylist(keys, KEYS),
        pa.RecordBatch.from_arrays(columns, schema=SAMPLES),
        pa.RecordBatch.from_pylist([], REJECTS),
    )


def _beside(receivers: Sequence[Receiver]) -> subprocess.Popen[str] | None:
    """Begin to compile what receivers need in another process; None where that cannot be."""
    own = [
        f"{kind}={one.name}"
        for one in receivers
        if (kind := type(one).__module__.removeprefix(f"{OURS}receivers.")).isidentifier()
    ]
    with contextlib.suppress(OSError):
        return subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "watchkeeper.service._beside", *own],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    return None


def _compiled() -> tuple[int, int]:
    """Return how many of the kernels that judge are there to be called, and how many there are."""
    kernels = [
        kernel
        for name, module in list(sys.modules.items())
        if name.startswith(JUDGING)
        for kernel in vars(module).values()
        if isinstance(kernel, Dispatcher) and kernel.py_func.__module__ == name
    ]
    return sum(bool(kernel.signatures) for kernel in kernels), len(kernels)
