"""What the core is given and what it remembers: the rulebook, the series, the state.

A checkpoint holds exactly a `State`; everything in it follows from the journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.contracts import Contract
from watchkeeper.core.panel import Current
from watchkeeper.detectors._ensemble import Ensemble, models
from watchkeeper.health import HealthModel
from watchkeeper.model import Counts, Floats, Millis, Offset, Rows, Times, Traits, digest
from watchkeeper.policies import Held, Policy
from watchkeeper.policies import digest as digest_of_policy

START, BEGINNING = Millis(0), Offset(0)
KEEP_EVERY = Millis(60_000)  # an unchanged assessment is kept this often


@dataclass(frozen=True)
class Rulebook:
    """Everything the telemetry is judged by, built from one canonical document.

    :param document: JSON-able; its digest names the rulebook in every step.
    :param tick: milliseconds between evaluations.
    """

    document: Mapping[str, Any]
    tick: Millis
    contracts: tuple[Contract, ...]
    ensemble: Ensemble
    health: HealthModel[Any]
    policies: tuple[Policy, ...]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.document))

    def models(self) -> dict[str, Any]:
        """Return every model with its versions and digests, JSON-able, for the audit chain."""
        return {
            "rulebook": self.digest,
            "contracts": [
                {"name": one.name, "version": one.version, "digest": digest(document)}
                for one, document in zip(self.contracts, self.document["contracts"], strict=True)
            ],
            "detectors": models(self.ensemble),
            "health": {
                "type": self.document["health"]["type"],
                "version": self.health.version,
                "digest": digest(self.document["health"]),
            },
            "policies": [
                {"name": one.name, "digest": digest_of_policy(one)} for one in self.policies
            ],
        }


@dataclass
class Series:
    """Who the series are. Numbers are positions; entities are numbered as they first appear."""

    keys: list[pa.RecordBatch] = field(default_factory=list)
    metrics: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    entities: list[str] = field(default_factory=list)
    number: dict[str, int] = field(default_factory=dict)  # of an entity
    entity: Rows = field(default_factory=lambda: np.zeros(0, np.uint32))


@dataclass
class State:
    """All that is remembered between entries; a checkpoint holds exactly this."""

    series: Series
    traits: Traits
    last: Times  # time of the newest sample of each series
    now: Current  # what each series last said
    detectors: Any
    health: Any
    held: Held
    tick: Millis = START  # the last tick evaluated
    offset: Offset = BEGINNING
    arrived: Millis = START
    kept: Kept = field(default_factory=lambda: Kept.fresh(0))
    pending: Pending = field(default_factory=lambda: Pending())


class Kept(NamedTuple):
    """The assessment of each entity that the ledger holds last."""

    time: Times
    health: Floats
    state: npt.NDArray[np.uint8]

    @staticmethod
    def fresh(entities: int) -> Kept:
        """Nothing is held yet of `entities` entities."""
        return Kept(
            np.full(entities, -KEEP_EVERY, np.int64),
            np.full(entities, np.nan),
            np.full(entities, 255, np.uint8),
        )


@dataclass
class Pending:
    """What arrived since the last tick. Empty at every checkpoint."""

    evidence: list[Arrived] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    scores: Any = field(default_factory=hashlib.sha256)

    @property
    def empty(self) -> bool:
        """Whether nothing arrived: nothing scored, nothing rejected."""
        return not self.evidence and self.counts == Counts()


class Arrived(NamedTuple):
    """Evidence with the time it arrived, not yet assigned to a tick."""

    arrived: Times
    series: Rows
    score: Floats
    deadline: Times
