"""The fleet as it is now, kept up to date from what each step changed."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from watchkeeper.core.state import KEEP_EVERY, Series
from watchkeeper.ledger import Ledger
from watchkeeper.model import Assessed, Millis, State
from watchkeeper.shown import Fleet, Trail, ranked

WINDOW = Millis(3 * 3_600_000)  # of health shown
STRETCH = 180_000  # ms of one step of a sparkline
FRESH = 1.0  # seconds for which nobody looks again
TRAILS = 4_000  # entities whose sparklines are kept
LABELS = 200  # suggested at most


class _Course(NamedTuple):
    """What was asked of the ledger about one entity.

    :param newest: its assessment then; while that is the newest, there is nothing else to ask.
    """

    newest: Assessed | None
    low: dict[Millis, float | None]
    since: Millis | None


class Board:
    """The newest assessment of every entity, and how those that are shown came there."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, Assessed] = {}
        self._seen = Millis(-1)  # the last tick that is in `_known`
        self._looked = float("-inf")
        self._fleet = Fleet(Millis(0), ())
        self._trails: OrderedDict[str, _Course] = OrderedDict()
        self._lock = threading.Lock()

    def fleet(self, tick_size: Millis) -> Fleet:
        """Return the fleet; the same object until there is a newer one.

        :param tick_size: ms between two ticks. What was not assessed for long is history.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._looked < FRESH:
                return self._fleet
            self._looked = now
            mark = self._ledger.watermark()
            if mark is None or mark.tick == self._seen:
                return self._fleet
            if self._seen < 0:
                self._known = {one.entity: one for one in self._ledger.health()}
            else:
                self._known |= {one.entity: one for one in self._ledger.changes(self._seen)}
            self._seen = mark.tick
            oldest = mark.tick - 2 * max(KEEP_EVERY, tick_size)
            current = [one for one in self._known.values() if one.time >= oldest]
            self._fleet = Fleet(mark.tick, ranked(current))
            return self._fleet

    def trail(self, entity: str) -> Trail:
        """Return how an entity came to where it is; asks only for what is new."""
        with self._lock:
            until, newest = self._fleet.tick, self._known.get(entity)
            known = self._trails.pop(entity, None)
        begin = Millis(max(0, until - WINDOW))
        if known is None or newest is None or known.newest is not newest:
            known = self._asked(entity, newest, known.low if known else {}, (begin, until))
        low = {at: health for at, health in known.low.items() if at > begin - STRETCH}
        with self._lock:
            self._trails[entity] = known._replace(low=low)
            while len(self._trails) > TRAILS:
                self._trails.popitem(last=False)
        return Trail(tuple(sorted(low.items())), known.since)

    def _asked(
        self,
        entity: str,
        newest: Assessed | None,
        known: Mapping[Millis, float | None],
        window: tuple[Millis, Millis],
    ) -> _Course:
        begin, until = window
        since = max(known, default=begin)
        found = {
            Millis(one.time // STRETCH * STRETCH): one.health
            for one in self._ledger.lowest(entity, since, until, STRETCH)
        }
        well = newest is not None and newest.state is State.OK
        return _Course(
            newest, {**known, **found}, None if well else self._ledger.unwell_since(entity)
        )


def labels(series: Series) -> list[str]:
    """Return labels of series as `name=value`, as far as they are few enough to suggest."""
    found: dict[str, None] = {}
    for text in series.attributes.words[: LABELS * 10]:
        for name, value in _read(text).items():
            found[f"{name}={value}"] = None
    return sorted(found)[:LABELS]


def labelled(series: Series, label: str) -> frozenset[str]:
    """Return the entities that have a series with a label `name=value`, or with any value of it."""
    name, is_pair, value = label.partition("=")
    codes = [
        code
        for code, text in enumerate(series.attributes.words)
        if name in (said := _read(text)) and (not is_pair or said[name] == value)
    ]
    column = series.attributes.code
    rows = np.flatnonzero(np.isin(column, codes))
    owners = series.entity
    return frozenset(series.entities[n] for n in np.unique(owners[rows[rows < len(owners)]]))


def values_of(series: Series, name: str) -> dict[str, str]:
    """Return the value that each entity's series have of one label; the first that has it."""
    found: dict[str, str] = {}
    column, owners = series.attributes.code, series.entity
    for code, text in enumerate(series.attributes.words):
        said = _read(text)
        if name in said:
            rows = np.flatnonzero(column == code)
            for number in np.unique(owners[rows[rows < len(owners)]]).tolist():
                found.setdefault(series.entities[number], said[name])
    return found


def _read(attributes: str) -> Mapping[str, str]:
    told = json.loads(attributes)
    return told if isinstance(told, dict) else {}
