"""What the comparison sends is what it says it is, and it does not run without its peers."""

import pytest
from benchmarks.ingest import servers
from benchmarks.ingest.payloads import HOST, requests

from watchkeeper.identity import Identity
from watchkeeper.receivers import Delivery, Limits
from watchkeeper.receivers.remote_write import RemoteWrite


def test_every_series_says_one_thing_a_tick_and_keeps_its_name():
    decoder = RemoteWrite().open(Limits(), Identity())
    headers = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
    times = []
    for request in requests(2 * HOST, 3):
        batch = decoder.decode(Delivery("POST", "/", {}, headers, request.body, 0))
        assert batch is not None
        assert batch.offered == request.samples == 2 * HOST
        assert batch.unread.num_rows == 0
        assert batch.samples["series"].to_pylist() == list(range(2 * HOST))
        times.append(set(batch.samples["time"].to_pylist()))
    assert [len(each) for each in times] == [1, 1, 1]
    assert len(set.union(*times)) == 3


def test_a_peer_that_is_not_installed_ends_the_comparison(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="apt-get install victoria-metrics"):
        servers.binary("victoria-metrics")
