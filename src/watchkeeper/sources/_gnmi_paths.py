"""Paths of gNMI, and what becomes of the values at them.

    /interfaces/interface[name=Ethernet0]/state/counters/in-octets
    {interface.name}                                            a place: the list and its key

The table below speaks OpenConfig and tells what the link pack knows. Operators add paths of their
own in the same form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from watchkeeper.errors import ConfigError
from watchkeeper.sources import _optics as optics

_STEP = re.compile(r"([^\[\]/]+)((?:\[[^\[\]=]+=[^\[\]]*\])*)")
_KEY = re.compile(r"\[([^\[\]=]+)=([^\[\]]*)\]")

Keys = tuple[tuple[str, str], ...]  # ("interface.name", "Ethernet0"), in order
Step = tuple[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Values at one path, and what they are called.

    A text may have places: `{device}` is the target's name, `{interface.name}` the key of a list.

    :param path: where the values are, without prefixes of modules.
    :param metric: the name of the values.
    :param entity: who they are about, with places.
    :param unit: of the values.
    :param attributes: of the series: name -> text with places.
    :param words: what texts count as: `{"UP": 1}`; texts without a number are passed over.
    :param on_change: whether the target tells them only when they change.
    """

    path: str
    metric: str
    entity: str = "device:{device}"
    unit: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, float] = field(default_factory=dict)
    on_change: bool = False

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012  as pydantic reads it


LINK = "link:{device}/{interface.name}"
MODULE = "{link}"  # the link that a component belongs to; the device when that is not known
UP, ENABLED = "hw.network.up", "hw.network.enabled"
TRANSCEIVER = "/interfaces/interface/state/transceiver"  # names the component of an interface
ADMIN = "/interfaces/interface/state/admin-status"
# Of a port that was switched off these are not told: nothing is expected of it.
OF_PORTS_THAT_ARE_ON = frozenset((UP, optics.RX_POWER, optics.TX_POWER))

_DOWN = ("DOWN", "TESTING", "DORMANT", "NOT_PRESENT", "LOWER_LAYER_DOWN")
_GBIT = 125_000_000.0  # bytes per second of a gigabit per second
_SPEEDS = (1, 5, 10, 25, 40, 50, 100, 200, 400, 600, 800)
_IN, _OUT = ({"network.io.direction": way} for way in ("receive", "transmit"))
_COUNTERS = "/interfaces/interface/state/counters/"
_STATE = "/components/component/transceiver/state/"
_LANE = "/components/component/transceiver/physical-channels/channel/state/"


def _count(leaf: str, metric: str, unit: str, attributes: Mapping[str, str]) -> Path:
    return Path(path=_COUNTERS + leaf, metric=metric, entity=LINK, unit=unit, attributes=attributes)


def _module(path: str, metric: str, unit: str) -> Path:
    lane = {optics.LANE: "{channel.index}"} if path.startswith(_LANE) else {}
    return Path(path=path, metric=metric, entity=MODULE, unit=unit, attributes=lane)


OPENCONFIG = (
    Path(
        path=ADMIN, metric=ENABLED, entity=LINK, unit="1",
        words={"UP": 1.0, "DOWN": 0.0, "TESTING": 0.0}, on_change=True,
    ),
    Path(
        path="/interfaces/interface/state/oper-status", metric=UP, entity=LINK, unit="1",
        words={"UP": 1.0} | dict.fromkeys(_DOWN, 0.0), on_change=True,
    ),
    Path(
        path="/interfaces/interface/ethernet/state/port-speed",
        metric="hw.network.bandwidth.limit", entity=LINK, unit="By/s",
        words={f"SPEED_{n}GB": n * _GBIT for n in _SPEEDS}
        | {"SPEED_10MB": _GBIT / 100, "SPEED_100MB": _GBIT / 10, "SPEED_2500MB": 2.5 * _GBIT},
        on_change=True,
    ),
    _count("in-octets", "hw.network.io", "By", _IN),
    _count("out-octets", "hw.network.io", "By", _OUT),
    _count("in-unicast-pkts", "hw.network.packets", "{packet}", _IN),
    _count("out-unicast-pkts", "hw.network.packets", "{packet}", _OUT),
    _count("in-discards", "hw.network.packet.dropped", "{packet}", _IN),
    _count("out-discards", "hw.network.packet.dropped", "{packet}", _OUT),
    _count("in-errors", "hw.errors", "{error}", _IN),
    _count("out-errors", "hw.errors", "{error}", _OUT),
    _count("in-fcs-errors", "hw.errors", "{error}", _IN | {"error.type": "crc"}),
    # The contract knows this name, and that it counts ups and downs.
    _count("interface-transitions", _COUNTERS + "interface-transitions", "", {}),
    _module(_STATE + "supply-voltage/instant", optics.SUPPLY_VOLTAGE, "V"),
    _module(_STATE + "pre-fec-ber/instant", optics.PRE_BER, "1"),
    _module(_STATE + "post-fec-ber/instant", optics.POST_BER, "1"),
    _module(_STATE + "fec-uncorrectable-blocks", "hw.network.fec.uncorrectable", "{codeword}"),
    _module(_STATE + "fec-corrected-blocks", "hw.network.fec.corrected", "{codeword}"),
    _module(_STATE + "fec-corrected-bits", "hw.network.fec.corrected_bits", "bit"),
    _module(_LANE + "input-power/instant", optics.RX_POWER, "dBm"),
    _module(_LANE + "output-power/instant", optics.TX_POWER, "dBm"),
    _module(_LANE + "laser-bias-current/instant", optics.BIAS_CURRENT, "mA"),
    _module(_LANE + "laser-temperature/instant", optics.LASER_TEMPERATURE, "Cel"),
)  # fmt: skip


def steps(path: str) -> list[Step]:
    """Return the elements of a path and their keys.

    :raises ConfigError: it is none.
    """
    found: list[Step] = []
    rest = path
    while rest:
        step = _STEP.match(rest, 1)
        if not rest.startswith("/") or step is None:
            raise ConfigError(f"gnmi: {path!r} is no path", hint="/interfaces/interface/state/…")
        found.append((step[1], dict(_KEY.findall(step[2]))))
        rest = rest[step.end() :]
    if not found:
        raise ConfigError("gnmi: an empty path", hint="/interfaces/interface/state/…")
    return found


def schema(path: str) -> str:
    """Return a path without keys, as the table of paths is searched by."""
    return "/" + "/".join(name for name, _ in steps(path))
