"""What the labels of one series say, read strictly and once; afterwards their bytes are known."""

from __future__ import annotations

import numpy as np

from watchkeeper.model import Reason
from watchkeeper.receivers import Limits
from watchkeeper.receivers._seen import texts
from watchkeeper.receivers._wire import APART, LONG, MANY, ODD, REFERENCE

NAME = "__name__"
UNREAD = {
    APART: (Reason.MALFORMED, "the labels of a series stand together"),
    LONG: (Reason.TOO_LARGE, "a label's name or value is too long"),
    REFERENCE: (Reason.MALFORMED, "labels_refs point into symbols"),
    ODD: (Reason.MALFORMED, "labels_refs are pairs of name and value"),
    MANY: (Reason.TOO_LARGE, "a series has too many labels"),
}


class Refused(Exception):
    """These labels name no series. :param reason: why. :param detail: what was expected."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def longest(limits: Limits) -> int:
    """Return how many bytes the labels of one series can have within the limits."""
    return limits.labels * (limits.name + limits.value + 24)  # 24: tags and lengths


def read(block: bytes, limits: Limits) -> tuple[str, dict[str, str]]:
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
