"""What one HTTP exchange with a stranger keeps to: one deadline over all of it, whatever he does.

A server that sends a byte now and then cannot make us wait: every read and write gets only what is
left of the deadline. That is why this stands on httpcore, the engine of httpx: httpx has a time
limit for each read, and none for the whole exchange.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpcore
from httpcore import SOCKET_OPTION

from watchkeeper.errors import ConfigError


def checked_url(url: str) -> str:
    """Return `url` when it can be asked.

    :raises ConfigError: another scheme than http or https, no host, or credentials in it.
    """
    authority = url.partition("://")[2].partition("/")[0]
    if "@" in authority:  # looked at first, so that no message shows them
        host = authority.rpartition("@")[2]
        hint = "give them in fields of their own: headers, a secret, a password or token file"
        raise ConfigError(f"credentials in the URL for {host}", hint=hint)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"not a URL: {error}", hint="write https://host[:port]/path") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ConfigError("not an http or https URL", hint="write https://host[:port]/path")
    if not url.isascii() or any(letter <= " " for letter in url):
        raise ConfigError(
            f"the URL for {parts.hostname} holds spaces or letters beyond ASCII",
            hint="percent-encode the path, write the host in punycode",
        )
    return url


def why(error: BaseException) -> str:
    """Return what an error says, or its kind when it says nothing."""
    return str(error) or type(error).__name__


@cache
def trust(ca_file: str = "") -> ssl.SSLContext:
    """Return the system's authorities, or those of a file alone; built once (20 ms each).

    :raises OSError: the file cannot be used.
    """
    return ssl.create_default_context(cafile=ca_file or None)


class Bounded(httpcore.NetworkBackend):
    """Connects with the plain backend and lets nothing last beyond one deadline.

    :param deadline: `time.monotonic()` at which everything must be over.
    :param watch: told of every socket, so that it can be ended from outside; may refuse it by
        raising `httpcore.ConnectError`.
    """

    def __init__(
        self, deadline: float, watch: Callable[[socket.socket], None] = lambda _: None
    ) -> None:
        self.deadline, self.watch = deadline, watch
        self.plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect within what is left."""
        left = _left(self.deadline, httpcore.ConnectTimeout)
        stream = self.plain.connect_tcp(host, port, left, local_address, socket_options)
        return self.bounded(stream)

    def bounded(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """Return a stream that keeps to the deadline."""
        try:
            self.watch(stream.get_extra_info("socket"))
        except httpcore.ConnectError:
            stream.close()
            raise
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, backend: Bounded) -> None:
        self.stream, self.backend = stream, backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = _left(self.backend.deadline, httpcore.ReadTimeout)
        return self.stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _left(self.backend.deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self.backend.deadline, httpcore.ConnectTimeout)
        return self.backend.bounded(self.stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _left(deadline: float, late: type[httpcore.TimeoutException]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the deadline of the whole exchange has passed")
    return left
