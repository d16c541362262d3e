"""From rows of the ledger back to nouns, and the tables of one moment for a proof."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from watchkeeper.ledger import Link
from watchkeeper.model import (
    Assessed,
    Contribution,
    Counts,
    Decision,
    Millis,
    Offset,
    Order,
    Outcome,
    Phase,
    Receipt,
    State,
    Step,
)

Ask = Callable[..., Iterator[tuple[Any, ...]]]
EVER = (1 << 63) - 1


def assessed(row: tuple[Any, ...]) -> Assessed:
    """Return the assessment that a row holds."""
    shares = tuple(Contribution(*share) for share in json.loads(row[6]))
    return Assessed(row[0], row[1], row[2], State(row[3]), row[4], row[5], shares)


def decision(row: tuple[Any, ...]) -> Decision:
    """Return the decision that a row holds."""
    key, policy, version, entity, phase, at, severity, health, reason, outcome, trace = row
    return Decision(
        key, policy, version, entity, Phase(phase), at, severity, health, reason,
        Outcome(outcome), trace,
    )  # fmt: skip


class Snapshot:
    """The tables of a SQLite ledger at one moment (see `Tables`)."""

    def __init__(self, ask: Ask, sql: Mapping[str, str]) -> None:
        self._ask, self._sql = ask, sql

    def links(self) -> Iterator[Link]:
        """Yield the chain in order."""
        return (Link(*row) for row in self._ask(self._sql["links"], (0, EVER)))

    def step(self, tick: Millis, seq: int) -> Step | None:
        """Return a step as its tables hold it; None unless link `seq` is its own."""
        row = next(self._ask(self._sql["step"], (tick,)), None)
        if row is None or row[9] != seq:
            return None
        before = next(self._ask(self._sql["step_before"], (tick,)), (0, 0, 0, 0, 0))
        return Step(
            Offset(row[1]),
            tick,
            row[2],
            Counts(*(total - other for total, other in zip(row[3:8], before, strict=True))),
            row[8],
            tuple(map(assessed, self._ask(self._sql["health_of_tick"], (tick,)))),
            tuple(map(decision, self._ask(self._sql["decisions_of_tick"], (tick,)))),
            tuple(Order(*order) for order in self._ask(self._sql["orders_of_tick"], (tick,))),
        )

    def receipt(self, seq: int) -> Receipt | None:
        """Return the receipt of one link."""
        row = next(self._ask(self._sql["receipt_of_link"], (seq,)), None)
        return Receipt(*row) if row else None

    def rows(self) -> dict[str, int]:
        """Return how many rows each table holds."""
        names = ("step", "health", "decision", "orders", "receipt")
        return dict(zip(names, next(self._ask(self._sql["rows"])), strict=True))

    def odd(self) -> str:
        """Return the first derived row that does not follow from the others; empty if none."""
        for query, what in (
            ("odd_order", "order {!r} does not stand where its last receipt left it"),
            ("odd_receipt", "receipt of {!r} answers no order"),
            ("odd_entity", "entity {!r} has no health, or health no entity"),
        ):
            for (found,) in self._ask(self._sql[query]):
                return what.format(found)
        return ""
