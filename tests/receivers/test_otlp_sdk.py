"""The OpenTelemetry SDK, unchanged, sends to us over HTTP and gRPC; every count agrees."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
    OTLPMetricExporter as HttpExporter,
)
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from watchkeeper.errors import ConfigError, Malformed, Overloaded, OverQuota
from watchkeeper.http import otlp_grpc
from watchkeeper.identity import Identity
from watchkeeper.receivers import Delivery, Limits, Received
from watchkeeper.receivers.otlp import Otlp

DELTA = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}


class House:
    """Decodes and keeps everything, after refusing as often as it is told to."""

    def __init__(self, *refusals, buckets=False):
        self.receiver = Otlp(buckets=buckets)
        self.decoder = self.receiver.open(Limits(), Identity())
        self.refusals, self.lock = list(refusals), threading.Lock()
        self.samples, self.deliveries = {}, []

    def take(self, delivery):
        with self.lock:
            self.deliveries.append(delivery)
            if self.refusals:
                return self.refusals.pop(0)
            batch = self.decoder.decode(delivery)
            assert batch is not None
            assert batch.unread.num_rows == 0
            keys = batch.keys.take(batch.samples["series"].to_numpy()).to_pylist()
            for key, value in zip(keys, batch.samples["value"].to_pylist(), strict=True):
                self.samples[key["entity"], key["metric"], key["attributes"]] = value
            return Received(batch.offered, batch.offered)


@contextlib.contextmanager
def over_http(house) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            delivery = Delivery("POST", self.path, {}, headers, body, 0)
            answer = house.receiver.answer(delivery, house.take(delivery))
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": len(answer.body)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def over_grpc(house) -> Iterator[str]:
    port, stop = otlp_grpc.serve(house.receiver, "127.0.0.1", 0, house.take)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        stop(1.0)


@contextlib.contextmanager
def exporting(protocol, house, **more):
    if protocol == "grpc":
        with over_grpc(house) as place:
            yield GrpcExporter(endpoint=place, insecure=True, timeout=10, **more)
    else:
        with over_http(house) as place:
            yield HttpExporter(endpoint=place, timeout=10, **more)


def send(exporter, views=()):
    """Record with every kind of instrument and export twice; return whether that went well."""
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource({"host.name": "web-1", "service.name": "shop"})
    provider = MeterProvider([reader], resource, views=views)
    meter = provider.get_meter("tests")
    counter = meter.create_counter("requests", unit="1")
    for n in range(100):
        counter.add(2, {"route": f"/{n % 10}"})
    meter.create_up_down_counter("queue").add(-3)
    histogram = meter.create_histogram("latency", unit="s")
    for value in (0.25, 0.5, 4.0):
        histogram.record(value)
    meter.create_observable_gauge("temperature", [lambda _: [Observation(36.6)]], unit="Cel")
    done = provider.force_flush(20_000)
    provider.shutdown()
    return done


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_sdks_counts_are_ours(protocol):
    house = House(buckets=True)
    with exporting(protocol, house) as exporter:
        assert send(exporter)
    found = {
        (metric, attributes): value
        for (entity, metric, attributes), value in house.samples.items()
        if entity == "service:shop"
    }
    assert len(found) == len(house.samples)
    requests = {key: value for key, value in found.items() if key[0] == "requests"}
    assert sum(requests.values()) == 200
    assert len(requests) == 10
    first = '{"metric.kind":"counter","route":"/0","unit":"1"}'
    assert requests["requests", first] == 20
    assert found["queue", "{}"] == -3
    assert found["temperature", '{"unit":"Cel"}'] == 36.6
    counter, seconds = '{"metric.kind":"counter"}', '{"metric.kind":"counter","unit":"s"}'
    assert found["latency.count", counter] == 3
    assert found["latency.sum", seconds] == 4.75
    assert found["latency.min", '{"unit":"s"}'] == 0.25
    assert found["latency.max", '{"unit":"s"}'] == 4.0
    assert found["latency.bucket", '{"le":"0","metric.kind":"counter"}'] == 0
    assert found["latency.bucket", '{"le":"5","metric.kind":"counter"}'] == 3
    assert found["latency.bucket", '{"le":"+Inf","metric.kind":"counter"}'] == 3


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_deltas_become_rates(protocol):
    house = House()
    with exporting(protocol, house, preferred_temporality=DELTA) as exporter:
        assert send(exporter)
    names = {metric for _, metric, _ in house.samples}
    assert names == {
        "requests.rate", "queue", "latency.count.rate", "latency.sum.rate", "latency.min",
        "latency.max", "temperature",
    }  # fmt: skip
    units = {
        json.loads(attributes).get("unit")
        for _, metric, attributes in house.samples
        if metric == "requests.rate"
    }
    assert units == {"1/s"}


def test_exponential_histograms_are_counted():
    house = House()
    views = [View(instrument_name="latency", aggregation=ExponentialBucketHistogramAggregation())]
    with exporting("http", house) as exporter:
        assert send(exporter, views)
    found = {metric: value for (_, metric, _), value in house.samples.items()}
    assert (found["latency.count"], found["latency.sum"]) == (3, 4.75)
    assert (found["latency.min"], found["latency.max"]) == (0.25, 4.0)


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip,
                                         Compression.Deflate])  # fmt: skip
def test_packed_exports_arrive(compression):
    house = House()
    with exporting("http", house, compression=compression) as exporter:
        assert send(exporter)
    assert len(house.samples) == 16


def test_packed_calls_arrive():
    house = House()
    with exporting("grpc", house, compression=grpc.Compression.Gzip) as exporter:
        assert send(exporter)
    assert len(house.samples) == 16


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    "refusal", [Overloaded("later", retry_after=1), OverQuota("slower", retry_after=1)]
)
def test_a_sender_that_is_asked_to_wait_sends_the_same_again(protocol, refusal):
    house = House(refusal)
    with exporting(protocol, house) as exporter:
        assert send(exporter)
    first, second = house.deliveries[:2]
    assert first.body == second.body
    assert len(house.samples) == 16


def test_a_refused_call_says_why():
    house = House(Malformed("the body is not what it says"))
    with over_grpc(house) as place, grpc.insecure_channel(place) as channel:
        call = channel.unary_unary(f"/{otlp_grpc.SERVICE}/{otlp_grpc.METHOD}")
        with pytest.raises(grpc.RpcError) as told:
            call(b"\xff", timeout=10)
    assert told.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not what it says" in told.value.details()


def test_a_call_that_is_to_come_again_says_when():
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    house = House(Overloaded("later", retry_after=7))
    with over_grpc(house) as place, grpc.insecure_channel(place) as channel:
        call = channel.unary_unary(f"/{otlp_grpc.SERVICE}/{otlp_grpc.METHOD}")
        with pytest.raises(grpc.RpcError) as told:
            call(b"", timeout=10)
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE
    status = Status.FromString(dict(told.value.trailing_metadata())[otlp_grpc.DETAILS])
    retry = RetryInfo()
    assert status.details[0].Unpack(retry)
    assert (status.code, retry.retry_delay.seconds) == (14, 7)


def test_a_call_that_is_too_long_is_refused_before_it_is_read():
    house = House()
    with over_grpc(house) as place, grpc.insecure_channel(place) as channel:
        call = channel.unary_unary(f"/{otlp_grpc.SERVICE}/{otlp_grpc.METHOD}")
        with pytest.raises(grpc.RpcError) as told:
            call(bytes(otlp_grpc.MESSAGE_MAX + 1), timeout=20)
    assert told.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert house.deliveries == []


def test_a_port_that_is_taken_is_a_mistake_of_the_configuration():
    with over_grpc(House()) as place:
        port = int(place.rpartition(":")[2])
        with pytest.raises(ConfigError, match="cannot listen"):
            otlp_grpc.serve(Otlp(), "127.0.0.1", port, House().take)


def test_without_grpcio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ConfigError, match=r"pip install watchkeeper\[otlp-grpc\]"):
        otlp_grpc.serve(Otlp(), "127.0.0.1", 0, House().take)
