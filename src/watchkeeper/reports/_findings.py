"""What a report may show: the few hundred facts a person can use, and no bulk data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from watchkeeper.model import Counts, Decision, Millis, State


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a run. :param size: bytes. :param sha256: of its bytes, hexadecimal."""

    name: str
    size: int
    sha256: str


class Range(NamedTuple):
    """What values can be; None where there is no bound."""

    low: float | None = None
    high: float | None = None

    def clip(self, value: float | None) -> float | None:
        """Return the nearest value that can be; None stays unknown."""
        if value is None:
            return None
        if self.low is not None and value < self.low:
            return self.low
        return self.high if self.high is not None and value > self.high else value

    def band(self, lower: float | None, upper: float | None) -> tuple[float | None, float | None]:
        """Return what is normal, as far as it can be; two None where anything that can be is."""
        lower, upper = self.clip(lower), self.clip(upper)
        anything = (lower is None or lower == self.low) and (upper is None or upper == self.high)
        return (None, None) if anything else (lower, upper)


ANY = Range()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the run itself.

    :param title: what was looked at, such as a fleet's or a folder's name.
    :param versions: (name, version) of everything that had a say: program, contracts, detectors,
        health model, policies.
    :param offered: samples that came in; offered = counts.accepted + counts.rejected.
    :param since: begin of the window that was judged. :param until: its end.
    :param digest: of the results; the same wherever they are computed.
    :param problems: inputs that could not be read, one line each.
    :param scope: the entity or group looked at; empty: everything.
    :param possible: of a metric, what its contracts hold for possible; no normal range is shown
        beyond.
    """

    title: str
    versions: tuple[tuple[str, str], ...]
    inputs: tuple[Input, ...]
    counts: Counts
    offered: int
    since: Millis
    until: Millis
    digest: str
    problems: tuple[str, ...] = ()
    scope: str = ""
    possible: Mapping[str, Range] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """Health over time, thinned out: the worst of each slice of the window. None is unknown."""

    time: tuple[Millis, ...] = ()
    health: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Plot:
    """Samples of one series, thinned out so that extremes and anomalies stay; one unit, raw."""

    time: tuple[Millis, ...]
    value: tuple[float, ...]
    lower: tuple[float | None, ...]
    upper: tuple[float | None, ...]
    score: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Signal:
    """What one signal took from health at one moment, and what it said then.

    :param share: 0..1 of what was lost. The rest is None where scores were not looked up.
    """

    metric: str
    attributes: str
    share: float
    value: float | None = None
    expected: float | None = None
    lower: float | None = None
    upper: float | None = None
    score: float | None = None

    def within(self, possible: Range) -> Signal:
        """Return the same; what is normal ends where values cannot be, or is not told at all."""
        lower, upper = possible.band(self.lower, self.upper)
        return replace(self, lower=lower, upper=upper)


@dataclass(frozen=True, slots=True)
class Incident:
    """One stretch of an entity not being ok.

    :param end: the first tick that was ok again; None while it lasts.
    :param state: the worst of it (fail, then warn, then unknown).
    :param signals: the leading ones at the worst moment, largest share first.
    :param decisions: keys of the decisions made in it, oldest first.
    """

    start: Millis
    end: Millis | None
    state: State
    worst: float | None
    worst_at: Millis
    signals: tuple[Signal, ...]
    decisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity: how it is at `at`, and how it was.

    :param since: since when it has not been ok; None when it is.
    :param worst: its lowest health in the window, at `worst_at`; None when never known.
    :param lead: the metric that took most, now or else at its worst; empty when nothing did.
    :param signals: what takes from its health now, largest first.
    :param incident_count: all of them, of which `incidents` are the worst, oldest first.
    :param decision_count: all of them, of which `decisions` are the newest, newest first.
    :param line: empty beyond the first entities, as are `plots`, by (metric, attributes).
    """

    name: str
    state: State
    health: float | None
    at: Millis
    coverage: float
    score: float
    since: Millis | None
    worst: float | None
    worst_at: Millis
    lead: str
    signals: tuple[Signal, ...]
    incident_count: int
    incidents: tuple[Incident, ...]
    decision_count: int
    decisions: tuple[Decision, ...]
    line: Line
    plots: tuple[tuple[str, str, Plot], ...]

    @property
    def troubled(self) -> bool:
        """Whether it is not ok, or was not ok for a while."""
        return self.state is not State.OK or self.incident_count > 0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Rejected samples of one reason. :param examples: `origin: entity metric: detail`."""

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in an incident.

    :param kind: `signal`, `health`, `decision`, `order` or `attempt`. :param about: what else.
    """

    at: Millis
    kind: str
    what: str
    about: str


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything a report may show.

    :param states: how many entities are in each state now; every state once.
    :param entities: all, worst first.
    :param decisions: the newest of `decision_count`, newest first.
    :param outcomes: (outcome, count) over all decisions, by name.
    :param quarantine: by count, largest first.
    :param timeline: of the one incident that a report is about, oldest first.
    """

    facts: Facts
    states: tuple[tuple[State, int], ...]
    entities: tuple[Entity, ...]
    incident_count: int
    decision_count: int
    decisions: tuple[Decision, ...]
    outcomes: tuple[tuple[str, int], ...]
    quarantine: tuple[Quarantined, ...]
    timeline: tuple[Event, ...] = ()

    def count(self, state: State) -> int:
        """Return how many entities are in `state` now."""
        return dict(self.states)[state]
