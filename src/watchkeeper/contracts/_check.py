"""Split a batch into what the contracts accept and what they refuse, a column at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from watchkeeper.contracts._catalogue import Contract
from watchkeeper.contracts._lookup import CODE, REASONS, Known, Lookup
from watchkeeper.contracts._rules import weight
from watchkeeper.model import (
    REJECTS,
    SAMPLES,
    STALE_BITS,
    Batch,
    Checked,
    Flags,
    Millis,
    Reason,
    Rows,
    Times,
    Traits,
)

YEAR_1970 = 0
YEAR_2200 = 7_258_118_400_000


def check(
    contracts: Sequence[Contract],
    batch: Batch,
    arrived: Millis,
    *,
    known: Known | None = None,
    live: bool = True,
) -> Checked:
    """Split a batch into accepted and rejected samples; none is lost.

    The first contract that speaks about the entity's type and names the metric decides; else the
    first open one. Accepted samples carry canonical metrics, attributes, units and values and are
    sorted by (series, time); equal ones keep the order in which they were offered.

    :param arrived: when the batch came in.
    :param known: what this ingest has looked up before; made by `Known(contracts)`.
    :param live: False for files, whose samples arrived long ago: ages and skew are not held
        against them, only 1970..2200.
    """
    known = known if known is not None else Known(contracts)
    found = known.lookup(batch.keys, admit=True)
    series = batch.samples["series"].to_numpy()
    time = batch.samples["time"].to_numpy()
    value = batch.samples["value"].to_numpy()
    assert len(series) == 0 or int(series.max()) < batch.keys.num_rows
    value = _converted(value, series, found)
    code = _codes_of(series, time, value, found, arrived if live else None)
    good = code == 0
    keys, samples = _accepted(found, series, time, value, good)
    refused = _rejected(batch, found, code, arrived if live else None)
    checked = Checked(
        batch.source, batch.cursor, arrived, keys, samples, refused, offered=batch.offered
    )
    assert checked.samples.num_rows + checked.rejected.num_rows == batch.offered
    return checked


def traits(contracts: Sequence[Contract], keys: pa.RecordBatch) -> Traits:
    """Return what the contracts say about each series; NaN where they are silent.

    Of a counter, detectors see the rate per second: its `warn` and `crit` are rates, its lowest
    rate is 0 and its highest is not known.
    """
    found = Known(contracts).lookup(keys, admit=False)
    metrics = [rule.known for rule in found.rules]
    counter = np.array([m is not None and m.kind == "counter" for m in metrics], bool)
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


def _converted(value: Any, series: Rows, found: Lookup) -> Any:
    """Apply the conversions of aliases and units; values without one keep their exact bits."""
    converts = np.array([(r.scale, r.offset) != (1.0, 0.0) for r in found.rules], bool)
    if not converts.any():
        return value
    row = found.rule[series]
    touched = np.flatnonzero(converts[row] & (value.view(np.uint64) != STALE_BITS))
    scale = np.array([r.scale for r in found.rules], np.float64)[row[touched]]
    offset = np.array([r.offset for r in found.rules], np.float64)[row[touched]]
    value = value.copy()
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as not finite
        value[touched] = value[touched] * scale + offset
    return value


def _codes_of(
    series: Rows, time: Times, value: Any, found: Lookup, arrived: Millis | None
) -> npt.NDArray[np.uint8]:
    """Return for each sample 0 or the code of the first rule it breaks."""
    code = np.zeros(len(series), np.uint8)
    if not len(series):
        return code
    row = found.rule[series]
    stale = value.view(np.uint64) == STALE_BITS
    low = np.array([r.low for r in found.rules])
    high = np.array([r.high for r in found.rules])
    with np.errstate(invalid="ignore"):
        if np.isfinite(low).any() or np.isfinite(high).any():
            code[(value < low[row]) & ~stale] = CODE[Reason.BELOW_BOUND]
            code[(value > high[row]) & ~stale] = CODE[Reason.ABOVE_BOUND]
    code[time >= YEAR_2200] = CODE[Reason.IN_THE_FUTURE]
    code[time < YEAR_1970] = CODE[Reason.TOO_OLD]
    if arrived is not None:
        skew = np.array([r.skew for r in found.rules])
        age = np.array([r.max_age for r in found.rules])
        ahead = time - np.float64(arrived)
        code[ahead > skew[row]] = CODE[Reason.IN_THE_FUTURE]
        code[-ahead > age[row]] = CODE[Reason.TOO_OLD]
    code[~np.isfinite(value) & ~stale] = CODE[Reason.NOT_FINITE]
    if found.refused.any():
        code = np.where(found.refused[series] > 0, found.refused[series], code)
    return code


def _accepted(
    found: Lookup, series: Rows, time: Times, value: Any, good: Flags
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the keys that have accepted samples, and those samples, sorted."""
    canonical = found.canonical[series]
    if not good.all():
        canonical, time, value = canonical[good], time[good], value[good]
    used = np.zeros(found.keys.num_rows, bool)
    used[canonical] = True
    keys = found.keys
    if not used.all():
        position = (np.cumsum(used) - 1).astype(np.uint32)
        keys, canonical = keys.filter(pa.array(used)), position[canonical]
    canonical, time, value = _sorted(canonical, time, value)
    columns = [pa.array(canonical, pa.uint32()), pa.array(time), pa.array(value)]
    return keys, pa.RecordBatch.from_arrays(columns, schema=SAMPLES)


def _sorted(series: Rows, time: Times, value: Any) -> tuple[Rows, Times, Any]:
    """Sort by (series, time), stably. Senders keep time order, so a radix pass is mostly enough."""
    if len(series) < 2:
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


def _rejected(
    batch: Batch, found: Lookup, code: npt.NDArray[np.uint8], arrived: Millis | None
) -> pa.RecordBatch:
    """Return what was refused, as offered, behind what could not even be read."""
    bad = np.flatnonzero(code)
    if not len(bad):
        return batch.unread
    offered = batch.samples.take(pa.array(bad))
    series = offered["series"].to_numpy().astype(np.int64)
    keys = batch.keys.take(offered["series"])
    pairs = pa.array(series * 256 + code[bad]).dictionary_encode()
    said = [_said(found, *divmod(int(pair), 256), arrived) for pair in pairs.dictionary.to_pylist()]
    reason = pa.array([str(REASONS[int(p) % 256 - 1]) for p in pairs.dictionary.to_pylist()])
    columns = [
        *keys.columns,
        offered["time"],
        offered["value"],
        pa.nulls(len(bad), pa.string()),
        pa.array([batch.source]).take(pa.array(np.zeros(len(bad), np.int8))),
        reason.take(pairs.indices),
        pa.array(said, pa.string()).take(pairs.indices),
    ]
    refused = pa.RecordBatch.from_arrays(columns, schema=REJECTS)
    if not batch.unread.num_rows:
        return refused
    both = pa.Table.from_batches([batch.unread, refused]).combine_chunks()
    return both.to_batches()[0]


def _said(found: Lookup, row: int, code: int, arrived: Millis | None) -> str:
    """Return what the contract expected of a sample that was refused."""
    rule, reason = found.rules[int(found.rule[row])], REASONS[code - 1]
    if reason is Reason.NOT_FINITE:
        return "a finite value, or the stale marker"
    if reason is Reason.BELOW_BOUND:
        return f"value >= {rule.low:g}"
    if reason is Reason.ABOVE_BOUND:
        return f"value <= {rule.high:g}"
    if reason is Reason.TOO_OLD:
        return "time from 1970 on" + _until(rule.max_age, "at most {} before it arrived", arrived)
    if reason is Reason.IN_THE_FUTURE:
        return "time before 2200" + _until(rule.skew, "at most {} after it arrived", arrived)
    return found.detail.get(row, rule.detail)


def _until(limit: float, text: str, arrived: Millis | None) -> str:
    if arrived is None or math.isinf(limit):
        return ""
    return f", {text.format(f'{limit / 1000:g} s')}"
