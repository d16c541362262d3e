"""The audit of access: each event is a row, and each row a link of the ledger's signed chain.

An event is durable in the accounts before it counts; then it becomes a link. What the command line
did while it could not write the ledger (the service owns it) is linked by the service.
"""

from __future__ import annotations

import json
import threading

from watchkeeper.access.accounts import Accounts, Event
from watchkeeper.ledger import Ledger
from watchkeeper.model import canonical

KIND = "access"  # of links
SINGLY = 60  # failures a minute that are told one by one; of the others, how many


class Audit:
    """Writes events of one house."""

    def __init__(self, accounts: Accounts, ledger: Ledger) -> None:
        self._accounts, self._ledger = accounts, ledger
        self._linking = threading.Lock()
        self._minute, self._told, self._untold = -1, 0, 0
        self._linked = self._found()  # events in the chain whose row may not say so

    def record(self, event: Event) -> None:
        """Write an event, and return when it is durable.

        :raises StoreError: it is not; what was asked must not be done.
        """
        self._accounts.record(event)
        self.link()

    def failed(self, event: Event) -> None:
        """Write a failure; a flood of them is counted, so that nobody can fill the disk."""
        minute = event.at // 60_000
        with self._linking:
            untold = 0
            if minute != self._minute:
                untold, self._minute, self._told, self._untold = self._untold, minute, 0, 0
            self._told += 1
            tell = self._told <= SINGLY
            self._untold += not tell
        if untold:
            detail = canonical({"failures_not_told": untold})
            self.record(Event(event.at, "anyone", "", "authenticate", "refused", detail))
        if tell:
            self.record(event)

    def link(self) -> None:
        """Give every event its link that has none yet; an event never gets two."""
        with self._linking:
            for event in self._accounts.unlinked():
                seq = self._linked.get(event.number)
                if seq is None:
                    seq = self._ledger.note(KIND, event.at, body(event))
                    self._linked[event.number] = seq
                self._accounts.link(event.number, seq)
                del self._linked[event.number]

    def _found(self) -> dict[int, int]:
        """Return the events that a crash kept from being noted as linked."""
        if not self._accounts.unlinked(1):
            return {}
        return {
            int(json.loads(link.body)["number"]): link.seq
            for link in self._ledger.links(self._accounts.newest_link())
            if link.kind == KIND
        }


def body(event: Event) -> str:
    """Return the body of an event's link."""
    return canonical(
        {
            "number": event.number,
            "at": event.at,
            "who": event.who,
            "origin": event.origin,
            "action": event.action,
            "outcome": event.outcome,
            "detail": json.loads(event.detail),
        }
    )
