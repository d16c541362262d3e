"""The documents: what a contract file may say, and what it means.

Everything is frozen and strict. All mistakes of a document are reported at once, each with its
place, as one `pydantic.ValidationError`; the loader of configuration turns places into lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainSerializer,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from watchkeeper.model import Millis

WEIGHTS = {"critical": 0.9, "high": 0.6, "medium": 0.3, "low": 0.1}
ANY = "*"

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+)(ms|[smhdw])")
_ANNOTATION = re.compile(r"\{[^{}]*\}")


def duration(text: object) -> int:
    """Return `10m` or `1h30m` as milliseconds.

    :raises ValueError: it is no duration; a bare number is none, because its unit is a guess.
    """
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError("a duration is written like 30s, 10m, 1h30m or 1d")
    return sum(int(count) * _UNITS_MS[unit] for count, unit in _PART.findall(text))


def plain_unit(unit: str) -> str:
    """Return a UCUM unit without annotations: `{packet}/s` is `1/s`, `By{free}` is `By`.

    UCUM section 2.4: an annotation does not change the meaning of a unit; alone it is a 1.
    """
    bare = _ANNOTATION.sub("", unit)
    return "1" + bare if bare == "" or bare.startswith("/") else bare


def _as_text(millis: int) -> str:
    return f"{millis}ms"


_PRINTABLE = r"^[^\x00-\x20\x7f-\x9f]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_PRINTABLE)]
Unit = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[!-~]+$")]
Duration = Annotated[
    Millis,
    BeforeValidator(duration),
    Field(gt=0),
    PlainSerializer(_as_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"}),
]
Bound = FiniteFloat | None


def _nonzero(scale: float) -> float:
    if scale == 0:
        raise ValueError("a scale of 0 would make every value the same")
    return scale


Scale = Annotated[FiniteFloat, AfterValidator(_nonzero)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Conversion(_Document):
    """A unit that senders use for another: value in `to` = value in `unit` × scale + offset."""

    unit: Unit
    to: Unit
    scale: Scale = 1.0
    offset: FiniteFloat = 0.0


class Alias(_Document):
    """Another name under which a metric arrives, and how to turn it into the contract's.

    The canonical value is `offered * scale + offset`.

    :param unit: the unit the alias is measured in; the metric's own unless said.
    :param attributes: attributes to rename, old name to new.
    :param add: attributes to add, for tools that write them into the metric's name.
    """

    name: Name
    unit: Unit | None = None
    scale: Scale = 1.0
    offset: FiniteFloat = 0.0
    attributes: Mapping[Name, Name] = {}
    add: Mapping[Name, str] = {}


class Upcast(Alias):
    """How an older version of this contract wrote the metric, so that its senders still fit.

    :param version: the last contract version that wrote it so.
    """

    version: Annotated[int, Field(ge=1)]


class Metric(_Document):
    """What is known about one metric.

    :param unit: UCUM.
    :param kind: a `counter` only grows and is judged by its rate per second; a `state` takes few
        distinct values.
    :param where: attributes that must have these values; so one name can be judged
        differently, as the idle and the busy share of a processor must be. Without it, any.
    :param low: the lowest physically possible value as sent; below it is quarantined.
    :param high: the highest physically possible value as sent.
    :param worse: which way is worse.
    :param warn: where people start to care; of a counter, its rate per second.
    :param crit: where people get up at night.
    :param weight: how much of the entity's health this signal alone can take.
    :param max_age: how old a live sample may be when it arrives; the contract's unless said.
    """

    name: Name
    unit: Unit = "1"
    kind: Literal["gauge", "counter", "state"] = "gauge"
    description: str = ""
    where: Mapping[Name, str | tuple[str, ...]] = {}
    low: Bound = None
    high: Bound = None
    worse: Literal["high", "low", "both"] = "both"
    warn: Bound = None
    crit: Bound = None
    weight: Literal["critical", "high", "medium", "low"] = "medium"
    max_age: Duration | None = None
    aliases: tuple[Alias, ...] = ()
    upcasts: tuple[Upcast, ...] = ()

    @model_validator(mode="after")
    def _bounds_agree(self) -> Self:
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be less than high {self.high:g}")
        if self.worse == "both" and (self.warn is not None or self.crit is not None):
            raise ValueError("warn and crit need a direction: say worse: high or worse: low")
        if self.warn is not None and self.crit is not None:
            wrong = self.warn >= self.crit if self.worse == "high" else self.warn <= self.crit
            if wrong:
                raise ValueError(f"crit must be {self.worse}er than warn")
        return self


class Contract(_Document):
    """A versioned catalogue of what telemetry may say about some types of entities.

    :param entities: the entity types it speaks about; `*` for all.
    :param closed: whether a metric it does not name is refused, unless a later contract is open.
    :param series_max: how many series it admits in all.
    :param name_length_max: characters in an entity, a metric, an attribute's name or value.
    :param attributes_max: attributes of one series.
    :param max_age: how old a live sample may be when it arrives; None for any age.
    :param future_skew: how far a live sample may be ahead of its arrival.
    :param units: conversions that hold for every metric.
    :param counters: how names end of metrics that only grow, of those it admits without naming
        them; an attribute `metric.kind: counter` says the same of one series.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=63)]
    version: Annotated[int, Field(ge=1)]
    description: str = ""
    entities: Annotated[tuple[Name, ...], Field(min_length=1)]
    closed: StrictBool = True
    series_max: Annotated[int, Field(ge=1)] = 1_000_000
    name_length_max: Annotated[int, Field(ge=1, le=4096)] = 255
    attributes_max: Annotated[int, Field(ge=0, le=128)] = 32
    max_age: Duration | None = None
    future_skew: Duration = Millis(600_000)
    units: tuple[Conversion, ...] = ()
    counters: tuple[Name, ...] = ()
    metrics: tuple[Metric, ...] = ()

    @property
    def label(self) -> str:
        """Return name and version as people write them: `host@1`."""
        return f"{self.name}@{self.version}"

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        problems: list[str] = []
        taken: dict[tuple[object, ...], int] = {}
        for number, metric in enumerate(self.metrics):
            where = tuple(sorted((name, str(value)) for name, value in metric.where.items()))
            for spelling in (Alias(name=metric.name), *metric.aliases, *metric.upcasts):
                unit = plain_unit(spelling.unit or metric.unit)
                added = tuple(sorted(spelling.add.items()))
                first = taken.setdefault((spelling.name, unit, where, added), number)
                if first != number:
                    both = f"{self.metrics[first].name} and {metric.name}"
                    problems.append(f"{spelling.name} in {unit} stands for both {both}")
            problems += [
                f"{metric.name}: an upcast comes from a version before {self.version}, "
                f"not {upcast.version}"
                for upcast in metric.upcasts
                if upcast.version >= self.version
            ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def read(document: Mapping[str, Any], where: str) -> Contract:
    """Turn a document into a contract.

    :param where: names the document in the error's title (`packs/host/contract.yaml`).
    :raises pydantic.ValidationError: the document says something a contract cannot; all problems.
    """
    return Contract.model_validate(document, context={"where": where})
