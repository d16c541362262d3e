"""A TCP proxy that answers for the one behind it, or breaks off, as it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

Fault = str  # "", "503", "429", "reset", "partial", "late", "gone"


class Proxy:
    """Lets requests through, unless it is told what to do to the next ones.

    * `503`, `429`: answers so by itself, and passes nothing on.
    * `reset`: takes the whole request, and resets the connection without passing it on.
    * `partial`: passes half of the request on, then resets both sides.
    * `late`: passes the request on and swallows the answer: the outcome is unknown to the sender.
    """

    def __init__(self, behind: int) -> None:
        self.behind, self._plan = behind, list[Fault]()
        self.done: list[Fault] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self._lock, self._over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def plan(self, *faults: Fault) -> None:
        """What becomes of the next requests, in this order."""
        with self._lock:
            self._plan += faults

    @property
    def left(self) -> int:
        """How many faults have not happened yet."""
        return len(self._plan)

    def close(self) -> None:
        """Let nobody in any more."""
        self._over.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        for thread in self._threads:
            thread.join()
        self._door.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            guest, _ = self._door.accept()
            thread = threading.Thread(target=self._serve, args=(guest,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, guest: socket.socket) -> None:
        guest.settimeout(0.2)
        with guest, contextlib.suppress(OSError, EOFError):
            while (request := self._whole(guest)) is not None:
                with self._lock:
                    fault = self._plan.pop(0) if self._plan else ""
                    if fault:
                        self.done.append(fault)
                if fault in ("503", "429"):
                    why = "Service Unavailable" if fault == "503" else "Too Many Requests"
                    head = f"HTTP/1.1 {fault} {why}\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
                    guest.sendall(head.encode())
                    continue
                if fault == "reset":
                    self._reset(guest)
                    return
                self._pass(guest, request, fault)

    def _pass(self, guest: socket.socket, request: bytes, fault: Fault) -> None:
        with socket.create_connection(("127.0.0.1", self.behind), 30) as host:
            host.settimeout(0.2)
            if fault == "partial":
                host.sendall(request[: len(request) // 2])
                self._reset(host)
                self._reset(guest)
                raise EOFError
            host.sendall(request)
            answer = self._whole(host)
            if answer is None or fault == "late":
                self._reset(guest)
                raise EOFError
            guest.sendall(answer)

    def _whole(self, line: socket.socket) -> bytes | None:
        """Return one message with its body; None when the other side is done."""
        said = b""
        while b"\r\n\r\n" not in said:
            said += self._more(line)
        head, _, body = said.partition(b"\r\n\r\n")
        length = 0
        for row in head.split(b"\r\n")[1:]:
            name, _, value = row.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += self._more(line)
        return head + b"\r\n\r\n" + body

    def _more(self, line: socket.socket) -> bytes:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                part = line.recv(1 << 16)
                if part:
                    return part
                break
        raise EOFError

    @staticmethod
    def _reset(line: socket.socket) -> None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()


@contextlib.contextmanager
def a_proxy(behind: int) -> Iterator[Proxy]:
    """Yield a proxy before a port."""
    proxy = Proxy(behind)
    try:
        yield proxy
    finally:
        proxy.close()
