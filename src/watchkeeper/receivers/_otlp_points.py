"""Points of OTLP read from protobuf bytes, without a message object: samples as columns.

Field numbers are those of opentelemetry/proto/metrics/v1/metrics.proto. Every length is held
against the end of the message it is in. What protobuf allows and no encoder writes (attributes in
several places, numbers not packed, groups) is not read here but reported as UNUSUAL. What says
nothing about a sample (exemplars, unknown fields) is stepped over and not looked into.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.model import STALE_BITS
from watchkeeper.receivers._otlp_tree import Bytes, Nodes, below, path
from watchkeeper.receivers._wire import word
from watchkeeper.slots import Slots

# What a scan ends with; those of `below` come through.
DONE, BROKEN, UNUSUAL, OUT_ROOM, TOO_MANY = 0, -1, -2, -6, -7

# Levels of the tree. A metric's tag is METRIC | kind | temporality << 8 | monotonic << 10.
RESOURCE, SCOPE, NAME, POINT = 1, 2, 3, 4
COUNT, SUM, MIN, MAX, BUCKET, QUANTILE = 8, 9, 10, 11, 12, 13
METRIC = 1 << 16
GAUGE, TOTAL, HISTOGRAM, EXPONENTIAL, SUMMARY = 5, 7, 9, 10, 11  # fields of Metric
DELTA, CUMULATIVE, UNKNOWN = 1, 2, 3  # temporality; 0 is unspecified

# Why a point gives no sample.
FINE, NO_TIME, NO_VALUE, NO_TEMPORALITY, NO_START, BAD_BUCKETS = range(6)

# Columns of what a scan finds: a row is a sample or a refused point, in the order of the bytes.
# Row 0 is ours: how many rows there are, and how many more points may be refused.
NODE, TIME, BITS, FAULT = range(4)
ROWS, PATIENCE = NODE, TIME

NO_RECORDED_VALUE = 1  # a flag of a point: the series ended
NS = 1_000_000_000

Found = npt.NDArray[np.uint64]


class Facts(NamedTuple):
    """What one point of several numbers says."""

    status: int
    time: np.uint64
    start: np.uint64
    number: np.uint64  # how many values were counted
    total: np.uint64
    low: np.uint64
    high: np.uint64
    has: int  # bits 1 << COUNT, 1 << SUM, ...: which of them it has
    stale: bool
    first: int  # attributes, with their tags
    last: int
    counts: int
    counts_many: int
    bounds: int
    bounds_many: int


@numba.njit(cache=True, nogil=True, fastmath=False)
def _varint(data: Bytes, at: int, end: int) -> tuple[np.uint64, int]:
    """Return a number and where it ends; at -1 when it breaks off or has more than ten bytes."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(70):
        byte = np.uint64(data[np.uint64(at)])
        at += 1
        value |= (byte & np.uint64(127)) << shift if shift < np.uint64(64) else np.uint64(0)
        if byte < np.uint64(128):
            return value, at
        shift += np.uint64(7)
    return value, -1


@numba.njit(cache=True, nogil=True, fastmath=False)
def field(data: Bytes, at: int, end: int) -> tuple[int, np.uint64, int, int]:
    """Read one field: its tag, its number or bits, where its payload starts and where it ends.

    The tag is number << 3 | wire type, as on the wire; BROKEN or UNUSUAL in its place.
    """
    none = np.uint64(0)
    tag, at = _varint(data, at, end)
    if at < 0 or tag < np.uint64(8) or tag > np.uint64(0xFFFFFFFF):
        return BROKEN, none, at, at
    wire, known = tag & np.uint64(7), int(np.int64(tag))
    if wire == np.uint64(2):
        length, at = _varint(data, at, end)
        if at < 0 or length > np.uint64(end - at):
            return BROKEN, none, at, at
        return known, length, at, at + int(np.int64(length))
    if wire == np.uint64(1):
        if end - at < 8:
            return BROKEN, none, at, at
        return known, word(data, at), at, at + 8
    if wire == np.uint64(0):
        value, stop = _varint(data, at, end)
        return (known if stop >= 0 else BROKEN), value, at, stop
    if wire == np.uint64(5):
        return (known if end - at >= 4 else BROKEN), none, at, at + 4
    return (UNUSUAL if wire == np.uint64(3) else BROKEN), none, at, at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _emit(out: Found, node: int, time: np.uint64, bits: np.uint64, fault: int) -> int:
    """Write a sample, or a point refused; return DONE, or what the scan ends with."""
    row = out[0, ROWS] + np.uint64(1)
    if node < 0:
        return node
    if row == np.uint64(len(out)):
        return OUT_ROOM
    out[row, NODE], out[row, TIME] = node, time // np.uint64(1_000_000)
    out[row, BITS], out[row, FAULT] = bits, fault
    out[0, ROWS] = row
    if fault != FINE:
        if out[0, PATIENCE] == np.uint64(0):
            return TOO_MANY
        out[0, PATIENCE] -= np.uint64(1)
    return DONE


@numba.njit(cache=True, nogil=True, fastmath=False)
def _bits(value: float) -> np.uint64:
    return np.float64(value).view(np.uint64)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _per(bits: np.uint64, seconds: float) -> np.uint64:
    """Return the bits of a value divided; those of what is not are kept, NaNs and all."""
    return bits if seconds == 1.0 else _bits(np.uint64(bits).view(np.float64) / seconds)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _fault(time: np.uint64, start: np.uint64, stale: bool, metric: int) -> int:
    """Return why a point with these times gives no sample."""
    temporality = (metric >> 8) & 3
    if time == np.uint64(0):
        return NO_TIME
    if (metric & 15) in (GAUGE, SUMMARY):
        return FINE
    if temporality in (0, UNKNOWN):
        return NO_TEMPORALITY
    if temporality == DELTA and not stale and (start == np.uint64(0) or start >= time):
        return NO_START
    return FINE


@numba.njit(cache=True, nogil=True, fastmath=False)
def _seconds(time: np.uint64, start: np.uint64, stale: bool, metric: int) -> float:
    """Return what a value is divided by: the time it was gathered in, or 1."""
    if (metric >> 8) & 3 == DELTA and not stale:
        return np.float64(time - start) / NS
    return 1.0


@numba.njit(cache=True, nogil=True, fastmath=False)
def number(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, at: int, end: int,
    parent: int, metric: int,
) -> int:  # fmt: skip
    """Read a NumberDataPoint."""
    time, start, bits, flags = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
    kind, first, last = 0, at, at
    while at < end:
        tag, value, _, stop = field(data, at, end)
        if tag < 0:
            return tag
        if tag == 58:  # attributes
            if last > first and last != at:
                return UNUSUAL
            first = at if last == first else first
            last = stop
        elif tag == 25:
            time = value
        elif tag == 17:
            start = value
        elif tag in (33, 49):  # as_double, as_int
            kind, bits = tag, value
        elif tag == 64:
            flags = value
        at = stop
    stale = flags & np.uint64(NO_RECORDED_VALUE) != np.uint64(0)
    fault = _fault(time, start, stale, metric)
    if fault == FINE and kind == 0 and not stale:
        fault = NO_VALUE
    if stale:
        bits = np.uint64(STALE_BITS)
    elif fault == FINE:
        bits = bits if kind == 33 else _bits(np.float64(np.int64(bits)))
        bits = _per(bits, _seconds(time, start, stale, metric))
    node = below(slots, nodes, told, path(parent, POINT), data, first, last)
    return int(_emit(out, node, time, bits, fault))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _buckets(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, node: int, facts: Facts,
    seconds: float,
) -> int:  # fmt: skip
    """Emit for each bucket how many fell into it and those below, as Prometheus counts."""
    total = np.uint64(0)
    for k in range(facts.counts_many):
        at = facts.bounds + 8 * k
        edge = at if k == facts.counts_many - 1 else at + 8  # the last has no bound
        total += word(data, facts.counts + 8 * k)
        bits = _bits(np.float64(total) / seconds)
        bucket = below(slots, nodes, told, path(node, BUCKET), data, at, edge)
        ended = _emit(out, bucket, facts.time, bits, FINE)
        if ended != DONE:
            return ended
    return DONE


@numba.njit(cache=True, nogil=True, fastmath=False)
def _quantile(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, at: int, end: int,
    parent: int, time: np.uint64,
) -> int:  # fmt: skip
    """Read a ValueAtQuantile; a quantile left out is 0."""
    start, bits = at, np.uint64(0)
    edge = start
    while at < end:
        tag, value, payload, stop = field(data, at, end)
        if tag < 0:
            return tag
        if tag == 9:
            start, edge = payload, stop
        elif tag == 17:
            bits = value
        at = stop
    node = below(slots, nodes, told, path(parent, QUANTILE), data, start, edge)
    return int(_emit(out, node, time, bits, FINE))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _facts(data: Bytes, at: int, end: int, kind: int) -> Facts:
    """Read what a histogram's, exponential histogram's or summary's point says, but quantiles."""
    attributes, flagged, least, most = 58, 64, 0, 0
    if kind == HISTOGRAM:
        attributes, flagged, least, most = 74, 80, 89, 97
    elif kind == EXPONENTIAL:
        attributes, flagged, least, most = 10, 80, 97, 105
    nothing = np.uint64(0)
    time, start, count, flags = nothing, nothing, nothing, nothing
    total, low, high = nothing, nothing, nothing
    has = 1 << COUNT | (1 << SUM if kind == SUMMARY else 0)
    first, last, counts, counts_end, bounds, bounds_end = at, at, 0, 0, 0, 0
    status = DONE
    while at < end and status == DONE:
        tag, value, payload, stop = field(data, at, end)
        if tag < 0:
            status = tag
        elif tag == attributes:
            if last > first and last != at:
                status = UNUSUAL
            first = at if last == first else first
            last = stop
        elif tag == 25:
            time = value
        elif tag == 17:
            start = value
        elif tag == 33:
            count = value
        elif tag == 41:
            total, has = value, has | 1 << SUM
        elif tag == flagged:
            flags = value
        elif tag == least:
            low, has = value, has | 1 << MIN
        elif tag == most:
            high, has = value, has | 1 << MAX
        elif kind == HISTOGRAM and tag in (49, 57):  # not packed
            status = UNUSUAL
        elif kind == HISTOGRAM and tag in (50, 58):  # bucket_counts, explicit_bounds
            status = BROKEN if (stop - payload) % 8 else DONE
            if counts_end if tag == 50 else bounds_end:
                status = min(status, UNUSUAL)
            if tag == 50:
                counts, counts_end = payload, stop
            else:
                bounds, bounds_end = payload, stop
        at = stop
    return Facts(
        status, time, start, count, total, low, high, has,
        flags & np.uint64(NO_RECORDED_VALUE) != nothing,
        first, last, counts, (counts_end - counts) // 8, bounds, (bounds_end - bounds) // 8,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True, fastmath=False)
def compound(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, at: int, end: int,
    parent: int, metric: int, buckets: bool,
) -> int:  # fmt: skip
    """Read a point that consists of several numbers; each becomes a sample."""
    kind = metric & 15
    facts = _facts(data, at, end, kind)
    if facts.status != DONE:
        return facts.status
    time, stale = facts.time, facts.stale
    fault = _fault(time, facts.start, stale, metric)
    buckets = buckets and facts.counts_many > 0 and not stale
    if fault == FINE and buckets and facts.counts_many != facts.bounds_many + 1:
        fault = BAD_BUCKETS
    node = below(slots, nodes, told, path(parent, POINT), data, facts.first, facts.last)
    if fault != FINE or node < 0:
        return int(_emit(out, node, time, np.uint64(0), fault))
    seconds = _seconds(time, facts.start, stale, metric)
    ended = DONE
    for role in (COUNT, SUM, MIN, MAX):
        bits = _per(_bits(np.float64(facts.number)), seconds)
        if role == SUM:
            bits = _per(facts.total, seconds)
        elif role != COUNT:
            bits = facts.low if role == MIN else facts.high
        has = facts.has >> role & 1 != 0
        if stale:
            has, bits = role in (COUNT, SUM), np.uint64(STALE_BITS)
        if has and ended == DONE:
            one = below(slots, nodes, told, path(node, role), data, at, at)
            ended = _emit(out, one, time, bits, FINE)
    if ended == DONE and buckets:
        ended = _buckets(slots, nodes, told, out, data, node, facts, seconds)
    while ended == DONE and kind == SUMMARY and not stale and at < end:
        tag, _, payload, stop = field(data, at, end)
        if tag == 50:
            ended = _quantile(slots, nodes, told, out, data, payload, stop, node, time)
        at = stop
    return ended
