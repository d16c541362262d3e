"""Debian's Prometheus sends, unchanged: what it says it sent is what is decoded."""

import shutil
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from watchkeeper.identity import Identity
from watchkeeper.receivers import Delivery, Limits
from watchkeeper.receivers.remote_write import RemoteWrite

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: itself
    static_configs: [{{targets: ["127.0.0.1:{own}"]}}]
remote_write:
  - url: http://127.0.0.1:{ours}/api/v1/write
"""
WANTED = 1_000  # samples


class Taking(BaseHTTPRequestHandler):
    """Answers as a house would that decodes and stores."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        delivery = Delivery("POST", self.path, {}, headers, body, 0)
        batch = self.server.decoder.decode(delivery)
        if batch is not None:
            self.server.batches.append(batch)
            taken = sum(each.samples.num_rows for each in self.server.batches)
            if taken >= WANTED:
                self.server.enough.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def taken(tmp_path):
    program = shutil.which("prometheus")
    assert program, "install prometheus"
    server = HTTPServer(("127.0.0.1", 0), Taking)
    server.decoder = RemoteWrite().open(Limits(), Identity())
    server.batches, server.enough = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.format(own=own, ours=server.server_port))
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    ]
    with (tmp_path / "log").open("wb") as log:
        sender = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        assert server.enough.wait(60), (tmp_path / "log").read_text()[-2000:]
    finally:
        sender.terminate()
        sender.wait(30)
        server.shutdown()
        server.server_close()
        thread.join()
    return server.batches


def test_everything_prometheus_writes_about_itself_is_taken_in(taken):
    assert all(batch.unread.num_rows == 0 for batch in taken)
    keys = taken[-1].keys.since(0).to_pylist()
    up = [key for key in keys if key["metric"] == "up"]
    assert len(up) == 1
    assert up[0]["entity"].startswith("target:itself/127.0.0.1:")
    series = {row for batch in taken for row in batch.samples["series"].to_pylist()}
    assert len(series) == len(keys), "every key has samples, and no series two keys"
    assert len({tuple(key.values()) for key in keys}) == len(keys)
