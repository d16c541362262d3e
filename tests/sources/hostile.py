"""Servers that misbehave, one way each, on loopback."""

import gzip
import socket
import struct
import threading
from collections import Counter
from contextlib import suppress

PAGE = b"a 1\nb 2\n"


class Server:
    """Does to each connection what `behave` says. `asked` counts requests by path."""

    def __init__(self, behave, host="127.0.0.1", port=0):
        self.behave, self.host = behave, host
        self.asked, self.requests = Counter(), []
        self.socket = socket.create_server((host, port))
        self.port = self.socket.getsockname()[1]
        self.ended = threading.Event()
        self.open, self.threads, self.lock = set(), [], threading.Lock()
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    @property
    def name(self):
        return f"{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        with self.lock:
            for one in self.open:
                with suppress(OSError):  # it may be gone already
                    one.shutdown(socket.SHUT_RDWR)
        for thread in [self.thread, *self.threads]:
            thread.join(5)
            assert not thread.is_alive()

    def accept(self):
        while not self.ended.is_set():
            try:
                one, _ = self.socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(one,), daemon=True)
            with self.lock:
                self.open.add(one)
                self.threads.append(thread)
            thread.start()

    def serve(self, one):
        with one:
            with suppress(OSError):  # the client has gone, which is what it should do
                self.behave(self, one)
            with self.lock:
                self.open.discard(one)

    def request(self, one):
        """Read one request; return its path and headers."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = one.recv(65536)
            if not more:
                raise OSError("gone")
            data += more
        first, *lines = data.split(b"\r\n\r\n")[0].decode().split("\r\n")
        path = first.split()[1]
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        with self.lock:
            self.asked[path] += 1
            self.requests.append((path, headers))
        return path, headers


def answer(one, body, kind="text/plain; version=0.0.4", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    one.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def good(server, one):
    server.request(one)
    answer(one, PAGE)


def saying(body, kind="text/plain; version=0.0.4", status="200 OK", **headers):
    def behave(server, one):
        server.request(one)
        answer(one, body, kind, status, **headers)

    return behave


def hang(server, one):
    server.request(one)
    server.ended.wait(30)


def hang_before_reading(server, one):
    server.ended.wait(30)


def trickle(server, one):
    """One byte now and then: no single read ever waits long."""
    server.request(one)
    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not server.ended.wait(0.05):
        one.sendall(b"a")


def endless_body(server, one):
    server.request(one)
    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
    while not server.ended.is_set():
        one.sendall(b"".join(b"endless_%d 1\n" % n for n in range(5000)))


def endless_headers(server, one):
    server.request(one)
    one.sendall(b"HTTP/1.1 200 OK\r\n")
    while not server.ended.is_set():
        one.sendall(b"X-More: and more\r\n" * 100)


def reset(server, one):
    """Cut the connection within the body."""
    server.request(one)
    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\na 1\nb ")
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def short(server, one):
    server.request(one)
    one.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\na 1\n")


def garbage(server, one):
    """What a client takes for neither TLS nor HTTP."""
    one.recv(1000)
    one.sendall(b"\x16\x03\x01\xff\xff" + b"\x00garbage\xff" * 20)


def loop(server, one):
    path, _ = server.request(one)
    answer(one, b"", status="302 Found", Location=path)


def bomb(size):
    packed = gzip.compress(b"bomb_metric 1\n" * (size // 14), 1)

    def behave(server, one):
        server.request(one)
        answer(one, packed, Content_Encoding="gzip")

    return behave


def fickle(samples):
    """A page of as many samples, and of other names each time."""
    page = b"".join(b'fickle{id="@-%d"} 1\n' % n for n in range(samples))

    def behave(server, one):
        path, _ = server.request(one)
        answer(one, page.replace(b"@", b"%d" % server.asked[path]))

    return behave


def html(server, one):
    server.request(one)
    answer(one, b"<html><body>Welcome</body></html>\n", "text/html; charset=utf-8")


def poison(server, one):
    server.request(one)
    answer(one, b"\x00\xff not a metric \xfe\n" * 20_000)


def unwell(server, one):
    server.request(one)
    answer(one, b"sorry", status="503 Service Unavailable")


def flapping(server, one):
    path, _ = server.request(one)
    if server.asked[path] % 2:
        answer(one, b"", status="500 Internal Server Error")
    else:
        answer(one, PAGE)


HOSTILE = {
    behave.__name__: behave
    for behave in (
        hang, hang_before_reading, trickle, endless_headers, reset, short, garbage, loop, html,
        poison, unwell,
    )
}  # fmt: skip
