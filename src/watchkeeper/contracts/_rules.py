"""What the contracts say about one series, looked up once for each kind of series.

A rule depends on the entity's type, the metric and the attributes, not on the entity's name; so a
fleet of a thousand hosts needs no more rules than one host.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from watchkeeper.contracts._catalogue import ANY, WEIGHTS, Alias, Contract, Metric, plain_unit
from watchkeeper.model import Reason, attributes_text

REASONS = tuple(Reason)
UNIT = "unit"  # the attribute in which a sender states the unit
KIND = "metric.kind"  # the attribute in which a sender states that a metric is a `counter`
RULES_MAX = 200_000  # kinds of series remembered; a flood of new ones empties the memory

# Control characters, and those that make a terminal show another text than the one stored. A
# fixed list: str.isprintable changes with the interpreter's Unicode version.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
# Attributes as nearly all are written: printable ASCII with nothing escaped, and no space in front.
_WORD = r'"[!#-\[\]-~][ !#-\[\]-~]*"'
_PLAIN = re.compile(rf"\{{{_WORD}:{_WORD}(?:,{_WORD}:{_WORD})*\}}")
_SCAN = json.JSONDecoder().raw_decode  # does not ask what stands around a value


class Rule(NamedTuple):
    """What holds for every series of one entity type, metric and attributes.

    Bounds are of the canonical value, ages in milliseconds, infinite where nothing is said.
    """

    contract: int  # position among the contracts; -1 when none decides
    metric: str
    attributes: str
    scale: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    max_age: float = math.inf
    skew: float = math.inf
    name_max: int = 255
    reason: Reason | None = None  # why every sample of such a series is refused
    detail: str = ""
    known: Metric | None = None
    counter: bool = False  # of a metric that no contract names

    @property
    def counts(self) -> bool:
        """Whether its values only grow."""
        return self.counter if self.known is None else self.known.kind == "counter"


class Given(NamedTuple):
    """The attributes of a series as offered."""

    text: str
    values: dict[str, str]
    plain: bool  # whether no name and no value is empty, or holds what nobody could read

    @property
    def canonical(self) -> str:
        """Their canonical spelling."""
        names = list(self.values)
        if self.plain and names == sorted(names) and len(names) == self.text.count('":"'):
            return self.text
        return attributes_text(self.values)


@dataclass(frozen=True)
class Spelled:
    """One way to write one metric of one contract."""

    metric: Metric
    unit: str
    alias: Alias | None  # None: as the contract writes it itself

    def attributes(self, given: Mapping[str, str]) -> dict[str, str] | None:
        """Return the canonical attributes, or None when this is not how the series is written."""
        if self.alias is None:
            found = dict(given)
        else:
            renamed = self.alias.attributes
            if renamed and self.alias.name == self.metric.name and not renamed.keys() & given:
                return None  # the contract's own spelling covers it
            found = {renamed.get(name, name): value for name, value in given.items()}
            found |= self.alias.add
        return found if _holds(self.metric.where, found) else None


class Index:
    """The contracts of one house, ready for look-up. Pure data."""

    def __init__(self, contracts: Sequence[Contract]) -> None:
        self.contracts = tuple(contracts)
        kinds = [None if ANY in one.entities else set(one.entities) for one in contracts]
        self._others = [n for n, of in enumerate(kinds) if of is None]  # speak about any entity
        self._speaking = {  # by the type of entity, where not only those do
            kind: [n for n, of in enumerate(kinds) if of is None or kind in of]
            for kind in set().union(*(of for of in kinds if of is not None))
        }
        self._spelled: list[dict[str, list[Spelled]]] = []
        for contract in self.contracts:
            names: dict[str, list[Spelled]] = {}
            for metric in contract.metrics:
                for one in _spellings(metric):
                    name = metric.name if one.alias is None else one.alias.name
                    names.setdefault(name, []).append(one)
            self._spelled.append(names)

    def rule(self, kind: str, metric: str, attributes: str) -> Rule:
        """Decide about one kind of series: entity type, metric and attributes as offered."""
        given = _given(attributes)
        if given is None:
            return _refused(
                metric, attributes, Reason.BAD_NAME, "attributes are a JSON object of texts"
            )
        speaking = self._speaking.get(kind, self._others)
        for number in speaking:
            ways = self._spelled[number].get(metric)
            found = ways and self._known(number, ways, metric, given.values)
            if found:
                return self._named(found, metric, given)
        for number in speaking:
            if not self.contracts[number].closed:
                return self._named(self._open(number, metric, given), metric, given)
        who = ", ".join(self.contracts[n].label for n in speaking) or f"no contract for {kind!r}"
        return _refused(metric, attributes, Reason.UNKNOWN_METRIC, f"not named by {who}")

    def _known(
        self, number: int, ways: Sequence[Spelled], metric: str, given: Mapping[str, str]
    ) -> Rule | None:
        """Return the rule of the first spelling that fits; None when no `where` holds."""
        rest = {name: value for name, value in given.items() if name not in (UNIT, KIND)}
        fitting = [(way, found) for way in ways if (found := way.attributes(rest)) is not None]
        if not fitting:
            return None
        offered = given.get(UNIT)
        if offered is None:
            return self._rule(number, *fitting[0], 1.0, 0.0)
        unit = plain_unit(offered)
        for way, found in fitting:
            if unit == way.unit:
                return self._rule(number, way, found, 1.0, 0.0)
        for way, found in fitting:
            for conversion in self.contracts[number].units:
                if (plain_unit(conversion.unit), plain_unit(conversion.to)) == (unit, way.unit):
                    return self._rule(number, way, found, conversion.scale, conversion.offset)
        wanted = " or ".join(dict.fromkeys(way.unit for way, _ in fitting))
        return _refused(
            metric, attributes_text(given), Reason.WRONG_UNIT, f"unit {wanted}, not {offered}"
        )._replace(contract=number)

    def _rule(
        self, number: int, way: Spelled, found: Mapping[str, str], scale: float, offset: float
    ) -> Rule:
        """Build the rule of one spelling whose values are first converted by scale and offset."""
        metric, contract, alias = way.metric, self.contracts[number], way.alias
        if alias is not None:
            scale, offset = alias.scale * scale, alias.scale * offset + alias.offset
        age = metric.max_age if metric.max_age is not None else contract.max_age
        return Rule(
            contract=number,
            metric=metric.name,
            attributes=attributes_text(found),
            scale=scale,
            offset=offset,
            low=-math.inf if metric.low is None else metric.low,
            high=math.inf if metric.high is None else metric.high,
            max_age=math.inf if age is None else age,
            skew=contract.future_skew,
            name_max=contract.name_length_max,
            known=metric,
        )

    def _open(self, number: int, metric: str, given: Given) -> Rule:
        contract = self.contracts[number]
        age = contract.max_age
        return Rule(
            contract=number,
            metric=metric,
            attributes=given.canonical,
            max_age=math.inf if age is None else age,
            skew=contract.future_skew,
            name_max=contract.name_length_max,
            counter=given.values.get(KIND) == "counter" or metric.endswith(contract.counters),
        )

    def _named(self, rule: Rule, metric: str, given: Given) -> Rule:
        """Refuse names that no operator could read or no page could show."""
        if rule.reason is not None:
            return rule
        contract = self.contracts[rule.contract]
        wrong, longest = bad_name(metric, contract.name_length_max), contract.name_length_max
        if not given.plain or len(given.text) > longest:  # else no part of it is too long
            for name, value in given.values.items():
                wrong = wrong or bad_name(name, longest)
                wrong = wrong or (value and bad_name(value, longest))
        if not wrong and len(given.values) > contract.attributes_max:
            wrong = f"at most {contract.attributes_max} attributes"
        if wrong:
            return _refused(metric, given.text, Reason.BAD_NAME, wrong)
        return rule


def bad_name(name: str, length_max: int) -> str:
    """Return what is wrong with a name; empty when nothing is."""
    if not name or name.isspace():
        return "a name is not empty"
    if len(name) > length_max:
        return f"a name has at most {length_max} characters"
    return "a name has no control characters" if _HIDDEN.search(name) else ""


def entity_kind(entity: str) -> str:
    """Return the type of an entity (`host` of `host:web-1`); empty when it has none."""
    kind, colon, name = entity.partition(":")
    return kind if colon and name else ""


def weight(metric: Metric | None) -> float:
    """Return what share of an entity's health the metric alone can take; 0.3 when unknown."""
    return WEIGHTS["medium" if metric is None else metric.weight]


def _spellings(metric: Metric) -> Iterator[Spelled]:
    """Yield the spellings of a metric: those that rename attributes of its own name come first."""
    others = (*metric.aliases, *metric.upcasts)
    own = [one for one in others if one.name == metric.name and one.attributes]
    for one in own:
        yield Spelled(metric, plain_unit(one.unit or metric.unit), one)
    yield Spelled(metric, plain_unit(metric.unit), None)
    for one in others:
        if one not in own:
            yield Spelled(metric, plain_unit(one.unit or metric.unit), one)


def _holds(where: Mapping[str, str | tuple[str, ...]], given: Mapping[str, str]) -> bool:
    for name, wanted in where.items():
        values = (wanted,) if isinstance(wanted, str) else wanted
        if given.get(name) not in values:
            return False
    return True


def _given(text: str) -> Given | None:
    """Read attributes; None when they are no JSON object of texts."""
    if text == "{}":
        return Given(text, {}, plain=True)
    if _PLAIN.fullmatch(text):
        return Given(text, _SCAN(text)[0], plain=True)
    try:
        found = json.loads(text)
    except ValueError:
        return None
    fits = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return Given(text, found, plain=False) if fits else None


def _refused(metric: str, attributes: str, reason: Reason, detail: str) -> Rule:
    return Rule(-1, metric, attributes, reason=reason, detail=detail)
