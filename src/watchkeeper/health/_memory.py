"""How a model's memory becomes bytes and comes back, and how its parameters are held to rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from watchkeeper.columnar import Column, columns, seal, unseal
from watchkeeper.errors import ConfigError


def packed(layout: str, memory: Sequence[Column], kinds: Sequence[str]) -> bytes:
    """Return columns as bytes behind one line that says what they are; the same on any machine."""
    rows = [len(column) for column in memory]
    return seal(layout, {"rows": rows}, zip(kinds, memory, strict=True))


def unpacked(layout: str, blob: bytes, kinds: Sequence[str]) -> list[Column]:
    """Return the columns that `packed` wrote, each its own memory.

    :raises StoreVersion: another layout wrote them. :raises CorruptionError: they are not whole.
    """
    rows, body = unseal(layout, blob, "rows")
    return next(columns(body, kinds, [rows]))


@dataclass(frozen=True)
class Graded:
    """What models of health have in common: when a signal counts, and when an entity is bad."""

    severity_from: float = 0.7
    severity_full: float = 2.0
    warn: float = 90.0
    warn_clear: float = 95.0
    fail: float = 75.0
    fail_clear: float = 80.0

    def rules(self) -> tuple[tuple[str, bool], ...]:
        """Return what these parameters keep to in every model."""
        return (
            ("0 <= severity_from < severity_full", 0 <= self.severity_from < self.severity_full),
            ("0 < fail <= fail_clear", 0 < self.fail <= self.fail_clear),
            ("fail <= warn <= warn_clear <= 100", self.fail <= self.warn <= self.warn_clear <= 100),
            ("fail_clear <= warn_clear", self.fail_clear <= self.warn_clear),
        )


def hold(kind: str, rules: Iterable[tuple[str, bool]]) -> None:
    """Hold a model's parameters to rules, each with its text.

    :raises ConfigError: some do not hold; the message names all of them.
    """
    broken = [rule for rule, holds in rules if not holds]
    if broken:
        raise ConfigError(
            f"health {kind}: {'; '.join(broken)} does not hold",
            hint="leave a parameter out to get its default",
        )
