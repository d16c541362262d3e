"""Actions carry out orders. Every other file here is one action."""

from __future__ import annotations

from typing import Protocol

from watchkeeper.model import Order


class Action(Protocol):
    """One way to act on the world. Its fields are its configuration."""

    def perform(self, order: Order) -> str:
        """Do it and say what came of it in one line. Doing the same `order.key` twice is harmless.

        :raises ActionRetry: it may succeed later.
        :raises ActionRefused: it can never succeed.
        """
