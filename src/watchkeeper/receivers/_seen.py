"""What a sender has named before, found by the very bytes it was named with.

A label block seen before is not read again: the table holds its bytes, and what became of it. The
bytes are always compared in full; a hash only says where to look. Senders keep their order, so the
block that followed last time is tried first, and no hash is needed at all.

The hash needs no secret. A block that would lie more than PROBES_MAX slots from its place makes
the table draw a new seed from the digest of the request at hand, so names chosen to collide cost
one new arrangement a request and nothing else.
"""

from __future__ import annotations

import hashlib

import numba
import numpy as np

from watchkeeper.model import Rows, Times
from watchkeeper.receivers._wire import Bits, Bytes, Int, Places, span, usual_time, varint, word
from watchkeeper.slots import ABSENT, fill, grown

UNSET = 0xFFFFFFFE  # known, and never asked for
REFUSED = 0xFFFFFFFD  # known not to be usable
FAR = 0xFFFFFFFE  # not where it may be looked for
PROBES_MAX = 256  # at half load a million blocks need about 70
PIECE = 32  # bytes compared at once
BYTES_A_BLOCK = 256  # of room for each block that may be remembered


class Seen:
    """The label blocks of one sender, numbered from 0 in order of first appearance.

    `rows` holds two elements a block, for the caller to fill: what its samples and what its
    histograms are known as, or UNSET, or REFUSED.
    """

    def __init__(self, limit: int) -> None:
        """:param limit: how many blocks may be remembered, of BYTES_A_BLOCK bytes on average."""
        self.count = 0
        self._limit, self._seed = limit, np.uint64(0)
        self._before: Int = 0
        self._slots: Rows = np.full(1024, ABSENT, dtype=np.uint32)
        self._hashes: Bits = np.empty(512, dtype=np.uint64)
        self._ends: Places = np.zeros(513, dtype=np.int64)
        self._text: Bytes = np.empty(1 << 16, dtype=np.uint8)
        self._after: Rows = np.full(513, ABSENT, dtype=np.uint32)  # by number + 1; 0: at first
        self.rows: Rows = np.full(1024, UNSET, dtype=np.uint32)

    @property
    def full(self) -> bool:
        """Whether it is time to forget all and begin anew."""
        return self.count > self._limit or int(self._ends[self.count]) > self._limit * BYTES_A_BLOCK

    def resolve(self, data: Bytes, labels: Places) -> Rows:
        """Return the number of each block of `labels` (begin, end, refused or 0) in `data`.

        :return: ABSENT for those that are refused.
        """
        self._make_room(len(labels), int((labels[:, 1] - labels[:, 0]).sum()))
        numbers: Rows = np.full(len(labels), ABSENT, dtype=np.uint32)
        done = 0
        while True:
            done, self.count, self._before = _resolve(
                data, labels, numbers, done, self.count, self._before, self._seed,
                self._slots, self._hashes, self._ends, self._text, self._after,
            )  # fmt: skip
            if done == len(labels):
                return numbers
            self._arrange_anew(data)

    def again(self, data: Bytes, most_series: int, rows: Rows, time: Times, bits: Bits) -> int:
        """Read a request of version 1 in one pass if it says only what was said before.

        :param rows: is filled, as are `time` and `bits`, with what each sample says.
        :return: how many samples there are; -1 when anything in it is new or unusual.
        """
        count, self._before = _again(
            data, most_series, self._before, self._seed, self._slots, self._hashes, self._ends,
            self._text, self._after, self.rows, rows, time, bits,
        )  # fmt: skip
        return int(count)

    def block(self, number: int) -> bytes:
        """Return the bytes of a block."""
        return self._text[self._ends[number] : self._ends[number + 1]].tobytes()

    def blocks(self, numbers: Rows) -> tuple[Bytes, Places]:
        """Return the bytes of blocks one behind the other, and where each begins and ends."""
        at = numbers.astype(np.int64)
        ends: Places = np.zeros(len(at) + 1, dtype=np.int64)
        np.cumsum(self._ends[at + 1] - self._ends[at], out=ends[1:])
        text: Bytes = np.empty(int(ends[-1]), dtype=np.uint8)
        _gather(self._text, self._ends, at, text)
        return text, ends

    def _arrange_anew(self, data: Bytes) -> None:
        digest = hashlib.blake2b(data.tobytes(), digest_size=8, salt=self._seed.tobytes()).digest()
        self._seed = np.frombuffer(digest, dtype=np.uint64)[0]
        _hash_all(self._text, self._ends, self.count, self._seed, self._hashes)
        self._place(len(self._slots))

    def _place(self, slots: int) -> None:
        self._slots = np.full(slots, ABSENT, dtype=np.uint32)
        fill(self._slots, self._hashes, 0, self.count)

    def _make_room(self, blocks: int, size: int) -> None:
        most = self.count + blocks
        if most > len(self._hashes):
            self._hashes = grown(self._hashes, 2 * most)
            self._ends = grown(self._ends, 2 * most + 1)
            self._after = grown(self._after, 2 * most + 1, ABSENT)
            self.rows = grown(self.rows, 4 * most, UNSET)
        if int(self._ends[self.count]) + size > len(self._text):
            self._text = grown(self._text, 2 * (int(self._ends[self.count]) + size))
        if 2 * most > len(self._slots):
            self._place(1 << (2 * most).bit_length())


@numba.njit(cache=True, nogil=True, fastmath=False)
def _hashed(data: Bytes, at: Int, end: Int, seed: np.uint64) -> np.uint64:
    """Mix eight bytes at a time, multiplied as in splitmix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    h = seed ^ np.uint64(end - at)
    while at < end:
        if end - at >= 8:
            piece = word(data, at)
        else:
            piece = np.uint64(0)
            for k in range(at, end):
                piece = piece << np.uint64(8) | np.uint64(data[np.uint64(k)])
        h = (h ^ piece) * np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(29)
        at += 8
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@numba.njit(cache=True, nogil=True, fastmath=False)
def _hash_all(text: Bytes, ends: Places, count: int, seed: np.uint64, hashes: Bits) -> None:
    for number in range(count):
        hashes[number] = _hashed(text, ends[number], ends[number + 1], seed)


@numba.njit(cache=True, nogil=True, fastmath=False, inline="always")
def _differ(one: Bytes, at: np.uint64, two: Bytes, there: np.uint64) -> np.uint64:
    """Return 0 when PIECE bytes are the same."""
    differ = np.uint64(0)
    for k in range(np.uint64(0), np.uint64(PIECE), np.uint64(8)):
        differ |= word(one, at + k) ^ word(two, there + k)
    return differ


@numba.njit(cache=True, nogil=True, fastmath=False)
def _same(one: Bytes, at: Int, two: Bytes, there: Int, length: Int) -> bool:
    """Compare without stopping early, which lets LLVM take 32 bytes at a time.

    The last 32 may overlap those before: a rest taken byte by byte costs as much as all the others.
    """
    i, j, size, differ = np.uint64(at), np.uint64(there), np.uint64(length), np.uint64(0)
    if size < np.uint64(PIECE):
        for k in range(size):
            differ |= np.uint64(one[i + k] ^ two[j + k])
        return bool(differ == 0)
    last = size - np.uint64(PIECE)
    for k in range(np.uint64(0), last, np.uint64(PIECE)):
        differ |= _differ(one, i + k, two, j + k)
    return bool(differ | _differ(one, i + last, two, j + last) == 0)


@numba.njit(cache=True, nogil=True, fastmath=False)
def _looked_up(
    data: Bytes, first: Int, length: Int, seed: np.uint64,
    slots: Rows, hashes: Bits, ends: Places, text: Bytes,
) -> tuple[np.uint32, np.uint64, np.uint64]:  # fmt: skip
    """Return the number of a block (ABSENT, or FAR from its place), its slot, and its hash."""
    mask, h = np.uint64(len(slots) - 1), _hashed(data, first, first + length, seed)
    slot = h & mask
    for _ in range(PROBES_MAX + 1):
        number = slots[slot]
        if number == ABSENT or (
            hashes[number] == h
            and ends[number + 1] - ends[number] == length
            and _same(data, first, text, ends[number], length)
        ):
            return number, slot, h
        slot = (slot + np.uint64(1)) & mask
    return np.uint32(FAR), slot, h


@numba.njit(cache=True, nogil=True, fastmath=False)
def _again(
    data: Bytes, most_series: int, before: Int, seed: np.uint64, slots: Rows, hashes: Bits,
    ends: Places, text: Bytes, after: Rows, known: Rows, rows: Rows, time: Times, bits: Bits,
) -> tuple[int, Int]:  # fmt: skip
    """Read series after series, each with the labels of one that is known, then samples.

    Where the labels end is where those that are expected end, so nothing in them is looked at
    but whether they are the same. Return how many samples there are (-1: something is otherwise),
    and 1 + the last series' number.
    """
    at: Int = 0
    end, room, s, n = len(data), len(rows), 0, 0
    while at < end:
        if s == most_series or end - at < 20 or data[np.uint64(at)] != 10:
            return -1, before
        length: Int = np.int64(data[np.uint64(at + 1)])
        first: Int = at + 2
        if length > 127:
            length, first = length & 127 | np.int64(data[np.uint64(at + 2)]) << 7, at + 3
        stop = first + length
        if length > 0x3FFF or stop > end:
            return -1, before
        number: Int = after[before]
        size: Int = ends[number + 1] - ends[number] if number != ABSENT else 0
        if (
            number == ABSENT
            or size > length - 18
            or not _same(data, first, text, ends[number], size)
            or data[np.uint64(first + size)] == 10
        ):
            last: Int = first
            while (
                stop - last >= 18
                and data[np.uint64(last)] == 10
                and data[np.uint64(last + 1)] < 128
            ):
                last += 2 + np.int64(data[np.uint64(last + 1)])
            size = last - first
            if size > length - 18:
                return -1, before
            number, _, _ = _looked_up(data, first, size, seed, slots, hashes, ends, text)
            if number >= FAR:
                return -1, before
            after[before] = number
        row, last = known[2 * np.int64(number)], first + size
        while stop - last >= 18 and n < room:
            when = usual_time(data, last)
            if when < 0:
                return -1, before
            rows[n], time[n], bits[n] = row, when, word(data, last + 3)
            last, n = last + 18, n + 1
        if last != stop or row >= REFUSED:
            return -1, before
        at, s, before = stop, s + 1, np.int64(number) + 1
    return n, before


@numba.njit(cache=True, nogil=True, fastmath=False)
def _resolve(
    data: Bytes, labels: Places, numbers: Rows, done: int, count: int, before: Int,
    seed: np.uint64, slots: Rows, hashes: Bits, ends: Places, text: Bytes, after: Rows,
) -> tuple[int, int, Int]:  # fmt: skip
    """Number blocks from `done` on, and keep new ones; there is room for all.

    Return how far that went (not to the end when one lies too far from its place), how many
    blocks are known then, and 1 + the last one's number.
    """
    for s in range(done, len(labels)):
        if labels[s, 2] != 0:
            continue
        first, length = labels[s, 0], labels[s, 1] - labels[s, 0]
        number: Int = after[before]
        if (
            number == ABSENT
            or ends[number + 1] - ends[number] != length
            or not _same(data, first, text, ends[number], length)
        ):
            number, slot, h = _looked_up(data, first, length, seed, slots, hashes, ends, text)
            if number == FAR:
                return s, count, before
            if number == ABSENT:
                number = np.uint32(count)
                start = np.uint64(ends[count])
                for k in range(np.uint64(length)):
                    text[start + k] = data[np.uint64(first) + k]
                slots[slot], hashes[count], ends[count + 1] = count, h, ends[count] + length
                count += 1
            after[before] = number
        numbers[s] = number
        before = np.int64(number) + 1
    return len(labels), count, before


@numba.njit(cache=True, nogil=True, fastmath=False)
def place(slot: Rows, numbers: Rows, rows: Rows, out: Rows) -> tuple[Rows, int]:
    """Write the row of each sample; ABSENT and REFUSED for those without one.

    :param slot: 4 * series + kind, as `_wire.scan` found them.
    :return: elements of `rows` that were UNSET and are asked for, each once (they are marked
        ABSENT until somebody sets them); and how many samples have no row.
    """
    wanted, asked, without = np.empty(2 * len(numbers), dtype=np.uint32), 0, 0
    for n in range(len(slot)):
        kind = slot[n] & np.uint32(3)
        number = numbers[slot[n] >> np.uint32(2)]
        row = np.uint32(ABSENT)
        if number != ABSENT:
            at = 2 * np.int64(number) + (kind > 0)
            row = rows[at]
            if row == UNSET:
                wanted[asked], asked = at, asked + 1
                row = rows[at] = np.uint32(ABSENT)
        if row >= REFUSED:
            without += 1
        elif kind == 2:
            row += np.uint32(1)
        out[n] = row
    return wanted[:asked], without


@numba.njit(cache=True, nogil=True, fastmath=False)
def _gather(text: Bytes, ends: Places, numbers: Places, out: Bytes) -> None:
    to = 0
    for number in numbers:
        for k in range(ends[number], ends[number + 1]):
            out[to] = text[k]
            to += 1


@numba.njit(cache=True, nogil=True, fastmath=False)
def texts(data: Bytes, out: Places) -> int:
    """Write where the names and values of the labels of a block begin and end, four a label.

    :return: how many labels there are; -1 when the block is not what the protocol says.
    """
    at, end, label = 0, len(data), 0
    while at < end:
        tag, at = varint(data, at, end)
        at, last = span(data, at, end) if at >= 0 and tag == np.uint64(10) else (-1, -1)
        if at < 0:
            return -1
        if label < len(out):
            out[label] = 0
        while at < last:
            tag, at = varint(data, at, last)
            if at < 0 or (tag != np.uint64(10) and tag != np.uint64(18)):
                return -1
            start, at = span(data, at, last)
            if at < 0:
                return -1
            part = 0 if tag == np.uint64(10) else 2
            if label < len(out):
                out[label, part], out[label, part + 1] = start, at
        label += 1
    return label
