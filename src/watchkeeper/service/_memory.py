"""See that memory does not run out: give back what is idle, and say when there is too little."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from watchkeeper.memory import Budget, give_back, held, mebibytes

log = structlog.get_logger("watchkeeper")

LOOK = 1.0  # seconds between two looks
COMPLAIN = 60.0  # seconds between two lines of log while it lasts


def mind(budget: Budget, stop: threading.Event, unfit: Callable[[str], None]) -> None:
    """Look again and again until told to stop.

    :param unfit: told why the budget is not what was asked for, or nothing, when that changes.
    """
    complained, said = -COMPLAIN, ""
    while not stop.wait(LOOK):
        if budget.unfit != said:
            said = budget.unfit
            unfit(said)
            if said:
                log.warning("memory_unfit", detail=said)
        if not budget.short:
            continue
        give_back()
        now = time.monotonic()
        if budget.short and now - complained >= COMPLAIN:
            complained = now
            log.error("memory_short", held=mebibytes(held()), budget=mebibytes(budget.most))
