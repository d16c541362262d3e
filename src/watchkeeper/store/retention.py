"""How much of the journal is kept."""

from __future__ import annotations

from dataclasses import dataclass

LEAST_KEEP = 60_000  # ms
LEAST_SIZE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Retention:
    """What of the journal is kept: all of it, unless one of these says less.

    What is older, or more, is removed with the state of that moment in its place. Decisions, health
    and the audit chain stay in the ledger whatever is removed here.

    :param keep: milliseconds that are kept, at least; up to half as much more is
        there. 0: for ever.
    :param size: bytes of entries that are kept, at most; up to a quarter less is there. 0: all.
    """

    keep: int = 0
    size: int = 0

    def __post_init__(self) -> None:
        if self.keep and self.keep < LEAST_KEEP:
            raise ValueError("keep must be 0 (for ever) or at least 1m")
        if self.size and self.size < LEAST_SIZE:
            raise ValueError("size must be 0 (any) or at least 1MiB")
