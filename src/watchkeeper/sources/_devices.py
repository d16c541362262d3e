"""Network devices that are asked: how they are written in the configuration, and what they said.

    10.0.0.1         leaf1=10.0.0.1:1161         leaf1=[2001:db8::1]         /run/redis.sock

The name before `=` is what its links are called by (`link:leaf1/Ethernet0`); without one it is the
host as written, so a changed address would be another device: name what should outlive it.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from watchkeeper.errors import ConfigError
from watchkeeper.model import Millis, attributes_text
from watchkeeper.sources import Target
from watchkeeper.sources._found import Reading, Unread
from watchkeeper.sources._optics import Fault, quantity


class Device(NamedTuple):
    """One device. :param host: a name or an address; or the path of a local socket, port 0."""

    name: str
    host: str
    port: int

    @property
    def entity(self) -> str:
        """The device itself, of which readings that belong to no link are told."""
        return f"device:{self.name}"

    @property
    def target(self) -> Target:
        """Whom to ask, as the rounds know it."""
        return Target(self.name, self.entity, self.host)

    def link(self, interface: str) -> str:
        """Return the entity of one of its interfaces."""
        return f"link:{self.name}/{interface}"


def read(texts: Sequence[str], port: int, kind: str) -> dict[str, Device]:
    """Read the devices of a configuration, by name.

    :param port: where they are asked unless one says otherwise. :param kind: for messages.
    :raises ConfigError: a text names no device, or two have one name.
    """
    if not texts:
        raise ConfigError(f"{kind}: no targets", hint="for example targets: [leaf1=10.0.0.1]")
    found: dict[str, Device] = {}
    for text in texts:
        device = _device(text, port, kind)
        if device.name in found:
            raise ConfigError(
                f"{kind}: two targets are called {device.name!r}", hint="write name=host:port"
            )
        found[device.name] = device
    return found


def _device(text: str, port: int, kind: str) -> Device:
    name, _, address = text.strip().rpartition("=")
    if address.startswith("/"):
        return Device(name or socket.gethostname(), address, 0)
    host, colon, said = address.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")) or address.endswith("]"):
        host, said = address, str(port)
    host = host.strip("[]")
    fits = said.isascii() and said.isdecimal() and 0 < int(said) < 65536
    if not fits or not host or any(one.isspace() or one in "/@" for one in host):
        raise ConfigError(
            f"{kind}: {text!r} names no target", hint="write host, host:port or name=host:port"
        )
    return Device(name or host, host, int(said))


class Said:
    """What one device said at one time, as it is being read."""

    def __init__(self, time: Millis) -> None:
        self._time = time
        self.readings: list[Reading] = []
        self.unread: list[Unread] = []

    def value(
        self,
        entity: str,
        metric: str,
        unit: str,
        value: float,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Note a value. The unit goes among the attributes, so contracts hold the device to it."""
        key = (entity, metric, _with_unit(unit, attributes))
        self.readings.append(Reading(*key, self._time, value))

    def text(
        self,
        entity: str,
        metric: str,
        unit: str,
        text: str,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Note a value written as text, in `unit` or in one that can be turned into it."""
        found = quantity(text, unit)
        if isinstance(found, Fault):
            self.fault(entity, metric, unit, text, found, attributes)
        else:
            self.value(entity, metric, unit, found, attributes)

    def fault(
        self,
        entity: str,
        metric: str,
        unit: str,
        offered: str,
        fault: Fault,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Note what was said where a value belongs."""
        key = (entity, metric, _with_unit(unit, attributes))
        self.unread.append(Unread(*key, self._time, offered, fault.reason, fault.detail))


def _with_unit(unit: str, attributes: Mapping[str, str] | None) -> str:
    return attributes_text({**(attributes or {}), "unit": unit})
