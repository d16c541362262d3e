"""OTLP metrics read from protobuf bytes in one pass, from the request down to its points.

A message's own fields may stand behind what it holds, so each level is walked twice: for what it
says itself, and for what is in it. What is in it is stepped over the first time, length by length.
What protobuf allows and no encoder writes (a message field given twice, groups) is reported as
UNUSUAL: the caller lets the protobuf library write the request anew, in the usual form.
"""

from __future__ import annotations

import numba
import numpy as np

from watchkeeper.receivers._otlp_points import (
    DONE,
    EXPONENTIAL,
    GAUGE,
    HISTOGRAM,
    METRIC,
    NAME,
    PATIENCE,
    RESOURCE,
    ROWS,
    SCOPE,
    SUMMARY,
    TOTAL,
    UNKNOWN,
    UNUSUAL,
    Found,
    compound,
    field,
    number,
)
from watchkeeper.receivers._otlp_tree import ROOT, Bytes, Nodes, below, path
from watchkeeper.slots import Slots

FIRST, SECOND, THIRD = 10, 18, 26  # tags of fields 1 to 3 that are messages or texts


@numba.njit(cache=True, nogil=True, fastmath=False)
def scan(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, buckets: bool,
    refused_max: int,
) -> int:  # fmt: skip
    """Read an ExportMetricsServiceRequest into `out`; return DONE, or why it ended before.

    :param refused_max: at most so many points without a sample; beyond, TOO_MANY.
    """
    out[0, ROWS], out[0, PATIENCE] = 0, refused_max
    at, end = 0, len(data)
    while at < end:
        tag, _, payload, stop = field(data, at, end)
        if tag < 0:
            return tag
        if tag == FIRST:
            ended = _resource(slots, nodes, told, out, data, payload, stop, buckets)
            if ended != DONE:
                return ended
        at = stop
    return DONE


@numba.njit(cache=True, nogil=True, fastmath=False)
def _said(data: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return where the message in field 1 is, empty when there is none; first of all, a status."""
    first, last, seen = at, at, False
    while at < end:
        tag, _, payload, stop = field(data, at, end)
        if tag < 0:
            return tag, first, last
        if tag == FIRST:
            if seen:
                return UNUSUAL, first, last
            first, last, seen = payload, stop, True
        at = stop
    return DONE, first, last


@numba.njit(cache=True, nogil=True, fastmath=False)
def _resource(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, at: int, end: int,
    buckets: bool,
) -> int:  # fmt: skip
    """Read a ResourceMetrics."""
    ended, first, last = _said(data, at, end)
    if ended != DONE:
        return ended
    node = below(slots, nodes, told, path(ROOT, RESOURCE), data, first, last)
    if node < 0:
        return node
    while at < end and ended == DONE:
        tag, _, payload, stop = field(data, at, end)
        if tag == SECOND:
            ended = _scope(slots, nodes, told, out, data, payload, stop, node, buckets)
        at = stop
    return ended


@numba.njit(cache=True, nogil=True, fastmath=False)
def _scope(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, at: int, end: int,
    parent: int, buckets: bool,
) -> int:  # fmt: skip
    """Read a ScopeMetrics."""
    ended, first, last = _said(data, at, end)
    if ended != DONE:
        return ended
    node = below(slots, nodes, told, path(parent, SCOPE), data, first, last)
    if node < 0:
        return node
    while at < end and ended == DONE:
        tag, _, payload, stop = field(data, at, end)
        if tag == SECOND:
            ended = _metric(slots, nodes, told, out, data, payload, stop, node, buckets)
        at = stop
    return ended


@numba.njit(cache=True, nogil=True, fastmath=False)
def _metric(
    slots: Slots, nodes: Nodes, told: Bytes, out: Found, data: Bytes, at: int, end: int,
    parent: int, buckets: bool,
) -> int:  # fmt: skip
    """Read a Metric; one without data says nothing."""
    kind, start, last = 0, at, at
    name, name_end, unit, unit_end = at, at, at, at
    while at < end:
        tag, _, payload, stop = field(data, at, end)
        if tag < 0:
            return tag
        if tag == FIRST:
            name, name_end = payload, stop
        elif tag == THIRD:
            unit, unit_end = payload, stop
        elif tag & 7 == 2 and tag >> 3 in (GAUGE, TOTAL, HISTOGRAM, EXPONENTIAL, SUMMARY):
            if kind:
                return UNUSUAL
            kind, start, last = tag >> 3, payload, stop
        at = stop
    if not kind:
        return DONE
    ended, metric = _kind(data, start, last, kind)
    if ended != DONE:
        return ended
    named = below(slots, nodes, told, path(parent, NAME), data, name, name_end)
    node = (
        below(slots, nodes, told, path(named, metric), data, unit, unit_end)
        if named >= 0
        else named
    )
    if node < 0:
        return node
    at = start
    while at < last and ended == DONE:
        tag, _, payload, stop = field(data, at, last)
        if tag == FIRST and kind in (GAUGE, TOTAL):
            ended = number(slots, nodes, told, out, data, payload, stop, node, metric)
        elif tag == FIRST:
            ended = compound(slots, nodes, told, out, data, payload, stop, node, metric, buckets)
        at = stop
    return ended


@numba.njit(cache=True, nogil=True, fastmath=False)
def _kind(data: Bytes, at: int, end: int, kind: int) -> tuple[int, int]:
    """Return a status and a metric's tag: its kind, temporality and whether it only grows."""
    temporality, monotonic = 0, 0
    while at < end:
        tag, value, _, stop = field(data, at, end)
        if tag < 0:
            return tag, 0
        if tag == 16:  # aggregation_temporality, an int32
            temporality = int(np.int64(min(value & np.uint64(0xFFFFFFFF), np.uint64(UNKNOWN))))
        elif tag == 24:  # is_monotonic
            monotonic = 1 if value else 0
        at = stop
    if kind in (GAUGE, SUMMARY):
        temporality, monotonic = 0, 0
    if kind != TOTAL:
        monotonic = 0
    return DONE, METRIC | kind | temporality << 8 | monotonic << 10
