"""Look up the rules of a batch's keys, once for each kind of series."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.contracts._catalogue import Contract
from watchkeeper.contracts._kernel import CODE, Codes
from watchkeeper.contracts._rules import RULES_MAX, Index, Rule, bad_name, entity_kind
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, Floats, Reason, Rows
from watchkeeper.slots import grown

LIMITS = ("scale", "offset", "low", "high", "max_age", "skew")  # columns of Lookup.limits
FOR_NOW = "no more new series from this sender for now"
Kind = tuple[str, str, str]  # of series: entity type, metric and attributes as offered
TOO_MANY = CODE[Reason.TOO_MANY_SERIES]
limits_of = attrgetter(*LIMITS)


class Allow(Protocol):
    """How much a sender may add: it is asked about new series, and told of those it adds."""

    @property
    def most_of_metric(self) -> int:
        """How many series of one metric it may have."""

    def room(self) -> int:
        """Return how many new series may be added now."""

    def of_metric(self, metric: str) -> int:
        """Return how many series of a metric it has added."""

    def add(self, metric: str) -> None:
        """Count a new series of a metric."""


class Found(NamedTuple):
    """The rules of the rows of some keys."""

    kinds: list[Kind]
    rules: list[Rule]  # of each kind
    rule: npt.NDArray[np.int64]  # row of keys -> position in rules
    refused: Codes  # row of keys -> reason code; 0: none
    detail: dict[int, str]  # row -> what a refused series should be; rules hold the others'


class Lookup(NamedTuple):
    """The same as columns, and the canonical keys that the offered ones stand for."""

    limits: Floats  # [kinds of limits, len(LIMITS)]
    says: list[str]  # of each, what it expects of a series it refuses
    rule: Rows  # row of offered keys -> row of limits
    refused: Codes
    keys: pa.RecordBatch | KeyTable  # canonical
    canonical: Rows | None  # row of offered keys -> row of `keys`; None: the same row


class Known:
    """What one ingest has looked up before: rules of series, and the series each contract holds.

    Without it every batch is checked as if it were the first. Answers do not depend on it, except
    that the limit on series counts over all batches it has seen.
    """

    def __init__(self, contracts: Sequence[Contract]) -> None:
        self.index = Index(contracts)
        self._rules: dict[Kind, Rule] = {}
        self._latest: tuple[pa.RecordBatch, Lookup] | None = None
        self._tables: WeakKeyDictionary[KeyTable, _Tabled] = WeakKeyDictionary()
        self._held = [_Held() for _ in self.index.contracts]

    def learn(self, keys: pa.RecordBatch) -> None:
        """Count series that the journal already holds, so that the limit outlives a restart."""
        self._admitted(keys)

    def lookup(self, keys: pa.RecordBatch | KeyTable, allow: Allow | None = None) -> Lookup:
        """Return the rules of `keys` as columns; new series count against the limits.

        :param allow: asked before new series are taken in; what it does not allow for now is
            refused, and asked for again at the next look-up.
        """
        if isinstance(keys, KeyTable):
            tabled = self._tables.get(keys)
            if tabled is None:
                tabled = self._tables[keys] = _Tabled()
            if tabled.waiting:
                self._ask_again(tabled, allow)
            if len(keys) > len(tabled.keys):
                tabled.extend(*self._admitted(keys.since(len(tabled.keys)), allow))
            return tabled.lookup()
        latest = self._latest
        if latest is not None and latest[0].equals(keys):
            return latest[1]
        found, canonical, rows = self._admitted(keys, allow)
        kinds = _Kinds()
        rule = kinds.detailed(kinds.of_rules(found), found.detail)
        lookup = Lookup(kinds.limits(), kinds.says(), rule, found.refused, canonical, rows)
        # What one sender may not add, another may, or the same one later; a contract's limit stays.
        passing = allow is not None and bool((found.refused == TOO_MANY).any())
        self._latest = None if passing else (keys, lookup)
        return lookup

    def find(self, keys: pa.RecordBatch) -> Found:
        """Return the rules of `keys`, whatever the limits on series."""
        found = self._looked_up(keys)
        self._remember(found, range(len(found.rules)))
        return found

    def _remember(self, found: Found, which: Iterable[int]) -> None:
        """Keep rules, so that they need not be made again for the next series of their kind."""
        for number in which:
            kind = found.kinds[number]
            if kind not in self._rules:
                if len(self._rules) >= RULES_MAX:
                    self._rules.clear()
                self._rules[kind] = found.rules[number]

    def _looked_up(self, keys: pa.RecordBatch) -> Found:
        """Return the rules of `keys`, made where they are not remembered.

        Row by row: most look-ups are of few rows, and what a column costs by itself is more.
        """
        entities, metrics, texts = (_texts(keys[name]) for name in KEYS.names)
        named = {entity: _entity(entity) for entity in set(entities)}
        number: dict[Kind, int] = {}
        rule = np.array(
            [
                number.setdefault((named[entity][0], metric, text), len(number))
                for entity, metric, text in zip(entities, metrics, texts, strict=True)
            ],
            np.int64,
        )
        rules = [self._rules.get(one) or self.index.rule(*one) for one in number]
        refused = np.array([CODE[r.reason] if r.reason else 0 for r in rules], np.uint8)[rule]
        detail = _long_names(entities, named, rules, rule, refused)
        return Found(list(number), rules, rule, refused, detail)

    def _admitted(
        self, keys: pa.RecordBatch, allow: Allow | None = None
    ) -> tuple[Found, pa.RecordBatch, Rows | None]:
        """Return the rules, and the canonical keys with rows.

        The rule of a series that is one too many is made again when the series is met again: a
        flood of them leaves nothing here.
        """
        found = self._looked_up(keys)
        canonical, rows = _canonical(keys, found)
        self._admit(found, canonical, rows, allow)
        self._remember(found, set(found.rule[found.refused != TOO_MANY].tolist()))
        return found, canonical, rows

    def _ask_again(self, tabled: _Tabled, allow: Allow | None) -> None:
        """Take in some of the series that were one too many for their sender before."""
        room = tabled.waiting if allow is None else min(tabled.waiting, allow.room())
        if room:
            rows = tabled.first_waiting(room)
            tabled.replace(rows, self._admitted(tabled.keys.take(rows), allow)[0])

    def _admit(
        self, found: Found, canonical: pa.RecordBatch, row_of: Rows | None, allow: Allow | None
    ) -> None:
        """Count the accepted series, one after the other, and refuse those beyond a limit.

        Each is judged by those before it alone, so it does not matter how they are split into
        requests. What no later moment changes is said first: only the rest is asked for again.
        """
        rows = np.flatnonzero(found.refused == 0)
        keys = (rows if row_of is None else row_of[rows]).tolist()
        entities = _texts(canonical["entity"])
        room = math.inf if allow is None else allow.room()
        beyond: dict[int, str] = {}
        for row, number, key in zip(rows.tolist(), found.rule[rows].tolist(), keys, strict=True):
            rule, entity = found.rules[number], entities[key]
            held = self._held[rule.contract]
            if held.has(entity, rule):
                continue
            most = self.index.contracts[rule.contract].series_max
            if held.count >= most:
                beyond[row] = f"at most {most} series"
            elif allow is not None and allow.of_metric(rule.metric) >= allow.most_of_metric:
                beyond[row] = f"at most {allow.most_of_metric} series of one metric from one sender"
            elif room < 1:
                beyond[row] = FOR_NOW
            else:
                held.add(entity, rule)
                room -= 1
                if allow is not None:
                    allow.add(rule.metric)
        found.refused[list(beyond)] = TOO_MANY
        found.detail.update(beyond)


class _Kinds:
    """The kinds of limits there are, each with what it says of a series that it refuses."""

    def __init__(self) -> None:
        self._number: dict[tuple[float | str, ...], int] = {}

    def __len__(self) -> int:
        return len(self._number)

    def of_rules(self, found: Found) -> Rows:
        """Return the number of each row's rule."""
        numbers = [
            self._number.setdefault((*limits_of(rule), rule.detail), len(self._number))
            for rule in found.rules
        ]
        return np.array(numbers, np.uint32)[found.rule]

    def saying(self, rows: Rows, text: str) -> Rows:
        """Return the numbers of the same limits as some rows have, which say `text`."""
        kinds = list(self._number)
        distinct, whose = np.unique(rows, return_inverse=True)
        numbers = [
            self._number.setdefault((*kinds[number][:-1], text), len(self._number))
            for number in distinct.tolist()
        ]
        return np.array(numbers, np.uint32)[whose]

    def detailed(self, rows: Rows, detail: Mapping[int, str]) -> Rows:
        """Return the numbers of rows, some of which say something else than their rules do."""
        texts = np.array(list(detail.values()), object)
        which = np.array(list(detail), np.int64)
        for text in dict.fromkeys(detail.values()):
            told = which[texts == text]
            rows[told] = self.saying(rows[told], text)
        return rows

    def limits(self) -> Floats:
        """Return LIMITS of each."""
        limits = np.array([kind[:-1] for kind in self._number], np.float64)
        return limits.reshape(-1, len(LIMITS))

    def says(self) -> list[str]:
        """Return what each says of a series it refuses."""
        return [str(kind[-1]) for kind in self._number]


class _Tabled:
    """The columns kept beside one key table: a few kinds of limits, and one number a row.

    A series that is refused has its number and its reason here like any other, and nothing more.
    """

    def __init__(self) -> None:
        self.keys = KeyTable(KEYS)  # canonical, row for row
        self.waiting = 0  # how many rows their sender may not add yet
        self._kinds = _Kinds()
        self._limits, self._says = self._kinds.limits(), self._kinds.says()
        self._waits = np.empty(0, bool)  # of each kind of limits, whether its rows do
        self._rule = np.empty(0, np.uint32)
        self._refused = np.empty(0, np.uint8)

    def extend(self, found: Found, canonical: pa.RecordBatch, rows: Rows | None) -> None:
        """Take in the rows that the table has more than at the last look."""
        first, count = len(self.keys), len(found.rule)
        self.keys.add(canonical if rows is None else canonical.take(pa.array(rows)))
        if first + count > len(self._rule):
            self._rule = grown(self._rule, 2 * (first + count))
            self._refused = grown(self._refused, 2 * (first + count))
        self._set(slice(first, first + count), self._kinds.of_rules(found), found)

    def first_waiting(self, count: int) -> Rows:
        """Return the first rows that their sender may not add yet."""
        waiting = np.flatnonzero(self._waits[self._rule[: len(self.keys)]])
        return waiting[:count].astype(np.uint32)

    def replace(self, rows: Rows, found: Found) -> None:
        """Say anew of some rows that waited whether they are refused. Their limits stay.

        What was found is of the canonical keys; the values still come as they are offered.
        """
        self.waiting -= len(rows)
        self._set(rows, self._kinds.saying(self._rule[rows], ""), found)

    def _set(self, where: slice | Rows, rules: Rows, found: Found) -> None:
        numbers = self._kinds.detailed(rules, found.detail)
        if len(self._limits) < len(self._kinds):
            self._limits, self._says = self._kinds.limits(), self._kinds.says()
            self._waits = np.array([text == FOR_NOW for text in self._says])
        self._rule[where], self._refused[where] = numbers, found.refused
        self.waiting += int(self._waits[numbers].sum())

    def lookup(self) -> Lookup:
        """Return the columns as they are now; those of rows beyond the table mean nothing."""
        return Lookup(self._limits, self._says, self._rule, self._refused, self.keys, None)


class _Held:
    """The series one contract holds: for each metric and attributes, the entities that have it.

    Entities share one text each, so that a million series need tens of megabytes.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], set[str]] = {}
        self._texts: dict[str, str] = {}
        self.count = 0

    def has(self, entity: str, rule: Rule) -> bool:
        """Return whether the series is held."""
        return entity in self._of.get((rule.metric, rule.attributes), ())

    def add(self, entity: str, rule: Rule) -> None:
        """Hold a series from now on."""
        entities = self._of.get((rule.metric, rule.attributes))
        if entities is None:
            entities = self._of[rule.metric, rule.attributes] = set()
        entities.add(self._texts.setdefault(entity, entity))
        self.count += 1


def _entity(entity: str) -> tuple[str, str]:
    """Return the type of an entity and what is wrong with its name."""
    kind = entity_kind(entity)
    return kind, bad_name(entity, 4096) if kind else "an entity is type:name"


def _long_names(
    entities: Sequence[str],
    named: Mapping[str, tuple[str, str]],
    rules: Sequence[Rule],
    rule: npt.NDArray[np.int64],
    refused: Codes,
) -> dict[int, str]:
    """Refuse rows whose entity has a bad name; return what each should be.

    :param named: of each entity its type, and what is wrong with its name.
    """
    least = min((one.name_max for one in rules), default=0)
    doubtful = {entity for entity, (_, wrong) in named.items() if wrong or len(entity) > least}
    detail: dict[int, str] = {}
    for row, entity in enumerate(entities) if doubtful else ():
        most = rules[rule[row]].name_max
        if entity in doubtful and (named[entity][1] or len(entity) > most):
            refused[row] = CODE[Reason.BAD_NAME]
            detail[row] = named[entity][1] or f"a name has at most {most} characters"
    return detail


def _texts(column: pa.Array) -> list[str]:
    """Return a column of texts, in a third of the time that pyarrow takes for it."""
    texts: list[str] = column.to_numpy(zero_copy_only=False).tolist()
    return texts


def _codes(encoded: Any) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def _combine(first: npt.NDArray[np.int64], *more: tuple[npt.NDArray[np.int64], int]) -> Any:
    """Return the distinct combinations of codes, dictionary-encoded in order of appearance."""
    total = first
    for codes, count in more:
        total = total * max(count, 1) + codes
    return pa.array(total).dictionary_encode()


def _canonical(keys: pa.RecordBatch, found: Found) -> tuple[pa.RecordBatch, Rows | None]:
    """Return the distinct canonical keys, and which of them each offered key stands for."""
    meant = [(one.metric, one.attributes) for one in found.rules]
    if meant == [kind[1:] for kind in found.kinds]:
        return keys, None
    rule = pa.array(found.rule)
    metric, attributes = (
        pa.array(each, pa.string()).take(rule) for each in zip(*meant, strict=True)
    )
    renamed = pa.RecordBatch.from_arrays([keys["entity"], metric, attributes], schema=KEYS)
    e, m, a = (column.dictionary_encode() for column in renamed.columns)
    combined = _combine(_codes(e), (_codes(m), len(m.dictionary)), (_codes(a), len(a.dictionary)))
    if len(combined.dictionary) == keys.num_rows:
        return renamed, None
    canonical = _codes(combined).astype(np.uint32)
    _, first = np.unique(canonical, return_index=True)
    return renamed.take(pa.array(first)), canonical
