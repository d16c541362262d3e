"""What a house makes of its records when it is time: looked at each second, tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from watchkeeper.errors import OutputError, StoreError, WatchkeeperError
from watchkeeper.model import Millis, canonical
from watchkeeper.service import Service
from watchkeeper.store.shelf import Shelf, Writes

log = structlog.get_logger("watchkeeper")

LOOK = 1.0  # seconds between two looks at what is due
COMPLAIN = 60  # looks between two lines of log about the same trouble


class Making:
    """Puts things on a shelf, each noted in the audit chain before it is to be seen.

    :param kind: of those links.
    """

    def __init__(self, service: Service, shelf: Shelf, kind: str) -> None:
        self.service, self.shelf, self.kind = service, shelf, kind
        self._failed: dict[str, int] = {}  # looks since a thing could not be made

    def run(self, look: Callable[[Millis], None]) -> None:
        """Tell `look` the time of the ledger once in LOOK seconds, until the house stops."""
        self.shelf.sweep()
        self.service.ready.wait()
        while not self.service.stop.wait(LOOK):
            try:
                self.look(look)
            except Exception as error:
                if not self.service.stop.is_set():  # else the stores may be closed already
                    log.exception("stage_broke", thread=self.kind, error=repr(error))
                return

    def look(self, look: Callable[[Millis], None]) -> None:
        """Tell `look` the time of the ledger once; not when the disk has failed."""
        if self.service.degraded:
            return
        try:
            mark = self.service.house.ledger.watermark()
            if mark is not None:
                look(mark.tick)
        except StoreError as error:
            self._complain("", error)

    def put(
        self, name: str, stamp: str, until: Millis, files: Mapping[str, Writes],
        facts: Mapping[str, Any],
    ) -> bool:  # fmt: skip
        """Put one thing on the shelf; False when it has to be tried again."""
        ledger = self.service.house.ledger
        try:
            self.shelf.put(
                name, stamp, files, facts,
                lambda card: ledger.note(self.kind, until, canonical(card)),
            )  # fmt: skip
        except (OutputError, StoreError) as error:
            self._complain(name, error)
            return False
        self._failed.pop(name, None)
        return True

    def _complain(self, name: str, error: WatchkeeperError) -> None:
        """Log a lasting trouble now and then."""
        looks = self._failed.get(name, 0)
        self._failed[name] = looks + 1
        if looks % COMPLAIN == 0:
            what = f"{self.kind} {name}".rstrip()
            log.error("not_made", what=what, error=str(error), code=error.code)
