"""Hold evidence against a scorecard: what is shown to hold, what is not, and what is not known.

A card (`packs/readiness/scorecard.yaml`) has areas, their lines, and for each line the checks that
must have been seen to hold, with the greatest age of each. Evidence is telemetry: entity
`line:RE1`, metric the check, value 1 or more when it holds. A line whose checks do not all hold
loses its whole weight; missing and stale evidence is unknown, and counts the same. The sum is the
health model `scorecard`; nothing here adds up by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from watchkeeper import config, plugins
from watchkeeper.errors import InputError, NothingToRead, Unreadable
from watchkeeper.health import Evidence, Roster
from watchkeeper.identity import Identity
from watchkeeper.key_table import KeyTable
from watchkeeper.model import Millis
from watchkeeper.receivers import Delivery, Limits
from watchkeeper.receivers.json_lines import LINES, PATH, JsonLines

SKEW = 600_000  # ms that evidence may be ahead of us; what is further ahead is none
WAIVED_MAX = timedelta(days=90)

Text = Annotated[str, Field(min_length=1)]
Age = Annotated[Millis, BeforeValidator(lambda text: _age(text))]
Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
D = TypeVar("D", bound=BaseModel)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(_Document):
    """One line of a card. :param evidence: each check and the greatest age of its evidence."""

    id: Text
    title: Text
    weight: Weight = 1.0
    evidence: Annotated[Mapping[Text, Age], Field(min_length=1)]


class Area(_Document):
    """Lines that share the weight of their area."""

    id: Text
    title: Text
    weight: Weight
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]


class Card(_Document):
    """A scorecard. :param least: the score below which it is not passed."""

    version: Literal[1]
    name: Text
    least: Annotated[float, Field(ge=0, le=100)] = 100.0
    areas: Annotated[tuple[Area, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_line_once(self) -> Self:
        ids = [line.id for line in self.lines]
        if twice := {one for one in ids if ids.count(one) > 1}:
            raise ValueError(f"given twice: {', '.join(sorted(twice))}")
        return self

    @property
    def lines(self) -> list[Line]:
        """Every line, in order."""
        return [line for area in self.areas for line in area.lines]

    def points(self) -> list[float]:
        """Return what each line is worth, in order; 100 in all."""
        whole = sum(area.weight for area in self.areas)
        return [
            100.0 * area.weight / whole * line.weight / sum(one.weight for one in area.lines)
            for area in self.areas
            for line in area.lines
        ]


class Waiver(_Document):
    """Leave for one check not to be shown, for a while, by somebody who answers for it."""

    line: Text
    check: Text
    reason: Text
    owner: Text
    granted: date
    until: date

    def holds(self, on: date) -> bool:
        """Return whether it may be used that day; none lasts longer than 90 days."""
        return self.granted <= on <= self.until and self.until - self.granted <= WAIVED_MAX


class Waivers(_Document):
    """A file of waivers."""

    version: Literal[1]
    waivers: tuple[Waiver, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What one check said last. :param value: 1 or more when it holds."""

    time: Millis
    value: float


@dataclass(frozen=True, slots=True)
class Check:
    """How one check of a line stands.

    :param state: held, failed, stale, missing or waived. :param age: of its evidence, in ms.
    """

    name: str
    state: str
    age: int | None
    age_max: int
    value: float | None


@dataclass(frozen=True, slots=True)
class LineStanding:
    """How one line stands, and what it is worth."""

    id: str
    title: str
    points: float
    held: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class AreaStanding:
    """How one area stands. :param score: 0 to 100, of itself."""

    id: str
    title: str
    points: float
    score: float
    lines: tuple[LineStanding, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a card stands at a moment.

    :param score: 0 to 100. :param coverage: the share of the lines of which all is known.
    :param used: the waivers that made a difference.
    """

    card: str
    at: Millis
    score: float
    coverage: float
    areas: tuple[AreaStanding, ...]
    used: tuple[Waiver, ...]


def shipped() -> Path:
    """Return the card of the production-readiness plan."""
    return Path(__file__).with_name("packs") / "readiness" / "scorecard.yaml"


def read_card(path: Path) -> Card:
    """Return a card.

    :raises ConfigError: it is not one; every mistake with its line.
    """
    return config.document(path, Card)


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """Return the waivers of a file.

    :raises ConfigError: it is not one; every mistake with its line.
    """
    return config.document(path, Waivers).waivers


def read_evidence(path: Path, at: Millis, commit: str = "") -> dict[tuple[str, str], Seen]:
    """Return what each check of each line said last, from the `.jsonl` files of a folder.

    :param commit: evidence of another commit, or of none, does not count.
    :raises InputError: there is nothing to read, or a line of it is no sample.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise NothingToRead(f"no .jsonl file in {path}", hint="`make evidence` writes them")
    seen: dict[tuple[str, str], Seen] = {}
    for file in files:
        try:
            body = file.read_bytes()
        except OSError as error:
            raise Unreadable(f"cannot read {file}: {error.strerror}") from None
        for entity, metric, attributes, time, value in _samples(file, body, at):
            of = str(attributes.get("commit", ""))
            known = seen.get((entity, metric))
            newest = known is None or (time, -value) > (known.time, -known.value)
            if newest and time <= at + SKEW and commit in ("", of):
                seen[entity, metric] = Seen(time, value)
    return seen


def stand(
    card: Card,
    evidence: Mapping[tuple[str, str], Seen],
    at: Millis,
    waivers: Sequence[Waiver] = (),
) -> Standing:
    """Return how a card stands.

    :param evidence: what each check said last, by entity (`line:RE1`) and check.
    """
    today = datetime.fromtimestamp(at / 1000, UTC).date()
    leave = {(one.line, one.check): one for one in waivers if one.holds(today)}
    checks = [tuple(_checks(line, evidence, at, leave)) for line in card.lines]
    scores, coverage = _scored(card, checks, at)
    points, areas, first = card.points(), [], 0
    for area, score in zip(card.areas, scores[1:], strict=True):
        of_area = range(first, first + len(area.lines))
        first = of_area.stop
        lines = tuple(
            LineStanding(line.id, line.title, points[k], _held(checks[k]), checks[k])
            for line, k in zip(area.lines, of_area, strict=True)
        )
        worth = sum(line.points for line in lines)
        areas.append(AreaStanding(area.id, area.title, worth, score, lines))
    used = tuple(
        leave[line.id, one.name]
        for line, of_line in zip(card.lines, checks, strict=True)
        for one in of_line
        if one.state == "waived"
    )
    return Standing(card.name, at, scores[0], coverage, tuple(areas), used)


def _age(text: object) -> int:
    millis = config.read_duration(text) if isinstance(text, str) else None
    if not millis:
        raise ValueError("an age is written like 30m, 24h or 7d")
    return millis


def _checks(
    line: Line,
    evidence: Mapping[tuple[str, str], Seen],
    at: Millis,
    leave: Mapping[tuple[str, str], Waiver],
) -> Iterable[Check]:
    for name, most in line.evidence.items():
        seen = evidence.get((f"line:{line.id}", name))
        age = None if seen is None else max(0, at - seen.time)
        if seen is None or age is None:
            state = "missing"
        elif age > most:
            state = "stale"
        else:
            state = "held" if seen.value >= 1.0 else "failed"
        if state != "held" and (line.id, name) in leave:
            state = "waived"
        yield Check(name, state, age, most, None if seen is None else seen.value)


def _held(checks: Iterable[Check]) -> bool:
    return all(one.state in ("held", "waived") for one in checks)


def _scored(
    card: Card, checks: Sequence[tuple[Check, ...]], at: Millis
) -> tuple[list[float], float]:
    """Ask the model: entity 0 is the whole card, 1 and on its areas; a series a line in each."""
    model: Any = plugins.load("health", "scorecard")()
    count = len(checks)
    area = np.repeat(
        np.arange(1, len(card.areas) + 1), [len(one.lines) for one in card.areas]
    ).astype(np.uint32)
    roster = Roster(
        np.r_[np.zeros(count, np.uint32), area], np.tile(np.array(card.points()) / 100.0, 2)
    )
    known = [all(one.state not in ("missing", "stale") for one in of_line) for of_line in checks]
    lost = [0.0 if _held(of_line) or not k else model.severity_full
            for of_line, k in zip(checks, known, strict=True)]  # fmt: skip
    deadline = np.where(np.array(known), at, at - 1)
    told = Evidence(
        np.zeros(2 * count, np.int64),
        np.arange(2 * count, dtype=np.uint32),
        np.tile(np.array(lost), 2),
        np.tile(deadline, 2).astype(np.int64),
    )
    memory = model.grow(model.fresh(), 2 * count, len(card.areas) + 1)
    _, health = model.assess(memory, told, np.array([at], np.int64), roster)
    return [float(one) for one in health.health[0]], float(health.coverage[0, 0])


def _samples(
    file: Path, body: bytes, at: Millis
) -> Iterable[tuple[str, str, Mapping[str, Any], Millis, float]]:
    delivery = Delivery("POST", PATH, {}, {"content-type": LINES}, body, at)
    batch = JsonLines().open(Limits(), Identity()).decode(delivery)
    if batch is None:
        return
    if batch.unread.num_rows:
        first = batch.unread.to_pylist()[0]
        raise InputError(f"{file}: {first['origin']}: {first['reason']}: {first['detail']}")
    told = batch.keys.since(0) if isinstance(batch.keys, KeyTable) else batch.keys
    keys = told.to_pylist()
    for row in batch.samples.to_pylist():
        key = keys[row["series"]]
        attributes = json.loads(key["attributes"] or "{}")
        yield key["entity"], key["metric"], attributes, Millis(row["time"]), row["value"]
