"""SONiC switches, through the Redis databases they keep about themselves.

Only `HGETALL` is ever sent, besides what opens a connection (`AUTH`, `SELECT`): nothing is written,
and no command makes a switch look through all its keys.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.model import Cursor, Millis
from watchkeeper.secret import Secret, changed
from watchkeeper.sources import Collected, Target
from watchkeeper.sources._devices import Device, Said, read
from watchkeeper.sources._found import collected
from watchkeeper.sources._rounds import Rounds
from watchkeeper.sources._sonic_tables import Port, Row, tell

if TYPE_CHECKING:
    from redis.asyncio import Redis

PORT = 6379
APPL, COUNTERS, STATE = 0, 2, 6  # SONiC's numbers of its databases
NAMES = "COUNTERS_PORT_NAME_MAP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sonic:
    """Reads SONiC's Redis databases: ports, counters, error correction, optical modules.

    :param targets: the switches: `host`, `host:port`, `name=host:port`, or the path of a socket;
        port 6379 unless said.
    :param password: when the databases ask for one.
    :param interval: seconds between two questions to one switch.
    :param timeout: seconds one switch may take; at most 0.8 of the interval.
    :param ports_max: ports one switch may have; beyond, it is not believed.
    :param name: the source's name in the journal.
    """

    targets: tuple[str, ...]
    password: Secret = Secret()
    interval: float = 60.0
    timeout: float = 10.0
    ports_max: int = 4096
    name: str = "sonic"

    def __post_init__(self) -> None:
        read(self.targets, PORT, "sonic")
        for what in ("interval", "timeout", "ports_max"):
            if not getattr(self, what) > 0:
                raise ConfigError(f"sonic: {what} is not above 0")

    @property
    def sampled(self) -> bool:
        """What waits is handed on; the rounds have their own times."""
        return False

    def open(self, cursor: Cursor | None) -> Rounds:
        """Begin the rounds; what was missed while nobody asked cannot be had any more.

        :raises ConfigError: the package it needs is not installed.
        """
        _library()
        return Rounds(Switches(self), cursor)


class Switches:
    """One sonic at work. See `sources.Collector`."""

    def __init__(self, source: Sonic) -> None:
        self.name, self.interval, self.timeout = source.name, source.interval, source.timeout
        self._password, self._ports_max = source.password, source.ports_max
        self._devices = read(source.targets, PORT, "sonic")

    def targets(self) -> Sequence[Target]:
        """Return the configured switches."""
        return [device.target for device in self._devices.values()]

    def collect(self, target: Target, deadline: float) -> Collected:
        """Ask one switch for everything it keeps about its ports.

        :raises InputError: no answer in time, a wrong password, or no ports.
        """
        device = self._devices[target.name]
        said = Said(Millis(time.time_ns() // 1_000_000))
        for port in asyncio.run(self._asked(device, deadline)):
            tell(said, device, port)
        return collected(said.readings, said.unread, f"{self.name}: {device.name}")

    async def _asked(self, device: Device, deadline: float) -> list[Port]:
        library = _library()
        databases = [self._database(library, device, n) for n in (APPL, COUNTERS, STATE)]
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._ports(device, *databases)
        except TimeoutError:
            raise InputError(f"{device.name}: no answer in time") from None
        except (library.RedisError, OSError) as error:
            if isinstance(error, library.AuthenticationError):
                changed((self._password,))  # the next question is asked with what is kept by now
            raise InputError(f"{device.name}: {error}") from error
        except (ValueError, TypeError, RecursionError) as error:
            # The client takes an answer apart before it has looked whether it is one.
            raise InputError(f"{device.name}: answers like no database ({error})") from error
        finally:
            for database in databases:
                await database.aclose()

    def _database(self, library: Any, device: Device, number: int) -> Redis:
        # The rounds try again and hold the deadline; an old server knows neither HELLO nor SETINFO.
        retry = importlib.import_module("redis.asyncio.retry").Retry
        none = importlib.import_module("redis.backoff").NoBackoff()
        where: dict[str, Any] = {"host": device.host, "port": device.port}
        if not device.port:
            where = {"unix_socket_path": device.host}
        client: Redis = library.Redis(
            **where,
            db=number,
            password=self._password.reveal() or None,
            protocol=2,
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=retry(none, 0),
            decode_responses=True,
            encoding_errors="replace",
        )
        return client

    async def _ports(
        self, device: Device, appl: Redis, counters: Redis, state: Redis
    ) -> list[Port]:
        (numbers,) = await _rows(counters, [NAMES])
        if not numbers:
            raise InputError(
                f"{device.name}: {NAMES} is empty",
                hint="the switch is still starting, or `counterpoll port` is off",
            )
        if len(numbers) > self._ports_max:
            raise InputError(f"{device.name}: more than {self._ports_max} ports")
        names, oids = list(numbers), list(numbers.values())
        columns = await asyncio.gather(
            _rows(appl, [f"PORT_TABLE:{name}" for name in names]),
            _rows(counters, [f"COUNTERS:{oid}" for oid in oids]),
            _rows(counters, [f"RATES:{oid}" for oid in oids]),
            _rows(state, [f"TRANSCEIVER_DOM_SENSOR|{name}" for name in names]),
            _rows(state, [f"TRANSCEIVER_DOM_FLAG|{name}" for name in names]),
            _rows(state, [f"TRANSCEIVER_INFO|{name}" for name in names]),
        )
        return [Port(name, *rows) for name, *rows in zip(names, *columns, strict=True)]


async def _rows(database: Redis, keys: Sequence[str]) -> list[Row]:
    pipeline = database.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    return [
        {
            name: text
            for name, text in row.items()
            if isinstance(name, str) and isinstance(text, str)
        }
        for row in await pipeline.execute()
    ]


def _library() -> Any:
    try:
        return importlib.import_module("redis.asyncio")
    except ImportError as error:
        raise ConfigError(
            f"sonic: {error.name} is not installed", hint="pip install watchkeeper[sonic]"
        ) from error


plugin = Sonic
