"""Prometheus' write requests, read from their bytes by kernels that make no objects.

Both versions are protobuf (protobuf.dev/programming-guides/encoding): a field is a tag, which is
8 * number + wire type, and a value. The numbers here are those of Prometheus' prompb/types.proto
and prompb/io/prometheus/write/v2/types.proto.

    WriteRequest   timeseries 1, metadata 3            Request  symbols 4, timeseries 5
    TimeSeries     labels 1, samples 2                 both; in version 2 labels are references
                   exemplars 3, histograms 4           version 1; in version 2 the other way round
    Label          name 1, value 2
    Sample         value 1, timestamp 2                both
    Histogram      count 1 (integer) or 2 (float), sum 3, timestamp 15    both

What is inside labels is not looked at here, only where they begin and end: a sender repeats them,
and whoever has seen the same bytes before knows already what they say (`_seen`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.model import STALE_BITS, Rows, Times

Bytes = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Int = Any  # int or np.int64: in a kernel they are one

FINE, BROKEN, SERIES, SAMPLES, SYMBOLS, OTHER = range(6)  # how a scan ended
APART, LONG, REFERENCE, ODD, MANY = range(1, 6)  # why labels are refused; 0: they are not
VARINT, FIXED64, SPAN, FIXED32 = 0, 1, 2, 5  # wire types; groups (3, 4) are not taken
COUNT, SUM = 1, 2  # kinds of a slot; 0 is a plain sample
STALE = np.uint64(STALE_BITS)


class Found(NamedTuple):
    """Where a scan writes. One element a series, then one a sample, then one a symbol."""

    labels: Places  # of each series: where they begin, where they end, 0 or why they are refused
    slot: Rows  # 4 * series + kind
    time: Times
    bits: Bits  # of the value, a double
    symbol: Places  # of each: where it begins and ends


class Scanned(NamedTuple):
    """What a scan found. :param at: the byte at which it ended. :param series: with samples."""

    status: int
    at: int
    series: int
    samples: int  # elements of `slot`, `time` and `bits`: one a sample, two a histogram
    histograms: int
    exemplars: int
    symbols: int


@numba.njit(cache=True, nogil=True, fastmath=False)
def varint(data: Bytes, at: Int, end: Int) -> tuple[np.uint64, Int]:
    """Return a number and where it ends; -1 when it breaks off or has more than 64 bits."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(70):
        byte = np.uint64(data[np.uint64(at)])
        at += 1
        if byte < np.uint64(128):
            if shift == np.uint64(63) and byte > np.uint64(1):
                break
            return value | byte << shift, at
        value |= (byte & np.uint64(127)) << shift
        shift += np.uint64(7)
    return np.uint64(0), -1


@numba.njit(cache=True, nogil=True, fastmath=False)
def span(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Return where the bytes of a length-delimited field begin and end; -1 when they break off."""
    length, at = varint(data, at, end)
    if at < 0 or length > np.uint64(end - at):
        return -1, -1
    return at, at + np.int64(length)


@numba.njit(cache=True, nogil=True, fastmath=False)
def word(data: Bytes, at: Int) -> np.uint64:
    """Return eight bytes, little-endian; LLVM makes one load of them."""
    i, n = np.uint64(at), np.uint64
    return (
        n(data[i]) | n(data[i + n(1)]) << n(8) | n(data[i + n(2)]) << n(16)
        | n(data[i + n(3)]) << n(24) | n(data[i + n(4)]) << n(32) | n(data[i + n(5)]) << n(40)
        | n(data[i + n(6)]) << n(48) | n(data[i + n(7)]) << n(56)
    )  # fmt: skip


@numba.njit(cache=True, nogil=True, fastmath=False)
def passed(data: Bytes, at: Int, end: Int, tag: np.uint64) -> Int:
    """Return where the value of a field ends; -1 when it breaks off or is none."""
    wire = np.int64(tag & np.uint64(7))
    if tag < np.uint64(8) or tag > np.uint64(0xFFFFFFFF):
        return -1
    if wire == VARINT:
        return varint(data, at, end)[1]
    if wire == SPAN:
        return span(data, at, end)[1]
    if wire == FIXED64 and end - at >= 8:
        return at + 8
    if wire == FIXED32 and end - at >= 4:
        return at + 4
    return -1


@numba.njit(cache=True, nogil=True, fastmath=False)
def usual_time(data: Bytes, at: Int) -> Int:
    """Return the time of a sample of 18 bytes as all senders write them, or -1.

    Tag, length 16, tag, value, tag, and a time of six bytes: any from 1971 to 2109.
    """
    head = word(data, at) & np.uint64(0xFFFFFF)
    tail = word(data, at + 10)  # the value's last byte, the tag, the time
    more, n = tail >> np.uint64(16), np.uint64
    if head != n(0x091012) or tail & n(0xFF00) != n(0x1000):
        return -1
    if more & n(0x808080808080) != n(0x008080808080):
        return -1
    return np.int64(
        more & n(0x7F)
        | more >> n(1) & n(0x7F << 7)
        | more >> n(2) & n(0x7F << 14)
        | more >> n(3) & n(0x7F << 21)
        | more >> n(4) & n(0x7F << 28)
        | more >> n(5) & n(0x7F << 35)
    )


@numba.njit(cache=True, nogil=True, fastmath=False)
def _sample(data: Bytes, at: Int, end: Int) -> tuple[Int, np.int64, np.uint64]:
    """Return where a sample broke off (or -1), its time, and the bits of its value."""
    time, bits = np.uint64(0), np.uint64(0)
    while at < end:
        begun = at
        tag, at = varint(data, at, end)
        if at < 0:
            return begun, np.int64(0), bits
        if tag == np.uint64(9) and end - at >= 8:
            bits = word(data, at)
            at += 8
        elif tag == np.uint64(16):
            time, at = varint(data, at, end)
        elif tag >> np.uint64(3) in (1, 2):
            at = -1
        else:
            at = passed(data, at, end, tag)
        if at < 0:
            return begun, np.int64(0), bits
    return -1, np.int64(time), bits


@numba.njit(cache=True, nogil=True, fastmath=False)
def _histogram(data: Bytes, at: Int, end: Int, out: Bits, n: int) -> tuple[Int, np.int64]:
    """Write count and sum to out[n] and out[n + 1]; return where it broke off (or -1), and when."""
    time, count = np.uint64(0), np.uint64(0)
    counts = out[n : n + 1].view(np.float64)
    out[n], out[n + 1] = np.uint64(0), np.uint64(0)
    while at < end:
        begun = at
        tag, at = varint(data, at, end)
        if at < 0:
            return begun, np.int64(0)
        if tag == np.uint64(8):
            count, at = varint(data, at, end)
            counts[0] = np.float64(count)
        elif tag == np.uint64(17) and end - at >= 8:
            out[n] = word(data, at)
            at += 8
        elif tag == np.uint64(25) and end - at >= 8:
            out[n + 1] = word(data, at)
            at += 8
        elif tag == np.uint64(120):
            time, at = varint(data, at, end)
        elif tag >> np.uint64(3) in (1, 2, 3, 15):
            at = -1
        else:
            at = passed(data, at, end, tag)
        if at < 0:
            return begun, np.int64(0)
    if out[n + 1] == STALE:  # a stale histogram says so in its sum only
        out[n] = STALE
    return -1, np.int64(time)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _usual(
    data: Bytes, at: int, tag: int, s: int, n: int, series_max: int,
    labels: Places, slot: Rows, times: Times, bits: Bits,
) -> tuple[Int, int, int]:  # fmt: skip
    """Read series after series as all senders write them: short labels, then samples.

    Return where that ended (at the first series that is otherwise), how many series and how many
    samples there are then. It calls nothing that may refuse, which compiles to straight code ten
    times as fast as `_series`.
    """
    end, room = len(data), len(slot)
    while s < series_max and end - at > 3 and data[np.uint64(at)] == tag:
        length: Int = np.int64(data[np.uint64(at + 1)])
        first: Int = at + 2
        if length > 127:
            length, first = length & 127 | np.int64(data[np.uint64(at + 2)]) << 7, at + 3
        last: Int = first
        stop, samples = first + length, n
        if length > 0x3FFF or stop > end:
            break
        while stop - last > 1 and data[np.uint64(last)] == 10 and data[np.uint64(last + 1)] < 128:
            last += 2 + np.int64(data[np.uint64(last + 1)])
        labels[s, 0], labels[s, 1], labels[s, 2] = first, last, 0
        while stop - last >= 18 and samples < room:
            when = usual_time(data, last)
            if when < 0:
                break
            slot[samples], times[samples], bits[samples] = 4 * s, when, word(data, last + 3)
            last, samples = last + 18, samples + 1
        if last != stop or samples == n:
            break
        at, s, n = stop, s + 1, samples
    return at, s, n


@numba.njit(cache=True, nogil=True, fastmath=False)
def _series(
    data: Bytes, at: Int, end: Int, version: int,
    labels: Places, slot: Rows, times: Times, bits: Bits, s: int, n: int,
) -> tuple[int, Int, int, int, int]:  # fmt: skip
    """Read one series, whatever it looks like; return how it ended, where, and counts.

    :param s: its number. :param n: how many samples there are so far, as in what is returned.
    """
    histogram = np.uint64(34 if version == 1 else 26)
    exemplar = np.uint64(26 if version == 1 else 34)
    first, last, apart, histograms, exemplars = at, at, False, 0, 0
    room = len(slot)
    while at < end:
        begun = at
        tag, at = varint(data, at, end)
        if at < 0:
            return BROKEN, begun, n, histograms, exemplars
        if tag == np.uint64(10) or (tag == np.uint64(8) and version == 2):
            at = passed(data, at, end, tag)
            apart = apart or (last > first and last < begun)
            first, last = (first if last > first else begun), at
        elif tag == np.uint64(18) or tag == histogram:
            start, at = span(data, at, end)
            if at >= 0 and n + 2 > room:
                return SAMPLES, begun, n, histograms, exemplars
            if at >= 0 and tag == histogram:
                broken, time = _histogram(data, start, at, bits, n)
                times[n], times[n + 1] = time, time
                slot[n], slot[n + 1] = 4 * s + COUNT, 4 * s + SUM
                n, histograms = n + 2, histograms + 1
                at = at if broken < 0 else -1
            elif at >= 0:
                broken, times[n], bits[n] = _sample(data, start, at)
                slot[n] = 4 * s
                n += 1
                at = at if broken < 0 else -1
        elif tag >> np.uint64(3) in (1, 2, 3, 4) and tag != exemplar:
            at = -1
        else:
            exemplars += tag == exemplar
            at = passed(data, at, end, tag)
        if at < 0:
            return BROKEN, begun, n, histograms, exemplars
    labels[s, 0], labels[s, 1], labels[s, 2] = first, last, APART if apart else 0
    return FINE, end, n, histograms, exemplars


@numba.njit(cache=True, nogil=True, fastmath=False)
def scan(data: Bytes, version: int, series_max: int, found: Found) -> Scanned:
    """Read a whole request. :param version: 1 or 2. :param series_max: how many it may have."""
    labels, slot, times, bits, symbol = found
    series_tag = 10 if version == 1 else 42
    at, end, s, n, bare, symbols = 0, len(data), 0, 0, 0, 0
    histograms, exemplars, status, begun = 0, 0, FINE, 0
    while at < end and status == FINE:
        at, s, n = _usual(data, at, series_tag, s, n, series_max - bare, labels, slot, times, bits)
        if at == end:
            break
        begun = at
        tag, at = varint(data, at, end)
        number = tag >> np.uint64(3)
        if at < 0:
            status = BROKEN
        elif tag == np.uint64(series_tag):
            start, at = span(data, at, end)
            if at < 0 or s + bare >= series_max:
                status = BROKEN if at < 0 else SERIES
                continue
            status, begun, now, more, examples = _series(
                data, start, at, version, labels, slot, times, bits, s, n
            )
            histograms, exemplars = histograms + more, exemplars + examples
            s, bare, n = (
                s + (now > n),
                bare + (now == n),
                now,
            )  # what has no samples leaves no trace
        elif tag == np.uint64(34) and version == 2:
            start, at = span(data, at, end)
            if at < 0 or symbols >= len(symbol):
                status = BROKEN if at < 0 else SYMBOLS
                continue
            symbol[symbols, 0], symbol[symbols, 1] = start, at
            symbols += 1
        elif number in (1, 4, 5) or (version == 2 and number in (2, 3)):
            status = OTHER
        else:
            at = passed(data, at, end, tag)
            status = BROKEN if at < 0 else FINE
    return Scanned(status, end if status == FINE else begun, s, n, histograms, exemplars, symbols)
