"""One bounded HTTP POST, for actions that speak HTTP.

A receiver cannot make us wait longer than one deadline (`exchange`), read more than 64 KiB, or go
elsewhere: redirects are not followed, and proxies, cookies and .netrc of the environment are not
looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import httpcore

from watchkeeper.errors import ActionRefused, ActionRetry, ConfigError
from watchkeeper.exchange import Bounded, checked_url, trust, why
from watchkeeper.model import Millis
from watchkeeper.secret import Secret, hidden

READ_MAX = 64 * 1024  # bytes of an answer
RETRY = frozenset({408, 425, 429})  # and every 5xx: the receiver may take it later


class Later(ActionRetry):
    """The receiver asked us to come back after some time.

    :param after: milliseconds.
    """

    def __init__(self, message: str, *, after: Millis, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.after = after


class Unknown(ActionRefused):
    """The receiver does not know us, or not any more: 401, 403."""


class Answer(NamedTuple):
    """What the receiver said. `text` is at most 64 KiB, with what is not UTF-8 replaced."""

    status: int
    text: str


def shown_url(url: str) -> str:
    """Return scheme and host only: paths of chat services carry their secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def address(url: Secret) -> str:
    """Return the URL to post to, as it is kept now.

    :raises ActionRetry: it cannot be had, or what it was changed to is no URL.
    """
    try:
        return checked_url(url.reveal())
    except ConfigError as error:
        raise ActionRetry(f"url: {error.args[0]}", hint=error.hint) from None


def words_of(url: str) -> list[str]:
    """Return the parts of a URL that may be its secret."""
    parts = urlsplit(url)
    return [part for part in (*parts.path.split("/"), parts.query) if len(part) > 8]


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
    :raises Unknown: 401 or 403.
    :raises ActionRefused: any other answer, a redirect among them.
    """
    where = shown_url(url)
    backend = Bounded(time.monotonic() + timeout)
    lines = {"Host": urlsplit(url).netloc, "User-Agent": "watchkeeper", **headers}
    lines["Content-Length"] = str(len(body))
    try:
        with httpcore.ConnectionPool(
            ssl_context=trust(), network_backend=backend, max_keepalive_connections=0
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
            f"{where}: {why(error)}", hint="is the receiver up, and does the address lead to it?"
        ) from error
    text = hidden(text, secrets)
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
    if status in (401, 403):
        raise Unknown(said, hint="the receiver does not know us: look at the secret")
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
