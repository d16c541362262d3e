"""What a running house is told by signals: to stop, at once, or to read its configuration again.

A handler of Python's runs in the main thread, between two instructions of whatever that does. One
that takes a lock stands still for ever if the main thread holds it just then, and none runs while
the main thread is in a call that nothing interrupts, or when the system woke another thread. So the
handlers here do nothing. The interpreter's own, below them, writes each signal's number into a
socket from whichever thread the signal came to, and a thread that does nothing else reads it.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LAST = 9.5  # seconds from a signal to the end, whatever hangs; 10 s is the promise
STOPPING = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Orders:
    """What was told so far. :param stop: for good. :param reload: cleared by whoever does it."""

    stop: threading.Event = field(default_factory=threading.Event)
    reload: threading.Event = field(default_factory=threading.Event)


@contextmanager
def obeyed(*, once: bool) -> Iterator[Orders]:
    """Take orders while the block lasts, from the main thread on.

    SIGTERM and SIGINT ask for an orderly end; the second of them ends the process at once. So does
    an end that takes too long: what was acknowledged is on the disk already, and whoever sent the
    signal will not wait for ever.

    :param once: there is nothing to read again, so SIGHUP ends the process as it does any other.
    """
    orders = Orders()
    heard, told = socket.socketpair()
    told.setblocking(False)  # a signal never waits; a thousand unread ones say no more
    ears = threading.Thread(target=_obey, args=(heard, orders), name="signals", daemon=True)
    numbers = STOPPING if once else (*STOPPING, signal.SIGHUP)
    ears.start()
    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _nothing) for number in numbers}
    try:
        yield orders
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        told.close()
        ears.join()
        heard.close()


def _obey(heard: socket.socket, orders: Orders) -> None:
    told = False
    while numbers := heard.recv(64):
        for number in numbers:
            if number == signal.SIGHUP:
                orders.reload.set()
            elif number in STOPPING and told:
                os._exit(128 + number)
            elif number in STOPPING:
                told = True
                # It holds beyond the interpreter's own end.
                faulthandler.dump_traceback_later(LAST, exit=True)
                orders.stop.set()


def _nothing(*_: object) -> None:
    """Be there, so that the interpreter takes the signal."""
