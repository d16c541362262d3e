"""What operators may say about logs, traces and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from watchkeeper.errors import ConfigError
from watchkeeper.exchange import checked_url
from watchkeeper.secret import Secret

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]


@dataclass(frozen=True, slots=True)
class Log:
    """How the house logs.

    :param level: the least that is worth a line: debug, info, warning or error.
    :param format: `json`, `text`, or `auto`: text on a terminal, JSON anywhere else.
    """

    level: Level = "info"
    format: Format = "auto"


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where traces go; nowhere unless an endpoint is given.

    :param endpoint: URL that takes OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`.
    :param sample: share of traces that are kept, 0 to 1; a caller's own choice comes before it.
    :param queue: spans that may wait to be sent; what comes beyond them is dropped and counted.
    :param headers: more request headers, such as Authorization. Values are never printed.
    :param timeout: seconds for one export.
    """

    endpoint: str = ""
    sample: float = 0.05
    queue: int = 4096
    headers: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    timeout: float = 10.0

    def __post_init__(self) -> None:
        if self.endpoint:
            checked_url(self.endpoint)
        if not 0 <= self.sample <= 1:
            raise ConfigError(f"sample: {self.sample} is not within 0 and 1")
        if not 1 <= self.queue <= 1_000_000:
            raise ConfigError(f"queue: {self.queue} is not within 1 and 1000000")
        if not self.timeout > 0:
            raise ConfigError(f"timeout: {self.timeout} is not above 0 seconds")


@dataclass(frozen=True, slots=True)
class Exposed:
    """What `/metrics` tells beyond the house itself.

    :param entities: of how many entities health and anomaly score are told one by one, the first
        by name; 0 for none. Each costs two series in your Prometheus.
    :param series: of how many series the band and anomaly score of the newest sample are told, the
        first by name of those in memory; 0 for none. Each costs four series in your Prometheus.
    """

    entities: int = 200
    series: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.entities <= 1_000_000:
            raise ConfigError(f"entities: {self.entities} is not within 0 and 1000000")
        if not 0 <= self.series <= 10_000:
            raise ConfigError(f"series: {self.series} is not within 0 and 10000")
