"""Line protocol cut into columns by a kernel.

    measurement,tag=value,tag=value field=1.5,field=2i 1700000000000000000

What comes before the first space is the block; it names the series together with the field. Each
field is a sample. The kernel finds where blocks and field names stand and reads values and times;
what names mean is looked at once for each new one, elsewhere. A value that is no number costs its
field, anything else that cannot be read costs its line.

Grammar: docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference. A backslash
escapes a comma, an equals sign or a space, and within quotes a quote or a backslash; before
anything else it stands for itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.model import Times
from watchkeeper.receivers._floats import U64, double_bits
from watchkeeper.receivers._wire import word

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int32]

CAPACITY = 1 << 16  # fields of one portion, and the most that one line may have

LINE_FEED, TAB, CARRIAGE_RETURN, SPACE, QUOTE, HASH = 10, 9, 13, 32, 34, 35
PLUS, COMMA, MINUS, POINT, NOUGHT, EQUALS, BACKSLASH = 43, 44, 45, 46, 48, 61, 92
LETTER_A, LETTER_E, LETTER_I, LETTER_U = 65, 101, 105, 117
TRUE, FALSE, NAN = tuple(b"true"), tuple(b"false"), tuple(b"nan")
INF, INFINITY = tuple(b"inf"), tuple(b"infinity")
ONE, INF_BITS, NAN_BITS = (np.uint64(bits << 48) for bits in (0x3FF0, 0x7FF0, 0x7FF8))
NO_ROOM = np.uint64((1 << 64) - 1)  # a number behind which no digit fits
LOWER = 32  # the bit that makes a letter small

NUMBER, ODD, WRONG, TEXT = (
    0,
    1,
    2,
    3,
)  # a value; odd: too many digits, for Python
# Why a record was refused. Those from NO_FIELDS on cost the whole line.
NOT_A_NUMBER, A_TEXT, NO_FIELDS, NO_NAME, UNCLOSED, NO_TIME, TOO_MANY = 0, 1, 2, 3, 4, 5, 6
FULL = 7

TENTH = np.uint64((1 << 64) // 10)  # one more digit behind it fits 64 bits, if at most 5
MS_LIMIT = 1 << 62  # milliseconds beyond any calendar, yet safe to reckon with


class Tokens(NamedTuple):
    """Columns of one portion; each call of `scan` fills them from the front.

    A point is a line that says something, a sample one of its fields. Places are in the body.
    """

    points: Places  # start and end of the block
    samples: Places  # number of the point, start and end of the field's name, line
    bits: U64  # of each sample's value
    times: Times  # of each sample
    odd: Places  # a sample whose value is left to Python; start and end of the value
    refused: Places  # fault, line, start and end of the line, start and end of what was wrong


class Scanned(NamedTuple):
    """How far a call of `scan` came, and how much of each column it filled."""

    at: int
    line: int
    points: int
    samples: int
    odd: int
    refused: int


def tokens() -> Tokens:
    """Return columns to be filled."""
    places = (np.empty((CAPACITY, width), np.int32) for width in (2, 4, 3, 6))
    points, samples, odd, refused = places
    bits, times = np.empty(CAPACITY, np.uint64), np.empty(CAPACITY, np.int64)
    return Tokens(points, samples, bits, times, odd, refused)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _holds(eight: np.uint64, byte: int) -> np.uint64:
    """Return 0 unless one of eight bytes is `byte` (Warren, Hacker's Delight, section 6-1)."""
    ones = np.uint64(0x0101010101010101)
    same = eight ^ (ones * np.uint64(byte))
    return (same - ones) & ~same & np.uint64(0x8080808080808080)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _block_end(data: Bytes, at: int, end: int) -> int:
    """Return where the block that begins at `at` ends: at a space, a line feed or the end."""
    while at < end:
        while at + 8 <= end:
            eight = word(data, at)
            if _holds(eight, SPACE) | _holds(eight, LINE_FEED) | _holds(eight, BACKSLASH):
                break
            at += 8
        for _ in range(min(8, end - at)):
            byte = data[at]
            if byte in (SPACE, LINE_FEED):
                return at
            at += 2 if byte == BACKSLASH and at + 1 < end and data[at + 1] == SPACE else 1
            if at >= end:
                return end
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _name_end(data: Bytes, at: int, end: int) -> int:
    """Return where a field's name ends: at an equals sign, or at what cannot be in it."""
    while at < end:
        byte = data[at]
        if byte in (EQUALS, COMMA, SPACE, LINE_FEED):
            return at
        if byte == BACKSLASH and at + 1 < end:
            after = data[at + 1]
            at += 1 if after in (EQUALS, COMMA, SPACE) else 0
        at += 1
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _value_end(data: Bytes, at: int, end: int) -> int:
    while at < end:
        byte = data[at]
        if byte in (COMMA, SPACE, LINE_FEED, CARRIAGE_RETURN):
            return at
        at += 1
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _quoted_end(data: Bytes, at: int, end: int) -> int:
    """Return where the text whose quote opens at `at` ends, behind its quote; -1: nowhere."""
    at += 1
    while at < end:
        byte = data[at]
        if byte == QUOTE:
            return at + 1
        escaped = byte == BACKSLASH and at + 1 < end
        at += 2 if escaped and (data[at + 1] == QUOTE or data[at + 1] == BACKSLASH) else 1
    return -1


@numba.njit(cache=True, nogil=True, fastmath=False)
def _line_end(data: Bytes, at: int, end: int) -> int:
    """Return the line feed that ends the line at `at`; those in a text that is closed do not."""
    at = _block_end(data, at, end)
    while at < end and data[at] != LINE_FEED:
        if data[at] == QUOTE and data[at - 1] == EQUALS:
            behind = _quoted_end(data, at, end)
            at = behind if behind > 0 else at + 1
        else:
            at += 1
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _feeds(data: Bytes, at: int, end: int) -> int:
    count = 0
    for k in range(at, end):
        count += data[k] == LINE_FEED
    return count


@numba.njit(cache=True, nogil=True, fastmath=False)
def _digits(data: Bytes, at: int, end: int, number: np.uint64) -> tuple[int, np.uint64, int]:
    """Read digits behind those in `number`; return how many did not fit, which are left out."""
    left_out = 0
    while at < end and np.uint8(data[at] - np.uint8(NOUGHT)) < 10:
        digit = np.uint64(data[at] - np.uint8(NOUGHT))
        fits = number < TENTH or (number == TENTH and digit <= np.uint64(5))
        if left_out == 0 and fits:
            number = number * np.uint64(10) + digit
        else:
            left_out += 1
        at += 1
    return at, number, left_out


@numba.njit(cache=True, nogil=True, fastmath=False)
def _exponent(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Read what follows an `e`; return -1 as the place when there is no digit."""
    negative = at < end and data[at] == MINUS
    if at < end and (data[at] == MINUS or data[at] == PLUS):
        at += 1
    behind, number, left_out = _digits(data, at, end, np.uint64(0))
    if behind == at:
        return -1, 0
    large = left_out > 0 or number > np.uint64(1_000_000)
    power = 1_000_000 if large else int(np.int64(number))
    return behind, -power if negative else power


@numba.njit(cache=True, nogil=True, fastmath=False)
def _spells(data: Bytes, at: int, behind: int, letters: tuple[int, ...]) -> bool:
    """Return whether the word at `at` is the one of these small letters, in any case."""
    if behind - at != len(letters):
        return False
    for k in range(len(letters)):  # noqa: SIM110  a kernel has no generators
        if data[at + k] | LOWER != letters[k]:
            return False
    return True


@numba.njit(cache=True, nogil=True, fastmath=False)
def _named(data: Bytes, at: int, end: int) -> tuple[int, int, np.uint64]:
    """Read a truth value, `nan` or an infinity."""
    behind = _value_end(data, at, end)
    if behind == at + 1:
        kind = NUMBER if data[at] | LOWER in (TRUE[0], FALSE[0]) else WRONG
        return kind, behind, ONE if data[at] | LOWER == TRUE[0] else np.uint64(0)
    if _spells(data, at, behind, TRUE):
        return NUMBER, behind, ONE
    if _spells(data, at, behind, FALSE):
        return NUMBER, behind, np.uint64(0)
    if _spells(data, at, behind, NAN):
        return NUMBER, behind, NAN_BITS
    if _spells(data, at, behind, INF) or _spells(data, at, behind, INFINITY):
        return NUMBER, behind, INF_BITS
    return WRONG, behind, np.uint64(0)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _number(data: Bytes, at: int, end: int, powers: U64) -> tuple[int, int, np.uint64]:
    """Read a number: its kind, its end and the bits of the double."""
    negative = data[at] == MINUS
    sign = np.uint64(negative) << np.uint64(63)
    if negative or data[at] == PLUS:
        at += 1
    first = at
    at, digits, left_out = _digits(data, at, end, np.uint64(0))
    seen, power, whole = at - first, 0, True
    if at < end and data[at] == POINT:
        before, whole = at + 1, False
        at, digits, more = _digits(data, before, end, digits if left_out == 0 else NO_ROOM)
        left_out, power, seen = left_out + more, before - at, seen + at - before
    if seen == 0:
        kind, behind, bits = _named(data, first, end)
        return kind if bits >= INF_BITS else WRONG, behind, bits | sign
    if at < end and data[at] | LOWER == LETTER_E:
        at, exponent = _exponent(data, at + 1, end)
        if at < 0:
            return WRONG, _value_end(data, first, end), np.uint64(0)
        power, whole = power + exponent, False
    elif whole and at < end and (data[at] == LETTER_I or data[at] == LETTER_U):
        top = np.uint64((1 << 63) - (0 if negative else 1))
        signed = data[at] == LETTER_I
        if left_out > 0 or (digits > top if signed else negative):
            return WRONG, _value_end(data, first, end), np.uint64(0)
        at += 1
    behind = _value_end(data, at, end)
    if behind != at:
        return WRONG, behind, np.uint64(0)
    told, bits = double_bits(digits, power, powers)
    if left_out > 0 or not told:
        return ODD, at, np.uint64(0)
    return NUMBER, at, bits | sign


@numba.njit(cache=True, nogil=True, fastmath=False)
def _value(data: Bytes, at: int, end: int, powers: U64) -> tuple[int, int, np.uint64]:
    """Read the value that begins at `at`: its kind, where it ends (-1: nowhere) and its bits."""
    if at >= end:
        return WRONG, at, np.uint64(0)
    if data[at] == QUOTE:
        behind = _quoted_end(data, at, end)
        if behind > 0 and _value_end(data, behind, end) != behind:
            return WRONG, _value_end(data, behind, end), np.uint64(0)
        return TEXT, behind, np.uint64(0)
    if data[at] >= LETTER_A:
        return _named(data, at, end)
    return _number(data, at, end, powers)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _blank(data: Bytes, at: int, end: int) -> int:
    """Return where what is not blank begins."""
    while at < end and (data[at] == SPACE or data[at] == TAB or data[at] == CARRIAGE_RETURN):
        at += 1
    return at


@numba.njit(cache=True, nogil=True, fastmath=False)
def _time(data: Bytes, at: int, end: int, unit: int, arrived: int) -> tuple[int, int]:
    """Read what follows the fields; return the line feed's place (-1: none) and milliseconds.

    :param unit: nanoseconds if negative: how many of the unit make one millisecond; else how
        many milliseconds one is.
    """
    at = _blank(data, at, end)
    negative = at < end and data[at] == MINUS
    start = at + 1 if negative else at
    at, number, left_out = _digits(data, start, end, np.uint64(0))
    seen = at > start
    at = _blank(data, at, end)
    if (at < end and data[at] != LINE_FEED) or (negative and not seen):
        return -1, 0
    if not seen:
        return at, arrived
    if left_out > 0 or number >= np.uint64(1 << 63):
        return -1, 0
    time = int(np.int64(number))
    time = -time if negative else time
    if unit < 0:
        return at, time // -unit
    return at, int(min(max(time, -MS_LIMIT // unit), MS_LIMIT // unit)) * unit


@numba.njit(cache=True, nogil=True, fastmath=False)
def _fields(
    data: Bytes, at: int, end: int, first: tuple[int, int, int], powers: U64,
    samples: Places, bits: U64, odd: Places, refused: Places,
) -> tuple[int, int, tuple[int, int, int]]:  # fmt: skip
    """Read the fields of one line; return the fault (-1: none), the place, and how many of each.

    :param first: how many samples, odd ones and refused records there are already.
    """
    filled, strange, faults = first
    while True:
        if filled == CAPACITY or faults == CAPACITY:
            return FULL, at, first
        name, at = at, _name_end(data, at, end)
        if at in (name, end) or data[at] != EQUALS:
            return NO_NAME, name, first
        start = at + 1
        kind, behind, found = _value(data, start, end, powers)
        if behind < 0:
            return UNCLOSED, start, first
        if kind <= ODD:
            samples[filled, 1], samples[filled, 2], bits[filled] = name, at, found
            if kind == ODD:
                odd[strange, 0], odd[strange, 1], odd[strange, 2] = filled, start, behind
                strange += 1
            filled += 1
        else:
            refused[faults, 0] = NOT_A_NUMBER if kind == WRONG else A_TEXT
            refused[faults, 4], refused[faults, 5] = name, at
            faults += 1
        at = behind
        if at >= end or data[at] != COMMA:
            return -1, at, (filled, strange, faults)
        at += 1


@numba.njit(cache=True, nogil=True, fastmath=False)
def scan(
    data: Bytes, at: int, line: int, unit: int, arrived: int, powers: U64,
    points: Places, samples: Places, bits: U64, times: Times, odd: Places, refused: Places,
) -> Scanned:  # fmt: skip
    """Read lines from `at` on until the columns (of Tokens) are full or the body ends.

    :param line: the number of the line at `at`. :param unit: see `_time`.
    """
    end, said, count = len(data), 0, (0, 0, 0)
    while at < end:
        start = at = _blank(data, at, end)
        if at == end or data[at] == LINE_FEED or data[at] == HASH:
            while at < end and data[at] != LINE_FEED:
                at += 1
            at, line = at + 1, line + 1
            continue
        if count[2] == CAPACITY:
            return Scanned(start, line, said, count[0], count[1], count[2])
        before = count
        block = at = _block_end(data, at, end)
        at = _blank(data, at, end)
        fault, time = NO_FIELDS, 0
        if at < end and data[at] != LINE_FEED:
            fault, at, count = _fields(data, at, end, before, powers, samples, bits, odd, refused)
        if fault < 0:
            spot = at
            at, time = _time(data, at, end, unit, arrived)
            if at < 0:
                fault, at, count = NO_TIME, spot, before
        if fault == FULL and said + count[2] > 0:
            return Scanned(start, line, said, count[0], count[1], count[2])
        stop = at if fault < 0 else _line_end(data, start, end)
        if fault >= 0:
            refused[count[2], 0] = fault if fault != FULL else TOO_MANY
            refused[count[2], 4], refused[count[2], 5] = at, stop
            count = (count[0], count[1], count[2] + 1)
        elif count[0] > before[0]:
            points[said, 0], points[said, 1] = start, block
            for k in range(before[0], count[0]):
                samples[k, 0], samples[k, 3], times[k] = said, line, time
            said += 1
        for k in range(before[2], count[2]):
            refused[k, 1], refused[k, 2], refused[k, 3] = line, start, stop
        if count[2] > before[2]:  # only a text, or what is wrong, may hold line feeds
            line += _feeds(data, start, stop)
        at, line = stop + 1, line + 1
    return Scanned(end, line, said, count[0], count[1], count[2])
