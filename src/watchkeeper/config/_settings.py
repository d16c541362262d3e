"""The top level of a configuration: its fields, and what holds when a file leaves them out."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from watchkeeper.config._units import duration
from watchkeeper.config._yaml import Node, parse
from watchkeeper.model import Millis
from watchkeeper.observe.settings import Exposed, Log, Tracing

DETECTORS = ("robust", "seasonal", "level_shift", "flatline", "absence", "bounds")

TOLD = {"log": Log, "tracing": Tracing, "metrics": Exposed}  # what the house tells of itself

DEFAULTS = f"""\
profile: ""
dry_run: false
tick: 1s
data: ./watchkeeper-data
reserve: {{}}
retention: {{}}
listen: 127.0.0.1:8470
packs: [host@1, generic@1]
access: {{}}
openid: {{}}
tls: {{}}
receivers:
  - type: remote_write
  - type: otlp
  - type: influx
  - type: json_lines
  - type: alerts
limits: {{}}
sources:
  - type: host
flags: {{}}
detectors:
{"".join(f"  - type: {kind}{chr(10)}" for kind in DETECTORS)}\
health:
  type: noisy_or
policies: []
reports: []
history: {{}}
actions:
  log:
    type: log
secrets:
  env:
    type: env
  file:
    type: file
  systemd:
    type: systemd
engine:
  type: local
log: {{}}
tracing: {{}}
metrics: {{}}
"""

TICK_MIN, TICK_MAX = 100, 86_400_000  # milliseconds
_LISTEN = re.compile(r"(?:\[(?P<six>[^]]+)\]|(?P<host>[^:\[\]/ ]+)):(?P<port>\d{1,5})")


class Listen(NamedTuple):
    """Where the service answers."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, the host in brackets when it is an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _tick(value: object) -> int:
    millis = duration(value) if isinstance(value, str) else None
    if millis is None:
        raise ValueError("must be a duration such as 1s or 1m")
    if not TICK_MIN <= millis <= TICK_MAX:
        raise ValueError("must be between 100ms and 1d")
    return millis


def read_listen(value: object) -> Listen:
    """Return `host:port` in parts.

    :raises ValueError: it is not of that form, or the port is beyond 65535.
    """
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match["port"]) > 65535:
        raise ValueError("must be host:port, such as 127.0.0.1:8470 or [::1]:8470")
    if match["six"]:
        ipaddress.IPv6Address(match["six"])
    return Listen(match["six"] or match["host"], int(match["port"]))


class Settings(BaseModel):
    """A whole configuration, its plugs and policies not yet looked into."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = Field(description="Version of the configuration format.")
    profile: str = Field(
        description="What lies under this configuration: dev, staging or prod; nothing without."
    )
    dry_run: bool = Field(description="Decide, but owe nothing, whatever the policies' modes are.")
    tick: Annotated[Millis, BeforeValidator(_tick)] = Field(
        description="How often health and policies are evaluated, a duration: 100ms to 1d."
    )
    data: Annotated[str, Field(min_length=1)] = Field(
        description="Folder of the journal and the ledger; relative to where the program starts."
    )
    reserve: dict[str, Any] = Field(
        description="What is left free of the disk of that folder: nothing more is taken in before "
        "it is reached, so that what was taken can be concluded."
    )
    retention: dict[str, Any] = Field(
        description="How much of the journal is kept; all of it by default."
    )
    listen: Annotated[Listen, BeforeValidator(read_listen)] = Field(
        description="Where page, API, receivers and metrics answer: host:port."
    )
    access: dict[str, Any] = Field(description="Who is let in.")
    openid: dict[str, Any] = Field(description="An identity provider whose tokens are taken.")
    tls: dict[str, Any] = Field(description="How the port is encrypted.")
    packs: list[str] = Field(
        description="Contracts and policies to use: name@version of a shipped pack, or a folder."
    )
    receivers: list[Any] = Field(description="What is taken in when it is pushed here.")
    limits: dict[str, Any] = Field(description="What clients that push may do, each tenant alike.")
    sources: list[Any] = Field(description="Where telemetry is fetched from.")
    flags: dict[str, bool] = Field(
        description="Switches, by name. `source.scrape: true` lets sources of that type, which "
        "reach out to other hosts, do so; they are off until switched on here."
    )
    detectors: list[Any] = Field(min_length=1, description="What scores each series, in order.")
    health: Any = Field(description="How the scores of an entity become its health.")
    policies: list[Any] = Field(
        description="Policies, inline or as paths of files; those of the packs come first, and a "
        "policy of the same name is laid over theirs."
    )
    reports: list[Any] = Field(description="Reports that are made again and again, and kept.")
    history: dict[str, Any] = Field(description="What is written to Parquet, one file a day.")
    actions: dict[str, Any] = Field(description="What policies may do, by name.")
    secrets: dict[str, Any] = Field(description="Where secrets are kept, by name.")
    engine: Any = Field(description="Where pure work runs.")
    log: dict[str, Any] = Field(description="How the house logs.")
    tracing: dict[str, Any] = Field(
        description="Where OpenTelemetry traces go; nowhere by default."
    )
    metrics: dict[str, Any] = Field(description="What `/metrics` tells beyond the house itself.")


def defaults() -> Node:
    """Return the layer that lies under every configuration."""
    return parse(DEFAULTS, "<defaults>")
