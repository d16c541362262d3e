"""What the labels of one series say, read strictly and once; afterwards their bytes are known."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np

from watchkeeper.model import Reason, Rows
from watchkeeper.receivers import Limits
from watchkeeper.receivers._seen import Seen, texts
from watchkeeper.receivers._wire import APART, LONG, MANY, ODD, REFERENCE, Bytes, Int, Places

NAME = "__name__"
UNREAD = {
    APART: (Reason.MALFORMED, "the labels of a series stand together"),
    LONG: (Reason.TOO_LARGE, "a label's name or value is too long"),
    REFERENCE: (Reason.MALFORMED, "labels_refs point into symbols"),
    ODD: (Reason.MALFORMED, "labels_refs are pairs of name and value"),
    MANY: (Reason.TOO_LARGE, "a series has too many labels"),
}


PORTION = 1024  # blocks read at once
Labels = tuple[str, dict[str, str]]  # the metric's name, and the other labels


class Refused(Exception):
    """These labels name no series. :param reason: why. :param detail: what was expected."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def longest(limits: Limits) -> int:
    """Return how many bytes the labels of one series can have within the limits."""
    return limits.labels * (limits.name + limits.value + 24)  # 24: tags and lengths


def read_all(seen: Seen, numbers: Rows, limits: Limits) -> Iterator[Labels | None]:
    """Yield what `read` says of each block; None of those that it refuses.

    Where a kernel has seen that labels are as they should be, they need only be cut out.
    """
    for first in range(0, len(numbers), PORTION):
        text, ends = seen.blocks(numbers[first : first + PORTION])
        places: Places = np.empty((len(text) // 4 + 1, 4), dtype=np.int64)
        counts: Places = np.empty(len(ends) - 1, dtype=np.int64)
        found = _plain(text, ends, limits.labels, limits.name, limits.value, places, counts)
        cuts, whole, at = places[:found].tolist(), text.tobytes(), 0
        plain = whole.decode("ascii", "replace")
        for block, count in enumerate(counts.tolist()):
            labels = {plain[a:b]: plain[c:d] for a, b, c, d in cuts[at : at + count]}
            at += count
            metric = labels.pop(NAME, "")
            if metric and len(metric) <= limits.name:
                yield metric, labels
                continue
            try:
                yield read(whole[ends[block] : ends[block + 1]], limits)
            except Refused:
                yield None


def read(block: bytes, limits: Limits) -> Labels:
    """Return the metric's name and the other labels.

    :raises Refused: they cannot be read, break a rule of remote write, or are too large.
    """
    places = np.empty((limits.labels, 4), dtype=np.int64)
    places[:] = 0
    count = texts(np.frombuffer(block, dtype=np.uint8), places)
    if count < 0:
        raise Refused(Reason.MALFORMED, "labels are pairs of name and value")
    if count > limits.labels:
        raise Refused(*UNREAD[MANY])
    labels = {}
    last = ""
    for begin, end, start, stop in places[:count].tolist():
        if end - begin > limits.name or stop - start > limits.value:
            raise Refused(*UNREAD[LONG])
        try:
            name, value = block[begin:end].decode(), block[start:stop].decode()
        except UnicodeDecodeError:
            raise Refused(Reason.BAD_NAME, "names and values of labels are UTF-8") from None
        if not value or name <= last:
            raise Refused(Reason.BAD_NAME, _broken_rule(name, value, last))
        labels[name], last = value, name
    metric = labels.pop(NAME, "")
    if not metric or len(metric.encode()) > limits.name:
        rule = "the name of the metric is not too long" if metric else f"a series has a {NAME}"
        raise Refused(Reason.TOO_LARGE if metric else Reason.BAD_NAME, rule)
    return metric, labels


def _broken_rule(name: str, value: str, last: str) -> str:
    if not name or not value:
        return "no label has an empty name or value"
    return "no label is given twice" if name == last else "labels are sorted by name"


def shown(block: bytes) -> str:
    """Return labels that cannot be used in a form fit to be looked at."""
    text = block[:400].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


@numba.njit(cache=True, nogil=True, fastmath=False)
def _plain(
    text: Bytes, ends: Places, most: int, name: int, value: int, out: Places, counts: Places
) -> int:
    """Write where names and values begin and end, four a label, of blocks beyond doubt.

    Those are written as all senders do it, in ASCII, within the limits and in order. Of any other
    block nothing is written, and its count is 0. Return how many labels there are.
    """
    to = 0
    for block in range(len(counts)):
        at: Int = ends[block]
        end, begun = ends[block + 1], to
        while at < end and to - begun < most and to < len(out):
            start = at + 4
            if end - at < 6 or text[at] != 10 or text[at + 1] > 127 or text[at + 2] != 10:
                break
            stop = start + text[at + 3]
            last = at + 2 + text[at + 1]
            if last > end or stop + 2 > last or text[stop] != 18 or stop - start > name:
                break
            length = last - stop - 2
            if stop == start or text[stop + 1] != length or not 0 < length <= value:
                break
            if to > begun and not _before(text, out[to - 1, 0], out[to - 1, 1], start, stop):
                break
            out[to, 0], out[to, 1], out[to, 2], out[to, 3] = start, stop, stop + 2, last
            to, at = to + 1, last
        high = False
        for k in range(ends[block], end):
            high = high or text[k] > 127
        if at < end or high:
            to = begun
        counts[block] = to - begun
    return to


@numba.njit(cache=True, nogil=True, fastmath=False)
def _before(text: Bytes, start: Int, stop: Int, other: Int, end: Int) -> bool:
    """Return whether one text comes before another one."""
    for k in range(min(stop - start, end - other)):
        if text[start + k] != text[other + k]:
            return bool(text[start + k] < text[other + k])
    return bool(stop - start < end - other)
