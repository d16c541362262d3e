"""Told by a signal at any moment, it ends in order; whatever its main thread does just then."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import SOURCE, process

from .driving import house

STOPPING = Path(__file__).with_name("stopping.py")
ORDERS = """
import os, signal, sys, threading, time
from watchkeeper.cli._signals import obeyed

def itself(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)

with obeyed(once=False) as orders:
    exec(sys.argv[1])
    assert orders.stop.wait(60)
print("in order")
"""


def ended(code):
    """Run a few lines under orders; return exit code and what was said."""
    with process(code, code=ORDERS) as one:
        out, err = one.communicate(timeout=120)
    return one.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_a_signal_stops_though_the_main_thread_holds_the_very_lock_of_the_event(number):
    """As it does for a moment whenever it begins to wait."""
    held = f"with orders.stop._cond: itself({number:d}); time.sleep(0.2)"
    assert ended(held)[:2] == (0, "in order\n")


def test_a_signal_stops_though_the_system_gave_it_to_another_thread():
    """Then the main thread sleeps on, and a handler of Python's would never run."""
    other = f"""
rest = threading.Event()
thread = threading.Thread(target=rest.wait, daemon=True)
thread.start()
def late():
    time.sleep(0.2)
    signal.pthread_kill(thread.ident, {signal.SIGTERM:d})
threading.Thread(target=late, daemon=True).start()
"""
    assert ended(other)[:2] == (0, "in order\n")


def test_a_second_signal_ends_at_once_and_one_to_read_again_ends_nothing():
    numbers = f"{signal.SIGHUP:d}, {signal.SIGTERM:d}, {signal.SIGINT:d}"
    code, out, _ = ended(f"itself({numbers}); time.sleep(60)")
    assert (code, out) == (128 + signal.SIGINT, "")
    told = f"itself({signal.SIGHUP:d}); assert orders.reload.wait(60); itself({signal.SIGTERM:d})"
    assert ended(told)[:2] == (0, "in order\n")


def test_when_the_block_is_over_everything_is_as_before():
    again = """
from watchkeeper.cli._signals import obeyed
import signal
def handler(*_): ...
signal.signal(signal.SIGTERM, handler)
before = signal.getsignal(signal.SIGHUP)
for _ in range(100):
    with obeyed(once=True): assert signal.getsignal(signal.SIGTERM) is not handler
assert signal.getsignal(signal.SIGTERM) is handler
assert signal.getsignal(signal.SIGHUP) is before
assert signal.set_wakeup_fd(-1) == -1
import os; assert len(os.listdir("/proc/self/fd")) < 20
"""
    subprocess.run(
        [sys.executable, "-c", again], env={"PYTHONPATH": str(SOURCE)}, check=True, timeout=120
    )


def at_night(*points):
    return [pytest.param(point, marks=pytest.mark.nightly) for point in points]


@pytest.mark.parametrize(
    "point", ["warming", "closing", *at_night("configured", "beginning", "drained")]
)
def test_told_to_stop_at_this_point_of_its_life_it_ends_in_order(tmp_path, point):
    with house(tmp_path) as one:
        one.child = one.start(program=(STOPPING, point, "1"))
        assert one.child.wait(240) == 0, one.text()
        assert "Traceback" not in one.text()
        for store in ("journal", "ledger"):
            assert not (one.data / f"{store}.sqlite-wal").exists(), "it was closed"
