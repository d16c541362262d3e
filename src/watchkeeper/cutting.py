"""Retention: what of the journal may go, and the states that stand for what went.

While the house decides, it keeps a base now and then: the state of the core before an entry, named
with its SHA-256 in the audit chain. When all before a base is older than is wanted, or more than is
wanted, the entries before it are removed, in an order that a cut at any moment cannot spoil:

    base durable ─► named in the chain ─► (later) the cut told in the chain ─► entries ─► old bases

So a journal always begins either with its first entry or with a whole base, and what is decided
after it is byte for byte what it would have been with all that came before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from watchkeeper.beginning import BASE, told
from watchkeeper.core import checkpoint
from watchkeeper.core.checkpoint import Picture
from watchkeeper.errors import StoreError
from watchkeeper.journal import Base, Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Millis, Offset, canonical
from watchkeeper.store.retention import Retention

CUT = "retention"  # what was removed, and by which base it is stood for
PARTS = 4  # bases of one stretch that is kept: so much more than wanted is there, at most
PIECE = 4096  # entries whose bytes are counted at once


def due(retention: Retention, bases: Sequence[Base], now: Millis, newest: int) -> Base | None:
    """Return the base up to which the journal may go; None when it may not. Pure.

    The newest base never counts for age: a clock that leaps ahead must not take all there is.

    :param bases: that the journal has, oldest first. :param now: by the journal's own time.
    :param newest: bytes of the entries after the last base.
    """
    wanted: Base | None = None
    if retention.keep:
        for base in bases[:-1]:
            wanted = base if base.arrived <= now - retention.keep else wanted
    if retention.size:
        left = newest
        for number in range(len(bases) - 1, -1, -1):
            if left + bases[number].size > retention.size:
                base = bases[number]
                return base if wanted is None or base.offset > wanted.offset else wanted
            left += bases[number].size
    return wanted


class Cutter:
    """Keeps the bases of one house, and removes what is due. `consider` and `look` may be called
    from two threads.

    :param retention: asked each time: a reload may have changed it.
    """

    def __init__(
        self, journal: Journal, ledger: Ledger, retention: Callable[[], Retention]
    ) -> None:
        self._journal, self._ledger, self._retention = journal, ledger, retention
        self._counted = (Offset(0), 0)  # entries whose bytes are known, since the newest base
        self._arrived = Millis(0)  # the newest entry that was concluded
        self._working = threading.Lock()
        self.held = ""

    def consider(self, now: Picture) -> None:
        """Keep a base of this state, if it is time for one.

        :param now: nobody writes to it meanwhile.
        """
        retention = self._retention()
        with self._working:
            self._arrived = now.arrived
            if not (retention.keep or retention.size):
                return
            bases = self._journal.bases()
            newest = bases[-1] if bases else None
            if newest is not None and newest.offset >= now.offset:
                return
            size = self._size(newest, now.offset)
            if not _is_time(retention, newest, now.arrived, size):
                return
            series = len(now.names[0])
            base = Base(now.offset, now.tick, now.arrived, series, size)
            try:
                self._journal.keep(
                    base, checkpoint.pieces(now),
                    lambda sha256: self._ledger.note(BASE, now.arrived, told(base, sha256)),
                )  # fmt: skip
            except StoreError as error:  # a full disk: the next checkpoint tries again
                self.held = str(error)
                return
            self._counted = (now.offset, 0)

    def look(self, go_on: Callable[[], bool] = lambda: True) -> Base | None:
        """Remove what is due; return the base up to which all is gone, if something was.

        :param go_on: asked now and then; False leaves the rest for the next call.
        """
        retention = self._retention()
        bases = self._journal.bases()
        first = self._journal.first()
        newest = self._counted[1] if bases and self._counted[0] >= bases[-1].offset else 0
        base = due(retention, bases, self._arrived, newest)
        self.held = ""
        if base is None or base.offset >= self._journal.head():
            return None
        if first > base.offset and bases[0] == base:
            return None  # that is where it begins
        count, oldest = self._ledger.owed()
        if count and oldest is not None and oldest <= base.tick:
            self.held = "an order of that time is still open"
            return None
        if first <= base.offset:
            facts = {"removed": base.offset, "from": first, "until": base.arrived}
            self._ledger.note(CUT, self._arrived, canonical(facts))
        if self._journal.cut(base, go_on):
            return base
        if go_on():
            self.held = "another process reads the journal"
        return None

    def _size(self, newest: Base | None, until: Offset) -> int:
        """Return the bytes of the entries since a base; what was counted is not counted again."""
        begin = newest.offset if newest is not None else Offset(self._journal.first() - 1)
        at, size = self._counted
        if not begin <= at <= until or at == 0:
            at, size = begin, 0
        while at < until:
            upto = Offset(min(at + PIECE, until))
            size += self._journal.size(at, upto)
            at = upto
        self._counted = (at, size)
        return size


def _is_time(retention: Retention, newest: Base | None, arrived: Millis, size: int) -> bool:
    """Whether a part of what is kept went by since the newest base. The first comes at once."""
    if newest is None:
        return True
    aged = retention.keep and arrived - newest.arrived >= retention.keep // PARTS
    return bool(aged or (retention.size and size >= retention.size // PARTS))
