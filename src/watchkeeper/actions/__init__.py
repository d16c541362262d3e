"""Actions carry out orders. Every other file here is one action.

An action does one attempt and says how it went: a line when done, ActionRetry when it may succeed
later, ActionRefused when it never can. It keeps no memory between attempts: what was tried, and
when to try again, is in the ledger. `receipt` turns one attempt into what the ledger keeps.
"""

from __future__ import annotations

from typing import Protocol

from watchkeeper.actions._backoff import due
from watchkeeper.errors import ActionRefused
from watchkeeper.model import Millis, Order, Receipt

DETAIL_MAX = 500  # characters of a receipt's detail; the ledger keeps it for ever


class Action(Protocol):
    """One way to act on the world. Its fields are its configuration.

    One that leaves this host alone says so with a class attribute `at_home = True`; policies may
    use the others only while the flag of their type is on.
    """

    def perform(self, order: Order) -> str:
        """Do it and say what came of it in one line. Doing the same `order.key` twice is harmless.

        :raises ActionRetry: it may succeed later; an attribute `after`, when there is one, is
            how many milliseconds the receiver asked us to wait.
        :raises ActionRefused: it can never succeed.
        """


def classify(error: Exception) -> str:
    """Return `refused` when the same order can never succeed, else `retry`.

    What an action raises beyond its contract counts as `retry`: one faulty plug then ends in the
    dead letters and stops nothing else. Assertions are not for this function: let them fly.
    """
    return "refused" if isinstance(error, ActionRefused) else "retry"


def receipt(order: Order, attempt: int, now: Millis, result: str | Exception) -> Receipt:
    """Return what the ledger keeps of one attempt.

    :param attempt: 1 for the first. :param now: when the attempt ended.
    :param result: the line that `perform` returned, or what it raised.
    """
    if isinstance(result, str):
        return Receipt(order.key, attempt, "done", _line(result), now, now)
    detail = _line(f"{type(result).__name__}: {result}")
    if classify(result) == "refused":
        return Receipt(order.key, attempt, "refused", detail, now, now)
    after: Millis | None = getattr(result, "after", None)
    again = due(order.key, attempt, now, order.created, after)
    if again is None:
        return Receipt(order.key, attempt, "dead", detail, now, now)
    return Receipt(order.key, attempt, "retry", detail, now, again)


def _line(text: str) -> str:
    """One printable line: a receiver's words are data, and never move a terminal's cursor."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown if len(shown) <= DETAIL_MAX else shown[: DETAIL_MAX - 1] + "…"
