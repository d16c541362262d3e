"""The two kernels: readings of gauges and growth of counters, then running totals.

The first is a pure function of the tick, so any slice can be made alone; the second adds whole
numbers, so its sums do not depend on where one starts to add.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from watchkeeper.model import Floats
from watchkeeper.simulate._effects import DAY, apply
from watchkeeper.simulate._noise import autoregression, sine, uniform, wander

KNOT = 7200.0  # seconds between the knots of smooth noise
WEEK = 7.0 * DAY
CALM = 0.55  # load of a weekend day as a share of a working day's


@numba.njit(cache=True, nogil=True, fastmath=False)
def weekday(seconds: float) -> float:
    """Return 1 on working days and CALM on weekends, joined over 6 h; `seconds` since the epoch."""
    into = seconds + 3.0 * DAY  # the epoch was a Thursday; weeks begin on Monday
    into -= WEEK * math.floor(into / WEEK)
    fall = min(max((into - 4.875 * DAY) / (0.25 * DAY), 0.0), 1.0)
    rise = min(max((into - 6.875 * DAY) / (0.25 * DAY), 0.0), 1.0)
    early = min(max((into + 0.125 * DAY) / (0.25 * DAY), 0.0), 1.0)
    return CALM + (1.0 - CALM) * (early - fall + rise)


@numba.njit(cache=True, nogil=True, fastmath=False)
def drive(
    traits: Any,
    streams: npt.NDArray[np.uint64],
    clock: Any,
    effects: Any,
    targets: int,
    load: Floats,
    ambient: Floats,
) -> None:
    """Fill the load (0.02..0.97) and the ambient temperature (K above mean) of one host.

    :param traits: record of base, swing, shift (days). :param streams: load, wander, and shared.
    :param clock: record of origin (s since the epoch), interval (s), first tick.
    :param effects: PLAN rows of this host. :param targets: the row number of the latent `load`.
    """
    autoregression(streams[0], 0.9, clock.first, load)
    for i in range(load.size):
        tick = clock.first + i
        since = tick * clock.interval
        now = clock.origin + since
        day = now / DAY + traits.shift
        shape = sine(day - 0.375) + 0.25 * sine(2.0 * day - 0.5)
        x = traits.base + traits.swing * shape * weekday(now)
        x += 0.02 * load[i] + 0.02 * wander(streams[1], now / KNOT)
        x += 0.015 * wander(streams[2], now / KNOT)
        warm = 1.6 * sine(now / DAY - 0.375) + 0.4 * wander(streams[3], now / KNOT)
        for k in range(effects.size):
            if effects[k].target == targets:
                x = apply(effects[k], since, tick, x)
            elif effects[k].target == targets + 1:
                warm = apply(effects[k], since, tick, warm)
        load[i] = min(max(x, 0.02), 0.97)
        ambient[i] = warm


@numba.njit(cache=True, nogil=True, fastmath=False)
def readings(
    host: Any,
    profile: Any,
    columns: npt.NDArray[np.int64],
    sizes: Floats,
    streams: npt.NDArray[np.uint64],
    clock: Any,
    effects: Any,
    out: Floats,
) -> None:
    """Fill out[T, M] for one host: gauges as read, counters as whole steps since the tick before.

    :param columns: the rows of the profile wanted, ascending; a mirror's source among them.
    :param sizes: [M]. :param streams: 4 for `drive`, then noise, wander, dither of each signal.
    """
    ticks = out.shape[0]
    load, ambient, noise = np.empty(ticks), np.empty(ticks), np.empty(ticks)
    drive(host, streams, clock, effects, profile.size, load, ambient)
    for m in columns:
        kind = profile[m]
        own = 4 + 3 * m
        if kind.mirror >= 0:
            total = sizes[m] * kind.base
            for i in range(ticks):
                out[i, m] = math.floor(total * (1.0 - out[i, kind.mirror]) * kind.per_unit + 0.5)
                out[i, m] /= kind.per_unit
            continue
        autoregression(streams[own], kind.phi, clock.first, noise)
        for i in range(ticks):
            tick = clock.first + i
            since = tick * clock.interval
            now = clock.origin + since
            x = kind.base + kind.gain * load[i] + kind.ambient * ambient[i]
            if kind.queue > 0.0:
                x += kind.queue * load[i] / (1.0 - load[i])
            if kind.saw > 0.0:
                x += kind.saw * (now / DAY - math.floor(now / DAY))
            x *= sizes[m]
            if kind.wander > 0.0:
                x += kind.wander * wander(streams[own + 1], now / KNOT)
            x = (x + kind.slope * since) * (1.0 + kind.relative * noise[i])
            x += kind.absolute * noise[i]
            for k in range(effects.size):
                if effects[k].target == m:
                    x = apply(effects[k], since, tick, x)
            x = min(max(x, kind.low), kind.high)
            if kind.counter:
                step = x * clock.interval * kind.per_unit
                out[i, m] = math.floor(step + uniform(streams[own + 2], tick))
            else:
                out[i, m] = math.floor(x * kind.per_unit + 0.5) / kind.per_unit


@numba.njit(cache=True, nogil=True, fastmath=False)
def accumulate(profile: Any, columns: npt.NDArray[np.int64], totals: Floats, out: Floats) -> None:
    """Turn the steps of counters in out[T, M] into readings; `totals` [M] is carried along."""
    for m in columns:
        if not profile[m].counter:
            continue
        for i in range(out.shape[0]):
            totals[m] += out[i, m]
            out[i, m] = totals[m] / profile[m].per_unit


@numba.njit(cache=True, nogil=True, fastmath=False)
def fleet_readings(
    hosts: Any,
    profile: Any,
    columns: npt.NDArray[np.int64],
    sizes: Floats,
    streams: npt.NDArray[np.uint64],
    clock: Any,
    effects: Any,
    offsets: npt.NDArray[np.int64],
    out: Floats,
) -> None:
    """Fill out[T, E, M], host by host; arguments as in `readings` with a first axis of hosts.

    :param offsets: [E + 1]; the effects of host e are rows offsets[e] to offsets[e + 1].
    """
    for e in range(hosts.size):
        own = effects[offsets[e] : offsets[e + 1]]
        readings(hosts[e], profile, columns, sizes[e], streams[e], clock, own, out[:, e, :])


@numba.njit(cache=True, nogil=True, fastmath=False)
def fleet_accumulate(
    profile: Any, columns: npt.NDArray[np.int64], totals: Floats, out: Floats
) -> None:
    """Apply `accumulate` to each host of out[T, E, M]; `totals` is [E, M]."""
    for e in range(totals.shape[0]):
        accumulate(profile, columns, totals[e], out[:, e, :])
