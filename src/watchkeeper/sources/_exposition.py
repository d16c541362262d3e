"""The text a Prometheus target shows: format 0.0.4 and OpenMetrics 1.0, line by line.

A page repeats itself: the same names and labels every round, other values. So a reader keeps, for
its target, what each line begins with (everything before the value) and the series that stands for;
lines it has seen are read as columns (`_page`). Lines that are new, that carry a time or an
exemplar, or that cannot be read take the long way, a portion at a time and one page of the house
at a time: they need the interpreter, and so does everybody else. Values are the nearest double, as
written.

Both formats are described in Prometheus' documentation ("Exposition formats") and in the
OpenMetrics specification 1.0.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from watchkeeper.errors import InputError
from watchkeeper.identity import Key
from watchkeeper.model import KEYS, REJECTS, SAMPLES, Floats, Millis, Reason
from watchkeeper.sources import Collected
from watchkeeper.sources._page import EOF, Flags, Known, Lines, Places, lines_of, numbers, parted

NAME_MAX, VALUE_MAX = 200, 4096  # bytes of a name, and of a label's value
LINE_MAX = 1 << 19  # bytes; 64 labels of the greatest length fit
OFFERED_MAX = 200  # characters of an unreadable line that are kept
BAD_MAX = 1000  # unreadable lines; a page with more of them than of others is no page of metrics
SPARE = 10_000  # beginnings kept beyond twice what the page has
PORTION, PAUSE = 2000, 0.001  # lines read the long way without a rest, and the seconds of it
TIME_MAX = 1 << 62  # milliseconds; what lies beyond is a time in no unit

# Quantifiers are possessive (`*+`): a hostile line is refused in one pass.
_WORD = rb"[a-zA-Z_][a-zA-Z0-9_]*+"
_PAIR = rb"[ \t]*+" + _WORD + rb'[ \t]*+=[ \t]*+"(?:[^"\\]|\\.)*+"[ \t]*+'
_LABELS = rb"\{(?:" + _PAIR + rb"(?:," + _PAIR + rb")*+,?+)?[ \t]*+\}"
_HEAD = re.compile(rb"[ \t]*+([a-zA-Z_:][a-zA-Z0-9_:]*+)(?:[ \t]*+(" + _LABELS + rb"))?")
_LABEL = re.compile(rb"(" + _WORD + rb')[ \t]*+=[ \t]*+"((?:[^"\\]|\\.)*+)"')
_ESCAPE = re.compile(r'\\([\\n"])')
EXPECTED = 'name{label="value",…} value [time]'

_LEARNING = threading.Lock()  # one page at a time takes the long way

Name = Callable[[str, Mapping[str, str]], Key]


class _Bad(Exception):
    """A line that gives no sample. :param metric: what it is about, as far as that is known."""

    def __init__(self, reason: Reason, detail: str, metric: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.metric = reason, detail, metric


@dataclass(slots=True)
class _Read:
    """What has been read of one page.

    :param rows: the series of each line, -1 where it gives no sample. :param values: of each line.
    :param times: number of a line, from 0 -> a time of its own.
    """

    origin: str
    rows: Places
    values: Floats
    times: dict[int, int] = field(default_factory=dict)
    bad: list[tuple[Any, ...]] = field(default_factory=list)
    good: int = 0  # samples so far

    def refuse(self, number: int, line: bytes, error: _Bad) -> None:
        """Keep a line that gives no sample."""
        offered = line[: 4 * OFFERED_MAX].decode("utf-8", "replace")[:OFFERED_MAX]
        place = f"{self.origin}:line {number}"
        self.bad.append(
            ("", error.metric, "", None, None, offered, place, str(error.reason), error.detail)
        )
        if len(self.bad) > max(BAD_MAX, self.good):
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
        self._known = Known()
        self._numbers: dict[Key, int] = {}
        self._latest: tuple[Places, pa.RecordBatch, pa.Array] | None = None

    def read(
        self,
        page: bytes,
        at: Millis,
        origin: str,
        *,
        openmetrics: bool = False,
        cut: bool = False,
        deadline: float = math.inf,
    ) -> Collected:
        """Return the samples of a page; lines without a time of their own are of `at`.

        :param cut: the page was longer than what is here.
        :param deadline: `time.monotonic()` at which all must be read; what was learned by then
            is known the next time.
        :raises InputError: OpenMetrics without its end, a page of something else, or one that
            takes too long.
        """
        lines, unfinished = lines_of(page), b""
        if openmetrics and lines.tail == EOF:  # which needs no line feed
            lines = lines_of(page + b"\n")
        else:
            unfinished = lines.tail
        said, end = (lines, None) if not openmetrics else _ended(lines)
        read = self._read(said, origin, openmetrics, deadline)
        if end is not None and any(beyond := [n for n in range(end, len(lines)) if lines[n]][:1]):
            what = "nothing after `# EOF`"
            read.refuse(end + 1, lines[beyond[0]], _Bad(Reason.MALFORMED, what))
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

    def _read(self, lines: Lines, origin: str, openmetrics: bool, deadline: float) -> _Read:
        """Read lines: those that are known at once, then the others, in order."""
        heads, texts = parted(lines)
        self._known.learn(self._heads)
        rows = self._known.rows(heads)
        plain, values = numbers(texts)
        fast, silent = (rows >= 0) & plain, lines.silent()
        read = _Read(origin, np.where(fast, rows, -1), values)
        before = np.cumsum(fast)  # known samples up to and with each line
        others = np.flatnonzero(~fast & ~silent)
        late, learned = len(lines), 0
        for first in range(0, len(others), PORTION):
            if time.monotonic() > deadline:
                self._make_room(self._samples)
                raise InputError(
                    f"{origin}: {len(lines)} lines, too many of them new to be read in time",
                    hint="what was read is known next time; or raise timeout, lower sample_limit",
                )
            with _LEARNING:
                for number in map(int, others[first : first + PORTION]):
                    read.good = int(before[number]) + learned
                    if read.good >= self._samples:
                        late = number
                        break
                    learned += self._one(lines[number], number, read, openmetrics)
            if late < len(lines):
                break
            if first + PORTION < len(others):
                time.sleep(PAUSE)  # outside, so that the next in line gets its turn
        return self._limited(read, silent, lines, late)

    def _limited(self, read: _Read, silent: Flags, lines: Lines, late: int) -> _Read:
        """Leave what is beyond the limit of samples. :param late: a line known to be beyond it."""
        count = np.cumsum(read.rows >= 0)
        first = min(late, int(np.searchsorted(count, self._samples, side="right")))
        read.good = int(count[-1]) if len(count) else 0
        if first < len(lines):
            left = int(np.count_nonzero(~silent[first:]))
            what = f"at most {self._samples} samples a page; {left} lines were left"
            read.rows[first:] = -1
            read.refuse(first + 1, lines[first], _Bad(Reason.TOO_MANY_SERIES, what))
        return read

    def _one(self, line: bytes, number: int, read: _Read, openmetrics: bool) -> bool:
        """Read one line; return whether it gives a sample."""
        if line.lstrip()[:1] in (b"", b"#"):
            return False
        head, _, text = line.rpartition(b" ")
        row, own = self._heads.get(head), None
        try:
            if row is None:
                row, value, own = self._long_way(line, openmetrics)
            else:
                value = _value(text)
        except _Bad as error:
            read.refuse(number + 1, line, error)
            return False
        read.rows[number], read.values[number] = row, value
        if own is not None:
            read.times[number] = own
        return True

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
        lines = np.flatnonzero(read.rows >= 0)
        rows = read.rows[lines]
        if self._latest is None or not np.array_equal(self._latest[0], rows):
            used, series = np.unique(rows, return_inverse=True)
            every = list(self._numbers)
            columns = zip(*(every[row] for row in used), strict=True) if len(used) else [()] * 3
            arrays = [pa.array(column, pa.string()) for column in columns]
            keys = pa.RecordBatch.from_arrays(arrays, schema=KEYS)
            self._latest = rows, keys, pa.array(series.astype(np.uint32))
        _, keys, numbers = self._latest
        self._make_room(len(rows))
        times = np.full(len(read.rows), at, np.int64)
        for number, own in read.times.items():
            times[number] = own
        columns = [numbers, pa.array(times[lines]), pa.array(read.values[lines])]
        samples = pa.RecordBatch.from_arrays(columns, schema=SAMPLES)
        bad = zip(*read.bad, strict=True) if read.bad else [()] * len(REJECTS)
        unread = [pa.array(column, f.type) for column, f in zip(bad, REJECTS, strict=True)]
        return Collected(keys, samples, pa.RecordBatch.from_arrays(unread, schema=REJECTS))

    def _make_room(self, samples: int) -> None:
        """Forget all, when most of it is of no page any more. :param samples: of a page."""
        if len(self._heads) > 2 * samples + SPARE:
            self._heads, self._numbers, self._latest, self._known = {}, {}, None, Known()


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


def _ended(lines: Lines) -> tuple[Lines, int | None]:
    """Return the lines up to `# EOF`, and how many that and what is before it are."""
    for number in map(int, np.flatnonzero(lines.ends - lines.starts == len(EOF))):
        if lines[number] == EOF:
            return lines.until(number), number + 1
    return lines, None


def _escaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
