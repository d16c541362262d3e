"""Interfaces: what IF-MIB (RFC 2863) and EtherLike-MIB (RFC 3635) say, as readings of links."""

from __future__ import annotations

from typing import NamedTuple

from watchkeeper.model import Reason
from watchkeeper.sources._devices import Device, Said
from watchkeeper.sources._optics import Fault
from watchkeeper.sources._snmp_walk import Oid, Tables, Value, dotted

_IF: Oid = (1, 3, 6, 1, 2, 1, 2, 2, 1)  # ifEntry
_IF_X: Oid = (1, 3, 6, 1, 2, 1, 31, 1, 1, 1)  # ifXEntry
DESCR, SPEED, ADMIN, OPER, CHANGED = ((*_IF, n) for n in (2, 5, 7, 8, 9))
NAME, HIGH_SPEED, ALIAS = ((*_IF_X, n) for n in (1, 15, 18))
UPTIME: Oid = (1, 3, 6, 1, 2, 1, 1, 3)  # sysUpTime
_FCS: Oid = (1, 3, 6, 1, 2, 1, 10, 7, 2, 1, 3)  # dot3StatsFCSErrors

_UP, _UNKNOWN, _STATUS_MAX = 1, 4, 7  # ifOperStatus: up(1) down(2) testing(3) unknown(4) …
_TICK = 0.01  # seconds of TimeTicks
_TICKS = 2**32  # after which sysUpTime starts again, 497 days
_MBIT = 125_000.0  # bytes per second of a megabit per second


class _Counter(NamedTuple):
    column: Oid
    narrow: Oid | None  # 32 bits, for agents without the wide one
    metric: str
    unit: str
    attributes: dict[str, str]


def _counter(
    metric: str, unit: str, direction: str, column: Oid, narrow: Oid | None = None, error: str = ""
) -> _Counter:
    attributes = {"network.io.direction": direction} | ({"error.type": error} if error else {})
    return _Counter(column, narrow, metric, unit, attributes)


_COUNTERS = (
    _counter("hw.network.io", "By", "receive", (*_IF_X, 6), (*_IF, 10)),
    _counter("hw.network.io", "By", "transmit", (*_IF_X, 10), (*_IF, 16)),
    _counter("hw.network.packets", "{packet}", "receive", (*_IF_X, 7), (*_IF, 11)),
    _counter("hw.network.packets", "{packet}", "transmit", (*_IF_X, 11), (*_IF, 17)),
    _counter("hw.network.packet.dropped", "{packet}", "receive", (*_IF, 13)),
    _counter("hw.network.packet.dropped", "{packet}", "transmit", (*_IF, 19)),
    _counter("hw.errors", "{error}", "receive", (*_IF, 14)),
    _counter("hw.errors", "{error}", "transmit", (*_IF, 20)),
    _counter("hw.errors", "{error}", "receive", _FCS, error="crc"),
)

WHOLE = (UPTIME,)
FIXED = (DESCR, SPEED, ADMIN, OPER, CHANGED, *(c.column for c in _COUNTERS if not c.narrow))
EXTENDED = (NAME, HIGH_SPEED, ALIAS, *(c.column for c in _COUNTERS if c.narrow))
NARROW = tuple(c.narrow for c in _COUNTERS if c.narrow)


def lacks_wide_counters(tables: Tables) -> bool:
    """Return whether some interface has no 64-bit counters, so the narrow ones must be asked."""
    return any(
        index not in tables[counter.column]
        for counter in _COUNTERS
        if counter.narrow
        for index in tables[DESCR]
    )


def names(tables: Tables) -> dict[Oid, str]:
    """Return what each interface is called: ifName, else ifDescr, else its number; all distinct."""
    found: dict[Oid, str] = {}
    taken: set[str] = set()
    for index in dict.fromkeys((*tables[DESCR], *tables[NAME])):
        given = text(tables[NAME].get(index)) or text(tables[DESCR].get(index))
        name = given or dotted(index)
        if name in taken:
            name = f"{name}#{dotted(index)}"
        taken.add(name)
        found[index] = name
    return found


def switched_off(tables: Tables, index: Oid) -> bool:
    """Return whether somebody switched the interface off: then nothing is expected of it."""
    return tables[ADMIN].get(index, _UP) != _UP


def tell(said: Said, device: Device, tables: Tables) -> None:
    """Note everything said about the device's interfaces, and how long it has been up."""
    uptime = tables[UPTIME].get((0,))
    if isinstance(uptime, int):
        said.value(device.entity, "system.uptime", "s", uptime * _TICK)
    for index, name in names(tables).items():
        link = device.link(name)
        alias = text(tables[ALIAS].get(index))
        if alias:
            about = {"network.interface.alias": alias}
            said.value(link, "hw.network.info", "1", 1.0, about)
        _tell_state(said, link, tables, index, uptime)
        for counter in _COUNTERS:
            value = tables[counter.column].get(index)
            if value is None and counter.narrow:
                value = tables.get(counter.narrow, {}).get(index)
            if value is not None:
                _number(said, link, counter.metric, counter.unit, value, counter.attributes)


def _tell_state(said: Said, link: str, tables: Tables, index: Oid, uptime: Value | None) -> None:
    off = switched_off(tables, index)
    if index in tables[ADMIN]:
        said.value(link, "hw.network.enabled", "1", float(not off))
    oper = tables[OPER].get(index)
    if oper is not None and oper != _UNKNOWN and not off:
        if isinstance(oper, int) and 0 < oper <= _STATUS_MAX:
            said.value(link, "hw.network.up", "1", float(oper == _UP))
        else:
            fault = Fault(Reason.NOT_A_NUMBER, "ifOperStatus, 1 to 7")
            said.fault(link, "hw.network.up", "1", shown(oper), fault)
    high, speed = tables[HIGH_SPEED].get(index), tables[SPEED].get(index)
    if isinstance(high, int) and high > 0:
        said.value(link, "hw.network.bandwidth.limit", "By/s", high * _MBIT)
    elif isinstance(speed, int) and speed > 0:
        said.value(link, "hw.network.bandwidth.limit", "By/s", speed / 8)
    changed = tables[CHANGED].get(index)
    if isinstance(changed, int) and isinstance(uptime, int):
        # Both are told by one clock that starts again after 2^32 ticks.
        said.value(link, "hw.network.state_time", "s", (uptime - changed) % _TICKS * _TICK)


def _number(
    said: Said, entity: str, metric: str, unit: str, value: Value, attributes: dict[str, str]
) -> None:
    if isinstance(value, int):
        said.value(entity, metric, unit, float(value), attributes)
    else:
        fault = Fault(Reason.NOT_A_NUMBER, f"a number in {unit}")
        said.fault(entity, metric, unit, shown(value), fault, attributes)


def text(value: Value | None) -> str:
    """Return a name as text, without what surrounds it; empty when there is none."""
    if not isinstance(value, bytes):
        return ""
    return value.decode("utf-8", "replace").strip(" \t\r\n\0")


def shown(value: Value) -> str:
    """Return a value as people may read it in the quarantine."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return dotted(value) if isinstance(value, tuple) else str(value)
