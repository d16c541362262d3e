"""Offer rejected samples again: to today's contracts, through the journal.

What passes becomes one more entry, scored like any other where it is news and counted late where
it is not. Offering the same sample twice changes nothing: the second is a duplicate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from watchkeeper.contracts import Contract, Known, check
from watchkeeper.journal import Journal
from watchkeeper.model import (
    KEYS,
    REJECTS,
    SAMPLES,
    Batch,
    Checked,
    Control,
    Cursor,
    Entry,
    Millis,
    Offset,
    canonical,
    digest,
)
from watchkeeper.pipeline import entries

SOURCE = "quarantine"


@dataclass(frozen=True)
class Released:
    """What came of offering again: samples that hold a number and a time, and those that passed."""

    offered: int
    accepted: int


def release(
    journal: Journal, contracts: Sequence[Contract], now: Millis, reason: str | None = None
) -> Released:
    """Journal every rejected sample that passes today; the others stay where they are.

    An entry is not tried again against the same contracts.

    :param reason: only samples rejected for this reason.
    """
    judged = digest([contract.model_dump(mode="json", by_alias=True) for contract in contracts])
    tried = _tried(journal)
    known = Known(contracts)
    known.learn(journal.series())
    begun = False
    offered = accepted = 0
    for entry in list(journal.rejected(Offset(0), max(1, journal.head()))):
        facts = {"entry": entry.offset, "contracts": judged, "reason": reason}
        batch = _batch(entry.rejected, reason, Cursor(str(entry.offset)))
        if canonical(facts) in tried or batch.offered == 0:
            continue
        checked = check(contracts, batch, entry.arrived, known=known)  # as old as it was then
        offered += batch.offered
        accepted += checked.samples.num_rows
        if not begun:  # nobody watched since the service stopped
            journal.note(Control("started", SOURCE, "{}"), now)
            begun = True
        if checked.samples.num_rows:
            journal.append([_accepted(checked, now)])
        journal.note(Control("released", SOURCE, canonical(facts)), now)
    return Released(offered, accepted)


def offers_again(
    entries: Sequence[Entry],
    contracts: Sequence[Contract],
    now: Millis,
    reason: str | None,
    actor: str,
) -> tuple[int, list[Batch]]:
    """Return how many samples of some entries can be offered again, and what of them passes today.

    For a house that runs: the batches go its usual way. What is too old by now stays where it is.

    :param actor: who wants it; the journal keeps that.
    """
    judged = digest([contract.model_dump(mode="json", by_alias=True) for contract in contracts])
    known, offered, passing = Known(contracts), 0, []
    for entry in entries:
        batch = _batch(entry.rejected, reason, Cursor(str(entry.offset)))
        offered += batch.offered
        for arrived in (entry.arrived, now):
            checked = check(contracts, batch, arrived, known=known)
            batch = replace(batch, keys=checked.keys, samples=checked.samples)
        if batch.offered:
            facts = {"entry": entry.offset, "contracts": judged, "reason": reason}
            released = Control("released", actor, canonical(facts))
            passing.append(replace(batch, controls=(released,)))
    return offered, passing


def _tried(journal: Journal) -> set[str]:
    return {
        canonical(json.loads(control.body))
        for entry in entries(journal)
        for control in entry.controls
        if control.kind == "released"
    }


def _batch(rejected: pa.RecordBatch, reason: str | None, cursor: Cursor) -> Batch:
    """Return the rows that hold a number and a time as a batch."""
    whole = pc.and_(pc.is_valid(rejected["value"]), pc.is_valid(rejected["time"]))
    if reason is not None:
        whole = pc.and_(whole, pc.equal(rejected["reason"], reason))
    rows = rejected.filter(whole)
    numbers: dict[tuple[Any, ...], int] = {}
    names = zip(*(rows[name].to_pylist() for name in KEYS.names), strict=True)
    series = [numbers.setdefault(key, len(numbers)) for key in names]
    keys = [dict(zip(KEYS.names, key, strict=True)) for key in numbers]
    samples = [pa.array(np.array(series, np.uint32)), rows["time"], rows["value"]]
    return Batch(
        SOURCE,
        cursor,
        pa.RecordBatch.from_pylist(keys, KEYS),
        pa.RecordBatch.from_arrays(samples, schema=SAMPLES),
        pa.RecordBatch.from_pylist([], REJECTS),
    )


def _accepted(checked: Checked, now: Millis) -> Checked:
    """Leave out what was refused again: it is in the journal already."""
    return Checked(
        checked.source,
        checked.cursor,
        now,
        checked.keys,
        checked.samples,
        checked.rejected.slice(0, 0),
        checked.samples.num_rows,
    )
