"""Remove what of the journal is no longer wanted, now and then, while the house runs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from watchkeeper.cutting import Cutter
from watchkeeper.errors import StoreError

log = structlog.get_logger("watchkeeper")

LOOK = 30.0  # seconds between two looks


def retain(
    cutter: Cutter, stop: threading.Event, complain: Callable[[str, StoreError], None]
) -> None:
    """Look again and again until told to stop; what is half removed then waits for the next start.

    A base that is not whole, or a disk that is full, keeps everything where it is.
    """
    while not stop.wait(LOOK):
        try:
            base = cutter.look(lambda: not stop.is_set())
        except StoreError as error:
            complain("retention_failed", error)
            continue
        if base is not None:
            log.info("journal_cut", entry=base.offset)
