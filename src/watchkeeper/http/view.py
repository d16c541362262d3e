"""What the page and the API need to know of a running house; `live` knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from watchkeeper.core.state import Rulebook
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Assessed, Millis
from watchkeeper.reports import Findings
from watchkeeper.shown import Filed, Fleet, Heard, Made, Place, Said, Sampled, Trail


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

    def reports(self) -> Sequence[Made]:
        """Return the scheduled reports that were made, by name, of each the newest first."""

    def report(self, made: Made, filed: Filed) -> bytes | None:
        """Return one file of a report that was made; None when it is gone meanwhile."""

    def flip(self, name: str, on: bool, actor: str, reason: str) -> None:
        """Switch a feature flag; return when that is durable.

        :raises KeyError: no such flag switches anything here.
        :raises StoreError: it cannot be written down now.
        """

    def getting_ready(self) -> str:
        """Return what a first start still compiles, in one line; empty later."""

    def ready(self) -> tuple[bool, str]:
        """Return whether telemetry can be taken in now, and why in one line."""

    @property
    def title(self) -> str:
        """What is watched."""

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

    def fleet(self) -> Fleet:
        """Return every entity of which something is expected, worst first.

        The same object until there is a newer one.
        """

    def trail(self, entity: str) -> Trail:
        """Return how one entity came to where it is."""

    def course(self, entity: str, stretch: int) -> list[Assessed]:
        """Return its lowest assessment of each stretch (ms) of the last hours, oldest first."""

    def labels(self) -> list[str]:
        """Return some labels that series have, as `name=value`."""

    def labelled(self, label: str) -> frozenset[str]:
        """Return the entities with a series that has a label `name=value`."""

    def values_of(self, label: str) -> dict[str, str]:
        """Return the value that each entity's series have of one label."""

    def samples(self, entity: str) -> list[Sampled]:
        """Return the newest samples of each series of an entity, as far as they are kept."""

    def newest(self, entity: str) -> dict[tuple[str, str], Said]:
        """Return what the series of an entity said last, by (metric, attributes)."""

    def heard(self, entity: str | None = None) -> list[Heard]:
        """Return the newest sample of each series kept, of one entity or of all, by name."""

    def silent(self, entity: str) -> list[tuple[str, str, Millis]]:
        """Return its series that are silent though they should not be, and since when."""

    def places(self, metric: str, attributes: str) -> list[Place]:
        """Return what entities last said of one series name, as far as it is kept."""

    def standings(self, entity: str) -> list[dict[str, Any]]:
        """Return where an entity stands with every policy that looks at it."""

    def replay(self, reason: str | None, actor: str) -> tuple[int, int]:
        """Offer the newest rejected samples again; return how many could be, and how many passed.

        :raises Overloaded: not now.
        """
