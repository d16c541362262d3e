"""The service."""

from __future__ import annotations

import itertools
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from watchkeeper.cli._access import doorkeeper, is_loopback, own_name
from watchkeeper.cli._memory import keep_memory
from watchkeeper.cli._signals import obeyed
from watchkeeper.cli._terminal import now, say
from watchkeeper.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from watchkeeper.access.doorkeeper import Doorkeeper
    from watchkeeper.cli._reload import Read
    from watchkeeper.cli._signals import Orders
    from watchkeeper.config import Config
    from watchkeeper.journal import Journal
    from watchkeeper.ledger import Ledger
    from watchkeeper.live import Live
    from watchkeeper.model import Millis
    from watchkeeper.secrets import Keeper
    from watchkeeper.service import House, Service

LINGER = 2.0  # seconds for the last answers over gRPC to leave
PATIENCE = 5.0  # seconds without a word that nobody minds


def run(
    *,
    config: Annotated[tuple[Path, ...], Parameter(name=["--config", "--config.file"])] = (),
    listen: str | None = None,
    data: Path | None = None,
    once: bool = False,
    dry_run: bool = False,
    profile: str = "",
    log_level: Literal["debug", "info", "warning", "error"] | None = None,
    log_format: Literal["auto", "text", "json"] | None = None,
) -> int:
    """Collect, score, decide and act until stopped; serve the page, the API and /metrics.

    Without a configuration it watches this host, takes what is pushed (Prometheus remote write,
    OTLP, Influx line protocol, JSON lines, Alertmanager's alerts), and listens on loopback only.
    SIGTERM or Ctrl-C stops it in order: what came in is journalled and decided first. Started
    again, it goes on where it was. SIGHUP reads the configuration again.

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
    profile
        dev, staging or prod: what lies under the configuration; docs/configuration.md lists it.
    log_level
        The least that is worth a line of log; info unless configured.
    log_format
        text, json, or auto: text on a terminal, JSON anywhere else. With json, stderr holds
        nothing but log lines; `watchkeeper schema log` has their schema.
    """
    from watchkeeper.cli._house import configured
    from watchkeeper.secrets import Keeper

    log = {"level": log_level, "format": log_format}
    said = {name: value for name, value in log.items() if value}

    def read(keeper: Keeper | None) -> Config:
        where = str(data) if data else None
        return configured(config, keeper, listen=listen, data=where, log=said, profile=profile)

    with obeyed(once=once) as orders:
        return _serve(read(Keeper()), read, orders, once=once, dry_run=dry_run)


def _serve(
    settings: Config,
    read: Read,
    orders: Orders,
    *,
    once: bool,
    dry_run: bool,
) -> int:
    from watchkeeper.cli._house import stores
    from watchkeeper.cli._reload import reload_when_told
    from watchkeeper.cli._witness import seen
    from watchkeeper.features import offer
    from watchkeeper.live import Live
    from watchkeeper.memory import Budget
    from watchkeeper.observe import logs
    from watchkeeper.service import Service
    from watchkeeper.service._memory import mind

    keep_memory(Budget(settings.limits.memory).most // 8)  # before there is another thread
    door = None if once else _door(settings)  # before anything is made on disk
    logs.configure(settings.log)
    for line in settings.climbed:
        say(f"configuration  {line}")
    data, reserve = settings.data, settings.reserve
    with seen(settings) as witness, stores(data, read_only=False, reserve=reserve) as both:
        journal, ledger = both

        def furnished(settings: Config) -> House:
            return _furnished(settings, journal, ledger, dry_run=dry_run)

        service = Service(furnished(settings), orders.stop, now, once=once, witness=witness)
        service.features.ask = offer(service.features.flags).get_boolean_value
        live = Live(
            service,
            "this fleet",
            now,
            exposed=settings.metrics,
            folder=settings.data,
            reserve=settings.reserve,
        )
        service.watch = live.recent.add
        service.intake.memory.decided = lambda: service.progress.decided
        about = (service.intake.memory, orders.stop, live.fits)
        threading.Thread(target=mind, args=about, name="memory", daemon=True).start()
        if door is None:
            return service.run()
        live.keep(settings.reports, settings.history)
        for record in (live.reporter, live.historian):
            threading.Thread(target=record.run, name="records", daemon=True).start()
        reload_when_told(orders.reload, settings, read, furnished, live)
        threading.Thread(target=live.objectives.run, name="objectives", daemon=True).start()
        with doorkeeper(settings, ledger) as doorman:
            close, address = _open(live, service, settings, door, doorman)
            _tell(settings, service, address)
            try:
                return service.run()
            finally:
                close()


def _furnished(settings: Config, journal: Journal, ledger: Ledger, *, dry_run: bool) -> House:
    """Return the house of a configuration over its stores."""
    import structlog

    from watchkeeper import config
    from watchkeeper.service import House

    dry = dry_run or settings.dry_run
    for kind in settings.experimental:
        structlog.get_logger("watchkeeper").warning(
            "detector_off", detector=kind, detail="it is experimental; see flags:"
        )
    return House(
        rulebook=config.without_acts(settings.rules) if dry else settings.rules,
        sources=settings.sources,
        journal=journal,
        ledger=ledger,
        actions=settings.actions,
        engine=settings.engine,
        reread=config.read_rulebook,
        limits=settings.limits,
        switches=settings.switches,
        receivers=settings.receivers,
        retention=settings.retention,
    )


def _door(settings: Config) -> socket.socket:
    """Return the open port of page and API.

    :raises ConfigError: it would be open to others without encryption, or is taken.
    """
    listen = settings.listen
    if not is_loopback(listen.host) and not settings.tls:
        raise ConfigError(
            f"listen: {listen} is not loopback, and there is no tls: certificate and key",
            hint="without TLS, listen on 127.0.0.1 only; docs/access.md says how to open a house",
        )
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server((listen.host, listen.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {listen}: {error.strerror}",
            hint="is another one running? try --listen",
        ) from error


def _open(
    live: Live, service: Service, settings: Config, door: socket.socket, doorman: Doorkeeper
) -> tuple[Callable[[], None], str]:
    """Serve page, API and receivers; return a function that ends it, and the address."""
    from watchkeeper.http import app
    from watchkeeper.http.receive import doors
    from watchkeeper.http.server import serve

    def clock() -> Millis:
        return service.clock()  # by then one that does not go back

    numbers = itertools.count(1)
    tls = settings.tls.context() if settings.tls else None
    over_grpc = _open_grpc(settings, service, clock, numbers, doorman)
    routes = doors(settings.receivers, service.intake, clock, numbers)
    hosts = [*settings.access.hosts, *own_name(settings.listen.host)]
    close_http = serve(app(live, hosts, routes, doorman), door, tls)

    def close() -> None:
        for stop in over_grpc:
            stop(LINGER)
        close_http()

    host, port = door.getsockname()[:2]
    return close, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _open_grpc(
    settings: Config,
    service: Service,
    clock: Callable[[], Millis],
    numbers: itertools.count[int],
    doorman: Doorkeeper,
) -> list[Callable[[float], None]]:
    """Take OTLP over gRPC where a receiver asks for it; return what ends that."""
    from watchkeeper.access import Scope
    from watchkeeper.access.doorkeeper import Shown
    from watchkeeper.http.otlp_grpc import serve
    from watchkeeper.http.receive import taker
    from watchkeeper.receivers.otlp import Otlp

    def admit(headers: Mapping[str, str], peer: str) -> None:
        shown = Shown(headers.get("authorization", ""), address=peer)
        doorman.admit(shown, Scope.TELEMETRY_WRITE, "POST otlp-grpc")

    host = settings.listen.host
    name = f"[{host}]" if ":" in host else host
    tls = settings.tls.pem() if settings.tls else None
    return [
        serve(one, name, one.grpc_port, taker(one, service.intake, clock, numbers), admit, tls)[1]
        for one in settings.receivers
        if isinstance(one, Otlp) and one.grpc_port
    ]


def _wait(service: Service, page: str) -> None:
    """Wait until the house is ready; meanwhile say what it waits for."""
    told, open_already = "", False
    while not service.ready.wait(PATIENCE):
        if service.watching.is_set() and not open_already:
            open_already = True
            say(f"open     {page} shows this house already")
        if (now := service.warming.said or "recovering") != told:
            told = now
            say(f"starting {now}")


def _tell(settings: Config, service: Service, address: str) -> None:
    import structlog

    scheme = "https" if settings.tls else "http"

    def when_ready() -> None:
        if settings.log.format == "json":
            service.ready.wait()
            structlog.get_logger("watchkeeper").info("ready", address=f"{scheme}://{address}/")
            return
        _wait(service, f"{scheme}://{address}/")
        for name, (flag, default) in service.house.switches.items():
            if not service.features.ask(flag, default):
                say(f"source {name!r} is off; `watchkeeper flag on {flag}` or flags: switch it on")
        say(f"page    {scheme}://{address}/")
        say(f"push    {scheme}://{address}/api/v1/write and others; see docs/receivers.md")
        say(f"data    {settings.data.absolute()}")
        say(f"report  watchkeeper report --data {settings.data} --out report.html")
        say("stop    Ctrl-C or SIGTERM; `watchkeeper verify` proves what was decided")

    threading.Thread(target=when_ready, name="welcome", daemon=True).start()
