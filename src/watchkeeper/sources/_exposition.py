"""The text a Prometheus target shows: format 0.0.4 and OpenMetrics 1.0, line by line.

A page repeats itself: the same names and labels every round, other values. So a reader keeps, for
its target, what each line begins with (everything before the value) and the series that stands for;
a line it has seen costs a cut, a look-up and `float`. Lines that are new, that carry a time or an
exemplar, or that cannot be read take the long way. Values are the nearest double, as written.

Both formats are described in Prometheus' documentation ("Exposition formats") and in the
OpenMetrics specification 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from watchkeeper.errors import InputError
from watchkeeper.identity import Key
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Millis, Reason, Rows
from watchkeeper.sources import Collected

NAME_MAX, VALUE_MAX = 200, 4096  # bytes of a name, and of a label's value
LINE_MAX = 1 << 19  # bytes; 64 labels of the greatest length fit
OFFERED_MAX = 200  # characters of an unreadable line that are kept
BAD_MAX = 1000  # unreadable lines; a page with more of them than of others is no page of metrics
SPARE = 10_000  # beginnings kept beyond twice what the page has
TIME_MAX = 1 << 62  # milliseconds; what lies beyond is a time in no unit

# Quantifiers are possessive (`*+`): a hostile line is refused in one pass.
_WORD = rb"[a-zA-Z_][a-zA-Z0-9_]*+"
_PAIR = rb"[ \t]*+" + _WORD + rb'[ \t]*+=[ \t]*+"(?:[^"\\]|\\.)*+"[ \t]*+'
_LABELS = rb"\{(?:" + _PAIR + rb"(?:," + _PAIR + rb")*+,?+)?[ \t]*+\}"
_HEAD = re.compile(rb"[ \t]*+([a-zA-Z_:][a-zA-Z0-9_:]*+)(?:[ \t]*+(" + _LABELS + rb"))?")
_LABEL = re.compile(rb"(" + _WORD + rb')[ \t]*+=[ \t]*+"((?:[^"\\]|\\.)*+)"')
_ESCAPE = re.compile(r'\\([\\n"])')
EXPECTED = 'name{label="value",…} value [time]'

Name = Callable[[str, Mapping[str, str]], Key]


class _Bad(Exception):
    """A line that gives no sample. :param metric: what it is about, as far as that is known."""

    def __init__(self, reason: Reason, detail: str, metric: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.metric = reason, detail, metric


@dataclass(slots=True)
class _Read:
    """What has been read of one page. :param times: position -> a time of its own."""

    origin: str
    rows: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)
    bad: list[tuple[Any, ...]] = field(default_factory=list)

    def refuse(self, number: int, line: bytes, error: _Bad) -> None:
        """Keep a line that gives no sample."""
        offered = line[: 4 * OFFERED_MAX].decode("utf-8", "replace")[:OFFERED_MAX]
        place = f"{self.origin}:line {number}"
        self.bad.append(
            ("", error.metric, "", None, None, offered, place, str(error.reason), error.detail)
        )
        if len(self.bad) > max(BAD_MAX, len(self.rows)):
            first = self.bad[0]
            raise InputError(
                f"{self.origin}: no page of metrics: {len(self.bad)} lines cannot be read",
                hint=f"{first[6].rpartition(':')[2]}: expected {first[8]}",
            )


class Reader:
    """Reads the pages of one target, one after another. One thread at a time.

    :param name: gives a metric and its labels the key of a series.
    :param labels: of one line at most. :param samples: of one page at most.
    """

    def __init__(self, name: Name, labels: int = 64, samples: int = 100_000) -> None:
        self._name, self._labels, self._samples = name, labels, samples
        self._heads: dict[bytes, int] = {}
        self._numbers: dict[Key, int] = {}
        self._latest: tuple[Rows, pa.RecordBatch, pa.Array] | None = None

    def read(
        self, page: bytes, at: Millis, origin: str, *, openmetrics: bool = False, cut: bool = False
    ) -> Collected:
        """Return the samples of a page; lines without a time of their own are of `at`.

        :param cut: the page was longer than what is here.
        :raises InputError: OpenMetrics without its end, or a page of something else.
        """
        lines = page.split(b"\n")
        complete = openmetrics and lines[-1] == b"# EOF"  # which needs no line feed
        unfinished = b"" if complete else lines.pop()
        read = _Read(origin)
        end = self._read(lines, read, openmetrics)
        if cut:
            what = f"at most {len(page)} bytes a page; the rest was left"
            read.refuse(len(lines) + 1, unfinished, _Bad(Reason.TOO_LARGE, what))
        elif openmetrics and end is None:
            raise InputError(
                f"{origin}: the page has no `# EOF`", hint="was it cut short on its way?"
            )
        elif unfinished:
            what = "a line feed; the page ends within this line"
            read.refuse(len(lines) + 1, unfinished, _Bad(Reason.MALFORMED, what))
        return self._columns(read, at)

    def _read(self, lines: list[bytes], read: _Read, openmetrics: bool) -> int | None:
        """Read lines to the end; return the number of the line that says so."""
        heads, rows, values = self._heads, read.rows, read.values
        for number, line in enumerate(lines, 1):
            head, _, text = line.rpartition(b" ")
            row = heads.get(head)
            try:
                if row is not None:
                    value = _value(text)
                elif line.lstrip()[:1] in (b"", b"#"):
                    if openmetrics and line == b"# EOF":
                        return _ended(lines, number, read)
                    continue
                elif len(rows) == self._samples:
                    break
                else:
                    row, value, time = self._long_way(line, openmetrics)
                    if time is not None:
                        read.times[len(rows)] = time
            except _Bad as error:
                read.refuse(number, line, error)
                continue
            if len(rows) == self._samples:
                break
            rows.append(row)
            values.append(value)
        else:
            return None
        left = sum(1 for line in lines[number - 1 :] if line[:1] not in (b"", b"#"))
        what = f"at most {self._samples} samples a page; {left} lines were left"
        read.refuse(number, line, _Bad(Reason.TOO_MANY_SERIES, what))
        return len(lines)

    def _long_way(self, line: bytes, openmetrics: bool) -> tuple[int, float, int | None]:
        """Return series, value and time of a line that is new or says more than others."""
        if len(line) > LINE_MAX:
            raise _Bad(Reason.TOO_LARGE, f"at most {LINE_MAX} bytes a line")
        match = _HEAD.match(line)
        rest = line[match.end() :] if match else b""
        if match is None or (match[2] is None and rest[:1] not in (b" ", b"\t")):
            raise _Bad(Reason.MALFORMED, EXPECTED)
        words = rest.split()
        if openmetrics and b"#" in words:
            del words[words.index(b"#") :]  # an exemplar
        metric = match[1].decode()
        if not 1 <= len(words) <= 2:
            raise _Bad(Reason.MALFORMED, EXPECTED, metric)
        row = self._heads.get(match[0])
        if row is None:
            row = self._learn(metric, match)
        head = line.rpartition(b" ")[0]
        if len(words) == 1 and head.rstrip() == match[0]:
            self._heads[head] = row
        value = _value(words[0], metric)
        return row, value, _time(words[1], metric, openmetrics) if len(words) == 2 else None

    def _learn(self, metric: str, match: re.Match[bytes]) -> int:
        """Return the number of the series that a line begins with."""
        if len(metric) > NAME_MAX:
            raise _Bad(Reason.TOO_LARGE, f"a name of at most {NAME_MAX} bytes", metric[:NAME_MAX])
        labels: dict[str, str] = {}
        for name, raw in _LABEL.findall(match[2] or b""):
            if len(name) > NAME_MAX or len(raw) > VALUE_MAX:
                what = f"labels of at most {NAME_MAX} bytes, values of at most {VALUE_MAX}"
                raise _Bad(Reason.TOO_LARGE, what, metric)
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                raise _Bad(Reason.BAD_NAME, "labels in UTF-8", metric) from None
            label = name.decode()
            if label in labels:
                raise _Bad(Reason.MALFORMED, f"each label once, not {label} twice", metric)
            labels[label] = _ESCAPE.sub(_escaped, text) if "\\" in text else text
        if len(labels) > self._labels:
            raise _Bad(Reason.TOO_LARGE, f"at most {self._labels} labels a line", metric)
        key = self._name(metric, labels)
        row = self._numbers.setdefault(key, len(self._numbers))
        self._heads[match[0]] = row
        return row

    def _columns(self, read: _Read, at: Millis) -> Collected:
        rows = np.array(read.rows, np.uint32)
        if self._latest is None or not np.array_equal(self._latest[0], rows):
            used, series = np.unique(rows, return_inverse=True)
            every = list(self._numbers)
            columns = zip(*(every[row] for row in used), strict=True) if len(used) else [()] * 3
            arrays = [pa.array(column, pa.string()) for column in columns]
            keys = pa.RecordBatch.from_arrays(arrays, schema=KEYS)
            self._latest = rows, keys, pa.array(series.astype(np.uint32))
        _, keys, numbers = self._latest
        if len(self._heads) > 2 * len(rows) + SPARE:
            self._heads, self._numbers, self._latest = {}, {}, None
        times = np.full(len(rows), at, np.int64)
        for position, time in read.times.items():
            times[position] = time
        columns = [numbers, pa.array(times), pa.array(read.values, pa.float64())]
        samples = pa.RecordBatch.from_arrays(columns, schema=SAMPLES)
        bad = zip(*read.bad, strict=True) if read.bad else [()] * len(REJECTS)
        unread = [pa.array(column, f.type) for column, f in zip(bad, REJECTS, strict=True)]
        return Collected(keys, samples, pa.RecordBatch.from_arrays(unread, schema=REJECTS))


def _value(text: bytes, metric: str = "") -> float:
    """Return a number; Python's underscores are none."""
    try:
        if b"_" not in text:
            return float(text)
    except ValueError:
        pass
    raise _Bad(Reason.NOT_A_NUMBER, "a number, +Inf, -Inf or NaN", metric)


def _time(text: bytes, metric: str, openmetrics: bool) -> int:
    """Return milliseconds; 0.0.4 writes them as an integer, OpenMetrics as seconds."""
    try:
        time = round(_value(text) * 1000) if openmetrics else int(text)
        if b"_" not in text and abs(time) < TIME_MAX:
            return time
    except (_Bad, ValueError, OverflowError):
        pass
    unit = "seconds" if openmetrics else "whole milliseconds"
    raise _Bad(Reason.NO_TIME, f"{unit} since 1970", metric)


def _ended(lines: list[bytes], number: int, read: _Read) -> int:
    if any(lines[number:]):
        beyond = next(line for line in lines[number:] if line)
        read.refuse(number + 1, beyond, _Bad(Reason.MALFORMED, "nothing after `# EOF`"))
    return number


def _escaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
