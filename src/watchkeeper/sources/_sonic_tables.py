"""One port of SONiC, as its databases tell it, as readings of a link.

Everything there is text. `N/A` means that a module has no such value and is common: it counts as
unread only where a value belongs. Temperature and voltage belong to every module that tells
anything; a lane's value belongs where a lane of a higher number has one.

Of a port that somebody switched off neither state nor light is told: nothing is expected of it.

The modules' own thresholds are not read: in the field they are 0.0 or -inf as often as right. What
a module makes of them, its alarm and warning flags, is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from watchkeeper.model import Reason
from watchkeeper.sources import _optics
from watchkeeper.sources._devices import Device, Said
from watchkeeper.sources._optics import LANE, Fault, absent

Row = Mapping[str, str]

_MBIT = 125_000.0  # bytes per second of a megabit per second
_SAI = "SAI_PORT_STAT_"
_BINS = 16  # of the histogram of symbol errors in a codeword


class Port(NamedTuple):
    """What the databases hold of one port; empty where they hold nothing."""

    name: str
    state: Row  # APPL_DB PORT_TABLE
    counters: Row  # COUNTERS_DB COUNTERS
    rates: Row  # COUNTERS_DB RATES
    sensor: Row  # STATE_DB TRANSCEIVER_DOM_SENSOR
    flags: Row  # STATE_DB TRANSCEIVER_DOM_FLAG
    module: Row  # STATE_DB TRANSCEIVER_INFO


class _Count(NamedTuple):
    metric: str
    unit: str
    attributes: Mapping[str, str] = {}


_IN, _OUT = ({"network.io.direction": way} for way in ("receive", "transmit"))
_COUNTS = {
    "IF_IN_OCTETS": _Count("hw.network.io", "By", _IN),
    "IF_OUT_OCTETS": _Count("hw.network.io", "By", _OUT),
    "IF_IN_UCAST_PKTS": _Count("hw.network.packets", "{packet}", _IN),
    "IF_OUT_UCAST_PKTS": _Count("hw.network.packets", "{packet}", _OUT),
    "IF_IN_DISCARDS": _Count("hw.network.packet.dropped", "{packet}", _IN),
    "IF_OUT_DISCARDS": _Count("hw.network.packet.dropped", "{packet}", _OUT),
    "IF_IN_ERRORS": _Count("hw.errors", "{error}", _IN),
    "IF_OUT_ERRORS": _Count("hw.errors", "{error}", _OUT),
    "ETHER_STATS_CRC_ALIGN_ERRORS": _Count("hw.errors", "{error}", _IN | {"error.type": "crc"}),
    "IF_IN_FEC_CORRECTABLE_FRAMES": _Count("hw.network.fec.corrected", "{codeword}"),
    "IF_IN_FEC_NOT_CORRECTABLE_FRAMES": _Count("hw.network.fec.uncorrectable", "{codeword}"),
    "IF_IN_FEC_SYMBOL_ERRORS": _Count("hw.network.fec.symbol_errors", "{symbol}"),
    "IF_IN_FEC_CORRECTED_BITS": _Count("hw.network.fec.corrected_bits", "bit"),
} | {
    f"IF_IN_FEC_CODEWORD_ERRORS_S{n}": _Count(
        "hw.network.fec.codewords", "{codeword}", {"hw.network.fec.symbol_errors": str(n)}
    )
    for n in range(_BINS)
}
_RATES = {"FEC_PRE_BER": _optics.PRE_BER, "FEC_POST_BER": _optics.POST_BER}
_MODULE = {
    "temperature": (_optics.TEMPERATURE, "Cel"),
    "voltage": (_optics.SUPPLY_VOLTAGE, "V"),
}
_LASER = (_optics.LASER_TEMPERATURE, "Cel")
_LANES = {
    "rxpower": (_optics.RX_POWER, "dBm"),
    "txpower": (_optics.TX_POWER, "dBm"),
    "txbias": (_optics.BIAS_CURRENT, "mA"),
}
_LANE_FIELD = re.compile(r"(rx|tx)(\d{1,2})(power|bias)")
_FLAG_FIELD = re.compile(
    r"(temp|vcc|lasertemp|(?:rx|tx)\d{0,2}power|tx\d{0,2}bias)(h|l)(alarm|warn)", re.IGNORECASE
)
_FLAGGED = {
    "temp": "temperature", "vcc": "supply_voltage", "lasertemp": "laser_temperature",
    "rxpower": "rx_power", "txpower": "tx_power", "txbias": "bias_current",
}  # fmt: skip
_OF_MODULES = ("temperature", "supply_voltage")
_BEYOND = "hw.network.transceiver.beyond_limit"
_LIMITS = {
    ("h", "alarm"): "high.critical", ("h", "warn"): "high.degraded",
    ("l", "alarm"): "low.critical", ("l", "warn"): "low.degraded",
}  # fmt: skip
_TRUTH = {"true": 1.0, "1": 1.0, "up": 1.0, "false": 0.0, "0": 0.0, "down": 0.0}
_ABOUT = {
    "manufacturer": "hw.vendor",
    "vendor_name": "hw.vendor",
    "model": "hw.model",
    "serial": "hw.serial_number",
    "type": "hw.network.transceiver.type",
}


def tell(said: Said, device: Device, port: Port) -> None:
    """Note everything said about one port."""
    link = device.link(port.name)
    off = port.state.get("admin_status", "").lower() == "down"
    _tell_state(said, link, port.state, off)
    for field, count in _COUNTS.items():
        text = port.counters.get(_SAI + field)
        if text is not None:
            _tell_count(said, link, count, text)
    for field, metric in _RATES.items():
        text = port.rates.get(field)
        if text is not None and not absent(text):
            said.text(link, metric, "1", text)
    _tell_module(said, link, port.sensor)
    _tell_flags(said, link, port.flags, off)
    if not off:  # its lasers are dark because somebody wished so
        _tell_lanes(said, link, port.sensor)
    about = {
        name: port.module[field].strip()
        for field, name in _ABOUT.items()
        if port.module.get(field, "").strip() and not absent(port.module[field])
    }
    if about:
        said.value(link, "hw.network.transceiver.info", "1", 1.0, about)


def _tell_state(said: Said, link: str, state: Row, off: bool) -> None:
    admin, oper = state.get("admin_status"), state.get("oper_status")
    if admin is not None:
        _tell_truth(said, link, "hw.network.enabled", admin)
    if oper is not None and not off:
        _tell_truth(said, link, "hw.network.up", oper)
    flaps = state.get("flap_count")
    if flaps is not None and not absent(flaps):
        _tell_count(said, link, _Count("hw.network.flaps", "{flap}"), flaps)
    speed = state.get("speed")
    if speed is not None and not absent(speed):
        if speed.isascii() and speed.isdecimal():
            said.value(link, "hw.network.bandwidth.limit", "By/s", int(speed) * _MBIT)
        else:
            fault = Fault(Reason.NOT_A_NUMBER, "a speed in Mbit/s")
            said.fault(link, "hw.network.bandwidth.limit", "By/s", speed, fault)


def _tell_module(said: Said, link: str, row: Row) -> None:
    alive = any(not absent(text) for field, text in row.items() if _measures(field))
    for field, (metric, unit) in _MODULE.items():
        if field in row and (alive or not absent(row[field])):
            said.text(link, metric, unit, row[field])
    laser = row.get("laser_temperature")
    if laser is not None and not absent(laser):
        said.text(link, *_LASER, laser)


def _tell_lanes(said: Said, link: str, row: Row) -> None:
    lanes: dict[str, dict[int, str]] = {kind: {} for kind in _LANES}
    for field, text in row.items():
        found = _LANE_FIELD.fullmatch(field)
        if found and found[1] + found[3] in lanes:
            lanes[found[1] + found[3]][int(found[2])] = text
    for kind, (metric, unit) in _LANES.items():
        last = max((n for n, text in lanes[kind].items() if not absent(text)), default=0)
        for lane, text in sorted(lanes[kind].items()):
            if lane <= last:
                said.text(link, metric, unit, text, {LANE: str(lane)})


def _measures(field: str) -> bool:
    return field in _MODULE or _LANE_FIELD.fullmatch(field) is not None


def _tell_flags(said: Said, link: str, row: Row, off: bool) -> None:
    """Note which limits are exceeded, in any lane: the lanes' own values say in which."""
    found: dict[tuple[str, str], float] = {}
    for field, text in row.items():
        parts = _FLAG_FIELD.fullmatch(field)
        if parts is None or absent(text):
            continue
        quantity = _FLAGGED["".join(one for one in parts[1].lower() if not one.isdigit())]
        if off and quantity not in _OF_MODULES:
            continue
        limit = _LIMITS[parts[2].lower(), parts[3].lower()]
        value = _TRUTH.get(text.strip().lower())
        if value is None:
            fault = Fault(Reason.NOT_A_NUMBER, "true or false")
            said.fault(link, _BEYOND, "1", text, fault, _flag(quantity, limit))
        else:
            found[quantity, limit] = max(value, found.get((quantity, limit), 0.0))
    for (quantity, limit), value in found.items():
        said.value(link, _BEYOND, "1", value, _flag(quantity, limit))


def _flag(quantity: str, limit: str) -> dict[str, str]:
    return {"hw.network.transceiver.quantity": quantity, "hw.limit_type": limit}


def _tell_truth(said: Said, link: str, metric: str, text: str) -> None:
    value = _TRUTH.get(text.strip().lower())
    if value is not None:
        said.value(link, metric, "1", value)
    elif not absent(text):
        fault = Fault(Reason.NOT_A_NUMBER, "up or down")
        said.fault(link, metric, "1", text, fault)


def _tell_count(said: Said, link: str, count: _Count, text: str) -> None:
    digits = text.strip()
    if digits.isascii() and digits.isdecimal() and len(digits) <= 20:  # of 64 bits
        said.value(link, count.metric, count.unit, float(digits), count.attributes)
    else:
        fault = Fault(Reason.NOT_A_NUMBER, f"a count in {count.unit}")
        said.fault(link, count.metric, count.unit, text, fault, count.attributes)
