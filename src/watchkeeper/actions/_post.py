"""One bounded HTTP POST, for actions that speak HTTP.

A receiver cannot make us wait longer than one deadline (not even by sending a byte now and then),
read more than 64 KiB, or go elsewhere: redirects are not followed, and proxies, cookies and .netrc
of the environment are not looked at. That is why this stands on httpcore, the engine of httpx:
httpx has a time limit for each read, and none for the whole exchange.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpcore
from httpcore import SOCKET_OPTION

from watchkeeper.errors import ActionRefused, ActionRetry, ConfigError
from watchkeeper.model import Millis

READ_MAX = 64 * 1024  # bytes of an answer
RETRY = frozenset({408, 425, 429})  # and every 5xx: the receiver may take it later


class Later(ActionRetry):
    """The receiver asked us to come back after some time.

    :param after: milliseconds.
    """

    def __init__(self, message: str, *, after: Millis, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.after = after


class Answer(NamedTuple):
    """What the receiver said. `text` is at most 64 KiB, with what is not UTF-8 replaced."""

    status: int
    text: str


def checked_url(url: str) -> str:
    """Return `url` when it can be posted to.

    :raises ConfigError: another scheme than http or https, no host, or credentials in it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"not a URL: {error}", hint="write https://host[:port]/path") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ConfigError("not an http or https URL", hint="write https://host[:port]/path")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"credentials in the URL for {parts.hostname}", hint="use a header or the secret"
        )
    if not url.isascii() or any(letter <= " " for letter in url):
        raise ConfigError(
            f"the URL for {parts.hostname} holds spaces or letters beyond ASCII",
            hint="percent-encode the path, write the host in punycode",
        )
    return url


def shown_url(url: str) -> str:
    """Return scheme and host only: paths of chat services carry their secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float,
    secrets: Iterable[str] = (),
) -> Answer:
    """Send `body` once and return the answer, when it is a success.

    :param timeout: seconds for the whole exchange.
    :param secrets: texts hidden in what we repeat of the answer: a receiver may echo a request.
    :raises ActionRetry: 408, 425, 429, 5xx, or no whole answer came in time; `after` is set when
        the receiver named a time.
    :raises ActionRefused: any other answer, a redirect among them.
    """
    where = shown_url(url)
    backend = _Bounded(time.monotonic() + timeout)
    lines = {"Host": urlsplit(url).netloc, "User-Agent": "watchkeeper", **headers}
    lines["Content-Length"] = str(len(body))
    try:
        with httpcore.ConnectionPool(
            ssl_context=_trust(), network_backend=backend, max_keepalive_connections=0
        ) as pool:
            limits = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
            with pool.stream(
                "POST", url, headers=[*lines.items()], content=body, extensions={"timeout": limits}
            ) as response:
                text = _read(response).decode("utf-8", "replace")
    except httpcore.TimeoutException as error:
        raise ActionRetry(
            f"{where}: no whole answer within {timeout:g} s", hint="is the receiver overloaded?"
        ) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError, UnicodeError) as error:
        raise ActionRetry(
            f"{where}: {_why(error)}", hint="is the receiver up, and does the address lead to it?"
        ) from error
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "<secret>")
    _judge(where, response, text)
    return Answer(response.status, text)


def _judge(where: str, response: httpcore.Response, text: str) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    said = f"{where}: HTTP {status}" + (f": {text.strip()[:200]}" if text.strip() else "")
    if status in RETRY or status >= 500:
        after = retry_after(dict(response.headers))
        if after is not None:
            raise Later(said, after=after)
        raise ActionRetry(said)
    if 300 <= status < 400:
        raise ActionRefused(said, hint="redirects are not followed: configure the final address")
    raise ActionRefused(said, hint="the receiver says that the order itself is wrong")


def retry_after(headers: Mapping[bytes, bytes]) -> Millis | None:
    """Return the milliseconds that a Retry-After header asks for (RFC 9110, 10.2.3)."""
    raw = {name.lower(): value for name, value in headers.items()}
    text = raw.get(b"retry-after", b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return Millis(int(text[:9]) * 1000)
    try:
        until = parsedate_to_datetime(text)
        # A date is by the receiver's clock; its own Date header cancels what the clocks differ.
        there = parsedate_to_datetime(raw[b"date"].decode("latin-1"))
    except (ValueError, TypeError, KeyError):
        return None
    until, there = (t if t.tzinfo else t.replace(tzinfo=UTC) for t in (until, there))
    return Millis(max(0, round((until - there).total_seconds() * 1000)))


def _read(response: httpcore.Response) -> bytes:
    """Read at most READ_MAX bytes; the rest is left on the wire and the connection closed."""
    body = b""
    for chunk in response.iter_stream():
        body += chunk
        if len(body) >= READ_MAX:
            break
    return body[:READ_MAX]


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__


@cache
def _trust() -> ssl.SSLContext:
    """The system's trust store, so that a company's own authority works; built once (20 ms)."""
    return ssl.create_default_context()


class _Bounded(httpcore.NetworkBackend):
    """Connects with the plain backend and lets nothing last beyond one deadline."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self.deadline, httpcore.ConnectTimeout)
        stream = self.plain.connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(stream, self.deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self.stream = stream
        self.deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _left(self.deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _left(self.deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self.deadline, httpcore.ConnectTimeout)
        return _Stream(self.stream.start_tls(ssl_context, server_hostname, left), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _left(deadline: float, late: type[httpcore.TimeoutException]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise late("the deadline of the whole exchange has passed")
    return left
