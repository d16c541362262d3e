"""Measure the receiver of OTLP: from the bytes of a request to columns, on one core.

Run `python -m benchmarks.decode_otlp`. Figures as in `benchmarks.decode`: CPU seconds, the best of
several rounds, beside what protobuf's own library (upb) and a walk over its messages cost.
"""

from __future__ import annotations

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from benchmarks.decode import cost, told
from watchkeeper.identity import Identity
from watchkeeper.receivers import Decoder, Delivery, Limits
from watchkeeper.receivers.otlp import JSON, PROTOBUF, Otlp

NOW = 1_700_000_000_000_000_000
SHAPES = {  # resources, metrics of each, points of each
    "a collector's batch": (10, 20, 25),
    "a service's export": (50, 100, 1),
    "a gateway: a point each": (5_000, 1, 1),
}


def pairs(labels: dict[str, str]) -> list[dict[str, object]]:
    return [{"key": name, "value": {"string_value": text}} for name, text in labels.items()]


def metric(number: int, points: int) -> dict[str, object]:
    """Return a cumulative counter with three attributes a point."""
    found = [
        {
            "time_unix_nano": NOW,
            "start_time_unix_nano": NOW - 60_000_000_000,
            "as_double": 1.5 * k,
            "attributes": pairs({"cpu": str(k), "state": "idle", "device": f"/dev/sd{k}"}),
        }
        for k in range(points)
    ]
    total = {"data_points": found, "aggregation_temporality": 2, "is_monotonic": True}
    return {"name": f"system.metric.{number}", "unit": "By", "description": "of a host",
            "sum": total}  # fmt: skip


def request(resources: int, metrics: int, points: int) -> ExportMetricsServiceRequest:
    made = [metric(number, points) for number in range(metrics)]
    return ExportMetricsServiceRequest(
        resource_metrics=[
            {
                "resource": {
                    "attributes": pairs(
                        {
                            "host.name": f"rack-{k:04d}",
                            "service.name": "shop",
                            "os.type": "linux",
                            "telemetry.sdk.language": "go",
                            "telemetry.sdk.name": "opentelemetry",
                            "telemetry.sdk.version": "1.38.0",
                        }
                    )
                },
                "scope_metrics": [{"scope": {"name": "host"}, "metrics": made}],
            }
            for k in range(resources)
        ]
    )


def walk(body: bytes) -> list[tuple[str, tuple[tuple[str, str], ...], int, float]]:
    """Return what a straightforward receiver would: name, attributes, time and value."""
    return [
        (
            one.name,
            tuple((pair.key, pair.value.string_value) for pair in point.attributes),
            point.time_unix_nano,
            point.as_double,
        )
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for one in scope.metrics
        for point in one.sum.data_points
    ]


def delivery(body: bytes, kind: str) -> Delivery:
    return Delivery("POST", "/v1/metrics", {}, {"content-type": kind}, body, 0)  # type: ignore[arg-type]


def opened() -> Decoder:
    return Otlp().open(Limits(), Identity())


def otlp() -> None:
    """Print a table for each shape of request."""
    for name, shape in SHAPES.items():
        message = request(*shape)
        body, count = message.SerializeToString(), shape[0] * shape[1] * shape[2]
        print(f"OTLP, {name}: {count} points, {len(body) / count:.0f} bytes each")
        naive = cost(lambda b=body: walk(b), 2)  # type: ignore[misc]
        told("upb ParseFromString + walk", naive, count)
        upb = cost(lambda b=body: ExportMetricsServiceRequest.FromString(b))  # type: ignore[misc]
        told("upb ParseFromString alone", upb, count, naive)
        decoder, binary = opened(), delivery(body, PROTOBUF)
        warm = cost(lambda d=decoder, r=binary: d.decode(r))  # type: ignore[misc]
        told("protobuf: scan, resolve", warm, count, naive)
        cold = cost(lambda r=binary: opened().decode(r), 1)  # type: ignore[misc]
        told("protobuf: series never seen before", cold, count, naive)
        text = json_format.MessageToJson(message, indent=None).encode()
        packed = delivery(text, JSON)
        told("JSON", cost(lambda d=decoder, r=packed: d.decode(r), 2), count, naive)  # type: ignore[misc]


if __name__ == "__main__":
    otlp()
