"""Network devices over gNMI: a stream of what changes and what is sampled, or one answer a round.

A device is subscribed to once and tells of itself; each round takes what came since the last. A
stream that ends is begun again within the same round, and a device that does not know streams is
asked with Get.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Cursor, Millis
from watchkeeper.secret import Secret
from watchkeeper.sources import Collected, Target
from watchkeeper.sources._devices import Device, read
from watchkeeper.sources._gnmi_device import Said
from watchkeeper.sources._gnmi_paths import OPENCONFIG, TRANSCEIVER, Path, schema
from watchkeeper.sources._gnmi_stream import Library, Terms, Unimplemented, Wire, library, trust
from watchkeeper.sources._rounds import Rounds

PORT = 9339  # as IANA has it
FRESH = 2.5  # rounds, or heartbeats, for which a value is good without being heard again
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gnmi:
    """Subscribes to network devices over gNMI.

    :param targets: the devices: `host`, `host:port` or `name=host:port`; port 9339 unless said.
    :param openconfig: whether to ask for OpenConfig's interfaces and optical modules.
    :param paths: more paths, and what their values are called.
    :param mode: `stream`, `get`, or `auto` for a stream where the device knows it.
    :param encoding: of the values; `auto` is the best that the device speaks.
    :param user: whom to say we are.
    :param password: of the user; never printed.
    :param tls: whether the connection is encrypted and the device's certificate checked; without
        it user and password travel in the clear.
    :param ca_file: certificates (PEM) of the authorities to believe instead of the system's.
    :param cert_file: our own certificate (PEM), when devices ask for one.
    :param key_file: the key of it.
    :param tls_name: the name in the device's certificate, when it is not its host.
    :param interval: seconds between two rounds, and between two samples of a value.
    :param timeout: seconds one device may take; at most 0.8 of the interval.
    :param heartbeat: seconds after which a device tells again what has not changed; 0 is never.
    :param body_bytes: bytes one device may tell in a round, and in one message.
    :param name: the source's name in the journal.
    :raises ConfigError: nothing to ask for, or a field that cannot be used.
    """

    targets: tuple[str, ...]
    openconfig: bool = True
    paths: tuple[Path, ...] = ()
    mode: Literal["auto", "stream", "get"] = "auto"
    encoding: Literal["auto", "proto", "json_ietf", "json"] = "auto"
    user: str = ""
    password: Secret = Secret()
    tls: bool = True
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    tls_name: str = ""
    interval: float = 30.0
    timeout: float = 10.0
    heartbeat: float = 300.0
    body_bytes: int = 16 << 20
    name: str = "gnmi"

    def __post_init__(self) -> None:
        read(self.targets, PORT, "gnmi")
        for what in ("interval", "timeout", "body_bytes"):
            if not getattr(self, what) > 0:
                raise ConfigError(f"gnmi: {what} is not above 0")
        if self.heartbeat < 0:
            raise ConfigError("gnmi: heartbeat is below 0", hint="0 is never")
        if self.password and not self.user:
            raise ConfigError("gnmi: a password without a user", hint="give user")
        if not (self.openconfig or self.paths):
            raise ConfigError("gnmi: nothing to ask for", hint="give paths, or openconfig: true")
        self.wanted()

    def wanted(self) -> dict[str, Path]:
        """Return what is asked for, by schema path; the operator's own comes first.

        :raises ConfigError: two entries for one path.
        """
        found: dict[str, Path] = {}
        for path in self.paths:
            if schema(path.path) in found:
                raise ConfigError(f"gnmi: {path.path} is there twice")
            found[schema(path.path)] = path
        for path in OPENCONFIG if self.openconfig else ():
            found.setdefault(path.path, path)
        return found

    @property
    def sampled(self) -> bool:
        """What waits is handed on; the rounds have their own times."""
        return False

    def open(self, cursor: Cursor | None) -> Rounds:
        """Begin the rounds; what was missed while nobody asked cannot be had any more.

        :raises ConfigError: the package it needs is not installed, or a file cannot be read.
        """
        return Rounds(Streams(self, library()), cursor)


class Streams:
    """One gnmi at work. See `sources.Collector`."""

    def __init__(self, source: Gnmi, packages: Library) -> None:
        self.name, self.interval, self.timeout = source.name, source.interval, source.timeout
        self._source, self._library = source, packages
        self._devices = read(source.targets, PORT, "gnmi")
        self._paths = source.wanted()
        self._asked = [*self._paths.values()]
        if source.openconfig:
            self._asked.append(Path(path=TRANSCEIVER, metric="", on_change=True))
        self._terms = _terms(source, packages)
        self._open: dict[str, tuple[Wire, Said]] = {}
        self._plain: set[str] = set()  # devices that know no streams
        self._lock = threading.Lock()
        self._cancelled = False

    def targets(self) -> Sequence[Target]:
        """Return the configured devices."""
        return [device.target for device in self._devices.values()]

    def collect(self, target: Target, deadline: float) -> Collected:
        """Take what a device has told since the last round; begin its stream if there is none.

        :raises InputError: it does not answer in time, or does not behave.
        """
        device = self._devices[target.name]
        try:
            if self._source.mode == "get" or device.name in self._plain:
                return self._answer(device, deadline)
            try:
                return self._streamed(device, deadline)
            except Unimplemented:
                if self._source.mode == "stream":
                    raise
                self._leave(device)
                self._plain.add(device.name)
                return self._answer(device, deadline)
        except InputError as error:
            self._leave(device)
            raise InputError(f"{device.name}: {error.args[0]}", hint=error.hint) from None

    def cancel(self) -> None:
        """End all streams."""
        with self._lock:
            self._cancelled = True
            wires = [wire for wire, _ in self._open.values()]
            self._open.clear()
        for wire in wires:
            wire.close()

    def _streamed(self, device: Device, deadline: float) -> Collected:
        known = self._open.get(device.name)
        if known is not None and known[0].ended:
            self._leave(device)
            known = None
        if known is None:
            known = self._begun(device)
            known[0].subscribe(self._asked, deadline)
        wire, said = known
        came = wire.take(deadline)
        quiet = time.monotonic() - wire.heard
        changes_only = all(path.on_change for path in self._asked)
        if quiet > self._patience()[changes_only]:
            raise InputError(f"nothing was told for {quiet:.0f} s")
        return said.round(came, _wall(), time.monotonic(), f"{self.name}: {device.name}")

    def _answer(self, device: Device, deadline: float) -> Collected:
        """Ask with Get; every value holds for this round alone."""
        wire, said = self._begun(device)
        try:
            came = wire.get(self._asked, deadline)
        finally:
            self._leave(device)
        return said.round(came, _wall(), time.monotonic(), f"{self.name}: {device.name}")

    def _begun(self, device: Device) -> tuple[Wire, Said]:
        host = f"[{device.host}]" if ":" in device.host else device.host
        where = f"{host}:{device.port}" if device.port else f"unix:{device.host}"
        with self._lock:
            if self._cancelled:
                raise InputError("stopped")
            wire = Wire(self._library, where, self._terms)
            self._open[device.name] = wire, Said(device, self._paths, self._patience())
            return self._open[device.name]

    def _leave(self, device: Device) -> None:
        with self._lock:
            known = self._open.pop(device.name, None)
        if known is not None:
            known[0].close()

    def _patience(self) -> tuple[float, float]:
        """Return for how long values are good: sampled ones, and those told on change."""
        heartbeat = self._source.heartbeat
        return FRESH * self.interval + self.timeout, FRESH * heartbeat if heartbeat else math.inf


def _terms(source: Gnmi, packages: Library) -> Terms:
    known = trust(packages.grpc, source.ca_file, source.cert_file, source.key_file)
    return Terms(
        trust=known if source.tls else None,
        tls_name=source.tls_name,
        user=source.user,
        password=source.password,
        encoding=source.encoding,
        body_bytes=source.body_bytes,
        sample=int(source.interval * _NANO),
        heartbeat=int(source.heartbeat * _NANO),
    )


def _wall() -> Millis:
    return Millis(time.time_ns() // 1_000_000)


plugin = Gnmi
