"""Sends requests over kept connections and measures how long each waits for its answer."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.ingest.payloads import Request

CONNECTIONS = 2
REMOTE_WRITE = (
    "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
    "X-Prometheus-Remote-Write-Version: 0.1.0\r\n"
)


@dataclass
class Sent:
    """What became of the requests of one connection, or of several."""

    samples: int = 0  # acknowledged
    waits: list[float] = field(default_factory=list)  # seconds, of each request
    refused: Counter[str] = field(default_factory=Counter)

    def wait(self, share: float) -> float:
        """Return the time within which that share of the requests was answered, ms."""
        ordered = sorted(self.waits)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def expect_all(name: str, sent: Sent) -> Sent:
    """Stop when a server refused something: what is not stored is cheap."""
    if sent.refused:
        raise SystemExit(f"{name} refused requests: {dict(sent.refused)}")
    return sent


class Connection:
    """One kept connection."""

    def __init__(self, port: int, path: str, headers: str = REMOTE_WRITE) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}"

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Send a request and return status and body of the answer."""
        self._socket.sendall(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode())
        self._socket.sendall(body)
        told = b""
        while b"\r\n\r\n" not in told:
            told += self._more()
        head, _, rest = told.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        while len(rest) < int(length or b"0"):
            rest += self._more()
        return int(head[9:12]), rest

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        part = self._socket.recv(1 << 16)
        if not part:
            raise SystemExit("the server has closed a connection")
        return part


def send(
    port: int, path: str, requests: Sequence[Request], *, seconds: float, rate: float = 0.0
) -> Sent:
    """Send requests until all are answered or the time is up; each shard keeps to one connection.

    :param rate: samples a second, over all connections; a request's wait then counts from when it
        was due, whether or not the ones before it were answered by then. 0: as fast as may be.
    """
    every = [Sent() for _ in range(CONNECTIONS)]
    threads = [
        threading.Thread(
            target=_send,
            args=(port, path, [r for r in requests if r.shard % CONNECTIONS == n], one),
            kwargs={"seconds": seconds, "rate": rate / CONNECTIONS},
        )
        for n, one in enumerate(every)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Sent()
    for one in every:
        whole.samples += one.samples
        whole.waits += one.waits
        whole.refused += one.refused
    return whole


def _send(
    port: int, path: str, requests: Sequence[Request], sent: Sent, *, seconds: float, rate: float
) -> None:
    connection = Connection(port, path)
    begun, offered = time.perf_counter(), 0
    for request in requests:
        due = time.perf_counter()
        if rate:
            late = due - (begun + offered / rate)
            due -= late
            if late < 0:
                time.sleep(-late)
        if time.perf_counter() - begun > seconds:
            break
        status, said = connection.post(request.body)
        sent.waits.append(time.perf_counter() - due)
        offered += request.samples
        if status < 300:
            sent.samples += request.samples
        else:
            sent.refused[f"{status} {said[:200]!r}"] += 1
    connection.close()
