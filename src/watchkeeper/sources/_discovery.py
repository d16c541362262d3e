"""Which pages there are to scrape: a list, files, and services that give lists.

Files and services use Prometheus' forms (file_sd, http_sd): groups of `targets` with `labels`.
Labels that begin with two underscores say how to ask (`__scheme__`, `__metrics_path__`,
`__param_<name>`) or are left out.
"""

from __future__ import annotations

import glob
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from watchkeeper.errors import ConfigError, InputError
from watchkeeper.exchange import checked_url
from watchkeeper.identity import Identity
from watchkeeper.sources import Target
from watchkeeper.sources._fetch import Client

LIST_MAX = 16 << 20  # bytes of one list
TARGETS_MAX = 100_000  # of one collector
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint(Target):
    """One page.

    :param url: where it is. :param page_labels: put on every line of it.
    """

    url: str = ""
    page_labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ways:
    """How a page is asked for when its target does not say."""

    scheme: str
    path: str
    job: str
    labels: Mapping[str, str]


class Discovery:
    """Finds pages, and remembers the files it has read.

    :param listed: `host:port` or URLs. :param files: patterns of files. :param services: URLs.
    :param timeout: seconds for all services together.
    """

    def __init__(
        self,
        ways: Ways,
        identity: Identity,
        listed: Sequence[str],
        files: Sequence[str],
        services: Sequence[str],
        client: Client,
        timeout: float,
    ) -> None:
        self._ways, self._identity, self._client, self._timeout = ways, identity, client, timeout
        self._listed, self._files, self._services = listed, files, services
        self._read: dict[str, tuple[tuple[int, int, int], list[Endpoint]]] = {}

    def targets(self) -> list[Endpoint]:
        """Return all pages, each once.

        :raises InputError: a file or a service gives no list that can be used.
        """
        found = [endpoint(text, {}, self._ways, self._identity) for text in self._listed]
        found += self._of_files()
        deadline = time.monotonic() + self._timeout
        for url in self._services:
            page = self._client.get(url, {"Accept": "application/json"}, deadline)
            if page.cut:
                raise InputError(f"{url}: a list of more than {LIST_MAX >> 20} MiB")
            found += self._groups(_json(page.body, url), url)
        distinct = {one.name: one for one in reversed(found)}
        if len(distinct) > TARGETS_MAX:
            raise InputError(f"{len(distinct)} targets; at most {TARGETS_MAX} for one collector")
        return [distinct[name] for name in sorted(distinct)]

    def _of_files(self) -> list[Endpoint]:
        paths = sorted({path for pattern in self._files for path in glob.glob(pattern)})  # noqa: PTH207  patterns may be absolute
        read: dict[str, tuple[tuple[int, int, int], list[Endpoint]]] = {}
        for path in paths:
            try:
                about = Path(path).stat()
                mark = about.st_mtime_ns, about.st_size, about.st_ino
                known = self._read.get(path)
                if known is None or known[0] != mark:
                    known = mark, self._groups(_document(path, about.st_size), path)
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror}") from None
            read[path] = known
        self._read = read
        return [one for _, found in read.values() for one in found]

    def _groups(self, document: Any, where: str) -> list[Endpoint]:
        return [
            endpoint(text, labels, self._ways, self._identity)
            for text, labels in _listed_in(document, where)
        ]


def endpoint(text: str, labels: Mapping[str, str], ways: Ways, identity: Identity) -> Endpoint:
    """Return the page that a target names: `host:port`, or a URL with a path of its own.

    :raises InputError: it is neither.
    """
    scheme = labels.get("__scheme__", ways.scheme)
    path = labels.get("__metrics_path__", ways.path)
    url = text if "://" in text else f"{scheme}://{text}{path}"
    prefix = "__param_"
    asked = {name[len(prefix) :]: value for name, value in labels.items() if name[:8] == prefix}
    if asked:
        url += ("&" if urlsplit(url).query else "?") + urlencode(sorted(asked.items()))
    try:
        parts = urlsplit(checked_url(url))
    except ConfigError as error:
        named = text.rpartition("@")[2][:100]  # what stands before may be a password
        raise InputError(f"target {named!r}: {error.args[0]}", hint=error.hint) from None
    host = str(parts.hostname)
    shown = f"[{host}]" if ":" in host else host
    instance = f"{shown}:{parts.port or PORTS[parts.scheme]}"
    own = {n: v for n, v in {**ways.labels, **labels}.items() if v and not n.startswith("__")}
    page = {"job": ways.job, "instance": instance, **own}
    entity, _, attributes = identity.key("up", page, f"target:{instance}")
    name = url if "://" in text or asked or path != ways.path else instance
    return Endpoint(name, entity, host, orjson.loads(attributes), url, tuple(sorted(page.items())))


def _document(path: str, size: int) -> Any:
    if size > LIST_MAX:
        raise InputError(f"{path}: a list of more than {LIST_MAX >> 20} MiB")
    raw = Path(path).read_bytes()
    if path.endswith((".yml", ".yaml")):
        try:
            return YAML(typ="safe", pure=True).load(raw)
        except (YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
    return _json(raw, path)


def _json(raw: bytes, where: str) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InputError(f"{where}: not JSON: {error}") from None


def _listed_in(document: Any, where: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield targets and their labels."""
    wanted = "a list of groups {targets: [host:port, …], labels: {name: value}}"
    if not isinstance(document, list):
        raise InputError(f"{where}: is no {wanted}")
    for number, group in enumerate(document, 1):
        targets = group.get("targets") if isinstance(group, dict) else None
        labels = (group.get("labels") or {}) if isinstance(group, dict) else None
        if not (
            isinstance(targets, list)
            and all(isinstance(one, str) for one in targets)
            and isinstance(labels, dict)
            and all(isinstance(text, str) for pair in labels.items() for text in pair)
        ):
            raise InputError(f"{where}: group {number} is not one of {wanted}")
        for one in targets:
            yield one, labels
