"""Clients that send when they are told to, each by its own library, and count what was taken."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlencode

import urllib3
from influxdb_client import InfluxDBClient, Point
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpExporter,
)
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from tests.integration.clients import Server, program
from tests.sources.agents import free_port

ROUTES = 40
PATIENCE = 90  # seconds in which a sender that is refused tries again


class Counting:
    """An exporter of the SDK; keeps the points that it reported as delivered."""

    def __init__(self, exporter):
        self.exporter, self.delivered = exporter, []
        self._preferred_temporality = exporter._preferred_temporality
        self._preferred_aggregation = exporter._preferred_aggregation

    def export(self, metrics, timeout_millis=10_000, **more):
        result = self.exporter.export(metrics, timeout_millis=timeout_millis, **more)
        if result is MetricExportResult.SUCCESS:
            self.delivered += [
                (metric.name, point.time_unix_nano // 1_000_000, point.value)
                for resource in metrics.resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for point in metric.data.data_points
            ]
        return result

    def force_flush(self, timeout_millis=10_000):
        return self.exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis=30_000, **more):
        self.exporter.shutdown(timeout_millis, **more)


class OpenTelemetry:
    """The SDK with a counter of many routes and a gauge; `told` is its environment."""

    def __init__(self, told: str, name: str) -> None:
        self.entity = f"service:shop/{name}"
        environment = dict(line.split("=", 1) for line in told.splitlines())
        kind = environment["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"]
        with patch.dict(os.environ, environment):
            exporter = HttpExporter if kind == "http/protobuf" else GrpcExporter
            self.counting = Counting(exporter(timeout=PATIENCE))
        self._reader = PeriodicExportingMetricReader(
            self.counting, export_interval_millis=3_600_000, export_timeout_millis=PATIENCE * 1000
        )
        resource = Resource({"service.name": name, "service.namespace": "shop"})
        self._provider = MeterProvider(metric_readers=[self._reader], resource=resource)
        meter = self._provider.get_meter("test")
        self._requests = meter.create_counter("http.requests", unit="{request}")
        self._turn = 0
        meter.create_observable_gauge("turn", callbacks=[lambda _: [Observation(self._turn)]])

    def send(self) -> None:
        self._turn += 1
        for route in range(ROUTES):
            self._requests.add(route + 1, {"route": f"/{route}"})
        self._reader.force_flush(PATIENCE * 1000)

    def end(self) -> None:
        self._provider.shutdown()

    @property
    def delivered(self):
        return self.counting.delivered


class InfluxTwo:
    """InfluxDB's own client of version 2; `told` is Telegraf's configuration."""

    def __init__(self, told: str) -> None:
        (output,) = tomllib.loads(told)["outputs"]["influxdb_v2"]
        self._bucket, self._org = output["bucket"], output["organization"]
        self._client = InfluxDBClient(output["urls"][0], output["token"], org=self._org)
        self._write = self._client.write_api(SYNCHRONOUS)
        self.delivered = []
        self.entity = "host:cpu-2"

    def send(self) -> None:
        start = time.time_ns() // 1_000_000
        points = [
            Point("cpu").tag("host", "cpu-2").tag("cpu", f"cpu{k % 4}").field("usage", 0.5 * k)
            .time((start + k) * 1_000_000)
            for k in range(200)
        ]  # fmt: skip
        end = time.monotonic() + PATIENCE
        while not self._written(points):
            assert time.monotonic() < end
            time.sleep(0.2)
        self.delivered += [("cpu_usage", start + k, 0.5 * k) for k in range(200)]

    def _written(self, points: list[Point]) -> bool:
        try:
            self._write.write(self._bucket, self._org, points)
        except (InfluxDBError, urllib3.exceptions.HTTPError):
            return False
        return True

    def end(self) -> None:
        self._client.close()


class InfluxOne:
    """What Telegraf's output of version 1 sends: CREATE DATABASE at its start, then batches."""

    def __init__(self, told: str) -> None:
        (output,) = tomllib.loads(told)["outputs"]["influxdb"]
        self._url, self._database = output["urls"][0], output["database"]
        self._created = False
        self.delivered = []
        self.entity = "host:mem-1"

    def ask(self, path: str, body: bytes | None, **headers: str) -> tuple[int, Mapping, bytes]:
        request = urllib.request.Request(self._url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def send(self) -> None:
        end = time.monotonic() + PATIENCE
        while not self._tried():
            assert time.monotonic() < end
            time.sleep(0.2)

    def _tried(self) -> bool:
        try:
            if not self._created:
                query = urlencode({"q": f'CREATE DATABASE "{self._database}"'})
                code, _, said = self.ask("/query?" + query, b"")
                if code == 503:
                    return False
                assert (code, json.loads(said)["results"][0]) == (200, {"statement_id": 0})
                self._created = True
            start = time.time_ns() // 1_000_000
            lines = [
                f"mem,host=mem-1 free={k}i,used={k}.25 {(start + k) * 1_000_000}"
                for k in range(100)
            ]
            body = gzip.compress("\n".join(lines).encode())
            code, _, said = self.ask(
                f"/write?db={self._database}", body, **{"Content-Encoding": "gzip"}
            )
        except (OSError, http.client.HTTPException):
            return False
        assert code in (204, 503), said
        if code == 204:
            for k in range(100):
                self.delivered += [("mem_free", start + k, k), ("mem_used", start + k, k + 0.25)]
        return code == 204

    def end(self) -> None:
        """It holds no connection."""


class Alertmanager:
    """Debian's Alertmanager, which posts what it is told of to us."""

    def __init__(self, folder: Path, told: str) -> None:
        config = folder / "alertmanager.yml"
        hurry = "  group_wait: 0s\n  group_interval: 1s\n  group_by: [alertname]\n"
        config.write_text(told.replace("route:\n", "route:\n" + hurry))
        port = free_port()
        command = [
            program("prometheus-alertmanager", "prometheus-alertmanager"),
            f"--config.file={config}", f"--storage.path={folder / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        self._server = Server(folder, command, port, "/-/ready")
        self.raised: list[str] = []

    def send(self) -> None:
        name = f"Odd{len(self.raised)}"
        alert = {"labels": {"alertname": name, "instance": "db-1:9100"}}
        body = json.dumps([alert]).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._server.port}/api/v2/alerts", body,
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
        self.raised.append(name)

    def end(self) -> None:
        self._server.end()
