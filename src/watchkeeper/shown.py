"""What pages are told of a running house: the fleet, and what its series last said. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from watchkeeper.model import Assessed, Floats, Millis, State, Times

WORST_FIRST = (State.FAIL, State.WARN, State.UNKNOWN, State.OK)
RANK = {state: place for place, state in enumerate(WORST_FIRST)}


class Sampled(NamedTuple):
    """Samples of one series, oldest first; NaN while not known.

    :param score: 1.0 is the alarm threshold.
    """

    metric: str
    attributes: str
    time: Times
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    score: Floats


class Place(NamedTuple):
    """What one entity last said of a metric that others have too."""

    entity: str
    value: float


class Said(NamedTuple):
    """What a series said last: its value and what was expected; NaN while not known."""

    value: float
    expected: float
    lower: float
    upper: float
    score: float


class Heard(NamedTuple):
    """The newest sample of a series, as `Said`, with whose it is and when it was taken."""

    entity: str
    metric: str
    attributes: str
    time: Millis
    value: float
    expected: float
    lower: float
    upper: float
    score: float


class Trail(NamedTuple):
    """How an entity came to where it is.

    :param low: its lowest health in each stretch of the window, oldest first; None is unknown.
    :param since: when it was first other than ok; None when it is ok.
    """

    low: tuple[tuple[Millis, float | None], ...]
    since: Millis | None


class Filed(NamedTuple):
    """One file of a report. :param kind: its format. :param size: bytes. :param sha256: of them."""

    kind: str
    file: str
    size: int
    sha256: str


class Made(NamedTuple):
    """One scheduled report that was made.

    :param stamp: when it was due, as its folder is named. :param scope: empty is the whole fleet.
    """

    name: str
    stamp: str
    since: Millis
    until: Millis
    scope: str
    files: tuple[Filed, ...]


@dataclass(frozen=True)
class Fleet:
    """Every entity of which something is expected, worst first, at one tick."""

    tick: Millis
    entities: tuple[Assessed, ...]

    def named(self, name: str) -> Assessed | None:
        """Return one entity."""
        return next((one for one in self.entities if one.entity == name), None)

    def kinds(self) -> list[str]:
        """Return the types of entities there are."""
        return sorted({kind(one.entity) for one in self.entities})


class Wanted(NamedTuple):
    """Which entities are asked for; what is empty leaves nobody out.

    :param text: somewhere in the name, in any case. :param label: `name=value` of a series.
    """

    text: str = ""
    state: str = ""
    kind: str = ""
    label: str = ""

    @property
    def some(self) -> bool:
        """Whether anybody is left out."""
        return any(self)


def kind(entity: str) -> str:
    """Return the type in an entity's name."""
    return entity.partition(":")[0]


def ranked(entities: Sequence[Assessed]) -> tuple[Assessed, ...]:
    """Return entities worst first: by state, by health, by name."""
    return tuple(
        sorted(
            entities,
            key=lambda one: (
                RANK[one.state],
                101.0 if one.health is None else one.health,
                one.entity,
            ),
        )
    )


def chosen(
    fleet: Fleet, wanted: Wanted, labelled: Callable[[str], frozenset[str]]
) -> list[Assessed]:
    """Return the entities asked for, worst first.

    :param labelled: the entities with a series that has a label `name=value`.
    """
    text = wanted.text.casefold()
    having = labelled(wanted.label) if wanted.label else None
    return [
        one
        for one in fleet.entities
        if (not wanted.state or one.state == wanted.state)
        and (not wanted.kind or kind(one.entity) == wanted.kind)
        and (not text or text in one.entity.casefold())
        and (having is None or one.entity in having)
    ]


def counted(entities: Sequence[Assessed]) -> list[tuple[State, int]]:
    """Return how many entities are in each state, worst first, each state once."""
    counts = Counter(one.state for one in entities)
    return [(state, counts[state]) for state in WORST_FIRST]


class Group(NamedTuple):
    """Entities that share something. :param states: as `counted`."""

    name: str
    size: int
    states: list[tuple[State, int]]


def grouped(entities: Sequence[Assessed], group_of: Mapping[str, str] | None = None) -> list[Group]:
    """Return groups, those with most trouble first.

    :param group_of: entity to group; its type, without. Who is in no group is left out.
    """
    members: dict[str, list[Assessed]] = {}
    for one in entities:
        name = kind(one.entity) if group_of is None else group_of.get(one.entity)
        if name is not None:
            members.setdefault(name, []).append(one)
    groups = [Group(name, len(each), counted(each)) for name, each in members.items()]

    def trouble(group: Group) -> tuple[float, ...]:
        counts = dict(group.states)
        return tuple(-counts[state] / group.size for state in WORST_FIRST[:-1])

    return sorted(groups, key=lambda group: (trouble(group), group.name))
