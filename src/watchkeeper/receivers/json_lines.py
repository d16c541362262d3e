"""JSON lines in our own long layout, the same that is read from files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from watchkeeper.errors import Malformed, RequestError, TooLarge
from watchkeeper.identity import Identity, Key
from watchkeeper.model import KEYS, Batch, Cursor, Millis, Reason, attributes_text
from watchkeeper.receivers import Answer, Decoder, Delivery, Limits, Outcome, Route
from watchkeeper.receivers._json import failed, moment, text_of, unpacked, whole
from watchkeeper.receivers._rows import NO_KEY, Rejects, samples

PATH = "/api/v1/samples"
LINES, ARRAY = "application/x-ndjson", "application/json"
LINE_MAX = 1 << 20  # bytes
TIMES = ("timestamp", "time", "ts", "datetime", "date", "_time", "@timestamp")
ENTITIES = ("entity", "host", "hostname", "instance")
METRICS = ("metric", "metric_name", "__name__")
ATTRIBUTES = "attributes"

_NOT_BLANK = re.compile(rb"[^\s][^\n]*")
_TYPED = re.compile(r"[a-z][a-z0-9_]*:(?!:|[0-9]+$).")
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(
    r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?(nan|inf(inity)?)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """Takes samples as JSON, one object a line or all in one array.

    :param name: the receiver's name in the journal.
    """

    name: str = "json_lines"

    routes: ClassVar[tuple[Route, ...]] = (Route("POST", PATH),)

    def open(self, limits: Limits, identity: Identity) -> Decoder:
        """Return a decoder; it remembers nothing."""
        return Objects(self.name, limits)

    def examples(self) -> tuple[Delivery, ...]:
        """Return one line."""
        line = b'{"timestamp": 1700000000, "entity": "host:a", "metric": "b", "value": 1}\n'
        return (Delivery("POST", PATH, {}, {}, line, Millis(0)),)

    def answer(self, delivery: Delivery, outcome: Outcome) -> Answer:
        """Return 200 with counts, or what was wrong, in the form of Prometheus' API."""
        if isinstance(outcome, RequestError) or outcome.rejected:
            return failed(outcome)
        counts = {"accepted": outcome.accepted, "rejected": 0}
        body = orjson.dumps({"status": "success", "data": counts})
        return Answer(200, {"Content-Type": "application/json"}, body)


class _Fault(Exception):
    """One record is no sample. Never leaves this file."""

    def __init__(
        self, reason: Reason, detail: str, key: Key = NO_KEY, time: int | None = None
    ) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.key, self.time = reason, detail, key, time


class _Layout(NamedTuple):
    """Which field means what; None where there is none."""

    time: str | None
    entity: str | None
    metric: str | None
    value: str | None
    rest: tuple[str, ...]


class Objects:
    """Decodes JSON lines of one tenant."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name, self._limits = name, limits
        self._forget()

    def decode(self, delivery: Delivery) -> Batch | None:
        """Return the samples of one request, and what could not be read of it.

        :raises RequestError: nothing of it can be used.
        """
        body, kind = unpacked(delivery, self._limits, LINES, ARRAY)
        source = f"{self._name}/{delivery.tenant}" if delivery.tenant else self._name
        origin = f"{source} request {delivery.number}"
        rejects, numbers = Rejects(origin), dict[Key, int]()
        self._forget()
        series, times, values = list[int](), list[int](), list[float]()
        for place, offered in _items(body) if kind == ARRAY else _lines(body):
            try:
                key, time, value = self._sample(offered)
            except _Fault as fault:
                rejects.add(
                    fault.reason, fault.detail, key=fault.key, time=fault.time,
                    offered=_shown(offered), place=place,
                )  # fmt: skip
            else:
                series.append(numbers.setdefault(key, len(numbers)))
                times.append(time)
                values.append(value)
            if len(times) > self._limits.samples:
                what = f"more than {self._limits.samples} samples in one request"
                raise TooLarge(what, hint="send smaller requests")
            if max(len(numbers), len(rejects)) > self._limits.series:
                what = f"more than {self._limits.series} series or faults in one request"
                raise TooLarge(what, hint="send smaller requests")
        if not series and not len(rejects):
            return None
        columns = zip(*numbers, strict=True) if numbers else [()] * len(KEYS)
        keys = pa.RecordBatch.from_arrays([pa.array(c, pa.string()) for c in columns], schema=KEYS)
        columns_of_samples = samples(
            np.array(series, np.uint32), np.array(times, np.int64), np.array(values, np.float64)
        )
        return Batch(source, Cursor(""), keys, columns_of_samples, rejects.columns(), origin=origin)

    def _forget(self) -> None:
        """Begin with no layout and no attributes known; within one request they repeat."""
        self._layouts: dict[tuple[str, ...], _Layout] = {}
        self._spelled: dict[tuple[tuple[str, str], ...], str] = {}

    def _sample(self, offered: Any) -> tuple[Key, int, float]:
        record = _object(offered) if isinstance(offered, bytes) else offered
        if not isinstance(record, dict):
            raise _Fault(Reason.MALFORMED, "a JSON object")
        layout = self._layout(record)
        entity, metric = _name(record, layout.entity), _name(record, layout.metric)
        attributes = self._attributes(record, layout.rest)
        if not entity or not metric:
            raise _Fault(Reason.BAD_NAME, "an entity and a metric")
        key = (
            entity if _TYPED.match(entity) else f"host:{entity}",
            metric,
            attributes,
        )
        limits = self._limits
        if len(entity.encode()) > limits.value or len(metric.encode()) > limits.name:
            wanted = f"{limits.value} bytes, a metric of at most {limits.name}"
            raise _Fault(Reason.TOO_LARGE, f"an entity of at most {wanted}")
        time = _time(None if layout.time is None else record[layout.time])
        if time is None:
            detail = "RFC 3339, YYYY-MM-DD HH:MM:SS, or a number since 1970"
            raise _Fault(Reason.NO_TIME, detail, key)
        value = _number(None if layout.value is None else record[layout.value])
        if value is None:
            raise _Fault(Reason.NOT_A_NUMBER, "a number", key, time)
        return key, time, value

    def _layout(self, record: dict[str, Any]) -> _Layout:
        names = tuple(record)
        known = self._layouts.get(names)
        if known is None:
            lower = {name.lower(): name for name in reversed(names)}
            chosen = [
                next((lower[name] for name in wanted if name in lower), None)
                for wanted in (TIMES, ENTITIES, METRICS, ("value",))
            ]
            rest = tuple(name for name in names if name not in chosen)
            known = _Layout(chosen[0], chosen[1], chosen[2], chosen[3], rest)
            self._layouts[names] = known
        return known

    def _attributes(self, record: dict[str, Any], rest: tuple[str, ...]) -> str:
        """Return what describes the series: other fields, and those of the object `attributes`."""
        given: dict[str, Any] = {}
        nested = record.get(ATTRIBUTES)
        if nested is not None and nested != "":
            if isinstance(nested, str):
                nested = _object(nested.encode())
            if not isinstance(nested, dict):
                raise _Fault(Reason.MALFORMED, "attributes: an object")
            given |= nested
        given |= {name: record[name] for name in rest if name != ATTRIBUTES}
        texts = {name: text for name, value in given.items() if (text := text_of(value))}
        spelled = tuple(texts.items())
        known = self._spelled.get(spelled)
        if known is None:
            _fits(texts, self._limits)
            known = attributes_text(texts)
            self._spelled[spelled] = known
        return known


def _fits(attributes: dict[str, str], limits: Limits) -> None:
    if len(attributes) > limits.labels:
        raise _Fault(Reason.TOO_LARGE, f"at most {limits.labels} attributes")
    for name, text in attributes.items():
        if len(name.encode()) > limits.name or len(text.encode()) > limits.value:
            wanted = f"{limits.name} bytes, values of at most {limits.value}"
            raise _Fault(Reason.TOO_LARGE, f"attributes with names of at most {wanted}")


def _lines(body: bytes) -> Iterator[tuple[str, bytes]]:
    line, counted = 1, 0
    for found in _NOT_BLANK.finditer(body.removeprefix(b"\xef\xbb\xbf")):
        line += found.string.count(b"\n", counted, found.start())
        counted = found.start()
        yield f"line {line}", found[0]


def _items(body: bytes) -> Iterator[tuple[str, Any]]:
    """Return the items of an array.

    :raises Malformed: it is none.
    """
    items = whole(body)
    if not isinstance(items, list):
        raise Malformed("the body is no array", hint=f"one object a line is {LINES}")
    for number, item in enumerate(items, 1):
        yield f"item {number}", item


def _object(line: bytes) -> Any:
    if len(line) > LINE_MAX:
        raise _Fault(Reason.TOO_LARGE, f"a line of at most {LINE_MAX} bytes")
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as why:
        raise _Fault(Reason.MALFORMED, f"a JSON object; {why}") from None


def _shown(offered: Any) -> str:
    if isinstance(offered, bytes):
        return offered[:1000].decode(errors="backslashreplace")
    return text_of(offered)


def _name(record: dict[str, Any], field: str | None) -> str:
    return "" if field is None else text_of(record[field])


def _number(value: Any) -> float | None:
    """Return a value; text is parsed, truth values are 1 and 0."""
    if isinstance(value, str):
        text = value.strip(" \t\r")
        return float(text) if _NUMBER.fullmatch(text) else None
    return float(value) if isinstance(value, int | float) else None


def _time(value: Any) -> int | None:
    """Return milliseconds; the size of a number tells its unit, as in files."""
    if isinstance(value, str):
        text = value.strip(" \t\r")
        if _WHOLE.fullmatch(text):
            value = int(text)
        elif _NUMBER.fullmatch(text):
            value = float(text)
        else:
            return moment(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    size = abs(value)
    if not size < 9e18:
        return None
    if size < 1e10:
        return round(value * 1000)
    per_ms = 1 if size < 1e13 else 1000 if size < 1e16 else 1_000_000
    return int(value // per_ms)


plugin = JsonLines
