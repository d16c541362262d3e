"""Policies turn health into decisions, and decisions into orders behind guards.

The same shape as a detector: memory in, memory out; no clock, no I/O. A policy is one YAML
document: `match` (which entities), `when` (a CEL condition), `for`, `clear`, `severity`, `action`,
`runbook`, and guards. Phases are Prometheus': inactive, pending, firing, resolved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from watchkeeper.model import Contribution, Floats, Times


class View(Protocol):
    """What a policy may look at: T ticks × E entities. Entities are in a fixed, growing order."""

    ticks: Times
    entities: Sequence[str]  # `type:name`
    health: Floats  # [T, E]; NaN when unknown
    coverage: Floats
    score: Floats
    state: npt.NDArray[np.uint8]  # index into model.STATES

    def signal(self, metric: str) -> Floats:
        """Return [T, E]: the largest current anomaly score of the entity's series of a metric.

        NaN where the entity has no such series.
        """

    def contributions(self, tick: int, entity: int) -> tuple[Contribution, ...]:
        """Return what took from the health of one cell, largest first."""
