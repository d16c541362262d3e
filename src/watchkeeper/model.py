"""The nouns. Read this file first; every other file is a verb on these.

Bulk data is Arrow, one array a column; single facts are frozen dataclasses. Nothing here does
I/O, reads a clock, or knows which plug made it. All times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from json.encoder import encode_basestring as quoted
from typing import Any, NamedTuple, NewType, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.key_table import KeyTable

Millis = NewType("Millis", int)  # since the Unix epoch, UTC
Offset = NewType("Offset", int)  # position of an entry in the journal; the first entry is 1
Cursor = NewType("Cursor", str)  # where a source stands in its origin; only the source reads it

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Rows = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
STALE_BITS = 0x7FF0000000000002  # Prometheus' stale marker: a NaN that says "this series ended"


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


KEYS = _schema(entity=pa.string(), metric=pa.string(), attributes=pa.string())
SAMPLES = _schema(series=pa.uint32(), time=pa.int64(), value=pa.float64())
REJECTS = pa.schema(
    [
        *KEYS,
        pa.field("time", pa.int64()),  # null when the offered time could not be read
        pa.field("value", pa.float64()),  # null when the offered value is not a number
        pa.field("offered", pa.string()),  # as it came, when unreadable; at most 200 characters
        pa.field("origin", pa.string(), nullable=False),  # file:line, request, or source
        pa.field("reason", pa.string(), nullable=False),  # a member of Reason
        pa.field("detail", pa.string(), nullable=False),  # what was expected: "0 <= value <= 1"
    ]
)


class Traits(NamedTuple):
    """What the contracts say about each series; one element a series, in series order.

    `low`/`high` are what is physically possible, `warn`/`crit` where people start to care; NaN
    where the contract is silent. `worse` is +1 when high is worse, -1 when low is, 0 for both.
    """

    counter: Flags  # only grows; detectors see its rate per second
    worse: npt.NDArray[np.int8]
    low: Floats
    high: Floats
    warn: Floats
    crit: Floats
    weight: Floats  # 0..1: how much of the entity's health this signal alone can take


class Reason(StrEnum):
    """Why a sample went to quarantine. The list is closed; each has an entry in docs/errors.md."""

    NOT_A_NUMBER = "not_a_number"  # text where a number belongs
    NOT_FINITE = "not_finite"  # NaN or an infinity (a stale marker is accepted)
    NO_TIME = "no_time"  # the time is missing or cannot be read
    TOO_OLD = "too_old"  # before 1970, or older than the contract's maximum age
    IN_THE_FUTURE = "in_the_future"  # beyond `arrived` + 10 min, or beyond 2200
    BELOW_BOUND = "below_bound"  # physically impossible, low side
    ABOVE_BOUND = "above_bound"  # physically impossible, high side
    WRONG_UNIT = "wrong_unit"  # the offered unit is not the contract's and has no upcast
    UNKNOWN_METRIC = "unknown_metric"  # a closed contract does not name it
    BAD_NAME = "bad_name"  # entity, metric or attribute is empty, too long or not printable
    TOO_MANY_SERIES = "too_many_series"  # the contract's or the tenant's limit is reached
    TOO_LARGE = "too_large"  # more labels or longer texts than one sample may have
    MALFORMED = "malformed"  # this one record cannot be read; its neighbours can
    UNSUPPORTED = "unsupported"  # readable, and of a kind that says nothing to us


@dataclass(frozen=True, slots=True)
class Control:
    """An input that is not telemetry: a new rulebook, an approval, a silence, a start.

    :param kind: `rulebook`, `started`, `stopped`, `collector`, `released`, `silence`, `flag`, …
    :param actor: who or what caused it. :param body: canonical JSON.
    """

    kind: str
    actor: str
    body: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of many series from one source, and where that source resumes after them.

    :param keys: what the samples are about. KEYS, one row for each distinct series of this batch,
        in canonical form; or the table of a sender that repeats itself (`key_table`).
    :param samples: SAMPLES, whose `series` is a row of `keys`; any order.
    :param unread: REJECTS, what could not even be turned into a sample (reason filled in).
    :param controls: what else the source has to say: that a target failed, that an alert fires.
    :param origin: where the samples came from, for the quarantine; the source's name unless said.
    """

    source: str
    cursor: Cursor
    keys: pa.RecordBatch | KeyTable
    samples: pa.RecordBatch
    unread: pa.RecordBatch
    controls: tuple[Control, ...] = ()
    origin: str = ""

    def __post_init__(self) -> None:
        assert isinstance(self.keys, KeyTable) or self.keys.schema.equals(KEYS), self.keys
        assert self.samples.schema.equals(SAMPLES), self.samples.schema
        assert self.unread.schema.equals(REJECTS), self.unread.schema

    @property
    def offered(self) -> int:
        """How many samples came in, good or bad."""
        return int(self.samples.num_rows + self.unread.num_rows)


@dataclass(frozen=True, slots=True)
class Checked:
    """A batch split by the contracts. No sample is lost: accepted + rejected = offered.

    Accepted samples are sorted by (series, time); metrics, units and values are canonical.
    """

    source: str
    cursor: Cursor
    arrived: Millis
    keys: pa.RecordBatch | KeyTable
    samples: pa.RecordBatch
    rejected: pa.RecordBatch
    offered: int
    controls: tuple[Control, ...] = ()

    def __post_init__(self) -> None:
        assert self.samples.num_rows + self.rejected.num_rows == self.offered


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal record. Series numbers are dense, assigned in journal order.

    :param arrived: when the batch came in; never less than that of the entry before.
    :param first: the number of the first new series; `new` holds the keys of first, first+1, …
    :param samples: SAMPLES with journal-wide series numbers, sorted by (series, time).
    """

    offset: Offset
    source: str
    cursor: Cursor
    arrived: Millis
    first: int
    new: pa.RecordBatch
    samples: pa.RecordBatch
    rejected: pa.RecordBatch
    controls: tuple[Control, ...] = ()


class State(StrEnum):
    """How an entity is, in one word."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


STATES = tuple(State)  # the order gives each state its code in columns of u8


class Phase(StrEnum):
    """Where one policy stands with one entity. Prometheus' names, so operators know them."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


class Outcome(StrEnum):
    """What a decision led to, or why it led to nothing. The list is closed."""

    ORDERED = "ordered"  # orders are in the outbox
    NOTHING_TO_DO = "nothing_to_do"  # this phase owes no action
    DRY_RUN = "dry_run"  # the policy is not switched on
    COOLDOWN = "cooldown"  # this entity was acted on too recently
    RATE = "rate"  # too many acts in the window
    BLAST_RADIUS = "blast_radius"  # too many, or too large a share, of the entities at once
    COVERAGE = "coverage"  # too little is known about the entity
    FLAG = "flag"  # a feature flag that the policy, or one of its actions, needs is off


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one signal took from an entity's health. Shares of one entity add up to 1."""

    metric: str
    attributes: str
    share: float


@dataclass(frozen=True, slots=True)
class Assessed:
    """The health of one entity at one tick, as the ledger keeps it."""

    entity: str
    time: Millis
    health: float | None  # 0..100; None when unknown
    state: State
    coverage: float  # share of the expected signals present, 0..1
    score: float  # the entity's own anomaly score; 1.0 is the alarm threshold
    contributions: tuple[Contribution, ...]  # largest first


@dataclass(frozen=True, slots=True)
class Decision:
    """One change of phase of one policy for one entity, with everything that led to it.

    :param policy: its name. :param version: the policy's digest.
    :param reason: why the phase changed (closed list: `policies.Reason`).
    :param outcome: what came of it; the first guard that said no, otherwise.
    :param trace: canonical JSON: each clause with its values and whether it held, each guard.
    """

    key: str
    policy: str
    version: str
    entity: str
    phase: Phase
    at: Millis
    severity: str
    health: float | None
    reason: str
    outcome: Outcome
    trace: str


@dataclass(frozen=True, slots=True)
class Order:
    """One obligation of one decision, waiting in the outbox.

    :param key: idempotency key, the same on every attempt and every replay.
    :param payload: canonical JSON; every attempt sends the same bytes.
    """

    key: str
    action: str
    decision: str
    entity: str
    created: Millis
    payload: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of one attempt at an order. The ledger keeps it for ever.

    :param outcome: `done`, `retry`, `refused` (never again) or `dead` (given up).
    :param due: when to try again; meaningful for `retry` only.
    """

    key: str
    attempt: int
    outcome: str
    detail: str
    at: Millis
    due: Millis


@dataclass(frozen=True, slots=True)
class Counts:
    """The accounting of one step: received = accepted + rejected, accepted = the other three."""

    accepted: int = 0
    rejected: int = 0
    scored: int = 0
    duplicate: int = 0
    late: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Add field by field."""
        return Counts(
            self.accepted + other.accepted,
            self.rejected + other.rejected,
            self.scored + other.scored,
            self.duplicate + other.duplicate,
            self.late + other.late,
        )

    def __post_init__(self) -> None:
        assert self.accepted == self.scored + self.duplicate + self.late, self


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that one tick changed. The ledger commits it whole or not at all.

    :param offset: the last journal entry this step has seen. :param tick: the tick's time.
    :param rulebook: digest of what it was judged by; contracts, detectors (name, version,
        parameters, state schema) and policies are in the journal under that digest.
    :param scores: hash of all scores since the step before; the rulebook says which.
    :param health: entities whose assessment changed enough to be kept.
    """

    offset: Offset
    tick: Millis
    rulebook: str
    counts: Counts
    scores: str
    health: tuple[Assessed, ...]
    decisions: tuple[Decision, ...]
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All state at one tick, from which recovery goes on. A cache: replay can always rebuild it."""

    offset: Offset
    tick: Millis
    body: bytes


ROWS = 4096  # the least a column has room for once it grows
A = TypeVar("A", bound=npt.NDArray[Any])
C = TypeVar("C", bound=tuple[Any, ...])


def pick(columns: C, which: Any) -> C:
    """Return a NamedTuple of arrays with only the chosen elements (a slice, mask or index)."""
    kind: Any = type(columns)
    picked: C = kind(*(column[which] for column in columns))
    return picked


def stack(parts: Sequence[C]) -> C:
    """Return NamedTuples of arrays, at least one, as one, in the order given."""
    if len(parts) == 1:
        return parts[0]
    kind: Any = type(parts[0])
    stacked: C = kind(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return stacked


class Room(np.ndarray[Any, np.dtype[Any]]):
    """Where a growing column lies, with rows to spare behind it; only `append` looks at it."""


def append(column: A, more: A) -> A:
    """Return a column with more rows behind it, at the cost of those; `column` is handed over.

    It grows into spare rows, which take memory only once they are written.
    """
    count, shape, room = len(column) + len(more), column.shape[1:], column.base
    if not isinstance(room, Room) or count > len(room):
        # It moves seldom, because a column that moves holds everybody up.
        size = next(size for k in range(16) if (size := ROWS << 4 * k) >= count)
        room = Room((size, *shape), column.dtype)
        room[: len(column)] = column
    room[len(column) : count] = more
    return np.ndarray((count, *shape), column.dtype, room)  # type: ignore[return-value]


def canonical(value: Any) -> str:
    """Return JSON with one spelling: sorted keys, no spaces, shortest round-trip numbers.

    :raises ValueError: the value holds NaN or an infinity.
    """
    return _JSON.encode(value)


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def attributes_text(attributes: Mapping[str, str]) -> str:
    """Return the canonical spelling of a series' attributes; `{}` when there are none."""
    return "{" + ",".join([f"{quoted(k)}:{quoted(v)}" for k, v in sorted(attributes.items())]) + "}"


def decision_facts(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON-able facts, its trace unfolded."""
    facts = {name: getattr(decision, name) for name in Decision.__dataclass_fields__}
    return {**facts, "trace": json.loads(decision.trace)}
