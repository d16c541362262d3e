"""What a house costs by its own history, and which limit it reaches first.

Everything here is measured on this folder and this machine; what cannot be known from them is
said so, and nothing is guessed in its place. The forecast is a straight line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice

from watchkeeper import pipeline
from watchkeeper.beginning import begun
from watchkeeper.core.fold import Fold, Reread
from watchkeeper.engines import Engine
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Entry, Offset

DAY = 86_400_000  # ms
LOOKED = 2_000  # newest entries whose samples are counted
WARM = 8  # entries before scoring is measured: they bring kernels and series
BUDGET = 3.0  # seconds of scoring that is measured
LIVED = 600_000  # ms of history below which nothing is forecast


@dataclass(frozen=True)
class Machine:
    """What there is, and what the running house takes. None: it cannot be known here.

    :param disk_free: bytes that the reserve leaves. :param memory: bytes that it may have.
    :param busy: processors that the running house keeps busy. :param resident: bytes it holds.
    """

    cores: int
    disk_free: int
    memory: int | None = None
    busy: float | None = None
    resident: int | None = None


@dataclass(frozen=True)
class History:
    """What the folder says of itself, in all and by day.

    :param disk: bytes of journal and ledger. :param ledger: bytes of the ledger alone.
    :param first: the oldest entry that retention left.
    :param lived: ms from the first to the last arrival. :param rate: samples a second, of late.
    :param entries_a_day: of late.
    :param series_a_day: new ones, of late. :param score_cost: seconds of a processor a sample, for
        scoring and concluding only.
    """

    entries: int
    samples: int
    series: int
    entities: int
    disk: int
    ledger: int
    first: int
    lived: int
    window: int
    rate: float
    entries_a_day: float
    series_a_day: float
    score_cost: float | None


@dataclass(frozen=True)
class Limit:
    """One limit. :param days: until it is reached at this pace; None: not at this pace.

    :param advice: what to add, or take away, next.
    """

    name: str
    used: float
    of: float
    unit: str
    days: float | None
    advice: str


@dataclass
class Capacity:
    """What is known and what is not."""

    history: History
    machine: Machine
    costs: dict[str, float | None] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def first(self) -> Limit | None:
        """The limit that is reached first, if any is."""
        coming = [one for one in self.limits if one.days is not None]
        return min(coming, key=lambda one: one.days or 0.0, default=None)


def history(
    journal: Journal,
    ledger: Ledger,
    sizes: tuple[int, int],
    reread: Reread,
    engine: Engine,
) -> History:
    """Look through a folder, at a bounded number of its entries.

    :param sizes: bytes of journal and ledger. :raises StoreVersion: another release wrote it.
    """
    disk = sum(sizes)
    head = int(journal.head())
    oldest = int(journal.first())
    first, last = _at(journal, oldest), _at(journal, head)
    if first is None or last is None:
        return History(0, 0, 0, 0, disk, sizes[1], 1, 0, 0, 0.0, 0.0, 0.0, None)
    lived = last.arrived - first.arrived
    begin = _since(journal, oldest, head, last.arrived - min(DAY, lived))
    there = _at(journal, begin) or first
    window = max(last.arrived - there.arrived, 1)
    newest = list(pipeline.entries(journal, Offset(max(begin - 1, head - LOOKED, oldest - 1))))
    span = max(newest[-1].arrived - newest[0].arrived, 1)
    series = last.first + last.new.num_rows
    return History(
        entries=head,
        samples=ledger.counts().accepted,
        series=series,
        entities=len(ledger.health()),
        disk=disk,
        ledger=sizes[1],
        first=oldest,
        lived=lived,
        window=window,
        rate=sum(one.samples.num_rows for one in newest) * 1000 / span,
        entries_a_day=(head - begin) * DAY / window,
        series_a_day=(series - there.first - there.new.num_rows) * DAY / window,
        score_cost=_scored(journal, begun(journal, reread, engine)),
    )


def capacity(past: History, machine: Machine) -> Capacity:
    """Say what it costs and which limit comes first; a pure function of what was measured."""
    found = Capacity(past, machine)
    found.costs = {
        "disk_bytes_per_sample": _per(past.disk, past.samples) if past.first == 1 else None,
        "score_cpu_seconds_per_million_samples": (
            past.score_cost * 1e6 if past.score_cost is not None else None
        ),
        "cpu_seconds_per_million_samples": _per((machine.busy or 0) * 1e6, past.rate)
        if machine.busy is not None
        else None,
        "memory_bytes_per_series": _per(machine.resident or 0, past.series) or None,
        "memory_bytes_per_entity": _per(machine.resident or 0, past.entities) or None,
    }
    short = past.lived < LIVED
    if short:
        found.unknown.append("the history is shorter than ten minutes: nothing is forecast from it")
    _disk(found, short)
    _memory(found, short)
    _processors(found)
    found.unknown.append("what queries of people and pages will take")
    return found


def _disk(found: Capacity, short: bool) -> None:
    past = found.history
    growing = past.disk if past.first == 1 else past.ledger  # else retention bounds the journal
    grows = growing / past.entries * past.entries_a_day if past.entries else 0.0
    if past.first > 1:
        found.unknown.append(
            "disk a sample: retention removed entries; the forecast counts what the ledger grows by"
        )
    days = found.machine.disk_free / grows if grows > 0 and not short else None
    advice = (
        "move the data folder to a larger disk, bound the journal (`retention:`), or lengthen"
        " intervals of sources"
    )
    whole = past.disk + found.machine.disk_free
    found.limits.append(Limit("disk", past.disk, whole, "bytes", days, advice))


def _memory(found: Capacity, short: bool) -> None:
    past, machine = found.history, found.machine
    if machine.resident is None or machine.memory is None:
        found.unknown.append("memory: no house runs on this folder, or its process cannot be seen")
        return
    each = machine.resident / max(past.series, 1)
    grows = each * past.series_a_day
    left = machine.memory - machine.resident
    days = left / grows if grows > 0 and not short else None
    advice = "add memory, or bound the series (`limits:`, fewer labels); then a second house"
    found.limits.append(Limit("memory", machine.resident, machine.memory, "bytes", days, advice))
    found.unknown.append(
        "memory a series: all that the process holds is divided by the series, which is too much"
        " while there are few"
    )


def _processors(found: Capacity) -> None:
    past, machine = found.history, found.machine
    busy = machine.busy
    if busy is None:
        found.unknown.append("what receiving takes: no house runs on this folder; scoring only")
        if past.score_cost is None:
            found.unknown.append("what scoring takes: the journal is too short to measure it")
            return
        busy = past.score_cost * past.rate
    advice = "add processors, lengthen intervals of sources, or split the fleet between two houses"
    found.limits.append(Limit("processors", busy, float(machine.cores), "cores", None, advice))
    found.unknown.append("when processors are full: the rate follows the fleet, ask who plans it")


def _per(whole: float, parts: float) -> float | None:
    return whole / parts if parts else None


def _at(journal: Journal, offset: int) -> Entry | None:
    return next(iter(journal.read(Offset(offset - 1), 1)), None) if offset > 0 else None


def _since(journal: Journal, low: int, head: int, at: int) -> int:
    """Return the first entry that arrived at a time or later; arrivals only grow."""
    high = head
    while low < high:
        middle = (low + high) // 2
        entry = _at(journal, middle)
        if entry is None or entry.arrived < at:
            low = middle + 1
        else:
            high = middle
    return low


def _scored(journal: Journal, fold: Fold) -> float | None:
    """Return seconds of a processor a sample, from deriving the beginning of the journal again."""
    entries = pipeline.entries(journal)
    for entry in islice(entries, WARM):
        fold.close(entry)
        fold.take(entry)
    begun, samples = time.process_time(), 0
    for entry in entries:
        fold.close(entry)
        fold.take(entry)
        samples += entry.samples.num_rows
        if time.process_time() - begun > BUDGET:
            break
    return (time.process_time() - begun) / samples if samples else None
