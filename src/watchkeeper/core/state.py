"""What the core is given and what it remembers: the rulebook, the series, the state.

A checkpoint holds exactly a `State`; everything in it follows from the journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, overload

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from blake3 import blake3

from watchkeeper.contracts import Contract
from watchkeeper.core.panel import Current
from watchkeeper.detectors._ensemble import Ensemble, models
from watchkeeper.flags import Flags
from watchkeeper.health import HealthModel
from watchkeeper.model import (
    KEYS,
    Counts,
    Floats,
    Millis,
    Offset,
    Rows,
    Times,
    Traits,
    append,
    digest,
    stack,
)
from watchkeeper.policies import Held, Policy
from watchkeeper.policies import digest as digest_of_policy

START, BEGINNING = Millis(0), Offset(0)
KEEP_EVERY = Millis(60_000)  # an unchanged assessment is kept this often
TOGETHER, LEAST = 4, 16_384  # more evidence than so many times the series is put together


class Hash(Protocol):
    """A hash that is being computed."""

    def update(self, data: memoryview, /) -> object:
        """Go on with more bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far."""


HASHES: Mapping[str, Callable[[], Hash]] = {"sha256": hashlib.sha256, "blake3": blake3}


@dataclass(frozen=True)
class Rulebook:
    """Everything the telemetry is judged by, built from one canonical document.

    :param document: JSON-able; its digest names the rulebook in every step.
    :param tick: milliseconds between evaluations.
    :param flags: feature flags as configured. :param needs: the flag of each action that needs one.
    :param scores: which of HASHES the steps name their scores by.
    """

    document: Mapping[str, Any]
    tick: Millis
    contracts: tuple[Contract, ...]
    ensemble: Ensemble
    health: HealthModel[Any]
    policies: tuple[Policy, ...]
    flags: Mapping[str, bool] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    scores: str = "sha256"
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest(self.document))

    def models(self) -> dict[str, Any]:
        """Return every model with its versions and digests, JSON-able, for the audit chain."""
        return {
            "rulebook": self.digest,
            "contracts": [
                {"name": one.name, "version": one.version, "digest": digest(document)}
                for one, document in zip(self.contracts, self.document["contracts"], strict=True)
            ],
            "detectors": models(self.ensemble),
            "health": {
                "type": self.document["health"]["type"],
                "version": self.health.version,
                "digest": digest(self.document["health"]),
            },
            "policies": [
                {"name": one.name, "digest": digest_of_policy(one)} for one in self.policies
            ],
        }


class Texts(Sequence[str]):
    """A column of texts that repeat: each text once, and which of them each row has.

    Texts are numbered as they first appear. One thread adds; any may read.
    """

    def __init__(self) -> None:
        self.words: list[str] = []
        self.number: dict[str, int] = {}
        self.code: Rows = np.zeros(0, np.uint32)
        self._rows: dict[int, tuple[int, Times]] = {}  # of a text: rows seen so far, and its own

    def add(self, texts: pa.Array) -> None:
        """Append rows."""
        encoded = texts.dictionary_encode()
        numbers = []
        for word in encoded.dictionary.to_pylist():
            if word not in self.number:
                self.number[word] = len(self.words)
                self.words.append(word)
            numbers.append(self.number[word])
        self.code = append(self.code, np.array(numbers, np.uint32)[encoded.indices.to_numpy()])

    def rows(self, text: str) -> Times:
        """Return the rows that have a text, in order; a later call looks at later rows only."""
        number = self.number.get(text)
        if number is None:
            return np.zeros(0, np.int64)
        seen, rows = self._rows.get(number, (0, np.zeros(0, np.int64)))
        if seen < len(self.code):
            rows = append(rows, seen + np.flatnonzero(self.code[seen:] == number))
            self._rows[number] = (len(self.code), rows)
        return rows

    def matches(self, text: str, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which of some rows have a text."""
        matched: npt.NDArray[np.bool_] = self.code[rows] == self.number.get(text, -1)
        return matched

    def frozen(self) -> Texts:
        """Return the column as it is now; later rows do not show in it."""
        now = Texts()
        now.words, now.code = self.words[:], self.code
        return now

    def encoded(self) -> pa.DictionaryArray:
        """Return the column as Arrow has it."""
        code, words = self.code.view(np.int32), pa.array(self.words, pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(code), words)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self.words[code] for code in self.code[row].tolist()]
        return self.words[int(self.code[row])]

    def __iter__(self) -> Iterator[str]:
        return map(self.words.__getitem__, self.code.tolist())

    def __len__(self) -> int:
        return len(self.code)


@dataclass
class Series:
    """Who the series are. Numbers are positions; entities are numbered as they first appear."""

    owners: Texts = field(default_factory=Texts)
    metrics: Texts = field(default_factory=Texts)
    attributes: Texts = field(default_factory=Texts)

    def add(self, keys: pa.RecordBatch) -> None:
        """Number more series, in the order of their KEYS."""
        self.metrics.add(keys["metric"])
        self.attributes.add(keys["attributes"])
        self.owners.add(keys["entity"])

    @property
    def entity(self) -> Rows:
        """The number of each series' entity."""
        return self.owners.code

    @property
    def entities(self) -> list[str]:
        """The entities in order of number."""
        return self.owners.words

    @property
    def keys(self) -> list[pa.RecordBatch]:
        """The KEYS of all series, in order; made when asked for."""
        columns = (self.owners, self.metrics, self.attributes)
        return [
            pa.RecordBatch.from_arrays(
                [column.encoded().cast(pa.string()) for column in columns], schema=KEYS
            )
        ]


@dataclass
class State:
    """All that is remembered between entries; a checkpoint holds exactly this."""

    series: Series
    traits: Traits
    last: Times  # time of the newest sample of each series
    now: Current  # what each series last said
    detectors: Any
    health: Any
    held: Held
    flags: Flags = field(default_factory=Flags)
    tick: Millis = START  # the last tick evaluated
    offset: Offset = BEGINNING
    arrived: Millis = START
    kept: Kept = field(default_factory=lambda: Kept.fresh(0))
    pending: Pending = field(default_factory=lambda: Pending())


class Kept(NamedTuple):
    """The assessment of each entity that the ledger holds last."""

    time: Times
    health: Floats
    state: npt.NDArray[np.uint8]

    @staticmethod
    def fresh(entities: int) -> Kept:
        """Nothing is held yet of `entities` entities."""
        return Kept(
            np.full(entities, -KEEP_EVERY, np.int64),
            np.full(entities, np.nan),
            np.full(entities, 255, np.uint8),
        )


@dataclass
class Pending:
    """What arrived since the last tick. Empty at every checkpoint."""

    evidence: list[Arrived] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    scores: Hash | None = None  # of the scores so far; None before the first
    size: int = 0  # of the evidence

    def hear(self, evidence: Arrived, series: int) -> None:
        """Take in more evidence, of so many series.

        All of it belongs to one tick. So of series that speak again and again, what they said is
        put together now and then: the largest score and the last deadline are all that counts.
        """
        self.evidence.append(evidence)
        self.size += len(evidence.series)
        if self.size > max(TOGETHER * series, LEAST):
            self.evidence = [together(self.evidence, series)]
            self.size = len(self.evidence[0].series)

    def hashing(self, rulebook: Rulebook) -> Hash:
        """Return the hash of the scores, to go on with; the rulebook of the first says which."""
        if self.scores is None:
            self.scores = HASHES[rulebook.scores]()
        return self.scores

    @property
    def empty(self) -> bool:
        """Whether nothing arrived: nothing scored, nothing rejected."""
        return not self.evidence and self.counts == Counts()


class Arrived(NamedTuple):
    """Evidence with the time it arrived, not yet assigned to a tick."""

    arrived: Times
    series: Rows
    score: Floats
    deadline: Times


def joined(parts: Sequence[Arrived]) -> Arrived:
    """Return evidence in one, as it was said."""
    if not parts:
        return Arrived(
            np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0), np.zeros(0, np.int64)
        )
    return stack(parts)


def together(parts: Sequence[Arrived], series: int) -> Arrived:
    """Put together what `series` series said in one tick: once each, in order of number."""
    now = Current.fresh(series)
    for part in parts:
        _put_together(part, now)
    spoke = np.flatnonzero(now.heard >= 0).astype(np.uint32)
    return Arrived(now.heard[spoke], spoke, now.score[spoke], now.deadline[spoke])


@numba.njit(cache=True, nogil=True, fastmath=False)
def _put_together(part: Arrived, now: Current) -> None:
    for i in range(len(part.series)):
        s = part.series[i]
        if now.heard[s] < 0 or part.score[i] > now.score[s]:
            now.score[s] = part.score[i]
        now.deadline[s], now.heard[s] = part.deadline[i], part.arrived[i]
