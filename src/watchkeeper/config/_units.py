"""Durations and sizes as people write them.

Durations follow Prometheus' grammar (`model.ParseDuration`): integers with the units y, w, d, h,
m, s, ms, each at most once and from large to small; `0` needs no unit. Sizes are bytes with IEC
or SI units.
"""

from __future__ import annotations

import re

_DURATION = re.compile(
    r"(?:(?P<y>\d+)y)?(?:(?P<w>\d+)w)?(?:(?P<d>\d+)d)?(?:(?P<h>\d+)h)?"
    r"(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?"
)
_MILLIS = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_SIZE = re.compile(r"(\d+) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_BYTES = {"B": 1} | {
    f"{letter}{suffix}": base**power
    for suffix, base in (("B", 1000), ("iB", 1024))
    for power, letter in enumerate("KMGT" if suffix == "iB" else "kMGT", 1)
}
_DIGITS_MAX = 30  # keeps what is refused later from costing anything


def duration(text: str) -> int | None:
    """Return a duration in milliseconds; None when the text is not one."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text) if 0 < len(text) <= _DIGITS_MAX else None
    if match is None:
        return None
    return sum(int(count) * _MILLIS[unit] for unit, count in match.groupdict().items() if count)


def size(text: str) -> int | None:
    """Return a size in bytes; None when the text is not one."""
    match = _SIZE.fullmatch(text) if len(text) <= _DIGITS_MAX else None
    return int(match[1]) * _BYTES[match[2]] if match else None
