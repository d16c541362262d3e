"""What the page and the API need to know of a running house; `live` knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from watchkeeper.reports import Findings


class HouseView(Protocol):
    """What a running house shows of itself. Called from several threads at once."""

    def findings(self) -> Findings:
        """Return the newest findings; the same object until there is a newer one."""

    def status(self) -> Mapping[str, Any]:
        """Return counts, versions and positions as canonical JSON can hold them."""

    def metrics(self) -> bytes:
        """Return our own metrics in Prometheus' text format 0.0.4."""

    def ready(self) -> tuple[bool, str]:
        """Return whether telemetry can be taken in now, and why in one line."""
