"""The service."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from watchkeeper.cli._terminal import now, say
from watchkeeper.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from watchkeeper.config import Config
    from watchkeeper.live import Live
    from watchkeeper.service import Service

PATIENCE = 3.0  # seconds without a word that nobody minds


def run(
    *,
    config: Annotated[tuple[Path, ...], Parameter(name=["--config", "--config.file"])] = (),
    listen: str | None = None,
    data: Path | None = None,
    once: bool = False,
    dry_run: bool = False,
) -> int:
    """Collect, score, decide and act until stopped; serve the page, the API and /metrics.

    Without a configuration it watches this host and listens on loopback only. SIGTERM or Ctrl-C
    stops it in order: what was collected is journalled and decided first. Started again, it goes
    on where it was.

    Examples:

      watchkeeper run
      watchkeeper run --config /etc/watchkeeper --data /var/lib/watchkeeper
      watchkeeper run --once --data /tmp/look        one round, then exit

    Parameters
    ----------
    config
        Configuration files or folders, merged in order.
    listen
        host:port of page, API and /metrics; 127.0.0.1:8470 unless configured.
    data
        Folder of journal and ledger.
    once
        Poll each source once, decide, and exit.
    dry_run
        Decide, but owe nothing, whatever the policies' modes are.
    """
    from watchkeeper.cli._house import configured

    settings = configured(config, listen=listen, data=str(data) if data else None)
    _log_as_json()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return _serve(settings, stop, once=once, dry_run=dry_run)


def _log_as_json() -> None:
    """One JSON object a line on stderr: time, level, event, and what belongs to it."""
    import structlog

    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def _serve(settings: Config, stop: threading.Event, *, once: bool, dry_run: bool) -> int:
    from watchkeeper import config
    from watchkeeper.cli._house import stores
    from watchkeeper.live import Live
    from watchkeeper.service import House, Service

    rules = config.without_acts(settings.rules) if dry_run else settings.rules
    door = None if once else _door(settings)  # before anything is made on disk
    with stores(settings.data, read_only=False) as (journal, ledger):
        house = House(
            rulebook=rules,
            sources=settings.sources,
            journal=journal,
            ledger=ledger,
            actions=settings.actions,
            engine=settings.engine,
            reread=config.read_rulebook,
        )
        service = Service(house, stop, now, once=once)
        live = Live(service, "this fleet", now)
        service.watch = live.recent.add
        if door is None:
            return service.run()
        page, address = _page(live, door)
        _tell(settings, service, address)
        try:
            return service.run()
        finally:
            page()


def _door(settings: Config) -> socket.socket:
    """Return the open port of page and API."""
    listen = settings.listen
    if not _is_loopback(listen.host):
        raise ConfigError(
            f"listen: {listen} is not loopback, and this release knows no accounts yet",
            hint="listen on 127.0.0.1 and put a proxy with authentication and TLS before it",
        )
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server((listen.host, listen.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {listen}: {error.strerror}",
            hint="is another one running? try --listen",
        ) from error


def _page(live: Live, door: socket.socket) -> tuple[Callable[[], None], str]:
    """Serve page and API on a thread; return a function that ends it, and its address."""
    import uvicorn

    from watchkeeper.http import app

    server = uvicorn.Server(
        uvicorn.Config(
            app(live), log_config=None, access_log=False, lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, args=([door],), name="http", daemon=True)
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(5)
        door.close()

    host, port = door.getsockname()[:2]
    return end, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tell(settings: Config, service: Service, address: str) -> None:
    def when_ready() -> None:
        if not service.ready.wait(PATIENCE):
            say("starting; the very first start compiles its kernels, up to half a minute")
        service.ready.wait()
        say(f"page    http://{address}/")
        say(f"data    {settings.data.absolute()}")
        say(f"report  watchkeeper report --data {settings.data} --out report.html")
        say("stop    Ctrl-C or SIGTERM; `watchkeeper verify` proves what was decided")

    threading.Thread(target=when_ready, name="welcome", daemon=True).start()
