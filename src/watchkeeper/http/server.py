"""The server: uvicorn with its lines drawn. One thread, one event loop, one port."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from watchkeeper.http._gate import ENDLESS, PEER

HEAD = 15.0  # seconds in which a request's head must have come
BODY = 35.0  # seconds in which its body must have; `receive` answers a little before
KEEP = 75.0  # seconds an idle connection is kept; longer than most senders' intervals
HEAD_BYTES = 64 << 10
AHEAD = 128 << 10  # bytes of a body that may be here before somebody takes them
LINGER = 2  # seconds for the last answers to leave
SPARE = 48  # open files that clients may not take from stores, sources and actions
FEWEST = 8  # connections that are taken however few files there may be


class Bounded(HttpToolsProtocol):
    """Ends connections whose requests do not arrive in time, or have too large a head.

    Also after an early answer: what is left of a refused body is read over, so that the client
    sees the answer and can go on, but not for ever.
    """

    _due: float | None = None  # by when what is awaited must have come; seconds of the loop
    _timer: asyncio.TimerHandle | None = None  # fires by then, or earlier and looks again
    _fires = 0.0
    _head_bytes = 0
    _in_body = False
    _peer = ""  # the common name of the client's certificate

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head; a connection too many is closed at once."""
        super().connection_made(transport)
        self._peer = common_name(transport.get_extra_info("peercert"))
        if len(self.connections) > most_connections():
            self._end()
        else:
            self._expect(HEAD)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, and begin to wait for the rest of a new one."""
        if not self._in_body:
            self._head_bytes += len(data)
            if self._due is None:
                self._expect(HEAD)
        super().data_received(data)
        if not self._in_body and self._due is not None and self._head_bytes > HEAD_BYTES:
            self._end()

    def on_headers_complete(self) -> None:
        """The head is whole; the body is next."""
        self._in_body, self._head_bytes = True, 0
        self._expect(BODY)
        if self._peer:
            scope: Any = self.scope
            scope[PEER] = self._peer
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather the body. Who reads it is woken when it is whole or there is much of it.

        To be woken for each part of a request takes as long as to read it.
        """
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > AHEAD:
            self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        self._forget()
        super().on_message_complete()

    def shutdown(self) -> None:
        """End an answer that has no end, and let any other be finished."""
        super().shutdown()
        scope: Any = getattr(self, "scope", None) or {}
        if scope.get(ENDLESS):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._forget()
        self._disarm()
        super().connection_lost(exc)

    def _expect(self, seconds: float) -> None:
        """Wait so long. One timer serves many waits: to make one costs more than to look again."""
        self._due = self.loop.time() + seconds
        if self._timer is None or self._due < self._fires:
            self._disarm()
            self._arm(self._due)

    def _forget(self) -> None:
        self._due = None

    def _arm(self, when: float) -> None:
        self._fires, self._timer = when, self.loop.call_at(when, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """End what is late; look again when what is awaited since then would be."""
        self._timer = None
        if self._due is not None and self.loop.time() >= self._due:
            self._end()
        elif self._due is not None:
            self._arm(self._due)

    def _end(self) -> None:
        self._forget()
        if not self.transport.is_closing():
            self.transport.close()


def most_connections() -> int:
    """Return how many connections may be open, so that the house itself lacks no open files."""
    return max(FEWEST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE)


def common_name(certificate: Mapping[str, Any] | None) -> str:
    """Return the common name in a certificate whose signature was checked; empty without."""
    named = [
        value
        for part in (certificate or {}).get("subject", ())
        for name, value in part
        if name == "commonName"
    ]
    return str(named[-1]) if named else ""


def serve(
    app: ASGIApp, door: socket.socket, tls: ssl.SSLContext | None = None
) -> Callable[[], None]:
    """Serve `app` on an open port, on a thread; return a function that ends it."""
    config = uvicorn.Config(
        app,
        http=Bounded,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(KEEP),
        timeout_graceful_shutdown=LINGER,
    )
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([door],), name="http", daemon=True)
    thread.start()

    def end() -> None:
        server.should_exit = True
        thread.join(LINGER + 3)
        door.close()

    return end
