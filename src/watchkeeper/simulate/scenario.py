"""A scenario says which fleet to simulate: hosts, signals, time, and what goes wrong.

Together with a seed it determines every byte. Scenarios are YAML (examples/scenarios) or one of
the presets below.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from watchkeeper.errors import ConfigError
from watchkeeper.simulate._fault import Fault, Length
from watchkeeper.simulate._fault import duration as span
from watchkeeper.simulate._host import HOST
from watchkeeper.simulate.faults import AnyFault

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = 3_600_000


class Hosts(BaseModel):
    """The hosts of a fleet, `host:<prefix><number>`, in racks of equal size."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["host"] = "host"
    count: Annotated[int, Field(ge=1, le=1_000_000)] = 12
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$")] = "node-"
    rack: Annotated[int, Field(ge=1)] = 20  # hosts in one rack

    def names(self) -> list[str]:
        """Return the entity of every host, in order."""
        digits = len(str(self.count))
        return [f"host:{self.prefix}{i:0{digits}d}" for i in range(1, self.count + 1)]


class Random(BaseModel):
    """A fault that strikes each host by chance; its `onset` and whom it strikes are drawn.

    :param per_entity_day: how often it strikes a host in a day, on average; at most once a day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    fault: AnyFault
    per_entity_day: Annotated[float, Field(gt=0.0, le=1.0)]

    @model_validator(mode="after")
    def _drawn(self) -> Random:
        if self.fault.among != "hosts":
            raise ValueError(f"{self.fault.kind} strikes {self.fault.among}, never one host")
        if {"onset", "entities", "count", "racks"} & self.fault.model_fields_set:
            raise ValueError("onset, entities, count and racks of a random fault are drawn")
        return self


class Scenario(BaseModel):
    """A fleet, a span of time, and what goes wrong in it.

    :param metrics: names to keep, such as `system.cpu.utilization`; empty keeps all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = "scenario"
    entities: Hosts = Hosts()
    metrics: tuple[str, ...] = ()
    start: AwareDatetime = MONDAY
    duration: Length = 24 * HOUR
    interval: Length = 60_000
    faults: tuple[AnyFault, ...] = ()
    random: tuple[Random, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Scenario:
        known = {signal.metric for signal in HOST}
        if unknown := [name for name in self.metrics if name not in known]:
            raise ValueError(f"unknown metrics {unknown}; known: {', '.join(sorted(known))}")
        if self.duration < self.interval:
            raise ValueError("the duration is shorter than one interval")
        names = set(self.entities.names())
        racks = -(-self.entities.count // self.entities.rack)
        for place, fault in enumerate(self.faults):
            where = f"faults[{place}] {fault.kind}"
            if unknown := [name for name in fault.entities if name not in names]:
                raise ValueError(f"{where}: no such entities {unknown}")
            if (fault.count or 0) > self.entities.count or (fault.racks or 0) > racks:
                raise ValueError(f"{where}: the fleet has {len(names)} hosts in {racks} racks")
            if fault.onset >= self.duration:
                raise ValueError(f"{where}: its onset is after the end")
        return self

    @property
    def ticks(self) -> int:
        """How many samples each series has when none is missing."""
        return self.duration // self.interval

    @property
    def origin(self) -> int:
        """The time of the first tick in milliseconds since 1970, UTC."""
        return round(self.start.timestamp() * 1000)


def read(path: Path) -> Scenario:
    """Read a scenario from YAML.

    :raises ConfigError: the file cannot be read or is not a scenario; all mistakes are named.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a scenario file") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}", hint="see docs/simulate.md") from error
    return parse(document, str(path))


def parse(document: Any, where: str) -> Scenario:
    """Return the scenario that a parsed YAML document describes.

    :raises ConfigError: it is not a scenario; the message names every mistake and its place.
    """
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(str(part) for part in mistake['loc']) or 'scenario'}: {mistake['msg']}"
            for mistake in error.errors()
        )
        raise ConfigError(f"{where}: {mistakes}", hint="see docs/simulate.md") from error


PRESETS = ("fleet", "small", "quiet")


def preset(
    name: str,
    hosts: int | None = None,
    duration: str | None = None,
    interval: str | None = None,
) -> Scenario:
    """Return a ready scenario: `fleet` (200 hosts for a day), `small` (24), `quiet` (no fault).

    :raises ConfigError: there is no such preset, or the parameters do not fit it.
    """
    if name not in PRESETS:
        raise ConfigError(f"no preset {name!r}", hint=f"known presets: {', '.join(PRESETS)}")
    where = f"preset {name}"
    document: dict[str, Any] = {
        "name": name,
        "entities": {
            "count": hosts or {"fleet": 200, "small": 24, "quiet": 50}[name],
            "rack": 4 if name == "small" else 20,
        },
        "duration": duration or ("7d" if name == "quiet" else "1d"),
        "interval": interval or "60s",
    }
    calm = parse(document, where)
    if name == "quiet":
        return calm
    return parse(document | {"faults": _catalogue(calm.duration, name == "fleet")}, where)


def _catalogue(length: int, twins: bool) -> list[dict[str, Any]]:
    """Return one fault of each kind, spread over the later two thirds of `length` ms."""
    union = get_args(get_args(AnyFault)[0])
    kinds: list[type[Fault]] = [kind for kind in union if twins or not kind.benign]
    first, last = length // 3, length * 7 // 8
    catalogue: list[dict[str, Any]] = []
    for place, kind in enumerate(kinds):
        onset = first + (last - first) * place // len(kinds)
        fault = {
            "kind": get_args(kind.model_fields["kind"].annotation)[0],
            "onset": span(onset - onset % 60_000),
            "duration": span(min(3 * HOUR, max(length - onset, 1))),
        }
        catalogue.append(fault | _PACE.get(fault["kind"], {}))
    return catalogue


# The slow faults reach their end within the day.
_PACE: dict[str, dict[str, Any]] = {
    "memory_leak": {"oom_after": "5h", "duration": "8h"},
    "disk_fill": {"full_after": "7h", "duration": "9h"},
    "clock_drift": {"duration": "6h"},
    "deploy_wave": {"duration": "5m"},
    "module_swap": {"duration": "1d"},
}
