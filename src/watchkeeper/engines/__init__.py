"""Engines decide where pure work runs. Every other file here is one engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Engine(Protocol):
    """Runs independent pieces of pure work; how many at once never shows in the result."""

    @property
    def workers(self) -> int:
        """How many pieces run at once, so that callers can cut the work to fit."""

    def map(self, work: Callable[[A], B], parts: Iterable[A]) -> list[B]:
        """Apply pure `work` to every part; results keep the order of the parts."""
