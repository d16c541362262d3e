"""Durations, counted in bounded memory, each percentile true to one percent."""

from __future__ import annotations

import math

import numpy as np

STEP = math.log(1.01)
SMALLEST = 1e-6  # seconds
BUCKETS = 2_400  # up to six hours
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Latencies:
    """Counts of durations in buckets, each one percent wider than the one before."""

    def __init__(self) -> None:
        self._counts = np.zeros(BUCKETS, np.int64)
        self.longest = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        bucket = math.ceil(math.log(max(seconds, SMALLEST) / SMALLEST) / STEP)
        self._counts[min(bucket, BUCKETS - 1)] += 1
        self.longest = max(self.longest, seconds)

    def __iadd__(self, other: Latencies) -> Latencies:
        self._counts += other._counts
        self.longest = max(self.longest, other.longest)
        return self

    def summary(self) -> dict[str, float | None]:
        """Return percentiles and the longest, in milliseconds; None where nothing was counted."""
        total = int(self._counts.sum())
        if not total:
            return {**dict.fromkeys(SHARES), "max": None}
        below = np.cumsum(self._counts)
        found: dict[str, float | None] = {}
        for name, share in SHARES.items():
            bucket = int(np.searchsorted(below, math.ceil(share * total)))
            edge = SMALLEST * math.exp(STEP * bucket)
            found[name] = round(1000 * min(edge, self.longest), 3)
        return {**found, "max": round(1000 * self.longest, 3)}
