"""What the page and the API need to know of a running house; `live` knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from watchkeeper.core.state import Rulebook
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Millis
from watchkeeper.reports import Findings


class HouseView(Protocol):
    """What a running house shows of itself. Called from several threads at once."""

    def findings(self) -> Findings:
        """Return the newest findings; the same object until there is a newer one."""

    def status(self) -> Mapping[str, Any]:
        """Return counts, versions and positions as canonical JSON can hold them."""

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return our own metrics and their content type, as the client accepts them."""

    def checks(self) -> Mapping[str, str]:
        """Return each thing that readiness asks for: `ok`, or what is wrong with it."""

    def flags(self) -> Sequence[Mapping[str, Any]]:
        """Return every feature flag: `flag`, `on`, `said_by`."""

    def flip(self, name: str, on: bool, actor: str, reason: str) -> None:
        """Switch a feature flag; return when that is durable.

        :raises KeyError: no such flag switches anything here.
        :raises StoreError: it cannot be written down now.
        """

    def ready(self) -> tuple[bool, str]:
        """Return whether telemetry can be taken in now, and why in one line."""

    @property
    def ledger(self) -> Ledger:
        """What was concluded and is owed; to read."""

    @property
    def journal(self) -> Journal:
        """What was seen; to read."""

    @property
    def rulebook(self) -> Rulebook:
        """What telemetry is judged by now."""

    def now(self) -> Millis:
        """Return the time."""
