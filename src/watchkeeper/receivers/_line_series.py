"""What the blocks and fields of line protocol mean: series, each looked at once."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.identity import Identity, Key
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, Reason, Rows
from watchkeeper.receivers import Limits
from watchkeeper.receivers._line_protocol import Bytes, Places
from watchkeeper.receivers._pairs import Pairs
from watchkeeper.receivers._seen import Seen
from watchkeeper.slots import ABSENT

_COMMA, _EQUALS = re.compile(r"(?<!\\),"), re.compile(r"(?<!\\)=")
_ESCAPED, _ESCAPED_MEASUREMENT = re.compile(r"\\([,= ])"), re.compile(r"\\([, ])")
UNNAMED = "value"  # the field that adds nothing to the measurement's name

Refused = tuple[Reason, str]  # why, and what was expected
Block = tuple[str, dict[str, str]]  # measurement and tags


class _Fault(Exception):
    """A series cannot be named. Never leaves this file."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Series:
    """The series one tenant has named so far, as rows of a table; or why they were refused.

    :param first: bytes that nobody could foresee, for the hashes.
    """

    def __init__(self, limits: Limits, identity: Identity, otherwise: str, first: bytes) -> None:
        self._limits, self._identity, self._otherwise = limits, identity, otherwise
        seed = int.from_bytes(hashlib.sha256(first).digest()[:8], "little")
        self._blocks, self._names = Seen(limits.remembered), Seen(limits.remembered)
        self._pairs = Pairs(seed)
        self.table = KeyTable(KEYS)
        self.refused: dict[int, Refused] = {}  # by number of the pair
        self._rows: Rows = np.empty(0, np.uint32)  # by number of the pair; ABSENT if refused

    @property
    def full(self) -> bool:
        """Whether it is time to forget all and begin anew."""
        many = self._pairs.count > self._limits.remembered
        return many or self._blocks.full or self._names.full

    @property
    def unnamed(self) -> int:
        """How many series were numbered since `learn`."""
        return self._pairs.count - len(self._rows)

    def number(self, data: Bytes, points: Places, samples: Places) -> Rows:
        """Return the number of each sample's series; new ones wait for `learn`.

        :param points: and `samples`: as Tokens has them.
        """
        blocks = self._blocks.resolve(data, _stretches(points))
        names = self._names.resolve(data, _stretches(samples[:, 1:3]))
        return self._pairs.number(blocks, samples[:, 0], names)

    def learn(self) -> Rows:
        """Name the series that are new; return the row of each number, ABSENT if refused."""
        first = len(self._rows)
        if first == self._pairs.count:
            return self._rows
        rows = np.full(self._pairs.count, ABSENT, np.uint32)
        rows[:first] = self._rows
        parsed: dict[int, Block | _Fault] = {}
        keys: list[Key] = []
        for number in range(first, self._pairs.count):
            block, name = self._pairs[number]
            if block not in parsed:
                parsed[block] = self._block(self._blocks.block(block))
            try:
                keys.append(self._key(parsed[block], self._names.block(name)))
            except _Fault as fault:
                self.refused[number] = fault.reason, fault.detail
            else:
                rows[number] = len(self.table) + len(keys) - 1
        columns = zip(*keys, strict=True) if keys else [()] * len(KEYS)
        arrays = [pa.array(column, pa.string()) for column in columns]
        self.table.add(pa.RecordBatch.from_arrays(arrays, schema=KEYS))
        self._rows = rows
        return rows

    def _key(self, block: Block | _Fault, field: bytes) -> Key:
        if isinstance(block, _Fault):
            raise block
        measurement, tags = block
        name = _unescaped(_text(field))
        metric = measurement if name == UNNAMED else f"{measurement}_{name}"
        self._fits(metric, self._limits.name)
        return self._identity.key(metric, tags, self._otherwise)

    def _block(self, block: bytes) -> Block | _Fault:
        limits, tags = self._limits, dict[str, str]()
        try:
            measurement, *rest = _COMMA.split(_text(block), limits.labels + 1)
            if not measurement:
                raise _Fault(Reason.MALFORMED, "a measurement before the first comma")
            if len(rest) > limits.labels:
                raise _Fault(Reason.TOO_LARGE, f"at most {limits.labels} tags")
            for tag in rest:
                parts = [_unescaped(part) for part in _EQUALS.split(tag, 2)]
                if len(parts) != 2 or not all(parts):
                    raise _Fault(Reason.MALFORMED, f"tag=value, not {tag[:40]!r}")
                name, value = parts
                if name in tags:
                    raise _Fault(Reason.MALFORMED, f"each tag once, not {name[:40]!r} again")
                self._fits(name, limits.name)
                self._fits(value, limits.value)
                tags[name] = value
        except _Fault as fault:
            return fault
        return _ESCAPED_MEASUREMENT.sub(r"\1", measurement), tags

    @staticmethod
    def _fits(text: str, limit: int) -> None:
        if len(text) > limit or len(text.encode()) > limit:
            raise _Fault(Reason.TOO_LARGE, f"at most {limit} bytes, not {text[:40]!r}…")


def _stretches(places: Places) -> npt.NDArray[np.int64]:
    """Return beginnings and ends as `Seen` asks for them, none of them refused."""
    stretches = np.zeros((len(places), 3), np.int64)
    stretches[:, :2] = places
    return stretches


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _Fault(Reason.BAD_NAME, "names are UTF-8 text") from None


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
