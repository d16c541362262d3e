"""The same application behind the real server, over a real socket."""

import http.client
import socket
import threading

import pytest
import uvicorn
from tests.http.standing import Standing

from watchkeeper import config
from watchkeeper.http import app
from watchkeeper.testing import reports as t


class House(Standing):
    rulebook = config.default().rules

    def findings(self):
        return FINDINGS

    def status(self):
        return {"tick": 1}

    def metrics(self, accept):
        return b"", "text/plain"

    def checks(self):
        return {}

    def ready(self):
        return True, "ready"


FINDINGS = t.fleet(30)


@pytest.fixture(scope="module")
def port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        config = uvicorn.Config(app(House()), log_level="error", access_log=False)
        server = uvicorn.Server(config)
        started = threading.Event()
        startup = server.startup

        async def then_tell(sockets=None):
            await startup(sockets=sockets)
            started.set()

        server.startup = then_tell
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        assert started.wait(10)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def ask(port, path, method="GET", **headers):
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        link.request(method, path, headers=headers)
        answer = link.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        link.close()


def test_the_page_comes_over_a_real_socket(port):
    status, headers, body = ask(port, "/")
    assert status == 200
    assert b"3 of 30 entities are unhealthy" in body
    assert int(headers["Content-Length"]) == len(body)


def test_head_has_the_headers_and_no_body(port):
    status, headers, body = ask(port, "/", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 10_000


def test_a_foreign_host_is_turned_away(port):
    status, _, body = ask(port, "/", Host="rebound.example")
    assert status == 421
    assert b"web-0011" not in body


def test_a_slash_in_a_name_survives_quoting(port):
    assert ask(port, "/api/v1/entities/host%3Aweb-0011")[0] == 200
    assert ask(port, "/api/v1/entities/a%2Fb")[0] == 404
