"""OTLP read the slow, obvious way: a walk over protobuf messages. Also requests to try it on."""

import base64
import json
import math
import struct

from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from watchkeeper.identity import NAMINGS, Identity
from watchkeeper.model import STALE_BITS, Reason

STALE = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]
POINTS = {
    "gauge": NumberDataPoint,
    "sum": NumberDataPoint,
    "histogram": HistogramDataPoint,
    "exponential_histogram": ExponentialHistogramDataPoint,
    "summary": SummaryDataPoint,
}
NAMING = {label for naming in NAMINGS for label in naming.labels} | {"entity"}


def bits(value):
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def text(value):
    def plain(value):
        kind = value.WhichOneof("value")
        if kind == "array_value":
            return [plain(one) for one in value.array_value.values]
        if kind == "kvlist_value":
            return {one.key: plain(one.value) for one in value.kvlist_value.values}
        if kind == "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        found = None if kind is None else getattr(value, kind, None)
        if isinstance(found, float) and not math.isfinite(found):
            return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(found, "NaN")
        return found

    found = plain(value)
    if isinstance(found, str) or found is None:
        return found or ""
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def edge(value):
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value).removesuffix(".0")


def read(request, buckets=False, keep=(), otherwise="source:otlp"):
    """Return samples (key, time, bits) and refused (reason), each in the order of the points."""
    samples, refused = [], []
    for one in request.resource_metrics:
        for scope in one.scope_metrics:
            around = {}
            for attributes in (one.resource.attributes, scope.scope.attributes):
                own = {}
                for kv in attributes:
                    own.setdefault(kv.key, text(kv.value))
                around |= {k: v for k, v in own.items() if k in NAMING | set(keep)}
            for metric in scope.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points if kind else ():
                    found = told(metric, kind, point, buckets)
                    labels = {kv.key: text(kv.value) for kv in point.attributes}
                    if not isinstance(found, Reason):
                        wrong = misnamed(metric, point)
                        found = [wrong] * len(found) if wrong else found
                    for sample in [found] if isinstance(found, Reason) else found:
                        if isinstance(sample, Reason):
                            refused.append(sample)
                            continue
                        suffix, value, extra = sample
                        entity, _, rest = Identity().key(
                            metric.name, {**around, **labels}, otherwise
                        )
                        kept = {
                            k: v for k, v in json.loads(rest).items() if k in labels or k in keep
                        }
                        attributes = json.dumps(
                            kept | extra,
                            sort_keys=True,
                            separators=(",", ":"),
                            ensure_ascii=False,
                        )
                        key = (entity, metric.name + suffix, attributes)
                        samples.append((key, point.time_unix_nano // 1_000_000, bits(value)))
    return samples, refused


def misnamed(metric, point):
    names = [kv.key for kv in point.attributes]
    if not metric.name or "" in names or len(set(names)) < len(names):
        return Reason.BAD_NAME
    return None


def told(metric, kind, point, buckets):
    """Return a point's samples as (suffix, value, attributes of ours), or why there are none."""
    temporality = getattr(getattr(metric, kind), "aggregation_temporality", 2)
    stale = point.flags & 1
    span = point.time_unix_nano - point.start_time_unix_nano
    if not point.time_unix_nano:
        return Reason.NO_TIME
    if temporality not in (1, 2):
        return Reason.UNSUPPORTED
    delta = temporality == 1
    if delta and not stale and (not point.start_time_unix_nano or span <= 0):
        return Reason.UNSUPPORTED
    seconds = span / 1e9 if delta and not stale else 1.0
    unit = {"unit": metric.unit} if metric.unit else {}
    rated = {"unit": metric.unit + "/s"} if metric.unit and delta else unit
    rate, counter = (".rate", {}) if delta else ("", {"metric.kind": "counter"})
    if kind in ("gauge", "sum"):
        if not point.WhichOneof("value") and not stale:
            return Reason.MALFORMED
        grows = kind == "sum" and metric.sum.is_monotonic
        value = STALE if stale else float(getattr(point, point.WhichOneof("value")))
        if seconds != 1.0:
            value /= seconds
        return [(rate, value, rated | (counter if grows else {}))]
    if stale:
        return [
            (f".count{rate}", STALE, counter),
            (f".sum{rate}", STALE, rated | counter),
        ]
    counts, bounds = [], []
    if kind == "histogram" and buckets:
        counts, bounds = point.bucket_counts, [*point.explicit_bounds, math.inf]
    if counts and len(bounds) != len(counts):
        return Reason.MALFORMED
    found = [(f".count{rate}", point.count / seconds, counter)]
    if kind == "summary" or point.HasField("sum"):
        found.append((f".sum{rate}", point.sum / seconds, rated | counter))
    for name in ("min", "max"):
        if kind != "summary" and point.HasField(name):
            found.append((f".{name}", getattr(point, name), unit))
    total = 0
    for count, bound in zip(counts, bounds, strict=False):
        total = (total + count) % 2**64
        found.append((f".bucket{rate}", float(total) / seconds, {"le": edge(bound)} | counter))
    if kind == "summary":
        for one in point.quantile_values:
            found.append(("", one.value, {"quantile": edge(one.quantile)} | unit))
    return found


doubles = st.floats(width=64)
words = st.sampled_from(["", "cpu", "state", "host.name", "unit", "entity", "größe", "a b", "0"])
values = st.recursive(
    st.one_of(
        st.builds(AnyValue),
        st.builds(AnyValue, string_value=st.sampled_from(["", "x", "host:web-1", "ü"])),
        st.builds(AnyValue, bool_value=st.booleans()),
        st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
        st.builds(AnyValue, double_value=doubles),
        st.builds(AnyValue, bytes_value=st.binary(max_size=4)),
    ),
    lambda inner: st.lists(inner, max_size=2).map(
        lambda found: AnyValue(array_value={"values": found})
    ),
    max_leaves=3,
)
attributes = st.lists(st.builds(KeyValue, key=words, value=values), max_size=3)
times = st.sampled_from([0, 1, 999_999, 1_700_000_000_000_000_000, 2**63, 2**64 - 1])
common = {
    "attributes": attributes,
    "time_unix_nano": times,
    "start_time_unix_nano": st.sampled_from([0, 1, 1_699_999_990_000_000_000]),
    "flags": st.sampled_from([0, 0, 0, 1, 2, 3]),
}
counts = st.integers(0, 2**64 - 1)
bounded = {"count": counts, "sum": doubles, "min": doubles, "max": doubles}
numbers = st.lists(
    st.one_of(
        st.builds(NumberDataPoint, **common, as_double=doubles),
        st.builds(NumberDataPoint, **common, as_int=st.integers(-(2**63), 2**63 - 1)),
        st.builds(NumberDataPoint, **common),
    ),
    max_size=3,
)
histograms = st.lists(
    st.one_of(
        st.builds(HistogramDataPoint, **common, count=counts),
        st.builds(
            HistogramDataPoint,
            **common,
            **bounded,
            bucket_counts=st.lists(counts, max_size=3),
            explicit_bounds=st.lists(doubles, max_size=2),
        ),
    ),
    max_size=2,
)
exponentials = st.lists(
    st.builds(ExponentialHistogramDataPoint, **common, **bounded, scale=st.integers(-5, 5),
              zero_count=counts),
    max_size=2,
)  # fmt: skip
summaries = st.lists(
    st.builds(
        SummaryDataPoint,
        **common,
        count=counts,
        sum=doubles,
        quantile_values=st.lists(
            st.builds(SummaryDataPoint.ValueAtQuantile, quantile=doubles, value=doubles),
            max_size=2,
        ),
    ),
    max_size=2,
)
temporality = st.sampled_from([0, 1, 1, 2, 2, 2, 7])
data = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"gauge": st.fixed_dictionaries({"data_points": numbers})}),
    st.fixed_dictionaries(
        {
            "sum": st.fixed_dictionaries(
                {
                    "data_points": numbers,
                    "aggregation_temporality": temporality,
                    "is_monotonic": st.booleans(),
                }
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "histogram": st.fixed_dictionaries(
                {"data_points": histograms, "aggregation_temporality": temporality}
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "exponential_histogram": st.fixed_dictionaries(
                {"data_points": exponentials, "aggregation_temporality": temporality}
            )
        }
    ),
    st.fixed_dictionaries({"summary": st.fixed_dictionaries({"data_points": summaries})}),
)
metrics = st.builds(
    lambda name, unit, kind: {"name": name, "unit": unit, "description": "what it is", **kind},
    st.sampled_from(["system.cpu.time", "http.requests", "", "größe"]),
    st.sampled_from(["", "s", "By"]),
    data,
)
scopes = st.fixed_dictionaries(
    {
        "scope": st.fixed_dictionaries({"name": st.just("lib"), "attributes": attributes}),
        "metrics": st.lists(metrics, max_size=3),
    }
)
requests = st.builds(
    lambda found: ExportMetricsServiceRequest(resource_metrics=found),
    st.lists(
        st.fixed_dictionaries(
            {
                "resource": st.fixed_dictionaries({"attributes": attributes}),
                "scope_metrics": st.lists(scopes, max_size=2),
            }
        ),
        max_size=2,
    ),
)
