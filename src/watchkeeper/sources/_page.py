"""A page of metrics cut into columns: where lines begin, what is known of them, plain numbers.

A page repeats itself: the same names and labels every round, other values. All that is done here
for each line is done by Arrow and numpy, outside the interpreter's lock, so a page of a hundred
thousand lines keeps no other thread waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper.model import Floats

Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

EOF = b"# EOF"
FEED, SPACE, HASH = b"\n"[0], b" "[0], b"#"[0]
# Numbers that Arrow and Python read to the same double, and what others are called.
PLAIN = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?$"
NAMED = pa.array([b"NaN", b"+Inf", b"-Inf"])
NAMED_VALUES = np.array([np.nan, np.inf, -np.inf])


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a page that are whole. :param tail: what follows the last line feed."""

    page: bytes
    starts: Places
    ends: Places
    tail: bytes

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> bytes:
        """Return one line, counted from 0."""
        return self.page[self.starts[number] : self.ends[number]]

    def until(self, count: int) -> Lines:
        """Return the first of them."""
        return replace(self, starts=self.starts[:count], ends=self.ends[:count])

    def silent(self) -> Flags:
        """Return which lines are empty or begin as a remark."""
        silent: Flags = (self.starts == self.ends) | (_bytes(self.page, self.starts) == HASH)
        return silent


class Known:
    """What lines are known to begin with, and the series each stands for."""

    def __init__(self) -> None:
        self._heads, self._rows = pa.array([], pa.large_binary()), np.empty(0, np.int64)
        self._last: tuple[pa.Array, Places] | None = None

    def learn(self, heads: Mapping[bytes, int]) -> None:
        """Take up what was added; nothing is ever taken away."""
        if len(heads) != len(self._heads):
            self._heads = pa.array(list(heads), pa.large_binary())
            self._rows = np.fromiter(heads.values(), np.int64, len(heads))
            self._last = None

    def rows(self, heads: pa.Array) -> Places:
        """Return the series of each line, -1 where it is not known."""
        if self._last is None or not self._last[0].equals(heads):
            found = pc.index_in(heads, value_set=self._heads).fill_null(-1).to_numpy()
            rows = np.append(self._rows, -1)[found]
            self._last = heads, rows
        return self._last[1]


def lines_of(page: bytes) -> Lines:
    """Cut a page into lines."""
    ends = np.flatnonzero(np.frombuffer(page, np.uint8) == FEED)
    starts = np.append(0, ends + 1)
    return Lines(page, starts[:-1], ends, page[starts[-1] :])


def parted(lines: Lines) -> tuple[pa.Array, pa.Array]:
    """Return what is before the last space of each line, and what is behind it."""
    data = np.frombuffer(lines.page, np.uint8)
    spaces = np.append(-1, np.flatnonzero(data == SPACE))
    last = spaces[np.searchsorted(spaces, lines.ends) - 1]
    none = last < lines.starts
    marks = np.stack(
        [lines.starts, np.where(none, lines.starts, last), np.where(none, lines.starts, last + 1)]
    )
    bounds = np.append(np.vstack([marks, lines.ends]).T.ravel(), lines.ends[-1:])
    count = 4 * len(lines)
    pieces = pa.Array.from_buffers(
        pa.large_binary(), count, [None, pa.py_buffer(bounds), pa.py_buffer(lines.page)]
    )
    every = np.arange(0, count, 4)
    return pieces.take(pa.array(every)), pieces.take(pa.array(every + 2))


def numbers(texts: pa.Array) -> tuple[Flags, Floats]:
    """Return which texts are numbers in the usual form, and those; other values mean nothing."""
    plain = pc.match_substring_regex(texts, PLAIN)
    named = pc.index_in(texts, value_set=NAMED.cast(texts.type)).fill_null(-1).to_numpy()
    values = np.append(NAMED_VALUES, 0.0)[named]
    told: Flags = plain.to_numpy(zero_copy_only=False)
    values[told] = texts.filter(plain).cast(pa.large_string()).cast(pa.float64()).to_numpy()
    return told | (named >= 0), values


def _bytes(page: bytes, places: Places) -> npt.NDArray[np.uint8]:
    """Return the byte at each place; what lies behind the page is 0."""
    data = np.frombuffer(page, np.uint8)
    found: npt.NDArray[np.uint8] = data[np.minimum(places, len(data) - 1)]
    return found
