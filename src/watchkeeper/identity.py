"""Which entity a set of labels speaks about, and how the rest of them is written down.

Every protocol that names series by labels (Prometheus, OpenTelemetry, Influx, scraped pages) asks
here, so the same host is the same entity however its telemetry came in. Rules are tried in order;
the first whose labels are all there and not empty names the entity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from watchkeeper.model import attributes_text

Key = tuple[str, str, str]  # entity, metric, attributes
REMEMBERED, NAMES_MAX = 256, 32  # sets of labels of which it is known who fits; labels in one


@dataclass(frozen=True, slots=True)
class Naming:
    """One way to name an entity.

    :param type: the entity's type. :param labels: whose values, joined by `/`, are its name.
    :param metrics: beginnings of the metrics this speaks of; none: all.
    :param port: whether `:9100` at the end of a name belongs to it.
    """

    type: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    port: bool = True


NAMINGS = (
    Naming("link", ("network.device", "network.interface.name")),
    Naming("host", ("instance",), ("node_", "windows_"), port=False),
    Naming("host", ("exported_instance",), ("collectd_",), port=False),
    Naming("host", ("instance",), ("collectd_",), port=False),
    Naming("host", ("host.name",), ("system.", "hw.")),
    Naming("service", ("service.namespace", "service.name", "service.instance.id")),
    Naming("service", ("service.namespace", "service.name")),
    Naming("service", ("service.name", "service.instance.id")),
    Naming("service", ("service.name",)),
    Naming("host", ("host.name",)),
    Naming("host", ("host.id",)),
    Naming("host", ("host",)),
    Naming("host", ("hostname",)),
    Naming("target", ("job", "instance")),
    Naming("target", ("instance",)),
    Naming("target", ("job",)),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The rules of one house.

    :param namings: tried in order, after a label `entity` that says it outright (`host:web-1`).
    """

    namings: tuple[Naming, ...] = NAMINGS
    _fitting: dict[tuple[str, ...], list[Naming]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def key(self, metric: str, labels: Mapping[str, str], otherwise: str) -> Key:
        """Return the key of a series. Labels that name the entity are not repeated in it.

        :param labels: without the metric's name. :param otherwise: the entity when no rule fits.
        """
        said = labels.get("entity", "")
        if ":" in said.strip(":"):
            return said, metric, _rest(labels, ("entity",))
        fitting = self._fitting.get(names := tuple(labels))
        for naming in self._fits(names) if fitting is None else fitting:
            if naming.metrics and not metric.startswith(naming.metrics):
                continue
            if all(map(labels.get, naming.labels)):
                return (
                    f"{naming.type}:{_name(naming, labels)}",
                    metric,
                    _rest(labels, naming.labels),
                )
        return otherwise, metric, _rest(labels, ())

    def _fits(self, names: tuple[str, ...]) -> list[Naming]:
        """Return the rules whose labels are all there; most series of a sender have the same."""
        there = set(names)
        found = [one for one in self.namings if there.issuperset(one.labels)]
        if len(names) <= NAMES_MAX:
            if len(self._fitting) >= REMEMBERED:
                self._fitting.clear()
            self._fitting[names] = found
        return found


def _name(naming: Naming, labels: Mapping[str, str]) -> str:
    name = "/".join(labels[label] for label in naming.labels)
    if not naming.port:
        bare, colon, port = name.rpartition(":")
        if colon and port.isdigit() and bare and not bare.endswith(":"):
            name = bare.strip("[]")
    return name


def _rest(labels: Mapping[str, str], used: tuple[str, ...]) -> str:
    left = {name: value for name, value in labels.items() if name not in used}
    return attributes_text(left) if left else "{}"
