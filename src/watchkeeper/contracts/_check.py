"""Split a batch into what the contracts accept and what they refuse, a column at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from watchkeeper.contracts._catalogue import Contract, Metric
from watchkeeper.contracts._kernel import Codes, judge, unchanged
from watchkeeper.contracts._lookup import LIMITS, Allow, Known, Lookup
from watchkeeper.contracts._rules import REASONS, weight
from watchkeeper.key_table import KeyTable
from watchkeeper.model import (
    REJECTS,
    SAMPLES,
    Batch,
    Checked,
    Flags,
    Floats,
    Millis,
    Reason,
    Rows,
    Times,
    Traits,
)

Columns = tuple[Rows, Times, Floats]  # of SAMPLES
REMEMBERED = 4  # rulebooks whose rules `traits` keeps


def check(
    contracts: Sequence[Contract],
    batch: Batch,
    arrived: Millis,
    *,
    known: Known | None = None,
    live: bool = True,
    allow: Allow | None = None,
) -> Checked:
    """Split a batch into accepted and rejected samples; none is lost.

    The first contract that speaks about the entity's type and names the metric decides; else the
    first open one. Accepted samples carry canonical metrics, attributes, units and values and are
    sorted by (series, time); equal ones keep the order in which they were offered.

    :param arrived: when the batch came in.
    :param known: what this ingest has looked up before; made by `Known(contracts)`.
    :param live: False for files, whose samples arrived long ago: ages and skew are not held
        against them, only 1970..2200.
    :param allow: how many new series the sender may add; None: all.
    """
    known = known if known is not None else Known(contracts)
    found = known.lookup(batch.keys, allow)
    series, time, value = _columns(batch.samples)
    rules = (found.rule, found.limits, found.refused)
    told = (series, time, value, _length(batch.keys), *rules, arrived, live)
    keys, samples, refused = found.keys, batch.samples, batch.unread
    # Most requests stay as they were offered.
    if not isinstance(batch.keys, KeyTable) or not unchanged(*told):
        converted, code = np.empty(len(series)), np.empty(len(series), np.uint8)
        bad = judge(*told, converted, code)
        assert bad >= 0, "a sample names a row that its keys do not have"
        keys, samples = _accepted(found, series, time, converted, code == 0 if bad else None)
        if bad:
            refused = _rejected(batch, found, code, arrived if live else None)
    return Checked(
        batch.source, batch.cursor, arrived, keys, samples, refused, batch.offered, batch.controls
    )


def tried(contracts: Sequence[Contract], batch: Batch, arrived: Millis) -> Checked:
    """Check a batch as it is and from last to first, which takes longer; return both as one.

    Nobody waits for a kernel afterwards.
    """
    backwards = pa.array(range(batch.samples.num_rows)[::-1], pa.uint32())
    turned = replace(batch, samples=batch.samples.take(backwards))
    return joined([check(contracts, one, arrived, live=False) for one in (batch, turned)])


def all_joined(checked: Sequence[Checked]) -> list[Checked]:
    """Put together what comes from one source over one table; the others stay as they are."""
    groups: dict[tuple[str, int], list[Checked]] = {}
    for number, one in enumerate(checked):
        table = id(one.keys) if isinstance(one.keys, KeyTable) else -1 - number
        groups.setdefault((one.source, table), []).append(one)
    return [joined(group) for group in groups.values()]


def joined(group: Sequence[Checked]) -> Checked:
    """Return checked batches of one source over one table as one, which arrived with the last."""
    if len(group) == 1:
        return group[0]
    parts = [_columns(one.samples) for one in group if one.samples.num_rows]
    samples = group[0].samples
    if parts:
        samples = _samples(_together(parts))
    rejected = [one.rejected for one in group if one.rejected.num_rows]
    return replace(
        group[-1],
        arrived=max(one.arrived for one in group),
        samples=samples,
        rejected=pa.concat_batches(rejected) if rejected else group[0].rejected,
        offered=sum(one.offered for one in group),
        controls=tuple(control for one in group for control in one.controls),
    )


def traits(contracts: Sequence[Contract], keys: pa.RecordBatch) -> Traits:
    """Return what the contracts say about each series; NaN where they are silent.

    Of a counter, detectors see the rate per second: its `warn` and `crit` are rates, its lowest
    rate is 0 and its highest is not known.
    """
    found = _remembered(tuple(contracts)).find(keys)
    metrics = [rule.known for rule in found.rules]
    counter = np.array(
        [
            rule.counter if (m := rule.known) is None else m.kind == "counter"
            for rule in found.rules
        ],
        bool,
    )
    sign = {"high": 1, "low": -1, "both": 0}

    def column(name: str) -> Any:
        values = [None if m is None else getattr(m, name) for m in metrics]
        return np.array([math.nan if v is None else v for v in values], np.float64)

    low, high = np.where(counter, 0.0, column("low")), np.where(counter, math.nan, column("high"))
    worse = np.array([0 if m is None else sign[m.worse] for m in metrics], np.int8)
    weights = np.array([weight(m) for m in metrics], np.float64)
    row = found.rule
    warn, crit = column("warn")[row], column("crit")[row]
    return Traits(counter[row], worse[row], low[row], high[row], warn, crit, weights[row])


def metrics_of(contracts: Sequence[Contract], keys: pa.RecordBatch) -> list[Metric | None]:
    """Return what the contracts say of each series; None where they do not name it.

    One name can have several meanings: the idle share of a processor, and the busy one.
    """
    found = _remembered(tuple(contracts)).find(keys)
    return [found.rules[rule].known for rule in found.rule.tolist()]


_knowns: dict[tuple[int, ...], tuple[tuple[Contract, ...], Known]] = {}


def _remembered(contracts: tuple[Contract, ...]) -> Known:
    """Return what was looked up before under the same contracts; the answers do not show it."""
    name = tuple(map(id, contracts))
    found = _knowns.get(name)
    if found is None:
        if len(_knowns) >= REMEMBERED:
            _knowns.clear()
        # The contracts are kept beside it, so that no others can come to have their ids.
        found = _knowns[name] = (contracts, Known(contracts))
    return found[1]


def _length(keys: pa.RecordBatch | KeyTable) -> int:
    return len(keys) if isinstance(keys, KeyTable) else int(keys.num_rows)


def _accepted(
    found: Lookup, series: Rows, time: Times, value: Floats, good: Flags | None
) -> tuple[pa.RecordBatch | KeyTable, pa.RecordBatch]:
    """Return the keys that have accepted samples (or their table), and those samples, sorted."""
    canonical = series if found.canonical is None else found.canonical[series]
    if good is not None:
        canonical, time, value = canonical[good], time[good], value[good]
    keys = found.keys
    if not isinstance(keys, KeyTable):
        used = np.zeros(keys.num_rows, bool)
        used[canonical] = True
        if not used.all():
            position = (np.cumsum(used) - 1).astype(np.uint32)
            keys, canonical = keys.filter(pa.array(used)), position[canonical]
    canonical, time, value = _sorted(canonical, time, value)
    return keys, _samples((canonical, time, value))


def _samples(columns: Columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=SAMPLES)


def _columns(samples: pa.RecordBatch) -> Columns:
    series, time, value = (column.to_numpy() for column in samples.columns)
    return series, time, value


def _together(parts: list[Columns]) -> Columns:
    """Return sorted parts as one that is; those of different series need only follow in order."""
    by_series = sorted(parts, key=lambda part: int(part[0][0]))
    apart = all(one[0][-1] < other[0][0] for one, other in pairwise(by_series))
    chosen = by_series if apart else parts
    series, time, value = (np.concatenate(columns) for columns in zip(*chosen, strict=True))
    return (series, time, value) if apart else _sorted(series, time, value)


def _sorted(series: Rows, time: Times, value: Floats) -> Columns:
    """Sort by (series, time), stably. Senders keep time order, so a radix pass is mostly enough."""
    if (series[1:] > series[:-1]).all():  # one sample a series, as most requests have it
        return series, time, value
    if not (series[1:] >= series[:-1]).all():
        order = np.argsort((series & 0xFFFF).astype(np.uint16), kind="stable")
        if int(series.max()) > 0xFFFF:
            order = order[np.argsort((series[order] >> 16).astype(np.uint16), kind="stable")]
        series, time, value = series[order], time[order], value[order]
    if ((series[1:] == series[:-1]) & (time[1:] < time[:-1])).any():
        order = np.lexsort((time, series))
        series, time, value = series[order], time[order], value[order]
    return series, time, value


def _rejected(batch: Batch, found: Lookup, code: Codes, arrived: Millis | None) -> pa.RecordBatch:
    """Return what was refused, as offered, behind what could not even be read."""
    bad = np.flatnonzero(code)
    offered = batch.samples.take(pa.array(bad))
    series = offered["series"].to_numpy()
    if isinstance(batch.keys, KeyTable):
        keys = batch.keys.take(series)
    else:
        keys = batch.keys.take(offered["series"])
    pairs = pa.array(found.rule[series].astype(np.int64) * 256 + code[bad]).dictionary_encode()
    said = [_said(found, *divmod(int(pair), 256), arrived) for pair in pairs.dictionary.to_pylist()]
    reason = pa.array([str(REASONS[int(p) % 256 - 1]) for p in pairs.dictionary.to_pylist()])
    columns = [
        *keys.columns,
        offered["time"],
        offered["value"],
        pa.nulls(len(bad), pa.string()),
        pa.array([batch.origin or batch.source]).take(pa.array(np.zeros(len(bad), np.int8))),
        reason.take(pairs.indices),
        pa.array(said, pa.string()).take(pairs.indices),
    ]
    refused = pa.RecordBatch.from_arrays(columns, schema=REJECTS)
    if not batch.unread.num_rows:
        return refused
    return pa.concat_batches([batch.unread, refused])


def _said(found: Lookup, rule: int, code: int, arrived: Millis | None) -> str:
    """Return what the contract expected of samples that were refused.

    :param rule: the row of their limits.
    """
    reason = REASONS[code - 1]
    limit = dict(zip(LIMITS, found.limits[rule].tolist(), strict=True))
    if reason is Reason.NOT_FINITE:
        return "a finite value, or the stale marker"
    if reason is Reason.BELOW_BOUND:
        return f"value >= {limit['low']:g}"
    if reason is Reason.ABOVE_BOUND:
        return f"value <= {limit['high']:g}"
    if reason is Reason.TOO_OLD:
        said = _until(limit["max_age"], "at most {} before it arrived", arrived)
        return f"time from 1970 on{said}"
    if reason is Reason.IN_THE_FUTURE:
        return f"time before 2200{_until(limit['skew'], 'at most {} after it arrived', arrived)}"
    return found.says[rule]


def _until(limit: float, text: str, arrived: Millis | None) -> str:
    if arrived is None or math.isinf(limit):
        return ""
    return f", {text.format(f'{limit / 1000:g} s')}"
