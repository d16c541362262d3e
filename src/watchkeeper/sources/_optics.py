"""Values as optical modules and the tools around them write them, brought to one unit.

One module says `3.3`, the next `3.3Volts`, an empty cage `N/A`, and a dark fibre `-inf`. Here each
becomes a number in the unit our names are told in, or a reason why it is none.

Power is told in dBm: `10 · log10(P / 1 mW)`. Modules count power in steps of 0.1 uW (SFF-8472), so
-40 dBm is the least they can tell. No light is 0 mW, which is -inf dBm: it is told as -40 dBm
(`DARK`), because a link that went dark must be judged, and an infinity would go to quarantine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from watchkeeper.model import Reason

DARK = -40.0  # dBm; what is told when there is no light

RX_POWER = "hw.network.transceiver.rx_power"
TX_POWER = "hw.network.transceiver.tx_power"
BIAS_CURRENT = "hw.network.transceiver.bias_current"
SUPPLY_VOLTAGE = "hw.network.transceiver.supply_voltage"
TEMPERATURE = "hw.network.transceiver.temperature"
LASER_TEMPERATURE = "hw.network.transceiver.laser_temperature"
PRE_BER = "hw.network.fec.pre_ber"
POST_BER = "hw.network.fec.post_ber"

LANE = "hw.network.lane"  # the attribute that tells one optical lane from another, counted from 1

_ABSENT = frozenset(("n/a", "na", "none", "null", "unknown", "unavailable", "not available", "-"))
_WRITTEN = re.compile(
    r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?)\s*([^\s\d]*)\s*",
    re.IGNORECASE,
)


class Fault(NamedTuple):
    """Why a text is no value. :param detail: what was expected."""

    reason: Reason
    detail: str


def dbm(milliwatts: float) -> float:
    """Return optical power in dBm, `DARK` for none and for less than modules can tell.

    Power below zero does not exist: it is told as NaN, which no contract accepts.
    """
    if milliwatts < 0:
        return math.nan
    return max(DARK, 10 * math.log10(milliwatts)) if milliwatts > 0 else DARK


def lit(power: float) -> float:
    """Return a power in dBm, with `DARK` for -inf."""
    return DARK if power == -math.inf else power


def _times(scale: float) -> Callable[[float], float]:
    return lambda value: value * scale


def _same(value: float) -> float:
    return value


_CELSIUS = {
    "": _same, "c": _same, "cel": _same, "degc": _same, "°c": _same, "celsius": _same,
    "f": lambda value: (value - 32) / 1.8, "degf": lambda value: (value - 32) / 1.8,
    "°f": lambda value: (value - 32) / 1.8, "fahrenheit": lambda value: (value - 32) / 1.8,
    "k": lambda value: value - 273.15,
}  # fmt: skip
_UNITS: Mapping[str, Mapping[str, Callable[[float], float]]] = {
    "dBm": {
        "": lit, "dbm": lit, "mw": dbm, "milliwatts": dbm,
        "uw": lambda value: dbm(value / 1e3), "µw": lambda value: dbm(value / 1e3),
        "w": lambda value: dbm(value * 1e3), "watts": lambda value: dbm(value * 1e3),
    },
    "mA": {
        "": _same, "ma": _same, "milliamps": _same, "ua": _times(1e-3), "µa": _times(1e-3),
        "a": _times(1e3), "amps": _times(1e3),
    },
    "V": {"": _same, "v": _same, "volts": _same, "volt": _same, "mv": _times(1e-3)},
    "Cel": _CELSIUS,
    "1": {"": _same, "%": _times(0.01)},
}  # fmt: skip


def absent(text: str) -> bool:
    """Return whether a text says that there is no value: `N/A` and its spellings."""
    return text.strip().lower() in _ABSENT


def quantity(text: str, unit: str) -> float | Fault:
    """Read a number with or without its unit (`3.3`, `3.3Volts`, `88F`, `0.5 mW`) as `unit`.

    :param unit: what to tell it in: `dBm`, `mA`, `V`, `Cel` or `1`; also what a bare number is in.
    :return: the value, which may be infinite when it says so; or why it is none.
    """
    known = _UNITS[unit]
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return Fault(Reason.NOT_A_NUMBER, f"a number in {unit}")
    convert = known.get(found[2].lower())
    if convert is None:
        return Fault(Reason.WRONG_UNIT, f"unit {unit}, not {found[2]}")
    return convert(float(found[1]))
