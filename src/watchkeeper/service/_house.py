"""What a running house is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from watchkeeper.actions import Action
from watchkeeper.core.state import Rulebook
from watchkeeper.engines import Engine
from watchkeeper.flags import Switch
from watchkeeper.identity import Identity
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.pipeline import Reread
from watchkeeper.receivers import Limits
from watchkeeper.sources import Source


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
