"""What a hostile client sends to the real server: smuggling, floods of headers, paths, names."""

import http.client
import re
import socket

import pytest
from tests.guarded import Site

SECRET = "root:"
SILENCE = 2.0  # seconds after an answer in which another one would have come
PATHS = [
    "/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    "/static/../../../../etc/passwd", "/static/..%2f..%2fetc%2fpasswd", "/static//etc/passwd",
    "/static/%00", "/static/" + "a" * 4096, "/static/..%5c..%5cetc", "/static/CON",
    "/api/v1/entities/../../etc/passwd", "/api/v1/entities/..%2f..%2fetc%2fpasswd",
    "/api/v1/entities/%00", "/api/v1/entities/" + "x" * 4096, "/api/v1/orders//etc/passwd",
    "/api/v1/decisions/..%2f..%2fkeys%2fledger.key", "/api/v1/reports/..%2f..%2fetc%2fpasswd",
    "/api/v1/reports/now.json%00.html", "//etc/passwd", "/accounts.sqlite", "/keys/ledger.key",
]  # fmt: skip


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("hostile"))
    yield site.serve()
    site.close()


def raw(port, *parts):
    """Send bytes as they are; return what comes back until the end, or until nothing more does."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plug:
        for part in parts:
            plug.sendall(part)
        while True:
            if heard:
                plug.settimeout(SILENCE)
            try:
                more = plug.recv(65536)
            except TimeoutError:
                return heard
            if not more:
                return heard
            heard += more


def statuses(heard):
    """Return the status of every answer in these bytes, also of one right behind a body."""
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", heard)]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_no_path_leads_out_of_the_house(port, path):
    """S4: names of files are ours; what a client writes is looked up, never opened."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    heard = raw(port, head.encode())
    assert statuses(heard) in ([404], [400]), heard[:200]
    assert SECRET.encode() not in heard


def test_two_requests_on_one_connection_get_two_answers(port):
    one = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert statuses(raw(port, one + one)) == [200, 200]


SMUGGLED = b"GET /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding : chunked\r\n",
    ],
)
def test_a_request_with_two_lengths_is_one_request_or_none(port, headers):
    """S16: whatever it says of its length, nothing behind it is taken for another request."""
    head = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n"
    heard = raw(port, head + b"0\r\n\r\n" + SMUGGLED)
    assert len(statuses(heard)) <= 1, heard[:500]
    assert statuses(heard) in ([], [400]), heard[:500]


@pytest.mark.parametrize("byte", [b"\n", b"\r", b"\x00", b"\x0b"])
def test_a_header_with_a_control_character_in_it_is_refused(port, byte):
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: a" + byte + b"b\r\n\r\n"
    assert 200 not in statuses(raw(port, head))


def test_a_head_too_large_or_of_too_many_parts_ends_the_connection(port):
    for headers in (b"X-A: " + b"a" * 200_000, b"\r\n".join(b"X-%d: a" % n for n in range(20_000))):
        try:
            heard = raw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n", headers + b"\r\n\r\n")
        except OSError:  # it was ended while we were still sending
            continue
        assert 200 not in statuses(heard)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/-/healthy", headers={"Host": "localhost"})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "host", [b"evil.example", b"localhost@evil.example", b"localhost\r\nHost: evil.example"]
)
def test_links_and_redirects_never_name_a_host_that_a_client_made_up(port, host):
    heard = raw(port, b"GET /sign-in HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert statuses(heard) in ([421], [400])
    given = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n"
    assert b"evil.example" not in raw(port, given + b"Connection: close\r\n\r\n")


def test_every_answer_has_its_safe_headers(port):
    """S13: also errors, redirects and refusals."""
    for path in ("/", "/sign-in", "/api/v1/status", "/api/v1/tokens", "/nowhere", "/-/healthy"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path, headers={"Host": "localhost", "Accept": "text/html"})
        answer = connection.getresponse()
        answer.read()
        policy = answer.getheader("content-security-policy")
        assert policy.startswith("default-src 'none'"), path
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert answer.getheader("x-frame-options") == "DENY"
        assert answer.getheader("server") is None
        connection.close()


def test_many_connections_that_say_nothing_leave_room_for_one_that_does(port):
    held = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(300)]
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/-/healthy", headers={"Host": "localhost"})
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        for plug in held:
            plug.close()
