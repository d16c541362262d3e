"""Blocks of samples: entries put together into one, and one cut into parts for workers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from watchkeeper.core.state import Hash
from watchkeeper.detectors import Samples
from watchkeeper.detectors._ensemble import Scores
from watchkeeper.model import Entry, Rows, pick

PART = 16_384  # samples; fewer are scored before another thread has begun with its half


class Block(NamedTuple):
    """What some entries brought, sorted by series; samples of one series as they came."""

    samples: Samples
    entry: Rows  # which of the entries each sample came in, from 0


def together(entries: Sequence[Entry]) -> Block:
    """Put the samples of entries together, at least one entry."""
    parts = [[column.to_numpy() for column in entry.samples.columns] for entry in entries]
    # copied, for a kernel that is handed what cannot be written to is compiled a second time
    row, time, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    sizes = [entry.samples.num_rows for entry in entries]
    arrived = np.repeat(np.array([entry.arrived for entry in entries], np.int64), sizes)
    whose = np.repeat(np.arange(len(entries), dtype=np.uint32), sizes)
    block = Block(Samples(row, time, arrived, value), whose)
    if _ascends(row):
        return block
    order = np.argsort(row, kind="stable")
    return Block(pick(block.samples, order), block.entry[order])


def follows(last: Entry, entry: Entry) -> bool:
    """Return whether all series of an entry come after those of another: nothing is sorted."""
    before, after = (one.samples.column("series").to_numpy() for one in (last, entry))
    return bool(len(before) and len(after) and before[-1] < after[0])


def tell(hashed: Hash, block: Block, scores: Scores) -> None:
    """Hash what was scored and how, entry by entry: which were put together does not show."""
    columns: list[npt.NDArray[Any]] = [block.samples.row, block.samples.time, *scores[:6]]
    entry = block.entry
    if not _ascends(entry):
        order = np.argsort(entry, kind="stable")
        columns, entry = [column[order] for column in columns], entry[order]
    parts = [(np.ascontiguousarray(column).data.cast("B"), column.itemsize) for column in columns]
    numbers = np.arange(int(entry[-1]) + 2, dtype=np.uint32) if len(entry) else entry
    starts = np.searchsorted(entry, numbers).tolist()
    for begin, end in itertools.pairwise(starts):
        for part, size in parts:
            hashed.update(part[begin * size : end * size])


def slices(samples: Samples, workers: int) -> list[Samples]:
    """Cut between series into as many parts as there are workers; each series stays whole."""
    size = len(samples.row)
    workers = min(workers, size // PART)
    if workers <= 1:
        return [samples]
    cuts = [0]
    for part in range(1, workers):
        middle = size * part // workers
        cuts.append(int(np.searchsorted(samples.row, samples.row[middle], side="left")))
    cuts.append(size)
    return [pick(samples, slice(a, b)) for a, b in itertools.pairwise(cuts) if a < b]


def _ascends(column: npt.NDArray[Any]) -> bool:
    return bool((column[1:] >= column[:-1]).all())
