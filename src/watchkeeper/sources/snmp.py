"""Network devices over SNMP: interfaces (IF-MIB) and sensors (ENTITY-SENSOR-MIB), by GETBULK.

Versions 2c and 3 (USM, with and without privacy). Nothing is ever written to a device. Every
question has an engine and a loop of its own, which end with it: a tenth of a second of work, and
nothing that an agent could leave behind.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Cursor, Millis
from watchkeeper.secret import Secret
from watchkeeper.sources import Collected, Target
from watchkeeper.sources import _snmp_interfaces as interfaces
from watchkeeper.sources import _snmp_sensors as sensors
from watchkeeper.sources._devices import Device, Said, read
from watchkeeper.sources._found import collected
from watchkeeper.sources._rounds import Rounds
from watchkeeper.sources._snmp_walk import Bound, Oid, Tables, Value, walk, whole

PORT = 161
KEY_MIN = 8  # characters (RFC 3414, section 11.2)
TRIES = 3  # of one question, UDP being what it is
_TOO_BIG = 1
_AUTH = {
    "md5": "USM_AUTH_HMAC96_MD5", "sha": "USM_AUTH_HMAC96_SHA",
    "sha224": "USM_AUTH_HMAC128_SHA224", "sha256": "USM_AUTH_HMAC192_SHA256",
    "sha384": "USM_AUTH_HMAC256_SHA384", "sha512": "USM_AUTH_HMAC384_SHA512",
}  # fmt: skip
_PRIV = {
    "des": "USM_PRIV_CBC56_DES", "aes": "USM_PRIV_CFB128_AES",
    "aes192": "USM_PRIV_CFB192_AES", "aes256": "USM_PRIV_CFB256_AES",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Snmp:
    """Asks network devices over SNMP.

    :param targets: the devices: `host`, `host:port` or `name=host:port`; port 161 unless said.
    :param snmp_version: `2c`, or `3` for users and keys.
    :param community: the word that opens version 2c; it travels in the clear.
    :param user: the user of version 3.
    :param auth_protocol: how messages are signed.
    :param auth_key: the user's key for signing, 8 characters or more; without one, unsigned.
    :param priv_protocol: how messages are encrypted.
    :param priv_key: the user's key for encryption; without one, in the clear.
    :param context: the context of version 3; most devices have only the unnamed one.
    :param interval: seconds between two questions to one device.
    :param timeout: seconds one device may take; at most 0.8 of the interval.
    :param bulk: rows asked for at once.
    :param rows_max: rows one table may have; beyond, the device is not believed.
    :param name: the source's name in the journal.
    """

    targets: tuple[str, ...]
    snmp_version: Literal["2c", "3"] = "2c"
    community: Secret = Secret("public")
    user: str = ""
    auth_protocol: Literal["md5", "sha", "sha224", "sha256", "sha384", "sha512"] = "sha"
    auth_key: Secret = Secret()
    priv_protocol: Literal["des", "aes", "aes192", "aes256"] = "aes"
    priv_key: Secret = Secret()
    context: str = ""
    interval: float = 60.0
    timeout: float = 10.0
    bulk: int = 25
    rows_max: int = 10_000
    name: str = "snmp"

    def __post_init__(self) -> None:
        read(self.targets, PORT, "snmp")
        for what in ("interval", "timeout", "bulk", "rows_max"):
            if not getattr(self, what) > 0:
                raise ConfigError(f"snmp: {what} is not above 0")
        if self.snmp_version == "2c":
            if self.user or self.auth_key or self.priv_key:
                raise ConfigError("snmp: users and keys need version 3", hint='snmp_version: "3"')
            return
        if not self.user:
            raise ConfigError("snmp: version 3 needs a user")
        if self.priv_key and not self.auth_key:
            raise ConfigError("snmp: encryption needs a signature", hint="give auth_key too")
        for key, of in ((self.auth_key, "auth_key"), (self.priv_key, "priv_key")):
            if key and len(key.reveal()) < KEY_MIN:
                raise ConfigError(f"snmp: {of} has less than {KEY_MIN} characters")

    @property
    def sampled(self) -> bool:
        """What waits is handed on; the rounds have their own times."""
        return False

    def open(self, cursor: Cursor | None) -> Rounds:
        """Begin the rounds; what was missed while nobody asked cannot be had any more.

        :raises ConfigError: the packages it needs are not installed.
        """
        _library()
        return Rounds(Agents(self), cursor)


class Agents:
    """One snmp at work. See `sources.Collector`."""

    def __init__(self, source: Snmp) -> None:
        self.name, self.interval, self.timeout = source.name, source.interval, source.timeout
        self._source = source
        self._devices = read(source.targets, PORT, "snmp")

    def targets(self) -> Sequence[Target]:
        """Return the configured devices."""
        return [device.target for device in self._devices.values()]

    def collect(self, target: Target, deadline: float) -> Collected:
        """Ask one device for its interfaces and its sensors.

        :raises InputError: no answer in time, a wrong key, or an agent that does not behave.
        """
        device = self._devices[target.name]
        said = Said(Millis(time.time_ns() // 1_000_000))
        tables = asyncio.run(self._tables(device, deadline))
        if not any(tables.values()):
            raise InputError(
                f"{device.name}: the agent shows nothing",
                hint="does its view let us see interfaces (1.3.6.1.2.1)?",
            )
        interfaces.tell(said, device, tables)
        sensors.tell(said, device, tables)
        return collected(said.readings, said.unread, f"{self.name}: {device.name}")

    async def _tables(self, device: Device, deadline: float) -> Tables:
        library = _library()
        engine = library.SnmpEngine()
        # Anyone may send us a datagram. One that cannot be read is none; the question waits on.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        left = deadline - time.monotonic()
        try:
            async with asyncio.timeout(left):
                agent = _Agent(library, engine, self._source, device)
                await agent.find(left)
                return await self._walked(agent)
        except TimeoutError:
            raise _silent(device) from None
        except importlib.import_module("pysnmp.error").PySnmpError as error:
            raise InputError(f"{device.name}: {error}") from error
        finally:
            engine.close_dispatcher()

    async def _walked(self, agent: _Agent) -> Tables:
        bulk, rows_max = self._source.bulk, self._source.rows_max
        tables: Tables = {}
        for columns in (
            interfaces.WHOLE, interfaces.FIXED, interfaces.EXTENDED, sensors.SENSORS,
        ):  # fmt: skip
            tables |= await walk(agent.ask, columns, bulk, rows_max)
        if interfaces.lacks_wide_counters(tables):
            tables |= await walk(agent.ask, interfaces.NARROW, bulk, rows_max)
        parts: Tables = {column: {} for column in sensors.PARTS}
        if any(tables[column] for column in sensors.SENSORS):
            parts = await walk(agent.ask, sensors.PARTS, bulk, rows_max)
        return tables | parts


class _Agent:
    """One device's agent, and how to speak with it."""

    def __init__(self, library: Any, engine: Any, source: Snmp, device: Device) -> None:
        self._library, self._engine, self._device = library, engine, device
        self._auth = _credentials(library, source)
        self._context = library.ContextData(contextName=source.context.encode())
        self._transport: Any = None

    async def find(self, left: float) -> None:
        """Look up its address. :param left: seconds there are for everything."""
        six = ":" in self._device.host
        kind = self._library.Udp6TransportTarget if six else self._library.UdpTransportTarget
        address = (self._device.host, self._device.port)
        # All tries of one question fit in the time there is.
        once = max(0.1, left / (TRIES + 1))
        self._transport = await kind.create(address, timeout=once, retries=TRIES - 1)

    async def ask(self, after: Sequence[Oid], rounds: int) -> list[Bound]:
        """Return what follows each name, `rounds` times or less. See `_snmp_walk.Ask`."""
        library = self._library
        names = [library.ObjectType(library.ObjectIdentity(oid)) for oid in after]
        while True:
            indication, status, _, bound = await library.bulk_cmd(
                self._engine, self._auth, self._transport, self._context, 0, rounds, *names,
                lookupMib=False,
            )  # fmt: skip
            if isinstance(
                indication, importlib.import_module("pysnmp.proto.errind").RequestTimedOut
            ):
                raise _silent(self._device)
            if indication:
                raise InputError(f"{self._device.name}: {indication}")
            if int(status) == _TOO_BIG and rounds > 1:
                rounds //= 2
                continue
            if int(status):
                raise InputError(f"{self._device.name}: {status.prettyPrint()}")
            return [Bound(tuple(name), _plain(value)) for name, value in bound]


def _silent(device: Device) -> InputError:
    return InputError(
        f"{device.name}: no answer in time",
        hint="an agent is silent when community, user or keys are wrong",
    )


def _credentials(library: Any, source: Snmp) -> Any:
    if source.snmp_version == "2c":
        return library.CommunityData(source.community.reveal(), mpModel=1)
    auth = _AUTH[source.auth_protocol] if source.auth_key else "USM_AUTH_NONE"
    priv = _PRIV[source.priv_protocol] if source.priv_key else "USM_PRIV_NONE"
    return library.UsmUserData(
        source.user,
        source.auth_key.reveal() or None,
        source.priv_key.reveal() or None,
        authProtocol=getattr(library, auth),
        privProtocol=getattr(library, priv),
    )


def _plain(value: Any) -> Value | None:
    """Return a value without its ASN.1 clothes; None for the exceptions of RFC 3416."""
    types = importlib.import_module("pyasn1.type.univ")
    if isinstance(value, types.Null):
        return None
    if isinstance(value, types.Integer):
        return whole(int(value))
    if isinstance(value, types.OctetString):
        return bytes(value)
    return tuple(value) if isinstance(value, types.ObjectIdentifier) else None


def _library() -> Any:
    try:
        importlib.import_module("cryptography")  # pysnmp encrypts with it, and does not ask for it
        return importlib.import_module("pysnmp.hlapi.v3arch.asyncio")
    except ImportError as error:
        raise ConfigError(
            f"snmp: {error.name} is not installed", hint="pip install watchkeeper[snmp]"
        ) from error


plugin = Snmp
