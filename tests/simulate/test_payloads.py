"""Payloads of load: every protocol says the same samples, and its receiver takes them."""

import json

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.receivers.prometheus_naive import read

from watchkeeper import plugins
from watchkeeper.identity import Identity
from watchkeeper.model import Millis
from watchkeeper.receivers import Delivery, Limits
from watchkeeper.receivers._unpack import unpack
from watchkeeper.simulate.payloads import PROTOCOLS, Course, fleet, template

AT = Millis(1_764_300_000_123)
SERIES = fleet(entities=7, series=100)


def decoded(protocol, body, one):
    path, _, query = one.path.partition("?")
    headers = {name.lower(): value for name, value in one.headers.items()}
    asked = dict(pair.split("=") for pair in query.split("&")) if query else {}
    receiver = plugins.load("receivers", protocol.removesuffix("_2"))()
    assert path in [route.path for route in receiver.routes]
    decoder = receiver.open(Limits(), Identity())
    batch = decoder.decode(Delivery("POST", path, asked, headers, body, AT))
    assert batch.unread.num_rows == 0
    keys = batch.keys if hasattr(batch.keys, "to_pylist") else batch.keys.since(0)
    names = [
        (k["entity"], k["metric"], json.loads(k["attributes"])["device"]) for k in keys.to_pylist()
    ]
    columns = (batch.samples[name].to_pylist() for name in ("series", "time", "value"))
    return {(*names[series], at): value for series, at, value in zip(*columns, strict=True)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_receiver_takes_the_whole_request_and_reads_these_values(protocol):
    one, course = template(protocol, SERIES), Course(len(SERIES), 7)
    for tick in range(3):
        values = course.next()
        found = decoded(protocol, one.body(values, Millis(AT + tick)), one)
        assert found == {
            (f"host:{s.host}", s.metric, s.device, AT + tick): value / 1e6
            for s, value in zip(SERIES, values.tolist(), strict=True)
        }


@pytest.mark.parametrize(("protocol", "version"), [("remote_write", 1), ("remote_write_2", 2)])
def test_a_reader_that_shares_nothing_with_ours_reads_the_same(protocol, version):
    one = template(protocol, SERIES)
    raw = unpack(one.body(Course(len(SERIES), 1).next(), AT), "snappy", 1 << 20)
    good, bad = read(raw, version)
    assert (len(good), bad) == (len(SERIES), 0)
    assert {(labels["host"], labels["__name__"], labels["device"]) for labels, *_ in good} == set(
        SERIES
    )
    assert {at for _, _, at, _ in good} == {AT}


def test_otlps_own_library_reads_the_same():
    one, values = template("otlp", SERIES), Course(len(SERIES), 1).next()
    request = ExportMetricsServiceRequest.FromString(one.body(values, AT))
    assert len(request.resource_metrics) == 7
    points = [
        point
        for resource in request.resource_metrics
        for metric in resource.scope_metrics[0].metrics
        for point in metric.gauge.data_points
    ]
    assert [point.as_double for point in points] == [value / 1e6 for value in values.tolist()]
    assert {point.time_unix_nano for point in points} == {AT * 1_000_000}


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others():
    def bodies(seed):
        course = Course(len(SERIES), seed)
        return [template(p, SERIES).body(course.next(), AT) for p in PROTOCOLS]

    assert bodies(1) == bodies(1)
    assert bodies(1) != bodies(2)


def test_series_are_spread_evenly_over_hosts():
    series = fleet(entities=3, series=20)
    assert len(set(series)) == 20
    counts = [sum(one.host == host for one in series) for host in sorted({s.host for s in series})]
    assert counts == [7, 7, 6]
