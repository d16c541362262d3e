"""A lane for each action, so that a receiver that hangs keeps only its own orders waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from watchkeeper import pipeline
from watchkeeper.actions import Action
from watchkeeper.errors import StoreError, StoreFull
from watchkeeper.ledger import Ledger
from watchkeeper.model import Millis, Order, Receipt
from watchkeeper.observe.witness import Witness
from watchkeeper.service._house import Progress

PORTION = 32  # orders that a lane is handed at once
RETRY = 2.0  # seconds before a full ledger is asked again to keep what came of an attempt


class Lanes:
    """Carries out what the outbox owes, the orders of each action one after the other.

    :param start: begins a thread. :param full: is told of a full ledger, :param broken: of one that
        failed for good.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], Millis],
        witness: Witness,
        progress: Progress,
        *,
        start: Callable[..., threading.Thread],
        full: Callable[[str, StoreError], None],
        broken: Callable[[StoreError], None],
    ) -> None:
        self._ledger, self._clock, self._witness = ledger, clock, witness
        self._progress, self._start = progress, start
        self._full, self._broken = full, broken
        self._busy: dict[str, threading.Thread] = {}
        self._keeping, self._over = threading.Lock(), threading.Event()

    def look(self, actions: Mapping[str, Action]) -> None:
        """Hand what is due to its lane, unless that is busy with what it has."""
        owed: dict[str, list[tuple[Order, int]]] = {}
        for order, attempts in self._ledger.outbox(self._clock(), PORTION):
            owed.setdefault(order.action, []).append((order, attempts))
        self._busy = {name: lane for name, lane in self._busy.items() if lane.is_alive()}
        for name in owed.keys() - self._busy.keys():
            self._busy[name] = self._start(f"act-{name}", self._carry_out, owed[name], actions)

    def wait(self, end: float) -> None:
        """Wait until no lane is busy, or a moment of the monotonic clock has come."""
        for lane in self._busy.values():
            lane.join(max(0.0, end - time.monotonic()))

    def end(self) -> None:
        """Keep nothing any more: what comes of an attempt under way is asked for again later."""
        self._over.set()
        with self._keeping:  # nobody is within the ledger, nor will be
            pass

    def _carry_out(self, owed: Sequence[tuple[Order, int]], actions: Mapping[str, Action]) -> None:
        told: dict[str, Any] = {"now": self._clock, "keep": self._keep, "witness": self._witness}
        try:
            with self._progress.spent("act"):
                for order, attempts in owed:
                    if self._over.is_set():
                        return
                    pipeline.attempt(order, attempts + 1, actions, **told)
        except StoreError as error:
            self._broken(error)

    def _keep(self, receipt: Receipt) -> bool:
        """Record what came of an attempt, though the disk be full for a while; not after the end.

        Asking the receiver again instead would ask it for as long as the disk is full.
        """
        while True:
            with self._keeping:
                if self._over.is_set():
                    return False
                try:
                    self._ledger.settle(receipt)
                    self._progress.attempts += 1
                    return True
                except StoreFull as error:
                    self._full("ledger_full", error)
            if self._over.wait(RETRY):
                return False
