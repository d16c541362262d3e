"""When to try an order again: exponential, with full jitter, and the same on every replay.

Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015): wait a uniform share
of a ceiling that doubles. The share is a hash of the order and the attempt instead of a random
number, so orders still spread out, while a test, a replay and a second process agree on the time.
"""

from __future__ import annotations

import hashlib

from watchkeeper.model import Millis

FIRST = 1_000  # ms, ceiling of the first wait
LONGEST = 300_000  # ms, ceiling of any wait of our own
GIVE_UP = 86_400_000  # ms after the order was made; then it is a dead letter
AFTER_LONGEST = 3_600_000  # ms, the longest wait a receiver can ask for


def due(
    order_key: str, attempt: int, now: Millis, created: Millis, after: Millis | None = None
) -> Millis | None:
    """Return when to try again, or None when it is time to give up.

    :param attempt: how many attempts were made, this one included; at least 1.
    :param now: when the last attempt ended. :param created: when the order was made.
    :param after: milliseconds the receiver asked us to wait; we never come earlier, except that
        more than an hour is taken as an hour.
    """
    assert attempt >= 1, attempt
    wait = max(1, (ceiling(attempt) * _share(order_key, attempt)) >> 64)
    if after is not None:
        wait += min(max(after, 0), AFTER_LONGEST)
    again = now + wait
    return Millis(again) if again <= created + GIVE_UP else None


def ceiling(attempt: int) -> int:
    """Return the longest own wait after `attempt` attempts, in milliseconds: 1 s … 5 min."""
    return min(LONGEST, FIRST << min(attempt - 1, 20))


def _share(order_key: str, attempt: int) -> int:
    """A share of 2**64."""
    seed = f"{order_key}:{attempt}".encode()
    return int.from_bytes(hashlib.blake2b(seed, digest_size=8).digest(), "big")
