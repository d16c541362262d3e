"""Look up the rules of a batch's keys, once for each kind of series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.contracts._catalogue import Contract
from watchkeeper.contracts._kernel import CODE, Codes
from watchkeeper.contracts._rules import RULES_MAX, Index, Rule, bad_name, entity_kind
from watchkeeper.key_table import KeyTable
from watchkeeper.model import KEYS, Floats, Reason, Rows

LIMITS = ("scale", "offset", "low", "high", "max_age", "skew")  # columns of Lookup.limits
Allow = Callable[[int], int]  # how many of so many new series the sender may add now


class Found(NamedTuple):
    """The rules of the rows of some keys."""

    rules: list[Rule]
    rule: npt.NDArray[np.int64]  # row of keys -> position in rules
    refused: Codes  # row of keys -> reason code; 0: none
    detail: dict[int, str]  # row -> what a refused name should be; rules hold the others'


class Lookup(NamedTuple):
    """The same as columns, and the canonical keys that the offered ones stand for."""

    limits: Floats  # [rules, len(LIMITS)]
    says: list[str]  # of each rule, what it expects of a series it refuses
    rule: Rows  # row of offered keys -> row of limits
    refused: Codes
    detail: dict[int, str]
    keys: pa.RecordBatch | KeyTable  # canonical
    canonical: Rows | None  # row of offered keys -> row of `keys`; None: the same row


class Known:
    """What one ingest has looked up before: rules of series, and the series each contract holds.

    Without it every batch is checked as if it were the first. Answers do not depend on it, except
    that the limit on series counts over all batches it has seen.
    """

    def __init__(self, contracts: Sequence[Contract]) -> None:
        self.index = Index(contracts)
        self._rules: dict[tuple[str, str, str], Rule] = {}
        self._entities: dict[str, tuple[str, str]] = {}
        self._latest: tuple[pa.RecordBatch, Lookup] | None = None
        self._tables: WeakKeyDictionary[KeyTable, _Tabled] = WeakKeyDictionary()
        self._held = [_Held() for _ in self.index.contracts]

    def learn(self, keys: pa.RecordBatch) -> None:
        """Count series that the journal already holds, so that the limit outlives a restart."""
        self._admitted(keys)

    def lookup(self, keys: pa.RecordBatch | KeyTable, allow: Allow | None = None) -> Lookup:
        """Return the rules of `keys` as columns; new series count against the limits.

        :param allow: asked before new series of a table are taken in; what it does not allow is
            refused, and asked for again at the next look-up.
        """
        if isinstance(keys, KeyTable):
            tabled = self._tables.get(keys)
            if tabled is None:
                tabled = self._tables[keys] = _Tabled()
            if tabled.refused_for_now:
                self._ask_again(tabled, allow)
            if len(keys) > len(tabled.keys):
                tabled.extend(*self._admitted(keys.since(len(tabled.keys)), allow))
            return tabled.lookup()
        latest = self._latest
        if latest is not None and latest[0].equals(keys):
            return latest[1]
        found, _, canonical, rows = self._admitted(keys)
        limits = np.array([[getattr(r, name) for name in LIMITS] for r in found.rules], np.float64)
        lookup = Lookup(
            limits.reshape(-1, len(LIMITS)),
            [rule.detail for rule in found.rules],
            found.rule.astype(np.uint32),
            found.refused,
            found.detail,
            canonical,
            rows,
        )
        self._latest = (keys, lookup)
        return lookup

    def rule(self, kind: str, metric: str, attributes: str) -> Rule:
        """Return what holds for one kind of series."""
        key = (kind, metric, attributes)
        found = self._rules.get(key)
        if found is None:
            if len(self._rules) >= RULES_MAX:
                self._rules.clear()
            found = self._rules[key] = self.index.rule(*key)
        return found

    def find(self, keys: pa.RecordBatch) -> Found:
        """Return the rules of `keys`, whatever the limits on series."""
        entity, metric, attributes = (keys[name].dictionary_encode() for name in KEYS.names)
        entities = [self._entity(one) for one in entity.dictionary.to_pylist()]
        kinds = list(dict.fromkeys(kind for kind, _ in entities))
        number = {kind: n for n, kind in enumerate(kinds)}
        of_entity = np.array([number[kind] for kind, _ in entities], np.int64)
        combined = _combine(
            of_entity[_codes(entity)] if entities else np.empty(0, np.int64),
            (_codes(metric), len(metric.dictionary)),
            (_codes(attributes), len(attributes.dictionary)),
        )
        metrics, texts = metric.dictionary.to_pylist(), attributes.dictionary.to_pylist()
        rules = [
            self.rule(kinds[k], metrics[m], texts[a])
            for k, m, a in _split(combined.dictionary, len(metrics), len(texts))
        ]
        rule = _codes(combined)
        refused = np.array([CODE[r.reason] if r.reason else 0 for r in rules], np.uint8)[rule]
        detail = self._long_names(entity, entities, rules, rule, refused)
        return Found(rules, rule, refused, detail)

    def _admitted(
        self, keys: pa.RecordBatch, allow: Allow | None = None
    ) -> tuple[Found, list[int], pa.RecordBatch, Rows | None]:
        """Return the rules, the rows not allowed in for now, and the canonical keys with rows."""
        found = self.find(keys)
        canonical, rows = _canonical(keys, found.rules, found.rule)
        return found, self._admit(found, canonical, rows, allow), canonical, rows

    def _ask_again(self, tabled: _Tabled, allow: Allow | None) -> None:
        """Take in some of the series that were one too many for their sender before."""
        rows = tabled.refused_for_now
        allowed = len(rows) if allow is None else allow(len(rows))
        if allowed:
            now, tabled.refused_for_now = rows[:allowed], rows[allowed:]
            found, *_ = self._admitted(tabled.keys.take(np.array(now, np.uint32)))
            tabled.replace(now, found)

    def _entity(self, entity: str) -> tuple[str, str]:
        """Return the type of an entity and what is wrong with its name."""
        found = self._entities.get(entity)
        if found is None:
            if len(self._entities) >= RULES_MAX:
                self._entities.clear()
            kind = entity_kind(entity)
            wrong = bad_name(entity, 4096) if kind else "an entity is type:name"
            found = self._entities[entity] = (kind, wrong)
        return found

    def _long_names(
        self,
        entity: Any,
        entities: Sequence[tuple[str, str]],
        rules: Sequence[Rule],
        rule: npt.NDArray[np.int64],
        refused: Codes,
    ) -> dict[int, str]:
        """Refuse rows whose entity has a bad name; return what each should be."""
        codes = _codes(entity)
        wrong = np.array([bool(text) for _, text in entities], bool)
        length = np.array([len(one) for one in entity.dictionary.to_pylist()], np.int64)
        limit = np.array([r.name_max for r in rules], np.int64)
        if not len(codes):
            return {}
        bad = wrong[codes] | (length[codes] > limit[rule])
        refused[bad] = CODE[Reason.BAD_NAME]
        return {
            int(row): entities[codes[row]][1] or f"a name has at most {limit[rule[row]]} characters"
            for row in np.flatnonzero(bad)
        }

    def _admit(
        self, found: Found, canonical: pa.RecordBatch, row_of: Rows | None, allow: Allow | None
    ) -> list[int]:
        """Count the accepted series of each contract and refuse those beyond a limit.

        :return: the rows that `allow` did not let in.
        """
        good = found.refused == 0
        contract = np.array([r.contract for r in found.rules], np.int64)[found.rule]
        entities = canonical["entity"].to_pylist()
        waiting: list[int] = []
        for number, held in enumerate(self._held):
            limit = self.index.contracts[number].series_max
            rows = np.flatnonzero(good & (contract == number))
            keys = (rows if row_of is None else row_of[rows]).tolist()
            named = [
                (row, entities[key], found.rules[rule])
                for row, rule, key in zip(
                    rows.tolist(), found.rule[rows].tolist(), keys, strict=True
                )
            ]
            new = [one for one in named if not held.has(*one[1:])]
            allowed = len(new) if allow is None or not new else allow(len(new))
            for row, _, _ in new[allowed:]:
                found.refused[row] = CODE[Reason.TOO_MANY_SERIES]
                found.detail[row] = "no more new series from this sender for now"
                waiting.append(row)
            for row, entity, rule in new[:allowed]:
                if not held.admits(entity, rule, limit):
                    found.refused[row] = CODE[Reason.TOO_MANY_SERIES]
                    found.detail[row] = f"at most {limit} series"
        return waiting


class _Tabled:
    """The columns kept beside one key table: a few kinds of limits, and one number a row."""

    def __init__(self) -> None:
        self.keys = KeyTable(KEYS)  # canonical, row for row
        self._numbers: dict[tuple[float | str, ...], int] = {}
        self._limits, self._says = np.empty((0, len(LIMITS))), list[str]()
        self._rule = np.empty(0, np.uint32)
        self._refused = np.empty(0, np.uint8)
        self._detail: dict[int, str] = {}
        self.refused_for_now: list[int] = []  # rows their sender may not add yet

    def extend(
        self, found: Found, waiting: Sequence[int], canonical: pa.RecordBatch, rows: Rows | None
    ) -> None:
        """Take in the rows that the table has more than at the last look."""
        first, count = len(self.keys), len(found.rule)
        numbers = [
            self._numbers.setdefault(
                (*(float(getattr(rule, name)) for name in LIMITS), rule.detail), len(self._numbers)
            )
            for rule in found.rules
        ]
        self.keys.add(canonical if rows is None else canonical.take(pa.array(rows)))
        if len(self._limits) < len(self._numbers):
            self._limits = np.array([key[: len(LIMITS)] for key in self._numbers], np.float64)
            self._says = [str(key[-1]) for key in self._numbers]
        if first + count > len(self._rule):
            self._rule = np.resize(self._rule, 2 * (first + count))
            self._refused = np.resize(self._refused, 2 * (first + count))
        self._rule[first : first + count] = np.array(numbers, np.uint32)[found.rule]
        self._refused[first : first + count] = found.refused
        self._detail |= {first + row: text for row, text in found.detail.items()}
        self.refused_for_now += [first + row for row in waiting]

    def replace(self, rows: Sequence[int], found: Found) -> None:
        """Say anew of some rows whether they are refused."""
        for row, refused in zip(rows, found.refused.tolist(), strict=True):
            self._refused[row] = refused
            self._detail.pop(row, None)
        self._detail |= {rows[n]: text for n, text in found.detail.items()}

    def lookup(self) -> Lookup:
        """Return the columns as they are now; those of rows beyond the table mean nothing."""
        return Lookup(
            self._limits, self._says, self._rule, self._refused, self._detail, self.keys, None
        )


class _Held:
    """The series one contract holds: for each metric and attributes, the entities that have it.

    Entities share one text each, so that a million series need tens of megabytes.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], set[str]] = {}
        self._texts: dict[str, str] = {}
        self._count = 0

    def has(self, entity: str, rule: Rule) -> bool:
        """Return whether the series is held."""
        return entity in self._of.get((rule.metric, rule.attributes), ())

    def admits(self, entity: str, rule: Rule, limit: int) -> bool:
        """Return whether the series is held, or may be from now on."""
        if self.has(entity, rule):
            return True
        entities = self._of.get((rule.metric, rule.attributes))
        if self._count >= limit:
            return False
        if entities is None:
            entities = self._of[rule.metric, rule.attributes] = set()
        entities.add(self._texts.setdefault(entity, entity))
        self._count += 1
        return True


def _codes(encoded: Any) -> npt.NDArray[np.int64]:
    codes: npt.NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def _combine(first: npt.NDArray[np.int64], *more: tuple[npt.NDArray[np.int64], int]) -> Any:
    """Return the distinct combinations of codes, dictionary-encoded in order of appearance."""
    total = first
    for codes, count in more:
        total = total * max(count, 1) + codes
    return pa.array(total).dictionary_encode()


def _split(combined: Any, metrics: int, attributes: int) -> list[tuple[int, int, int]]:
    """Undo `_combine` for three columns."""
    numbers = combined.to_numpy()
    rest, a = np.divmod(numbers, max(attributes, 1))
    k, m = np.divmod(rest, max(metrics, 1))
    return list(zip(k.tolist(), m.tolist(), a.tolist(), strict=True))


def _canonical(
    keys: pa.RecordBatch, rules: Sequence[Rule], rule: npt.NDArray[np.int64]
) -> tuple[pa.RecordBatch, Rows | None]:
    """Return the distinct canonical keys, and which of them each offered key stands for."""
    metric = pa.array([r.metric for r in rules], pa.string()).take(pa.array(rule))
    attributes = pa.array([r.attributes for r in rules], pa.string()).take(pa.array(rule))
    if metric.equals(keys["metric"]) and attributes.equals(keys["attributes"]):
        return keys, None
    renamed = pa.RecordBatch.from_arrays([keys["entity"], metric, attributes], schema=KEYS)
    e, m, a = (column.dictionary_encode() for column in renamed.columns)
    combined = _combine(_codes(e), (_codes(m), len(m.dictionary)), (_codes(a), len(a.dictionary)))
    if len(combined.dictionary) == keys.num_rows:
        return renamed, None
    canonical = _codes(combined).astype(np.uint32)
    _, first = np.unique(canonical, return_index=True)
    return renamed.take(pa.array(first)), canonical
