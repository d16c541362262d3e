"""The host we run on: processor, memory, filesystems, disks, network, sensors, pressure."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import psutil
import pyarrow as pa

from watchkeeper.model import KEYS, REJECTS, SAMPLES, Batch, Cursor, attributes_text
from watchkeeper.sources._readings import SUBJECTS, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Samples this host; counters stay counters.

    :param entity: who the readings are about; `host:` and this host's name unless said.
    :param interval: seconds between samples.
    :param name: the source's name in the journal.
    """

    entity: str = ""
    interval: float = 10.0
    name: str = "host"

    at_home: ClassVar[bool] = True

    @property
    def sampled(self) -> bool:
        """A poll measures the host now."""
        return True

    def open(self, cursor: Cursor | None) -> HostReader:
        """Start sampling; nothing is sampled at or before the time in `cursor`."""
        return HostReader(self, int(cursor) if cursor else 0)


class HostReader:
    """Samples the host once a poll. See `sources.Reader`.

    :param last: the time of the sample before, in milliseconds.

    `missing` says, after each poll, which subjects the system had no answer about, and why.
    """

    def __init__(self, source: Host, last: int) -> None:
        self._name = source.name
        self._entity = source.entity or f"host:{socket.gethostname()}"
        self._last = last
        self._memory: dict[str, dict[str, Any]] = {}
        self.missing: dict[str, str] = {}
        self._ask()  # shares of time are differences; the first poll needs something to compare

    def poll(self) -> Batch | None:
        """Return one sample of every reading, or None when the clock has not moved on."""
        now = time.time_ns() // 1_000_000
        if now <= self._last:
            return None
        readings = self._ask()
        self._last = now
        distinct = {(one.metric, _attributes(one)): one.value for one in readings}
        count = len(distinct)
        keys = pa.RecordBatch.from_arrays(
            [
                pa.array([self._entity] * count, pa.string()),
                pa.array([metric for metric, _ in distinct], pa.string()),
                pa.array([attributes for _, attributes in distinct], pa.string()),
            ],
            schema=KEYS,
        )
        samples = pa.RecordBatch.from_arrays(
            [
                pa.array(np.arange(count, dtype=np.uint32)),
                pa.array(np.full(count, now, np.int64)),
                pa.array(np.array(list(distinct.values()), np.float64)),
            ],
            schema=SAMPLES,
        )
        unread = pa.RecordBatch.from_pylist([], REJECTS)
        return Batch(self._name, Cursor(str(now)), keys, samples, unread)

    def close(self) -> None:
        """Nothing is held open."""

    def _ask(self) -> list[Reading]:
        readings: list[Reading] = []
        self.missing = {}
        for subject in SUBJECTS:
            name = subject.__name__
            try:
                for reading in subject(self._memory.setdefault(name, {})):
                    readings.append(reading)
            except (OSError, psutil.Error, AttributeError, KeyError, ValueError) as error:
                self.missing[name] = f"{type(error).__name__}: {error}"
        return readings


def _attributes(reading: Reading) -> str:
    return attributes_text({**reading.attributes, "unit": reading.unit})


plugin = Host
