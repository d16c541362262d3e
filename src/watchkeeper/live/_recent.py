"""The newest scored samples, kept in memory for plots."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from watchkeeper.core import Observed
from watchkeeper.core.state import Series, State
from watchkeeper.model import pick
from watchkeeper.results import SCORES_FILE, Names

RECENT = 400_000  # samples kept


class Recent:
    """The newest scored samples, for plots. Names are looked up only when somebody looks."""

    def __init__(self) -> None:
        self._parts: deque[Observed] = deque()
        self._series = Series()
        self._rows = 0
        self._lock = threading.Lock()

    def add(self, observed: Observed, state: State) -> None:
        """Keep what was just observed; let the oldest go."""
        if len(observed.samples.row) == 0:
            return
        with self._lock:
            self._series = state.series
            self._parts.append(observed)
            self._rows += len(observed.samples.row)
            while self._rows > RECENT and len(self._parts) > 1:
                self._rows -= len(self._parts.popleft().samples.row)

    def read(self, chosen: Sequence[tuple[str, str, str]]) -> pa.Table:
        """Return the samples kept of chosen (entity, metric, attributes)."""
        with self._lock:
            parts, series = list(self._parts), self._series
        wanted = set(chosen)
        numbers = [
            number
            for number, (metric, attributes) in enumerate(
                zip(series.metrics, series.attributes, strict=False)
            )
            if number < len(series.entity)
            and (series.entities[series.entity[number]], metric, attributes) in wanted
        ]
        kept = [
            replace(one, samples=pick(one.samples, mine), scores=pick(one.scores, mine))
            for one in parts
            if (mine := np.isin(one.samples.row, numbers)).any()
        ]
        names = Names(series)
        return pa.Table.from_batches([names.scores(one) for one in kept], SCORES_FILE)
