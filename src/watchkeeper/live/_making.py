"""What a house makes of its records when it is time: looked at each second, tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from watchkeeper.errors import OutputError, StoreError
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
            self.look(look)

    def look(self, look: Callable[[Millis], None]) -> None:
        """Tell `look` the time of the ledger once; not when the disk has failed."""
        mark = self.service.house.ledger.watermark()
        if mark is not None and not self.service.degraded:
            look(mark.tick)

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
            looks = self._failed.get(name, 0)
            self._failed[name] = looks + 1
            if looks % COMPLAIN == 0:
                log.error("not_made", what=f"{self.kind} {name}", error=str(error), code=error.code)
            return False
        self._failed.pop(name, None)
        return True
