"""Which messages were told already, should a broker send them once more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from watchkeeper.model import Cursor, Millis, canonical
from watchkeeper.sources._mqtt_topics import Message

KEPT = 256  # messages


class Seen:
    """The last messages by the numbers the broker gave them; the cursor of each batch holds them.

    :param cursor: where the journal stands: `<time> <JSON of number: digest>`.
    """

    def __init__(self, cursor: Cursor | None) -> None:
        found = json.loads((cursor or "").partition(" ")[2] or "{}")
        self._digests: dict[int, str] = {int(mid): digest for mid, digest in found.items()}

    def has(self, mid: int, message: Message) -> bool:
        """Whether a message of this number and these bytes was told."""
        return self._digests.get(mid) == _digest(message)

    def add(self, mid: int, message: Message) -> None:
        """Remember a message; the oldest is forgotten."""
        self._digests.pop(mid, None)
        self._digests[mid] = _digest(message)
        while len(self._digests) > KEPT:
            self._digests.pop(next(iter(self._digests)))

    def clear(self) -> None:
        """Forget all: the broker counts from the beginning."""
        self._digests.clear()

    def cursor(self, now: Millis) -> Cursor:
        """Return where the journal stands with these."""
        known: Mapping[str, str] = {str(mid): digest for mid, digest in self._digests.items()}
        return Cursor(f"{now} {canonical(known)}")


def _digest(message: Message) -> str:
    text = message.topic.encode() + b"\0" + message.payload
    return hashlib.sha256(text).hexdigest()[:16]
