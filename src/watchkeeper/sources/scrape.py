"""Pages that Prometheus would scrape: exporters, and programs that show their own metrics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.exchange import checked_url
from watchkeeper.identity import Identity, Key
from watchkeeper.model import Cursor, Millis
from watchkeeper.secret import Secret
from watchkeeper.sources import Collected, Target
from watchkeeper.sources._discovery import LIST_MAX, Discovery, Endpoint, Ways, endpoint
from watchkeeper.sources._exposition import Reader
from watchkeeper.sources._fetch import Client, Credentials
from watchkeeper.sources._rounds import Rounds

OPENMETRICS = "application/openmetrics-text"
ACCEPT = f"{OPENMETRICS};version=1.0.0,{OPENMETRICS};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"  # noqa: E501  as Prometheus sends it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """Asks pages in the text format of Prometheus or in OpenMetrics.

    :param targets: `host:port`, or whole URLs.
    :param files: patterns of files that list targets (Prometheus' file_sd, JSON or YAML).
    :param http: URLs that list targets (Prometheus' http_sd).
    :param scheme: how to ask a `host:port`. :param path: where its page is.
    :param job: the label `job` of every sample. :param labels: more labels for every sample.
    :param honor_labels: whether a page's own label wins over one of ours; else it is kept as
        `exported_<label>`.
    :param interval: seconds from one question to the next.
    :param timeout: seconds one question may take; at most 0.8 of the interval.
    :param body_bytes: bytes of one page after unpacking; the rest is quarantined as one.
    :param sample_limit: samples of one page; the rest is quarantined as one.
    :param label_limit: labels of one line.
    :param follow_redirects: how many redirects are followed.
    :param basic_auth_user: whom to say we are. :param basic_auth_password: never printed.
    :param bearer_token: shown instead of a user and a password; never printed.
    :param ca_file: certificates (PEM) of the authorities to believe instead of the system's.
    :param name: the collector's name in the journal.
    :raises ConfigError: nothing to scrape, or a field that cannot be used.
    """

    targets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    http: tuple[str, ...] = ()
    scheme: Literal["http", "https"] = "http"
    path: str = "/metrics"
    job: str = "scrape"
    labels: Mapping[str, str] = field(default_factory=dict)
    honor_labels: bool = False
    interval: float = 60.0
    timeout: float = 10.0
    body_bytes: int = 16 << 20
    sample_limit: int = 100_000
    label_limit: int = 64
    follow_redirects: int = 0
    basic_auth_user: str = ""
    basic_auth_password: Secret = Secret()
    bearer_token: Secret = Secret()
    ca_file: str = ""
    name: str = "scrape"

    def __post_init__(self) -> None:
        if not (self.targets or self.files or self.http):
            raise ConfigError("scrape: nothing to scrape", hint="give targets, files or http")
        if not self.path.startswith("/"):
            raise ConfigError(f"scrape: path {self.path!r} does not begin with /")
        for what in ("interval", "timeout", "body_bytes", "sample_limit", "label_limit"):
            if not getattr(self, what) > 0:
                raise ConfigError(f"scrape: {what} is not above 0")
        for url in self.http:
            checked_url(url)
        for text in self.targets:
            try:
                endpoint(text, {}, self.ways(), Identity())
            except InputError as error:
                raise ConfigError(f"scrape: {error.args[0]}", hint=error.hint) from None
        self.credentials()

    @property
    def sampled(self) -> bool:
        """What waits is handed on; the rounds have their own times."""
        return False

    def open(self, cursor: Cursor | None) -> Rounds:
        """Begin the rounds; what was missed while nobody asked cannot be had any more."""
        return Rounds(Scraper(self), cursor)

    def ways(self) -> Ways:
        """Return how a `host:port` is asked."""
        return Ways(self.scheme, self.path, self.job, self.labels)

    def credentials(self) -> Credentials:
        """Return what pages want to see."""
        return Credentials(
            self.basic_auth_user, self.basic_auth_password, self.bearer_token, self.ca_file
        )


Page = tuple[str, tuple[tuple[str, str], ...]]


class Scraper:
    """One scrape at work. See `sources.Collector`."""

    def __init__(self, scrape: Scrape) -> None:
        self.name, self.interval, self.timeout = scrape.name, scrape.interval, scrape.timeout
        self._scrape, self._identity = scrape, Identity()
        self._client = Client(scrape.credentials(), scrape.body_bytes, scrape.follow_redirects)
        self._lists = Client(Credentials(ca_file=scrape.ca_file), LIST_MAX)
        self._discovery = Discovery(
            scrape.ways(), self._identity, scrape.targets, scrape.files, scrape.http,
            self._lists, scrape.timeout,
        )  # fmt: skip
        self._readers: dict[Page, Reader] = {}

    def targets(self) -> Sequence[Target]:
        """Return the pages there are now; what was remembered of others is forgotten."""
        found = self._discovery.targets()
        for gone in set(self._readers) - {_page(one) for one in found}:
            del self._readers[gone]
        return found

    def collect(self, target: Target, deadline: float) -> Collected:
        """Ask for one page and read it."""
        assert isinstance(target, Endpoint)
        at = Millis(time.time_ns() // 1_000_000)
        allowed = f"{max(0.0, deadline - time.monotonic()):.3f}"
        headers = {"Accept": ACCEPT, "X-Prometheus-Scrape-Timeout-Seconds": allowed}
        page = self._client.get(target.url, headers, deadline)
        if page.kind.startswith("text/html"):
            raise InputError(f"{target.name}: a page for people (text/html), not of metrics")
        reader = self._readers.get(_page(target))
        if reader is None:
            reader = self._readers[_page(target)] = self._reader(target)
        openmetrics = page.kind.startswith(OPENMETRICS)
        return reader.read(
            page.body, at, target.name,
            openmetrics=openmetrics, cut=page.cut, deadline=deadline,
        )  # fmt: skip

    def cancel(self) -> None:
        """End the questions under way."""
        self._client.cancel()
        self._lists.cancel()

    def _reader(self, target: Endpoint) -> Reader:
        ours, honor, key = dict(target.page_labels), self._scrape.honor_labels, self._identity.key

        def name(metric: str, labels: Mapping[str, str]) -> Key:
            return key(metric, joined(labels, ours, honor=honor), target.entity)

        return Reader(name, self._scrape.label_limit, self._scrape.sample_limit)


def _page(target: Endpoint) -> Page:
    return target.url, target.page_labels


def joined(said: Mapping[str, str], ours: Mapping[str, str], *, honor: bool) -> dict[str, str]:
    """Return the labels of a line and ours, as Prometheus joins them; empty ones are none.

    :param honor: what the line says wins; else it is kept as `exported_<label>`.
    """
    own = {label: value for label, value in said.items() if value}
    if honor:
        return {**ours, **own}
    clear = {label: value for label, value in own.items() if label not in ours}
    for label in sorted(own.keys() & ours.keys()):
        moved = f"exported_{label}"
        while moved in clear or moved in ours:
            moved = f"exported_{moved}"
        clear[moved] = own[label]
    return {**clear, **ours}


plugin = Scrape
