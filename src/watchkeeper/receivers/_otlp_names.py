"""What a node of the tree is called: the slow way, gone once for each series.

The labels of a series are those of its point, its scope and its resource; of one name, the point's
counts. They name the entity (`identity`). Into the series itself go only the point's own, and of
the others those the operator listed: a resource of thirty attributes says the same of each series.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from watchkeeper.identity import Identity, Key
from watchkeeper.model import Reason, attributes_text, canonical
from watchkeeper.receivers import Limits
from watchkeeper.receivers._otlp_points import (
    BUCKET,
    COUNT,
    CUMULATIVE,
    DELTA,
    EXPONENTIAL,
    GAUGE,
    HISTOGRAM,
    MAX,
    MIN,
    POINT,
    QUANTILE,
    SUM,
    SUMMARY,
    TOTAL,
)
from watchkeeper.receivers._otlp_tree import Tree
from watchkeeper.receivers._rows import NO_KEY

POINTS: dict[int, Any] = {
    GAUGE: NumberDataPoint,
    TOTAL: NumberDataPoint,
    HISTOGRAM: HistogramDataPoint,
    EXPONENTIAL: ExponentialHistogramDataPoint,
    SUMMARY: SummaryDataPoint,
}
SUFFIXES = {COUNT: ".count", SUM: ".sum", MIN: ".min", MAX: ".max", BUCKET: ".bucket"}
EDGES = {BUCKET: "le", QUANTILE: "quantile"}
COUNTER = "metric.kind"  # the attribute by which contracts know a counter
SCOPE_NAME, SCOPE_VERSION = "otel.scope.name", "otel.scope.version"


class Named(NamedTuple):
    """The key of a series, or why none of its samples is taken in."""

    key: Key
    reason: Reason | None = None
    detail: str = ""


class _Metric(NamedTuple):
    name: str
    unit: str
    kind: int
    temporality: int
    monotonic: bool
    around: dict[str, str]  # labels of scope and resource that matter
    wrong: Named | None


class Names:
    """Names the nodes of one tree. Made for one request: it remembers what it has just read."""

    def __init__(
        self, tree: Tree, limits: Limits, identity: Identity, keep: Iterable[str], otherwise: str
    ) -> None:
        self._tree, self._limits, self._identity = tree, limits, identity
        self._keep, self._otherwise = frozenset(keep), otherwise
        naming = {label for naming in identity.namings for label in naming.labels}
        self._matter = naming | self._keep | {"entity"}
        self._around: dict[int, dict[str, str] | None] = {}
        self._metrics: dict[int, _Metric] = {}
        self._points: dict[int, dict[str, str] | Named] = {}

    def name(self, node: int) -> Named:
        """Return what a sample's node is called. A whole point's node may be asked for, too."""
        parent, role, told = self._tree.piece(node)
        point = node if role == POINT else parent
        metric = self._metric(self._tree.piece(point)[0])
        if metric.wrong is not None:
            return metric.wrong
        labels = self._points.get(point)
        if labels is None:
            labels = self._points[point] = self._labels(point, metric)
        if isinstance(labels, Named):
            return labels
        return Named(self._key(metric, labels, role, told))

    def _key(self, metric: _Metric, labels: dict[str, str], role: int, told: bytes) -> Key:
        around = {**metric.around, **labels}
        entity, _, rest = self._identity.key(metric.name, around, self._otherwise)
        kept = labels.keys() | self._keep
        found = {name: value for name, value in json.loads(rest).items() if name in kept}
        unit = metric.unit if role not in (COUNT, BUCKET) else ""
        suffix = SUFFIXES.get(role, "")
        if role in EDGES:
            found[EDGES[role]] = _edge(told, role)
        if metric.temporality == DELTA and role not in (MIN, MAX):
            suffix, unit = f"{suffix}.rate", unit and f"{unit}/s"
        elif _grows(metric, role):
            found[COUNTER] = "counter"
        if unit:
            found["unit"] = unit
        return entity, metric.name + suffix, attributes_text(found)

    def _metric(self, node: int) -> _Metric:
        known = self._metrics.get(node)
        if known is not None:
            return known
        named, tag, unit = self._tree.piece(node)
        scope, _, name = self._tree.piece(named)
        around = self._labels_around(scope)
        wrong = None if around is not None else Named(
            NO_KEY, Reason.MALFORMED, "attributes of the resource or scope cannot be read"
        )  # fmt: skip
        try:
            text, unit_text = name.decode(), unit.decode()
        except UnicodeDecodeError:
            text, unit_text = "", ""
            wrong = wrong or Named(NO_KEY, Reason.BAD_NAME, "name and unit are UTF-8")
        metric = _Metric(
            text, unit_text, tag & 15, tag >> 8 & 3, bool(tag >> 10 & 1), around or {}, wrong
        )
        if wrong is None:
            metric = metric._replace(wrong=self._wrong_name(text, unit))
        self._metrics[node] = metric
        return metric

    def _wrong_name(self, name: str, unit: bytes) -> Named | None:
        most = self._limits.name
        if not name:
            return Named(NO_KEY, Reason.BAD_NAME, "a metric has a name")
        if len(name.encode()) > most or len(unit) > most:
            key = ("", name[:most], "")
            return Named(key, Reason.TOO_LARGE, f"name and unit have at most {most} bytes")
        return None

    def _labels_around(self, scope: int) -> dict[str, str] | None:
        """Return the labels that matter of a scope and its resource; None when unreadable."""
        if scope not in self._around:
            parent, _, told = self._tree.piece(scope)
            _, _, resource = self._tree.piece(parent)
            try:
                said = InstrumentationScope.FromString(told)
                found = self._mattering(Resource.FromString(resource).attributes)
                found |= self._mattering(said.attributes)
            except DecodeError:
                self._around[scope] = None
            else:
                own = {SCOPE_NAME: said.name, SCOPE_VERSION: said.version}
                found |= {name: text for name, text in own.items() if text and name in self._keep}
                self._around[scope] = found
        return self._around[scope]

    def _mattering(self, attributes: Iterable[KeyValue]) -> dict[str, str]:
        """Return the labels that name an entity or are kept; of one name, the first counts.

        A value beyond the limit names nobody; a process' command line may well be that long.
        """
        found: dict[str, str] = {}
        for one in attributes:
            if one.key in self._matter and one.key not in found:
                text = value_text(one.value)
                if len(text.encode()) <= self._limits.value:
                    found[one.key] = text
        return found

    def _labels(self, node: int, metric: _Metric) -> dict[str, str] | Named:
        """Return the labels of a point, or why it is refused."""
        key = (self._otherwise, metric.name, "{}")
        try:
            point = POINTS[metric.kind].FromString(self._tree.piece(node)[2])
        except DecodeError:
            return Named(key, Reason.BAD_NAME, "attributes are well formed and UTF-8")
        if len(point.attributes) > self._limits.labels:
            return Named(key, Reason.TOO_LARGE, f"at most {self._limits.labels} attributes")
        found: dict[str, str] = {}
        for one in point.attributes:
            text = value_text(one.value)
            if not one.key:
                return Named(key, Reason.BAD_NAME, "an attribute has a name")
            if one.key in found:
                return Named(key, Reason.BAD_NAME, f"attribute {one.key[:80]!r} is given twice")
            if len(one.key.encode()) > self._limits.name:
                detail = f"an attribute's name has at most {self._limits.name} bytes"
                return Named(key, Reason.TOO_LARGE, detail)
            if len(text.encode()) > self._limits.value:
                detail = f"{one.key} has at most {self._limits.value} bytes"
                return Named(key, Reason.TOO_LARGE, detail)
            found[one.key] = text
        return found


def _grows(metric: _Metric, role: int) -> bool:
    if metric.kind == TOTAL:
        return metric.monotonic and metric.temporality == CUMULATIVE
    return role in (COUNT, SUM, BUCKET)


def _edge(told: bytes, role: int) -> str:
    """Return a bucket's upper bound or a quantile as Prometheus writes it."""
    if not told:
        return "+Inf" if role == BUCKET else "0"
    value: float = struct.unpack("<d", told)[0]
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value).removesuffix(".0")


def value_text(value: AnyValue) -> str:
    """Return an attribute's value as text: texts as they are, the rest as canonical JSON."""
    if value.WhichOneof("value") == "string_value":
        return value.string_value
    plain = _plain(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else canonical(plain)


def _plain(value: AnyValue) -> Any:
    """Return a value as JSON can hold it; bytes in base64, NaN and infinities as texts."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: _plain(one.value) for one in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind == "double_value" and not math.isfinite(value.double_value):
        number = value.double_value
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if kind in ("string_value", "bool_value", "int_value", "double_value"):
        return getattr(value, kind)
    return None
