"""One bounded HTTP GET, for sources that ask over HTTP.

A server cannot make us wait beyond one deadline (not even by sending a byte now and then), hold
more than so many bytes after unpacking, or send us elsewhere unless that was allowed, and never
with our credentials to another origin. Proxies, cookies and .netrc of the environment are not
looked at.
"""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import zlib
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import httpcore

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.exchange import Bounded, checked_url, trust, why
from watchkeeper.secret import Secret, changed

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Page(NamedTuple):
    """What a server said. :param cut: there was more than the limit; the rest is not here."""

    body: bytes
    kind: str  # content type, in lower case
    cut: bool


@dataclass(frozen=True)
class Credentials:
    """What a server wants to see before it answers. Never printed.

    :raises ConfigError: two ways at once, a user without a password, letters HTTP cannot carry, or
        a file of authorities that cannot be read.
    """

    user: str = ""
    password: Secret = Secret()
    token: Secret = Secret()
    ca_file: str = ""

    def __post_init__(self) -> None:
        if self.token and (self.user or self.password):
            raise ConfigError("both a bearer token and basic auth", hint="keep one of the two")
        if self.password and not self.user:
            raise ConfigError("a password without a user", hint="give basic_auth_user")
        self.headers()
        self.trust()

    def headers(self) -> dict[str, str]:
        """Return the header that shows them as they are now, if there are any.

        :raises ConfigError: they hold letters HTTP cannot carry.
        """
        if token := self.token.reveal():
            if not token.isascii() or any(letter <= " " for letter in token):
                raise ConfigError("the bearer token holds characters HTTP cannot carry")
            return {"Authorization": f"Bearer {token}"}
        if self.user:
            pair = f"{self.user}:{self.password.reveal()}"
            if ":" in self.user or not pair.isprintable():
                raise ConfigError("user or password hold characters basic auth cannot carry")
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}

    def trust(self) -> ssl.SSLContext:
        """Return whom we believe: the system's authorities, or those of the file alone."""
        try:
            return trust(self.ca_file)
        except OSError as error:
            raise ConfigError(
                f"cannot use ca_file {self.ca_file!r}: {error.strerror or error}",
                hint="give a readable file with certificates in PEM form",
            ) from None


class Client:
    """Asks servers, from many threads.

    :param body: bytes of one answer after unpacking; what is beyond is left.
    :param redirects: how many are followed.
    """

    def __init__(self, credentials: Credentials, body: int, redirects: int = 0) -> None:
        self._credentials, self._body, self._redirects = credentials, body, redirects
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._cancelled = False

    def get(self, url: str, headers: Mapping[str, str], deadline: float) -> Page:
        """Return what the server says with 200.

        :param deadline: `time.monotonic()` at which all of it must be here.
        :raises InputError: it says something else, nothing in time, or nothing we understand.
        """
        shown = self._credentials.headers()
        for _ in range(self._redirects + 1):
            found = self._once(url, {**headers, **shown}, deadline)
            if isinstance(found, Page):
                return found
            try:
                there = checked_url(urljoin(url, found))
            except (ConfigError, ValueError) as error:
                raise InputError(f"{_shown(url)}: redirect: {error.args[0]}") from None
            if _origin(there) != _origin(url):
                shown = {}
            if url.startswith("https:") and not there.startswith("https:"):
                raise InputError(f"{_shown(url)}: a redirect away from https", hint="refused")
            url = there
        raise InputError(
            f"{_shown(url)}: too many redirects",
            hint="configure the final address, or allow some with follow_redirects",
        )

    def cancel(self) -> None:
        """End all exchanges under way."""
        with self._lock:
            self._cancelled = True
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def _once(self, url: str, headers: Mapping[str, str], deadline: float) -> Page | str:
        """Ask once; return the page, or where a redirect leads."""
        where = httpcore.URL(url)
        origin = where.origin
        lines = {"Host": urlsplit(url).netloc, "User-Agent": "watchkeeper", **headers}
        lines["Accept-Encoding"], lines["Connection"] = "gzip", "close"
        sockets: set[socket.socket] = set()

        def watch(one: socket.socket) -> None:
            sockets.add(one)
            self._watch(one)

        backend = Bounded(deadline, watch)
        try:
            with (
                closing(
                    httpcore.HTTPConnection(
                        origin, ssl_context=self._credentials.trust(), network_backend=backend
                    )
                ) as connection,
                connection.stream("GET", where, headers=[*lines.items()]) as answer,
            ):
                return self._judged(_shown(url), answer)
        except httpcore.TimeoutException:
            raise InputError(f"{_shown(url)}: no whole answer in time") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, UnicodeError) as error:
            raise InputError(f"{_shown(url)}: {why(error)}") from None
        finally:
            with self._lock:
                self._sockets -= sockets

    def _judged(self, where: str, answer: httpcore.Response) -> Page | str:
        headers = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        if answer.status in REDIRECTS and b"location" in headers and self._redirects:
            return headers[b"location"]
        if answer.status in (401, 403):  # the next question is asked with what is kept by now
            changed((self._credentials.password, self._credentials.token))
        if answer.status != 200:
            hint = "redirects are not followed" if answer.status in REDIRECTS else ""
            raise InputError(f"{where}: HTTP {answer.status}", hint=hint)
        encoding = headers.get(b"content-encoding", "identity").strip().lower()
        if encoding not in {"identity", "", "gzip", "x-gzip"}:
            raise InputError(f"{where}: cannot unpack {encoding[:40]!r}")
        body, cut = self._read(where, answer, packed=encoding.endswith("gzip"))
        return Page(body, headers.get(b"content-type", "").lower(), cut)

    def _read(self, where: str, answer: httpcore.Response, *, packed: bool) -> tuple[bytes, bool]:
        """Return the body up to the limit, and whether there was more."""
        unpack = zlib.decompressobj(31)
        parts, left = [], self._body + 1
        for chunk in answer.iter_stream():
            try:
                plain = unpack.decompress(chunk, left) if packed else chunk[:left]
            except zlib.error as error:
                raise InputError(f"{where}: broken gzip: {error}") from None
            parts.append(plain)
            left -= len(plain)
            if left == 0:
                return b"".join(parts)[:-1], True
        if packed and not unpack.eof:
            raise InputError(f"{where}: the gzip stream ends too early")
        return b"".join(parts), False

    def _watch(self, one: socket.socket) -> None:
        with self._lock:
            if self._cancelled:
                raise httpcore.ConnectError("stopped")
            self._sockets.add(one)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _shown(url: str) -> str:
    """Return a URL without its query, which may carry a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"
