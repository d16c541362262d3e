"""The simulator's formulas in plain Python, one number at a time; slow and obvious."""

import hashlib
import itertools
import math
from statistics import NormalDist

MASK = (1 << 64) - 1


def key(*parts):
    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(stream, counter):
    z = (stream + counter * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(stream, counter):
    return ((mix(stream, counter) >> 11) + 0.5) / 2**53


def normal(stream, counter):
    return NormalDist().inv_cdf(uniform(stream, counter))


def autoregression(stream, phi, tick):
    begin = tick // 256 * 256 - 96
    x = normal(stream, begin)
    for t in range(begin + 1, tick + 1):
        x = phi * x + math.sqrt(1 - phi**2) * normal(stream, t)
    return x


def wander(stream, position):
    knot = math.floor(position)
    s = position - knot
    s = s * s * (3 - 2 * s)
    return (1 - s) * normal(stream, knot) + s * normal(stream, knot + 1)


def weekday(seconds):
    """Linear between 1 and 0.55 over the six hours around Friday's and Sunday's midnight."""
    day = (seconds / 86400 + 3) % 7  # Monday 0
    points = [(0, 0.775), (0.125, 1), (4.875, 1), (5.125, 0.55), (6.875, 0.55), (7, 0.775)]
    for (a, low), (b, high) in itertools.pairwise(points):
        if a <= day <= b:
            return low + (high - low) * (day - a) / (b - a)
    raise AssertionError(day)


def gauge(signal, host, seed, scenario, tick):
    """Return one reading of a gauge of a well host, before rounding; no mirrors."""
    now = scenario.origin / 1000 + tick * scenario.interval / 1000
    own = key(seed, host)
    drawn = key(seed, host, "host")
    base, swing = 0.2 + 0.25 * uniform(drawn, 0), 0.04 + 0.1 * uniform(drawn, 1)
    day = now / 86400 + (uniform(drawn, 2) - 0.5) / 6
    shape = math.sin(2 * math.pi * (day - 0.375)) + 0.25 * math.sin(2 * math.pi * (2 * day - 0.5))
    load = base + swing * shape * weekday(now)
    load += 0.02 * autoregression(mix(own, key("load", "noise")), 0.9, tick)
    load += 0.02 * wander(mix(own, key("load", "wander")), now / 7200)
    load += 0.015 * wander(key(seed, "traffic"), now / 7200)
    load = min(max(load, 0.02), 0.97)
    warm = 1.6 * math.sin(2 * math.pi * (now / 86400 - 0.375))
    warm += 0.4 * wander(key(seed, "weather"), now / 7200)

    noise = mix(own, key(signal.id, "noise"))
    size = 1.0
    if signal.spread:
        size += signal.spread * min(max(normal(noise, -(1 << 40)), -2.5), 2.5)
    x = signal.base + signal.gain * load + signal.queue * load / (1 - load)
    x = size * (x + signal.ambient * warm + signal.saw * (now / 86400 % 1))
    x += signal.wander * wander(mix(own, key(signal.id, "wander")), now / 7200)
    n = autoregression(noise, signal.phi, tick)
    x = x * (1 + signal.relative * n) + signal.absolute * n
    return min(max(x, signal.low), signal.high)
