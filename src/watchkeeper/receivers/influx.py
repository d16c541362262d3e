"""InfluxDB's line protocol, over its APIs of versions 1 and 2."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import orjson

from watchkeeper.errors import Malformed, Overloaded, OverQuota, RequestError, TooLarge, Unsupported
from watchkeeper.identity import Identity
from watchkeeper.model import Batch, Cursor, Millis, Reason
from watchkeeper.receivers import (
    JUDGED,
    Answer,
    Decoder,
    Delivery,
    Limits,
    Outcome,
    Received,
    Route,
    refusal,
    told,
)
from watchkeeper.receivers._floats import POWERS
from watchkeeper.receivers._line_protocol import (
    A_TEXT,
    NO_FIELDS,
    NO_NAME,
    NO_TIME,
    NOT_A_NUMBER,
    TOO_MANY,
    UNCLOSED,
    Tokens,
    scan,
    tokens,
)
from watchkeeper.receivers._line_series import Series
from watchkeeper.receivers._rows import OFFERED_MAX, Rejects, samples
from watchkeeper.receivers._unpack import unpack
from watchkeeper.slots import ABSENT

WRITE_2, WRITE_1, PING, QUERY = "/api/v2/write", "/write", "/ping", "/query"
VERSION = "1.8.10"  # old clients look at it to choose what they send
_UNITS = {  # negative: how many make a millisecond; else how many milliseconds one is
    "": -1_000_000, "n": -1_000_000, "ns": -1_000_000, "u": -1000, "us": -1000, "µ": -1000,
    "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000,
}  # fmt: skip
_CODES: dict[type[RequestError], str] = {
    Malformed: "invalid",
    Unsupported: "unsupported media type",
    TooLarge: "request too large",
    OverQuota: "too many requests",
    Overloaded: "unavailable",
}
_FAULTS = {
    NOT_A_NUMBER: (Reason.NOT_A_NUMBER, "a number, an integer or a truth value"),
    A_TEXT: (Reason.UNSUPPORTED, "a field that is text says nothing to us"),
    NO_FIELDS: (Reason.MALFORMED, "fields behind the first space"),
    NO_NAME: (Reason.MALFORMED, "field=value"),
    UNCLOSED: (Reason.MALFORMED, "a closing quote"),
    NO_TIME: (Reason.NO_TIME, "an integer, then the end of the line"),
    TOO_MANY: (Reason.TOO_LARGE, "fewer fields in one line"),
}
_NO_FAULT = {Reason.UNSUPPORTED, *JUDGED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Influx:
    """Takes what Telegraf and the clients of InfluxDB 1 and 2 write, and answers as those do.

    :param name: the receiver's name in the journal.
    """

    name: str = "influx"

    routes: ClassVar[tuple[Route, ...]] = (
        Route("POST", WRITE_2),
        Route("POST", WRITE_1),
        Route("GET", PING),
        Route("GET", QUERY),
        Route("POST", QUERY),
    )

    def open(self, limits: Limits, identity: Identity) -> Decoder:
        """Return a decoder that has seen nothing yet."""
        return Lines(self.name, limits, identity)

    def examples(self) -> tuple[Delivery, ...]:
        """Return two lines with values of every kind."""
        lines = b"cpu,host=a,mode=b idle=1.5,count=2i 1700000000000000000\nm,host=a on=t\n"
        return (Delivery("POST", WRITE_2, {}, {}, lines, Millis(0)),)

    def answer(self, delivery: Delivery, outcome: Outcome) -> Answer:
        """Return 204; or an error as version 1 (`error`) or 2 (`code`, `message`) writes it."""
        headers = {"X-Influxdb-Version": VERSION}
        if isinstance(outcome, RequestError):
            status, more = refusal(outcome)
            code = next((c for kind, c in _CODES.items() if isinstance(outcome, kind)), "invalid")
            return _error(delivery, status, headers | more, code, str(outcome))
        if delivery.path == QUERY:
            body = b'{"results":[{"statement_id":0}]}'
            return Answer(200, headers | {"Content-Type": "application/json"}, body)
        # A field that is text is no fault of the client's, who would give up at a 400.
        if not outcome.rejected or outcome.reasons.keys() <= _NO_FAULT:
            return Answer(204, headers, b"")
        return _error(delivery, 400, headers, "invalid", f"partial write: {_all_told(outcome)}")


def _all_told(outcome: Received) -> str:
    """Return what was refused, and line by line why, as far as it is known."""
    unnamed = outcome.rejected - len(outcome.faults)
    said = [told(replace(outcome, faults=())), *outcome.faults]
    return "; ".join([*said, f"and {unnamed} more"] if unnamed and outcome.faults else said)


def _error(
    delivery: Delivery, status: int, headers: dict[str, str], code: str, message: str
) -> Answer:
    second = delivery.path == WRITE_2
    said = {"code": code, "message": message} if second else {"error": message}
    return Answer(status, headers | {"Content-Type": "application/json"}, orjson.dumps(said))


def _joined(pieces: list[Any]) -> Any:
    """Return pieces of a column as one, and let go of them, so that memory holds them once."""
    column = np.concatenate(pieces)
    pieces.clear()
    return column


class Lines:
    """Decodes line protocol of one tenant."""

    def __init__(self, name: str, limits: Limits, identity: Identity) -> None:
        self._name, self._limits, self._identity = name, limits, identity
        self._tokens: Tokens = tokens()
        self._series: Series | None = None

    def decode(self, delivery: Delivery) -> Batch | None:
        """Return the samples of one request, and what could not be read of it.

        :raises RequestError: nothing of it can be used.
        """
        if delivery.path == PING:
            return None
        body = unpack(
            delivery.body, delivery.headers.get("content-encoding", ""), self._limits.body
        )
        if delivery.path == QUERY:
            _only_creates(delivery.query.get("q", "") or body[:1000].decode(errors="replace"))
            return None
        unit = _UNITS.get(delivery.query.get("precision", ""))
        if unit is None:
            given = delivery.query["precision"][:20]
            raise Malformed(f"precision {given!r} is unknown", hint="ns, us, ms, s, m or h")
        source = f"{self._name}/{delivery.tenant}" if delivery.tenant else self._name
        origin = f"{source} request {delivery.number}"
        if self._series is None or self._series.full:
            self._series = Series(self._limits, self._identity, f"source:{self._name}", body)
        if not body:
            return None
        try:
            found = _Found(body, self._series, self._limits, Rejects(origin))
            found.read(self._tokens, unit, int(delivery.arrived))
            batch = found.batch(source, origin)
        except TooLarge:
            self._series = None  # holds series that were numbered and never named
            raise
        return batch if batch.offered else None


class _Found:
    """What the portions of one request held."""

    def __init__(self, body: bytes, series: Series, limits: Limits, rejects: Rejects) -> None:
        self._body, self._data = body, np.frombuffer(body, dtype=np.uint8)
        self._series, self._limits, self._rejects = series, limits, rejects
        self._columns: tuple[list[Any], ...] = ([], [], [], [])  # series, time, value, line

    def read(self, columns: Tokens, unit: int, arrived: int) -> None:
        """Read the whole body, one portion after another."""
        at, line, count = 0, 1, 0
        while at < len(self._body):
            done = scan(self._data, at, line, unit, arrived, POWERS, *columns)
            at, line, count = done.at, done.line, count + done.samples
            if count > self._limits.samples:
                raise self._too_many("samples", self._limits.samples)
            marks = columns.samples[: done.samples]
            number = self._series.number(self._data, columns.points[: done.points], marks)
            if self._series.unnamed > self._limits.series:
                raise self._too_many("series")
            values = columns.bits[: done.samples].view(np.float64)
            for sample, start, end in columns.odd[: done.odd].tolist():
                values[sample] = float(self._body[start:end])
            part: tuple[Any, ...] = number, columns.times[: done.samples], values, marks[:, 3]
            for column, piece in zip(self._columns, part, strict=True):
                column.append(piece.copy())
            self._refuse(columns.refused[: done.refused].tolist())

    def batch(self, source: str, origin: str) -> Batch:
        """Return all of it as a batch."""
        number, time, value, line = (_joined(column) for column in self._columns)
        if len(number) > self._limits.series < len(np.unique(number)):
            raise self._too_many("series")
        series = self._series.learn()[number]
        good = series != ABSENT
        if not good.all():
            bad = np.flatnonzero(~good)
            self._room(len(bad))
            for k in bad.tolist():
                reason, detail = self._series.refused[int(number[k])]
                at, of = int(time[k]), float(value[k])
                self._rejects.add(reason, detail, time=at, value=of, place=f"line {line[k]}")
            series, time, value = series[good], time[good], value[good]
        return Batch(
            source, Cursor(""), self._series.table, samples(series, time, value),
            self._rejects.columns(), origin=origin,
        )  # fmt: skip

    def _refuse(self, refused: list[list[int]]) -> None:
        """Keep records as `Tokens.refused` has them."""
        self._room(len(refused))
        for fault, line, start, end, spot, spot_end in refused:
            reason, detail = _FAULTS[fault]
            if fault <= A_TEXT:
                name = self._body[spot : min(spot_end, spot + 40)]
                detail = f"{detail}: {name.decode(errors='backslashreplace')!r}"
            offered = self._body[start : min(end, start + OFFERED_MAX)]
            text = offered.decode(errors="backslashreplace")
            self._rejects.add(reason, detail, offered=text, place=f"line {line}")

    def _room(self, count: int) -> None:
        if len(self._rejects) + count > self._limits.series:
            raise self._too_many("records that cannot be kept")

    def _too_many(self, what: str, limit: int = 0) -> TooLarge:
        most = limit or self._limits.series
        return TooLarge(f"more than {most} {what} in one request", hint="send smaller requests")


def _only_creates(query: str) -> None:
    """Let pass what clients ask at their start; there is nothing here to be asked.

    :raises Malformed: it asks for something else.
    """
    if not re.search(r"\bCREATE(\s|\+|%20)+DATABASE\b", query, re.IGNORECASE):
        raise Malformed("only CREATE DATABASE is answered, by doing nothing", hint="write only")


plugin = Influx
