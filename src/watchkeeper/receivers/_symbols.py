"""Version 2 of remote write names labels by reference; here they are written out.

A sender numbers its texts anew in every request, so references say nothing about identity. Each
series' labels are written as version 1 would have them: the same series has the same bytes however
it came, and may cost no more than it would have there.
"""

from __future__ import annotations

import numba
import numpy as np

from watchkeeper.model import Rows
from watchkeeper.receivers import Limits
from watchkeeper.receivers._wire import LONG, MANY, ODD, REFERENCE, Bytes, Int, Places, span, varint


def written_out(data: Bytes, labels: Places, symbols: Places, limits: Limits) -> tuple[Bytes, bool]:
    """Return the labels of all series as text, and whether that is within the limit of a body.

    :param labels: begin and end of each series' references, 0 or why they are refused; what they
        say afterwards is where the labels lie in the text, and more of them may be refused.
    """
    most = 2 * limits.labels
    room = min(int((labels[:, 1] - labels[:, 0]).sum()), len(labels) * most)
    references: Rows = np.empty(room, dtype=np.uint32)
    _references(data, labels, len(symbols), most, references)
    size = _measure(references, labels, symbols, max(limits.name, limits.value))
    if size > limits.body:
        return data, False
    text: Bytes = np.empty(size, dtype=np.uint8)
    _write(references, labels, data, symbols, text)
    return text, True


@numba.njit(cache=True, nogil=True, fastmath=False)
def _usual(
    data: Bytes, labels: Places, s: int, n: int, known: int, most: int, out: Rows
) -> tuple[int, int]:
    """Write out references as all senders pack them: in one field, each of at most two bytes.

    Return the first series that has them otherwise or that must be refused, and how many
    references there are then. It calls nothing that may refuse, for speed (`_wire._usual`).
    """
    while s < len(labels):
        at: Int = labels[s, 0] + 2
        end, m = labels[s, 1], n
        if labels[s, 2] != 0 or end - at < 2 or end - at > 127 or data[np.uint64(at - 2)] != 10:
            break
        if data[np.uint64(at - 1)] != end - at or end - at > most:
            break
        while at < end:
            symbol: Int = np.int64(data[np.uint64(at)])
            at += 1
            if symbol > 127:
                more = np.int64(data[np.uint64(at)]) if at < end else np.int64(128)
                symbol, at = symbol & 127 | more << 7, at + 1
            if symbol >= min(known, 1 << 14):  # or it breaks off, or has more bytes
                break
            out[m], m = symbol, m + 1
        if symbol >= min(known, 1 << 14) or (m - n) % 2 == 1:
            break
        labels[s, 0], labels[s, 1] = n, m
        s, n = s + 1, m
    return s, n


@numba.njit(cache=True, nogil=True, fastmath=False)
def _references(data: Bytes, labels: Places, known: int, most: int, out: Rows) -> None:
    """Write out all references, packed or not, and where those of each series are in `out`."""
    s, n = 0, 0
    while s < len(labels):
        s, n = _usual(data, labels, s, n, known, most, out)
        if s < len(labels):
            n = _series(data, labels, s, n, known, most, out)
            s += 1


@numba.njit(cache=True, nogil=True, fastmath=False)
def _series(data: Bytes, labels: Places, s: int, n: int, known: int, most: int, out: Rows) -> int:
    """Write out the references of one series; return how many there are then."""
    at, end, refused, begun = labels[s, 0], labels[s, 1], labels[s, 2], n
    while at < end and refused == 0:
        tag, start = varint(data, at, end)
        at = varint(data, start, end)[1]
        if tag == np.uint64(10):
            start, at = span(data, start, end)
        while start < at and refused == 0:
            symbol, start = varint(data, start, at)
            if start < 0 or symbol >= np.uint64(known):
                refused = REFERENCE
            elif n - begun >= most:
                refused = MANY
            else:
                out[n], n = symbol, n + 1
    if refused == 0 and (n - begun) % 2 == 1:
        refused = ODD
    n = n if refused == 0 else begun
    labels[s, 0], labels[s, 1], labels[s, 2] = begun, n, refused
    return n


@numba.njit(cache=True, nogil=True, fastmath=False)
def _size(length: int) -> int:
    """Return how many bytes a length takes as a varint."""
    size = 1
    while length > 127:
        length, size = length >> 7, size + 1
    return size


@numba.njit(cache=True, nogil=True, fastmath=False)
def _length(name: int, value: int) -> int:
    """Return how many bytes the inside of a label takes."""
    return 2 + _size(name) + name + _size(value) + value


@numba.njit(cache=True, nogil=True, fastmath=False)
def _measure(references: Rows, labels: Places, symbols: Places, longest: int) -> int:
    """Refuse labels with too long a text; return how many bytes all others take."""
    total = 0
    for s in range(len(labels)):
        size = 0
        for k in range(labels[s, 0], labels[s, 1], 2):
            n, v = references[k], references[k + 1]
            name, value = symbols[n, 1] - symbols[n, 0], symbols[v, 1] - symbols[v, 0]
            if name > longest or value > longest:
                labels[s, 2], size = LONG, 0
                break
            inside = _length(name, value)
            size += 1 + _size(inside) + inside
        total += size
    return total


@numba.njit(cache=True, nogil=True, fastmath=False)
def _put(text: Bytes, at: int, tag: int, length: int) -> int:
    """Write a tag and a length; return where they end."""
    text[at], at = tag, at + 1
    while length > 127:
        text[at], at, length = length & 127 | 128, at + 1, length >> 7
    text[at] = length
    return at + 1


@numba.njit(cache=True, nogil=True, fastmath=False)
def _copy(text: Bytes, at: int, data: Bytes, start: int, end: int) -> int:
    to, of = np.uint64(at), np.uint64(start)
    for k in range(np.uint64(end - start)):
        text[to + k] = data[of + k]
    return at + end - start


@numba.njit(cache=True, nogil=True, fastmath=False)
def _write(references: Rows, labels: Places, data: Bytes, symbols: Places, text: Bytes) -> None:
    """Write the labels that are not refused, one series behind the other."""
    to = 0
    for s in range(len(labels)):
        begun, start, end = to, labels[s, 0], labels[s, 1]
        if labels[s, 2] != 0:
            end = start
        for k in range(start, end, 2):
            n, v = references[k], references[k + 1]
            name, value = symbols[n, 1] - symbols[n, 0], symbols[v, 1] - symbols[v, 0]
            to = _put(text, to, 10, _length(name, value))
            to = _copy(text, _put(text, to, 10, name), data, symbols[n, 0], symbols[n, 1])
            to = _copy(text, _put(text, to, 18, value), data, symbols[v, 0], symbols[v, 1])
        labels[s, 0], labels[s, 1] = begun, to
