"""What waits for its round: a request to decode, or a batch that a source brought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from watchkeeper.errors import Malformed, Overloaded, RequestError
from watchkeeper.key_table import KeyTable
from watchkeeper.model import Batch, Millis
from watchkeeper.observe.spans import Context
from watchkeeper.receivers import Delivery, Outcome, Receiver, Turns

COST_MIN = 1_024  # bytes that any request or batch counts for

AGAIN = 2.0  # seconds after which an overloaded house asks to be tried again

log = structlog.get_logger("watchkeeper")

Told = Callable[[Outcome], None]


@dataclass(slots=True)
class Item:
    """One thing that waits: a request to decode, or a batch."""

    told: Told
    arrived: Millis
    receiver: Receiver | None = None
    delivery: Delivery | None = None
    batch: Batch | None = None
    began: int = 0  # ns since 1970
    caller: Context | None = None  # whose trace the request came in
    context: Context | None = None  # its own place in a trace
    turns: Turns | None = None  # what is still to do of it, once it is begun

    @property
    def sender(self) -> tuple[str, str]:
        """Who decodes it, and for whom."""
        receiver, delivery = self.receiver, self.delivery
        return (receiver.name, delivery.tenant) if receiver and delivery else ("", "")


def cost(size: int) -> int:
    """Return what a request of `size` bytes counts; even an empty one takes room."""
    return max(size, COST_MIN)


def held(batch: Batch) -> int:
    """Return the bytes that a source's batch holds; a table of keys is its source's own."""
    keys = 0 if isinstance(batch.keys, KeyTable) else batch.keys.nbytes
    return cost(int(batch.samples.nbytes + batch.unread.nbytes + keys))


def unreadable(error: Exception, receiver: str) -> RequestError:
    """Return what a client is told whose request raised an error while it was decoded."""
    if isinstance(error, RequestError):
        told = error.with_traceback(None)  # its frames hold what was unpacked
        told.__context__ = told.__cause__ = None
        return told
    log.error("request_broke", receiver=receiver, exc_info=error)
    if isinstance(error, MemoryError):  # which is no fault of the body
        return Overloaded("no memory is left for this", retry_after=AGAIN)
    return Malformed("this body could not be decoded", hint="this is a bug; see our log")
