"""Look whether what is configured is there: who is asked and told, and the stores on disk.

Only a connection is made, nothing is sent: that somebody listens is all that is learnt. Devices
that are asked over UDP (SNMP) have no connection, so of them only the name is looked up.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from watchkeeper.errors import WatchkeeperError
from watchkeeper.secret import Secret

if TYPE_CHECKING:
    from watchkeeper.config import Config

SECONDS = 2.0  # for one place
AT_ONCE = 32  # places asked at once
PLACES_MAX = 256  # of one configuration; a fleet is not looked through whole
READ_LAST = 1_000  # journal entries whose checksums are compared
PORTS = {"http": 80, "https": 443, "mqtt": 1883, "mqtts": 8883, "postgresql": 5432, "mysql": 3306}
ADDRESSES = ("url", "address", "endpoint", "vault_url", "broker")


class Place(NamedTuple):
    """Somebody who is asked or told. :param port: 0 for UDP: only the name is looked up."""

    what: str
    host: str
    port: int


def unreachable(settings: Config) -> Iterator[str]:
    """Yield what cannot be reached, and why."""
    places = [*_places(settings)]
    if len(places) > PLACES_MAX:
        yield f"{len(places) - PLACES_MAX} of {len(places)} places were not looked at"
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for place, why in zip(places, pool.map(_tried, places[:PLACES_MAX]), strict=False):
            if why:
                yield f"{place.what}: {place.host}{f':{place.port}' * bool(place.port)}: {why}"


def damaged(data: Path) -> Iterator[str]:
    """Yield what is wrong with journal and ledger; nothing where there are none yet."""
    from watchkeeper.cli._house import stores
    from watchkeeper.model import Offset

    if not (data / "journal.sqlite").exists():
        return
    try:
        with stores(data) as (journal, ledger):
            ledger.prove()
            after = Offset(max(0, journal.head() - READ_LAST))
            for _ in journal.read(after, READ_LAST):
                pass
    except WatchkeeperError as error:
        yield str(error)


def _places(settings: Config) -> Iterator[Place]:
    named: list[tuple[str, Any]] = [
        (f"source {source.name}", source)
        for source in settings.sources
        if settings.rules.flags.get(*settings.switches[source.name])
    ]
    named += [(f"action {name}", action) for name, action in settings.actions.items()]
    named += [(f"secrets {name}", store) for name, store in settings.keeper.stores.items()]
    for what, plug in named:
        for field in ADDRESSES:
            if text := getattr(plug, field, ""):
                yield from _of_url(what, text.reveal() if isinstance(text, Secret) else str(text))
        for text in getattr(plug, "http", ()):
            yield from _of_url(what, text)
        yield from _of_targets(what, plug)


def _of_url(what: str, text: str) -> Iterator[Place]:
    parts = urlsplit(text if "://" in text else f"mqtt://{text}")
    scheme = parts.scheme.partition("+")[0]
    port = parts.port or PORTS.get(scheme)
    if parts.hostname and port:
        yield Place(what, parts.hostname, port)


def _of_targets(what: str, plug: Any) -> Iterator[Place]:
    """The targets of a collector: `host`, `host:port` or `name=host:port`; sockets are local."""
    module = __import__(type(plug).__module__, fromlist=["PORT"])
    usual = getattr(module, "PORT", PORTS.get(getattr(plug, "scheme", ""), 0))
    for text in getattr(plug, "targets", ()):
        place = text.partition("=")[2] or text
        parts = urlsplit(place if "://" in place else f"//{place}")
        if parts.hostname and not place.startswith("/"):
            udp = type(plug).__name__ == "Snmp"
            yield Place(what, parts.hostname, 0 if udp else parts.port or usual)


def _tried(place: Place) -> str:
    try:
        if place.port == 0:
            socket.getaddrinfo(place.host, None)
        else:
            socket.create_connection((place.host, place.port), SECONDS).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return ""
