"""Sensors: what ENTITY-SENSOR-MIB (RFC 3433) says, as readings of links and of the device.

A sensor is a raw number with type, scale and precision: it measures raw · 10^scale / 10^precision.
It belongs to a link when the part it sits in is mapped to an interface (ENTITY-MIB, RFC 6933), or
when its name ends in an interface's (`DOM RX Power Sensor for Ethernet0/2`); else to the device.
Of a link that somebody switched off no light is told: its lasers are dark as they were told to be.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from watchkeeper.model import Reason
from watchkeeper.sources import _optics
from watchkeeper.sources._devices import Device, Said
from watchkeeper.sources._optics import LANE, Fault, dbm, lit
from watchkeeper.sources._snmp_interfaces import (
    ALIAS,
    DESCR,
    NAME,
    names,
    shown,
    switched_off,
    text,
)
from watchkeeper.sources._snmp_walk import Oid, Tables, Value, dotted

_SENSOR: Oid = (1, 3, 6, 1, 2, 1, 99, 1, 1, 1)  # entPhySensorEntry
_PART: Oid = (1, 3, 6, 1, 2, 1, 47, 1, 1, 1, 1)  # entPhysicalEntry
_TYPE, _SCALE, _PRECISION, _VALUE, _STATUS = ((*_SENSOR, n) for n in (1, 2, 3, 4, 5))
_PART_DESCR, _INSIDE, _PART_NAME = ((*_PART, n) for n in (2, 4, 7))
_MAPPED: Oid = (1, 3, 6, 1, 2, 1, 47, 1, 3, 2, 1, 2)  # entAliasMappingIdentifier
_IF_INDEX: Oid = (1, 3, 6, 1, 2, 1, 2, 2, 1, 1)

SENSORS = (_TYPE, _SCALE, _PRECISION, _VALUE, _STATUS)
PARTS = (_PART_DESCR, _INSIDE, _PART_NAME, _MAPPED)

_SCALES, _MOST_PRECISE = range(1, 18), 9  # yocto to yotta; digits after the point
_UNITS_SCALE = 9  # of the scale's steps of a thousand, the one that is 1
_WATTS, _DBM = 6, 14
_OK, _UNAVAILABLE = 1, 2
_LIMIT = 1_000_000_000  # beyond it lies what a sensor cannot tell (EntitySensorValue)
_DEPTH_MAX = 16  # of parts in parts
_LANE = re.compile(r"(?:\blane\s*|/)(\d{1,2})$", re.IGNORECASE)
_RX = re.compile(r"\brx|receive|\binput", re.IGNORECASE)
_TX = re.compile(r"\btx|transmit|\boutput", re.IGNORECASE)


class _Kind(NamedTuple):
    metric: str
    unit: str
    times: float = 1.0


_OF_LINKS = {
    3: _Kind(_optics.SUPPLY_VOLTAGE, "V"),
    4: _Kind(_optics.SUPPLY_VOLTAGE, "V"),
    5: _Kind(_optics.BIAS_CURRENT, "mA", 1000.0),
    8: _Kind(_optics.TEMPERATURE, "Cel"),
}
_OF_LASERS = ("dBm", "mA")
_OF_DEVICES = {
    3: _Kind("hw.voltage", "V"),
    4: _Kind("hw.voltage", "V"),
    5: _Kind("hw.current", "A"),
    6: _Kind("hw.power", "W"),
    8: _Kind("hw.temperature", "Cel"),
    9: _Kind("hw.relative_humidity", "1", 0.01),
    10: _Kind("hw.fan.speed", "rpm"),
}


def tell(said: Said, device: Device, tables: Tables) -> None:
    """Note what every sensor says."""
    links = _Links(device, tables)
    written = {index: _name(tables, index) for index in tables[_TYPE]}
    often = Counter(written.values())
    for index, kind in tables[_TYPE].items():
        name = written[index]
        link = links.of(index, name)
        hardware = name if name and often[name] == 1 else f"{name}#{dotted(index)}".lstrip("#")
        about = {"hw.id": hardware}
        lane = _LANE.search(name)
        if link and lane:
            about[LANE] = lane[1]
        what = _kind(kind, name, bool(link))
        if what is None or link not in links.off or what.unit not in _OF_LASERS:
            _tell_one(said, link or device.entity, what, tables, index, about)


def _tell_one(
    said: Said, entity: str, kind: _Kind | None, tables: Tables, index: Oid, about: dict[str, str]
) -> None:
    raw, status = tables[_VALUE].get(index), tables[_STATUS].get(index, _OK)
    if status == _UNAVAILABLE or raw is None:
        return  # the agent has no value now: what `N/A` is elsewhere
    if kind is None:
        detail = "volts, amperes, watts, celsius, rpm, humidity or dBm"
        fault = Fault(Reason.UNSUPPORTED, detail)
        said.fault(entity, "hw.sensor", "1", shown(raw), fault, about)
        return
    scale, precision = tables[_SCALE].get(index), tables[_PRECISION].get(index, 0)
    if (
        status != _OK
        or not isinstance(raw, int)
        or not isinstance(scale, int)
        or not isinstance(precision, int)
    ):
        fault = Fault(Reason.NOT_A_NUMBER, "a value of a sensor that works")
        said.fault(entity, kind.metric, kind.unit, shown(raw), fault, about)
        return
    if scale not in _SCALES or precision > _MOST_PRECISE:
        fault = Fault(Reason.NOT_A_NUMBER, "a scale and a precision that RFC 3433 knows")
        said.fault(entity, kind.metric, kind.unit, str(raw), fault, about)
        return
    if abs(raw) >= _LIMIT:
        reason = Reason.ABOVE_BOUND if raw > 0 else Reason.BELOW_BOUND
        fault = Fault(reason, "a value within what the sensor can tell")
        said.fault(entity, kind.metric, kind.unit, str(raw), fault, about)
        return
    value = _scaled(raw, scale, precision)
    if kind.unit == "dBm":
        value = lit(value) if tables[_TYPE][index] == _DBM else dbm(value * 1000)
    said.value(entity, kind.metric, kind.unit, value * kind.times, about)


def _scaled(raw: int, scale: int, precision: int) -> float:
    """Return the value of a raw number. A precision below 0 counts digits, and moves nothing."""
    power = 3 * (scale - _UNITS_SCALE) - max(0, precision)
    return raw * 10.0**power if power >= 0 else raw / 10.0**-power


def _kind(kind: Value, name: str, of_link: bool) -> _Kind | None:
    """Return what a sensor measures. Watts of a link are light; of a device, electricity."""
    if not isinstance(kind, int):
        return None
    if kind == _DBM or (of_link and kind == _WATTS):
        metric = "hw.network.transceiver.power"
        if _RX.search(name):
            metric = _optics.RX_POWER
        elif _TX.search(name):
            metric = _optics.TX_POWER
        return _Kind(metric, "dBm")
    return (_OF_LINKS if of_link else {}).get(kind) or _OF_DEVICES.get(kind)


def _name(tables: Tables, index: Oid) -> str:
    return text(tables[_PART_NAME].get(index)) or text(tables[_PART_DESCR].get(index))


class _Links:
    """Finds the link a sensor belongs to."""

    def __init__(self, device: Device, tables: Tables) -> None:
        called = names(tables)
        self.off = {device.link(name) for n, name in called.items() if switched_off(tables, n)}
        self._inside = tables[_INSIDE]
        self._mapped: dict[Oid, str] = {}
        for index, row in tables[_MAPPED].items():
            if not isinstance(row, tuple) or row[: len(_IF_INDEX)] != _IF_INDEX:
                continue  # mapped to something else than an interface
            number = row[len(_IF_INDEX) :]
            if number in called:
                self._mapped.setdefault(index[:1], device.link(called[number]))
        self._called: Mapping[str, str] = {
            word: device.link(name)
            for column in (ALIAS, DESCR, NAME)  # the last is the surest
            for index, name in called.items()
            if (word := text(tables[column].get(index)))
        }

    def of(self, index: Oid, name: str) -> str:
        """Return the entity of a sensor's link; empty when it belongs to none."""
        part: Value | None = index[0]
        for _ in range(_DEPTH_MAX):
            if not isinstance(part, int) or part == 0:
                break
            if (part,) in self._mapped:
                return self._mapped[part,]
            part = self._inside.get((part,))
        words = name.split()
        last = words[-1] if words else ""
        return self._called.get(last) or self._called.get(_LANE.sub("", last), "")
