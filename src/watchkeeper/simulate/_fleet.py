"""A fleet: any slice of its telemetry, always the same bytes for the same scenario and seed."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from watchkeeper.model import KEYS, Flags, Floats, Rows, Times, attributes_text
from watchkeeper.simulate import _draw
from watchkeeper.simulate._host import HOST, Signal, profile
from watchkeeper.simulate._kernel import fleet_accumulate, fleet_readings
from watchkeeper.simulate._noise import SEGMENT, key
from watchkeeper.simulate._readings import corrupt
from watchkeeper.simulate.scenario import Scenario

CLOCK = np.dtype([("origin", np.float64), ("interval", np.float64), ("first", np.int64)])
REMEMBERED = 64  # places from which counters go on; more are found again by adding


class Block(NamedTuple):
    """A slice of a fleet: ticks first..last of hosts low..high, ends excluded; None is the end."""

    first: int
    last: int
    low: int = 0
    high: int | None = None


class Columns(NamedTuple):
    """Samples sorted by (time, series); a sample that went missing has no row.

    :param keys: KEYS of the whole fleet, whatever the block. :param series: a row of `keys`.
    """

    keys: pa.RecordBatch
    series: Rows
    time: Times
    value: Floats


class Fleet:
    """The telemetry of one scenario and seed. One thread uses it; make another for another."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario, self.seed = scenario, seed
        self.names = scenario.entities.names()
        wanted = [m for m, s in enumerate(HOST) if _wanted(scenario, s)]
        ids = [signal.id for signal in HOST]
        sources = {ids.index(HOST[m].mirror) for m in wanted if HOST[m].mirror}
        self._wanted = np.array(wanted, np.int64)
        self._needed = np.array(sorted({*wanted, *sources}), np.int64)
        self._counters = np.array([m for m in wanted if HOST[m].counter], np.int64)
        self.signals: tuple[Signal, ...] = tuple(HOST[m] for m in wanted)
        self._profile = profile(HOST)
        self._streams = _draw.streams(scenario, seed, HOST)
        self._hosts = _draw.hosts(scenario, seed)
        self._sizes = _draw.sizes(self._streams, HOST)
        self._begin = _draw.totals(self._streams, HOST)
        self.keys = self._keys()
        self._suffer(_draw.incidents(scenario, seed))

    def _suffer(self, incidents: tuple[_draw.Incident, ...]) -> None:
        self.incidents = incidents
        self._effects = _draw.effects(incidents, HOST, self.seed)
        every = np.arange(len(self.names) + 1)
        self._offsets = np.searchsorted(self._effects["entity"], every).astype(np.int64)
        self._known: OrderedDict[tuple[int, int, int], Floats] = OrderedDict()
        self._moments: dict[tuple[int, int], Floats] = {}  # one for each reading fault

    def only(self, incidents: tuple[_draw.Incident, ...]) -> Fleet:
        """Return the same fleet with no other faults than these."""
        other = copy.copy(self)
        other._suffer(incidents)
        return other

    @property
    def ticks(self) -> int:
        """How many ticks there are."""
        return self.scenario.ticks

    def block(self, block: Block) -> Columns:
        """Return the samples of one slice.

        :raises IndexError: the slice leaves the fleet or its time.
        """
        low, high = block.low, len(self.names) if block.high is None else block.high
        if not (0 <= block.first <= block.last <= self.ticks and 0 <= low <= high):
            raise IndexError(block)
        if high > len(self.names):
            raise IndexError(block)
        value = self._physical(block.first, block.last, low, high)
        present = self._read(value, block.first, low)
        ticks, width = block.last - block.first, len(self.signals)
        value = value[:, :, self._wanted].reshape(-1)
        series = np.arange(low * width, high * width, dtype=np.uint32)
        times = self.scenario.origin + self.scenario.interval * np.arange(
            block.first, block.last, dtype=np.int64
        )
        series, times = np.tile(series, ticks), np.repeat(times, (high - low) * width)
        if present is not None:
            kept = np.repeat(present.reshape(-1), width)
            series, times, value = series[kept], times[kept], value[kept]
        return Columns(self.keys, series, times, value)

    def steps(self, first: int, last: int, low: int, high: int, columns: Any = None) -> Floats:
        """Return [T, E, M] over all of HOST: gauges as read, counters as growth in a tick."""
        out = np.zeros((last - first, high - low, len(HOST)))
        clock = np.zeros((), CLOCK)
        clock["origin"] = self.scenario.origin / 1000.0
        clock["interval"], clock["first"] = self.scenario.interval / 1000.0, first
        fleet_readings(
            self._hosts[low:high],
            self._profile,
            self._needed if columns is None else columns,
            self._sizes[low:high],
            self._streams[low:high],
            clock[()],
            self._effects,
            self._offsets[low : high + 1],
            out,
        )
        return out

    def told(self, entity: int, first: int, last: int) -> tuple[Floats, Flags]:
        """Return what is read from one host, [T, M] over all of HOST, and which ticks are heard."""
        value = self._physical(first, last, entity, entity + 1)
        present = self._read(value, first, entity)
        heard = np.ones(last - first, np.bool_) if present is None else present[:, 0]
        return value[:, 0], heard

    def one(self, entity: int, signal: int, tick: int) -> float:
        """Return what one signal of one host truly was at one tick."""
        place = (entity, tick)
        if place not in self._moments:
            self._moments[place] = self._physical(tick, tick + 1, entity, entity + 1)[0, 0]
        return float(self._moments[place][signal])

    def _physical(self, first: int, last: int, low: int, high: int) -> Floats:
        out = self.steps(first, last, low, high)
        totals = self._totals(first, low, high).copy()
        fleet_accumulate(self._profile, self._counters, totals, out)
        self._remember(last, low, high, totals)
        return out

    def _totals(self, tick: int, low: int, high: int) -> Floats:
        """Return where the counters stand just before a tick, from the nearest place known."""
        places = [at for at, a, b in self._known if (a, b) == (low, high) and at <= tick]
        at = max(places, default=0)
        totals = self._known[at, low, high] if places else self._begin[low:high]
        while at < tick:
            until = min(at + SEGMENT - at % SEGMENT, tick)
            growth = self.steps(at, until, low, high, self._counters)
            totals = totals.copy()
            fleet_accumulate(self._profile, self._counters, totals, growth)
            at = until
            self._remember(at, low, high, totals)
        return totals

    def _remember(self, tick: int, low: int, high: int, totals: Floats) -> None:
        self._known[tick, low, high] = totals
        self._known.move_to_end((tick, low, high))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _read(self, value: Floats, first: int, low: int) -> Flags | None:
        """Corrupt `value` in place as the reading faults say; return who was heard, [T, E]."""
        last, high = first + value.shape[0], low + value.shape[1]
        present: Flags | None = None
        interval = self.scenario.interval
        for one in self.incidents:
            begin, end = -(-one.onset // interval), -(-one.end // interval)
            if not (low <= one.entity < high and begin < last and end > first):
                continue
            for reading in one.fault.readings():
                stream = key(self.seed, "reading", one.number, one.entity)
                rows = slice(max(begin, first) - first, min(end, last) - first)
                window = value[rows, one.entity - low]
                held = partial(self.one, one.entity)
                heard = corrupt(reading, window, first + rows.start, begin, held, stream)
                if heard is not None:
                    if present is None:
                        present = np.ones(value.shape[:2], np.bool_)
                    present[rows, one.entity - low] &= heard
        return present

    def _keys(self) -> pa.RecordBatch:
        width = len(self.signals)
        entity = [name for name in self.names for _ in range(width)]
        metric = [signal.metric for signal in self.signals] * len(self.names)
        attributes = [attributes_text(dict(s.attributes)) for s in self.signals] * len(self.names)
        return pa.RecordBatch.from_arrays(
            [pa.array(column, pa.string()) for column in (entity, metric, attributes)], schema=KEYS
        )


def _wanted(scenario: Scenario, signal: Signal) -> bool:
    return not scenario.metrics or signal.metric in scenario.metrics
