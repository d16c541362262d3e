"""What a house is made of, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from watchkeeper.actions import Action
from watchkeeper.core.fold import Reread
from watchkeeper.core.state import Rulebook
from watchkeeper.engines import Engine
from watchkeeper.flags import Switch
from watchkeeper.identity import Identity
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Millis
from watchkeeper.receivers import Limits, Receiver
from watchkeeper.sources import Source
from watchkeeper.stopwatch import Stopwatch
from watchkeeper.store.retention import Retention


@dataclass
class House:
    """The live parts of one running house."""

    rulebook: Rulebook
    sources: Sequence[Source]
    journal: Journal
    ledger: Ledger
    actions: Mapping[str, Action]
    engine: Engine
    reread: Reread
    limits: Limits = field(default_factory=Limits)
    switches: Mapping[str, Switch] = field(default_factory=dict)  # of sources, by name
    identity: Identity = field(default_factory=Identity)
    receivers: Sequence[Receiver] = ()
    retention: Retention = field(default_factory=Retention)


@dataclass
class Progress:
    """How far the house has come since its start; for status and metrics."""

    started: Millis | None = None
    found: int = 0  # samples in the journal at the start
    entries: int = 0
    attempts: int = 0  # at orders
    decided: int = 0  # the last journal entry carried through
    tick: int = 0  # the last tick evaluated, ms
    series: int = 0  # that are scored
    failing: dict[str, str] = field(default_factory=dict)  # source -> what it last complained of
    spent: Stopwatch = field(default_factory=Stopwatch)  # by deciding
