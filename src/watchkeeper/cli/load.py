"""Load on a running server."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from watchkeeper.cli._terminal import Output, emit, now, progress
from watchkeeper.errors import ConfigError

if TYPE_CHECKING:
    from watchkeeper.simulate.accounts import Account, Verdict
    from watchkeeper.simulate.load import Phase, Plan, Tally, Target

Protocol = Literal["remote_write", "remote_write_2", "otlp", "influx", "json_lines"]
SETTLE = 120.0  # seconds in which a server may conclude what it took in
OK = 200
ASK = 10.0  # seconds for one look at its account
SECONDS_MAX, CONNECTIONS_MAX, SERIES_MAX = 86_400, 256, 5_000_000


def load(
    *,
    to: str,
    protocol: Protocol = "remote_write",
    rate: float = 0.0,
    burst: float = 1.0,
    burst_for: str = "",
    duration: str = "10s",
    series: int = 10_000,
    entities: int = 100,
    connections: int = 2,
    batch: int = 5_000,
    seed: int = 1,
    token_file: Path | None = None,
    allow_remote: bool = False,
    output: Output = "text",
) -> int:
    """Put load on a running server, and say what it took, how fast, and whether it kept it.

    Sends made-up series (`load_signal_…` of hosts `load-…`) over several connections, as agents do:
    what is answered with 429 or 503, or gets lost, is sent again. A Watchkeeper is held to its own
    account, before and after; other servers keep none that can be read. Exit code 1 when something
    that was acknowledged is missing, or nothing was acknowledged.

    Examples:

      watchkeeper load --to http://127.0.0.1:8470
      watchkeeper load --to http://127.0.0.1:8470 --protocol otlp --rate 200000
      watchkeeper load --to http://[::1]:8470 --rate 5000 --burst 10 --duration 6m
      watchkeeper load --to http://127.0.0.1:9090      Prometheus, for comparison

    Parameters
    ----------
    to
        The server: http://host:port, and a path where it is not the protocol's own.
    protocol
        remote_write, remote_write_2, otlp, influx or json_lines.
    rate
        Samples a second over all connections; 0 is as fast as the server answers.
    burst
        The middle of the duration sends at this many times the rate.
    burst_for
        How long that is, such as 2m; a third of the duration unless given.
    duration
        How long, such as 30s or 10m; a day at most.
    series
        How many series there are; each gets a sample in turn.
    entities
        How many hosts they belong to.
    connections
        How many senders there are.
    batch
        Samples of one request, at most.
    seed
        Every value follows from it.
    token_file
        File that holds a bearer token.
    allow_remote
        Load another machine than this one. Make sure that it is yours.
    output
        text or json.
    """
    from watchkeeper.simulate.load import Plan, send

    _check(rate, burst, series, entities, connections, batch)
    target = _target(to, _token(token_file), allow_remote)
    parts = _phases(duration, rate, burst, burst_for)
    plan = Plan(protocol, parts, series, entities, connections, batch, seed)
    receiver = protocol.removesuffix("_2")
    before = _account(target, receiver)
    with progress("samples") as tell:
        wanted = int(sum(phase.seconds * phase.rate for phase in plan.phases)) or None
        tallies = send(target, plan, now, lambda done, _: tell("send", done, wanted))
    acknowledged = sum(tally.acknowledged for tally in tallies)
    verdict, settled = None, None
    if before is not None:
        verdict, settled = _held(target, receiver, before, acknowledged)
    facts = _facts(plan, tallies, verdict, settled)
    emit(output, facts, _text(to, plan, tallies, facts, verdict, before is not None))
    if not acknowledged or (before is not None and (verdict is None or verdict.missing)):
        return 1
    return 0


def _phases(duration: str, rate: float, burst: float, burst_for: str) -> tuple[Phase, ...]:
    from watchkeeper.simulate.load import phases

    try:
        found = phases(duration, rate, burst, burst_for)
    except ValueError as error:
        raise ConfigError(f"--duration: {error}", hint="such as 30s or 10m") from None
    if not 0 < sum(phase.seconds for phase in found) <= SECONDS_MAX:
        raise ConfigError("--duration must be more than nothing, and 1d at most")
    return found


def _check(
    rate: float, burst: float, series: int, entities: int, connections: int, batch: int
) -> None:
    """Hold the numbers to what makes sense, before anything is sent."""
    wrong = {
        "--rate must be 0 or more samples a second": not 0 <= rate < 1e9,
        "--burst must be 1 or more, and needs a --rate": burst < 1 or (burst > 1 and not rate),
        f"--series must be 1 to {SERIES_MAX}": not 1 <= series <= SERIES_MAX,
        "--entities must be 1 to --series": not 1 <= entities <= series,
        f"--connections must be 1 to {CONNECTIONS_MAX}": not 1 <= connections <= CONNECTIONS_MAX,
        "--batch must be 1 to 100000": not 1 <= batch <= 100_000,
    }
    for said, is_wrong in wrong.items():
        if is_wrong:
            raise ConfigError(said, hint="see `watchkeeper load --help`")


def _token(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {file}: {error}") from None
    if not token.isascii() or not token.isprintable() or " " in token or not token:
        raise ConfigError(f"--token-file {file}: does not hold a token and nothing else")
    return token


def _target(to: str, token: str, allow_remote: bool) -> Target:
    """Look the server up once, and refuse a machine that is not this one."""
    from watchkeeper.exchange import checked_url
    from watchkeeper.simulate.load import Target

    parts = urlsplit(checked_url(to))
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"--to {to}: {error.strerror}", hint="is the name right?") from None
    addresses = [str(one[4][0]) for one in found]
    away = [one for one in addresses if not ipaddress.ip_address(one.split("%")[0]).is_loopback]
    if away and not allow_remote:
        raise ConfigError(
            f"--to {to}: {away[0]} is another machine, and load can bring it down",
            hint="--allow-remote, if it is yours and meant to be loaded",
        )
    path = parts.path if parts.path not in ("", "/") else ""
    if path and parts.query:
        path += f"?{parts.query}"
    return Target(host, addresses[0], port, secure, path, token)


def _account(target: Target, receiver: str) -> Account | None:
    """Ask the server for its account; None when it keeps none that we can read."""
    from watchkeeper.simulate.accounts import read

    link = target.connect(ASK)
    try:
        link.request("GET", "/api/v1/status", headers=target.headers())
        answer = link.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()
    return read(body, receiver) if answer.status == OK else None


def _held(
    target: Target, receiver: str, before: Account, acknowledged: int
) -> tuple[Verdict | None, float | None]:
    """Hold what was acknowledged to the server's account, once it has concluded all it took.

    :return: what came out, and how many seconds that took; None where it did not come to that.
    """
    from watchkeeper.simulate.accounts import verdict

    begun, after = time.monotonic(), None
    while time.monotonic() - begun < SETTLE:
        asked = _account(target, receiver)
        after = asked or after
        if asked is not None and asked.pending == 0:
            return verdict(before, asked, acknowledged), time.monotonic() - begun
        time.sleep(0.25)
    return None if after is None else verdict(before, after, acknowledged), None


def _facts(
    plan: Plan, tallies: list[Tally], verdict: Verdict | None, settled: float | None
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "protocol": plan.protocol,
        "phases": [
            {
                "name": phase.name,
                "rate": phase.rate or None,
                "seconds": round(tally.seconds, 3),
                "offered": tally.offered,
                "acknowledged": tally.acknowledged,
                "refused": tally.refused,
                "given_up": tally.given_up,
                "partly": tally.partly,
                "samples_per_second": round(tally.acknowledged / max(tally.seconds, 1e-9)),
                "bytes_per_second": round(tally.bytes / max(tally.seconds, 1e-9)),
                "requests": tally.requests,
                "retries": tally.retries,
                "resets": tally.resets,
                "behind_seconds": round(tally.behind, 3),
                "latency_ms": tally.latencies.summary(),
                "answers": {str(code): count for code, count in sorted(tally.answers.items())},
                "said": {str(code): text for code, text in sorted(tally.said.items())},
            }
            for phase, tally in zip(plan.phases, tallies, strict=True)
        ],
        "server": None if verdict is None else asdict(verdict) | {"settled_seconds": settled},
    }


def _text(
    to: str,
    plan: Plan,
    tallies: list[Tally],
    facts: dict[str, Any],
    verdict: Verdict | None,
    keeps_account: bool,
) -> str:
    lines = [
        f"{plan.protocol} to {to}: {plan.series:,} series of {plan.entities:,} hosts,"
        f" {plan.connections} connections",
        "",
        f"{'phase':<8} {'samples/s':>11} {'MB/s':>7} {'requests':>9} {'retries':>8}"
        f" {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8} {'max ms':>8} {'behind':>7}",
    ]
    for one in facts["phases"]:
        speed, megabytes = one["samples_per_second"], one["bytes_per_second"] / 1e6
        percentiles = " ".join(f"{_shown(value):>8}" for value in one["latency_ms"].values())
        lines.append(
            f"{one['name']:<8} {speed:>11,} {megabytes:>7.1f} {one['requests']:>9,}"
            f" {one['retries']:>8,} {percentiles} {one['behind_seconds']:>6.1f}s"
        )
    total = tallies[0]
    for tally in tallies[1:]:
        total += tally
    lines += [
        "",
        f"samples  {total.offered:,} offered, {total.acknowledged:,} acknowledged,"
        f" {total.refused:,} refused, {total.given_up:,} given up",
        "answers  " + ", ".join(f"{n:,} x {code}" for code, n in sorted(total.answers.items())),
    ]
    if total.resets:
        lines.append(f"         {total.resets:,} connections were lost with an answer owed")
    lines += [f"         {code}: {text}" for code, text in sorted(total.said.items())]
    return "\n".join([*lines, *_judged(verdict, facts["server"], keeps_account)])


def _judged(
    verdict: Verdict | None, server: dict[str, Any] | None, keeps_account: bool
) -> list[str]:
    if not keeps_account:
        return ["loss     unknown: this server keeps no account that can be read here"]
    if verdict is None or server is None:
        return ["loss     unknown: the server did not tell its account again"]
    lines = [
        f"loss     {verdict.missing:,} acknowledged samples are missing"
        + (" (it was started again: held to its journal, of all senders)" * verdict.restarted),
        f"server   {verdict.rejected:,} rejected, {verdict.shed:,} shed,"
        f" {verdict.duplicate:,} duplicate, {verdict.surplus:,} beyond what was acknowledged",
    ]
    if server["settled_seconds"] is None:
        lines.append(f"         {verdict.pending:,} samples are not concluded after {SETTLE:.0f} s")
    else:
        lines.append(f"         everything was concluded {server['settled_seconds']:.1f} s later")
    return lines


def _shown(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}" if value < 100 else f"{value:.0f}"
