"""Who is who in a fleet and what strikes whom: everything drawn once, before the first tick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.model import Floats
from watchkeeper.simulate._effects import PLAN, plan
from watchkeeper.simulate._fault import Fault
from watchkeeper.simulate._host import AMBIENT, LOAD, Signal
from watchkeeper.simulate._noise import key, mix, normal, uniform
from watchkeeper.simulate.scenario import Scenario

DAY = 86_400_000
PURPOSES = ("noise", "wander", "dither")
HOSTS = np.dtype([("base", np.float64), ("swing", np.float64), ("shift", np.float64)])


class Incident(NamedTuple):
    """One fault on one host. `number` is shared by all hosts that one cause strikes.

    :param entity: the host's place in the fleet. :param onset: milliseconds since the start;
        `end` likewise, not after the end of the scenario.
    """

    number: int
    fault: Fault
    entity: int
    onset: int
    end: int


def streams(scenario: Scenario, seed: int, signals: tuple[Signal, ...]) -> npt.NDArray[np.uint64]:
    """Return [E, 4 + 3 M] keys: load, its wander, the fleet's traffic, the weather, then signals.

    A host's own key is BLAKE2b of seed and name; those of its signals are mixed from it, so a
    host's numbers depend neither on its neighbours nor on which other signals are wanted.
    """
    own = np.array([key(seed, name) for name in scenario.entities.names()], np.uint64)
    shared = np.uint64(0)  # replaced below
    purposes = [key(LOAD, "noise"), key(LOAD, "wander"), shared, shared]
    purposes += [key(signal.id, purpose) for signal in signals for purpose in PURPOSES]
    keys = _crossed(own, np.array(purposes, np.uint64))
    keys[:, 2], keys[:, 3] = key(seed, "traffic"), key(seed, "weather")
    return keys


@numba.njit(cache=True, nogil=True, fastmath=False)
def _crossed(
    own: npt.NDArray[np.uint64], purposes: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    keys = np.empty((own.size, purposes.size), np.uint64)
    for e in range(own.size):
        for p in range(purposes.size):
            keys[e, p] = mix(own[e], purposes[p])
    return keys


def hosts(scenario: Scenario, seed: int) -> npt.NDArray[Any]:
    """Return HOSTS rows: each host's mean load, its daily swing, and its clock (days)."""
    table = np.empty(scenario.entities.count, HOSTS)
    for e, name in enumerate(scenario.entities.names()):
        own = key(seed, name, "host")
        table[e] = (
            0.2 + 0.25 * uniform(own, 0),
            0.04 + 0.1 * uniform(own, 1),
            (uniform(own, 2) - 0.5) / 6.0,
        )
    return table


def sizes(keys: npt.NDArray[np.uint64], signals: tuple[Signal, ...]) -> Floats:
    """Return [E, M]: what each host's signal is multiplied with, around 1.

    A mirror of a ratio is an amount; its size is how much of it the host has: ½, 1, 2 or 4.
    """
    table = np.ones((keys.shape[0], len(signals)))
    for m, signal in enumerate(signals):
        for e in range(keys.shape[0]):
            stream = keys[e, 4 + 3 * m]
            if signal.mirror:
                table[e, m] = (0.5, 1.0, 2.0, 4.0)[int(4.0 * uniform(stream, -(1 << 40)))]
            elif signal.spread > 0.0:
                drawn = min(max(normal(stream, -(1 << 40)), -2.5), 2.5)
                table[e, m] = 1.0 + signal.spread * drawn
    return table


def totals(keys: npt.NDArray[np.uint64], signals: tuple[Signal, ...]) -> Floats:
    """Return [E, M]: where each counter stands before the first tick, in steps of 1 / per_unit.

    The host has been up for some time of the last 30 days.
    """
    table = np.zeros((keys.shape[0], len(signals)))
    for e in range(keys.shape[0]):
        up = 30.0 * 86_400.0 * uniform(keys[e, 0], -(1 << 40))
        for m, signal in enumerate(signals):
            if signal.counter:
                rate = signal.base + 0.35 * signal.gain + 0.5 * signal.queue
                table[e, m] = np.floor(up * rate * signal.per_unit)
    return table


def incidents(scenario: Scenario, seed: int) -> tuple[Incident, ...]:
    """Return who is struck by what and when, sorted by onset, then by host.

    Hosts are drawn among those struck least so far, so that few hosts have two faults.
    """
    names = scenario.entities.names()
    used = [0] * len(names)
    chosen: dict[int, list[int]] = {}
    order = sorted(range(len(scenario.faults)), key=lambda n: _choice(scenario.faults[n]))
    for number in order:
        struck = _struck(scenario, seed, number, used)
        chosen[number] = struck
        if scenario.faults[number].among != "all":
            for e in struck:
                used[e] += 1
    found: list[tuple[int, Fault, int, int]] = []
    for number, fault in enumerate(scenario.faults):
        for place, e in enumerate(chosen[number]):
            onset = fault.onset + round(place * fault.stagger * 1000)
            found.append((number, fault, e, onset))
    found.extend(_by_chance(scenario, seed))
    kept = [
        Incident(number, fault, e, onset, min(onset + fault.duration, scenario.duration))
        for number, fault, e, onset in found
        if onset < scenario.duration
    ]
    return tuple(sorted(kept, key=lambda one: (one.onset, one.entity, one.number)))


def _choice(fault: Fault) -> int:
    if fault.entities:
        return 0
    return 1 if fault.racks or fault.among == "racks" else 2


def _struck(scenario: Scenario, seed: int, number: int, used: list[int]) -> list[int]:
    fault, names = scenario.faults[number], scenario.entities.names()
    if fault.entities:
        return [names.index(name) for name in fault.entities]
    if fault.among == "all" and fault.count is None and fault.racks is None:
        return list(range(len(names)))
    if fault.racks or (fault.among == "racks" and fault.count is None):
        size = scenario.entities.rack
        racks = [list(range(i, min(i + size, len(names)))) for i in range(0, len(names), size)]
        racks.sort(
            key=lambda rack: (sum(used[e] for e in rack), key(seed, "rack", number, rack[0]))
        )
        return sorted(e for rack in racks[: fault.racks or 1] for e in rack)
    drawn = sorted(
        range(len(names)), key=lambda e: (used[e], key(seed, "strike", number, names[e]))
    )
    return sorted(drawn[: fault.count or 1])


def _by_chance(scenario: Scenario, seed: int) -> Iterator[tuple[int, Fault, int, int]]:
    number = len(scenario.faults)
    for place, chance in enumerate(scenario.random):
        for e, name in enumerate(scenario.entities.names()):
            stream = key(seed, "chance", place, name)
            for day in range(-(-scenario.duration // DAY)):
                if uniform(stream, 2 * day) < chance.per_entity_day:
                    onset = day * DAY + int(uniform(stream, 2 * day + 1) * DAY)
                    yield number, chance.fault, e, onset - onset % scenario.interval
                    number += 1


def effects(
    struck: tuple[Incident, ...], signals: tuple[Signal, ...], seed: int
) -> npt.NDArray[Any]:
    """Return PLAN rows of all incidents, by host. PULSES of one incident fall in the same ticks."""
    rows = {signal.id: m for m, signal in enumerate(signals)}
    rows |= {LOAD: len(signals), AMBIENT: len(signals) + 1}
    table = []
    for one in struck:
        stream = key(seed, "pulses", one.number, one.entity)
        for effect in one.fault.effects():
            table.append(
                (
                    one.entity,
                    rows[effect.signal],
                    effect.op,
                    effect.shape,
                    one.onset / 1000.0,
                    1e300 if effect.lasts else one.end / 1000.0,
                    effect.magnitude,
                    effect.p,
                    effect.q,
                    stream,
                )
            )
    return plan(table) if table else np.empty(0, PLAN)
