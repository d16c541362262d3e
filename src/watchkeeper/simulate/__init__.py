"""Seeded fleets with faults and ground truth: `Scenario` + seed determine every byte.

    scenario = preset("fleet")                        # or read(Path("my.yaml"))
    for columns in blocks(scenario, seed=7): ...      # samples sorted by time, flat memory
    write(scenario, 7, Path("fleet.parquet"))         # and fleet.parquet.truth.json beside it

Any slice may be generated alone, in any order, by any worker, and is the same (`_noise.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from watchkeeper.simulate._fleet import Block, Columns, Fleet
from watchkeeper.simulate._noise import SEGMENT
from watchkeeper.simulate.scenario import PRESETS, Hosts, Random, Scenario, parse, preset, read

__all__ = [
    "PRESETS",
    "Block",
    "Columns",
    "Fleet",
    "Hosts",
    "Random",
    "Scenario",
    "blocks",
    "digest",
    "generate",
    "parse",
    "preset",
    "read",
]
ROWS = 1 << 20  # samples in a block, about; keeps memory flat for any fleet


@lru_cache(maxsize=2)
def _fleet(scenario: Scenario, seed: int) -> Fleet:
    return Fleet(scenario, seed)


def generate(scenario: Scenario, seed: int, block: Block) -> Columns:
    """Return the samples of one slice of a fleet, sorted by (time, series)."""
    return _fleet(scenario, seed).block(block)


def blocks(scenario: Scenario, seed: int, rows: int = ROWS) -> Iterator[Columns]:
    """Yield the whole fleet in order of time, about `rows` samples at once."""
    fleet = Fleet(scenario, seed)
    for block in cuts(fleet, rows):
        yield fleet.block(block)


def cuts(fleet: Fleet, rows: int = ROWS) -> Iterator[Block]:
    """Yield slices that cover a fleet in order of time, of about `rows` samples each."""
    ticks = max(rows // (len(fleet.names) * len(fleet.signals)), 16)
    ticks = min(1 << (ticks.bit_length() - 1), SEGMENT)  # a slice never straddles a segment
    for first in range(0, fleet.ticks, ticks):
        yield Block(first, min(first + ticks, fleet.ticks))


def digest(scenario: Scenario, seed: int) -> str:
    """Return the SHA-256 over the keys and columns of the whole fleet, in hexadecimal.

    The bytes are the KEYS' texts, then each of series, time, value as little-endian columns hashed
    apart, so that the cut into blocks does not show.
    """
    hashes = [hashlib.sha256() for _ in range(4)]
    for number, columns in enumerate(blocks(scenario, seed)):
        if number == 0:
            for row in columns.keys.to_pylist():
                hashes[0].update("\0".join([*row.values(), ""]).encode())
        value = np.where(np.isnan(columns.value), np.nan, columns.value)  # one spelling of NaN
        hashes[1].update(columns.series.astype("<u4").tobytes())
        hashes[2].update(columns.time.astype("<i8").tobytes())
        hashes[3].update(value.astype("<f8").tobytes())
    return hashlib.sha256(b"".join(one.digest() for one in hashes)).hexdigest()
