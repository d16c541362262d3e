"""What a message says: levels of its topic and places in its JSON, as readings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from watchkeeper.errors import ConfigError
from watchkeeper.model import Millis, Reason, attributes_text
from watchkeeper.sources._found import Reading, Unread
from watchkeeper.sources._places import Absent, filled, moment, places, within

SHOWN = 200  # characters of a payload in the quarantine


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """Messages of one kind, and how they are read.

    A text may have places: `{2}` is the second level of the topic, `{room.name}` what the payload
    holds there.

    :param topic: what is subscribed to, with `+` and `#`.
    :param entity: who the values are about, with places.
    :param metric: the name of the value, with places.
    :param value: where in the payload the value is; the payload itself unless said.
    :param values: instead of `metric` and `value`, for several in one message: place -> metric.
    :param time: where in the payload the time is; when it arrived unless said.
    :param attributes: of the series: name -> text with places.
    :param unit: of the values.
    :param words: what texts count as: `{"ON": 1}`.
    """

    topic: str
    entity: str
    metric: str = ""
    value: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    time: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    words: Mapping[str, float] = field(default_factory=dict)

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  as pydantic reads it

    def checked(self) -> None:
        """Refuse what cannot be read.

        :raises ConfigError: no metric, two ways to name them, a filter no broker takes.
        """
        levels = self.topic.split("/")
        wild = [n for n, level in enumerate(levels) if "#" in level or "+" in level]
        alone = all(levels[n] in ("+", "#") for n in wild)
        if not self.topic or not alone or "#" in levels[:-1] or "\0" in self.topic:
            raise ConfigError(
                f"mqtt: {self.topic!r} is no topic", hint="+ is one level, # at the end the rest"
            )
        if bool(self.metric) == bool(self.values):
            raise ConfigError(
                f"mqtt: {self.topic}: give metric, or values", hint="values: {temperature: name}"
            )
        if self.value and self.values:
            raise ConfigError(f"mqtt: {self.topic}: value goes with metric, not with values")
        for text in (self.entity, self.metric, *self.attributes.values()):
            for place in places(text):
                if place.isdecimal() and not 0 < int(place) <= len(levels) and levels[-1] != "#":
                    raise ConfigError(f"mqtt: {self.topic} has no level {place}")


class Message(NamedTuple):
    """One message. :param at: when it arrived."""

    topic: str
    payload: bytes
    at: Millis


def told(kind: Topic, message: Message) -> Iterator[Reading | Unread]:
    """Yield what a message says; a list says it for each of its members."""
    levels = message.topic.split("/")
    try:
        document = orjson.loads(message.payload) if message.payload else None
    except orjson.JSONDecodeError:
        document = _plain(message.payload)
    structured = isinstance(document, dict | list)
    wants = bool(kind.value or kind.values or kind.time)
    if document is None or (wants and not structured):
        yield _unread(message, Reason.MALFORMED, "JSON" if wants else "a number")
        return
    for record in document if isinstance(document, list) else (document,):
        yield from _of(kind, message, levels, record)


def _of(
    kind: Topic, message: Message, levels: list[str], record: Any
) -> Iterator[Reading | Unread]:
    def look(place: str) -> str:
        if place.isdecimal():
            if not 0 < int(place) <= len(levels):
                raise Absent(place)
            return levels[int(place) - 1]
        found = within(record, place)
        if isinstance(found, dict | list) or found is None:
            raise Absent(place)
        return found if isinstance(found, str) else orjson.dumps(found).decode()

    try:
        entity = filled(kind.entity, look)
        about = {name: filled(text, look) for name, text in kind.attributes.items()}
        wanted = kind.values or {kind.value: filled(kind.metric, look)}
    except Absent as place:
        yield _unread(message, Reason.BAD_NAME, f"something at {place}")
        return
    attributes = attributes_text(about | ({"unit": kind.unit} if kind.unit else {}))
    try:
        at = moment(within(record, kind.time)) if kind.time else message.at
    except Absent:
        at = None
    found = 0
    for path, metric in wanted.items():
        try:
            value = within(record, path)
        except Absent:
            continue
        found += 1
        yield _value(kind, (entity, metric, attributes), at, value, message)
    if not found:
        yield _unread(message, Reason.MALFORMED, f"something at {', '.join(wanted)}")


def _value(
    kind: Topic, key: tuple[str, str, str], at: Millis | None, value: Any, message: Message
) -> Reading | Unread:
    if at is None:
        text = _shown(message.payload)
        return Unread(*key, message.at, text, Reason.NO_TIME, f"a time at {kind.time}")
    number = _number(value, kind.words)
    if number is None:
        shown = value if isinstance(value, str) else orjson.dumps(value).decode()
        return Unread(*key, at, shown, Reason.NOT_A_NUMBER, "a number")
    return Reading(*key, at, number)


def _number(value: Any, words: Mapping[str, float]) -> float | None:
    if isinstance(value, str):
        if value in words:
            return float(words[value])
        try:
            number = float(value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    return float(value) if isinstance(value, bool | int | float) else None


def too_large(message: Message, limit: int) -> Unread:
    """Return what is told of a message beyond the limit."""
    return _unread(message, Reason.TOO_LARGE, f"at most {limit} bytes")


def _plain(payload: bytes) -> str | None:
    """Return a payload that is no JSON as text: `on`, `+21.5`, ` 3`."""
    try:
        return payload.decode().strip()
    except UnicodeDecodeError:
        return None


def _unread(message: Message, reason: Reason, detail: str) -> Unread:
    return Unread("", "", "{}", message.at, _shown(message.payload), reason, detail)


def _shown(payload: bytes) -> str:
    return payload[: 4 * SHOWN].decode(errors="backslashreplace")[:SHOWN]
