"""Columns of a batch, put together from what a decoder found."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from watchkeeper.identity import Key
from watchkeeper.model import REJECTS, SAMPLES, Floats, Reason, Rows, Times

OFFERED_MAX = 200  # characters of an unreadable record that are kept
NO_KEY: Key = ("", "", "")
NO_REJECTS = pa.RecordBatch.from_pylist([], REJECTS)


class Rejects:
    """Collects the records of one request that cannot become samples."""

    def __init__(self, origin: str) -> None:
        self._origin, self._rows = origin, list[tuple[Any, ...]]()

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self,
        reason: Reason,
        detail: str,
        *,
        key: Key = NO_KEY,
        time: int | None = None,
        value: float | None = None,
        offered: str | None = None,
        place: str = "",
    ) -> None:
        """Keep one. :param detail: what was expected. :param place: where in the request."""
        origin = f"{self._origin}:{place}" if place else self._origin
        shown = None if offered is None else offered[:OFFERED_MAX]
        self._rows.append((*key, time, value, shown, origin, str(reason), detail))

    def columns(self) -> pa.RecordBatch:
        """Return them as REJECTS."""
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(REJECTS)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, REJECTS, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=REJECTS)


def samples(series: Rows, time: Times, value: Floats) -> pa.RecordBatch:
    """Return SAMPLES over arrays, without copying them."""
    columns = [pa.array(series, pa.uint32()), pa.array(time), pa.array(value)]
    return pa.RecordBatch.from_arrays(columns, schema=SAMPLES)
