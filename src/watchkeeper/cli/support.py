"""A bundle for whoever helps."""

from __future__ import annotations

import http.client
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchkeeper import __version__
from watchkeeper.cli._terminal import Output, emit, now, stamp

if TYPE_CHECKING:
    from watchkeeper.config import Config

PATIENCE = 5.0  # seconds for an answer of the running house
NAMED = ("SECRET", "TOKEN", "PASSWORD", "PASSWD", "KEY", "CREDENTIAL")
SHORTEST = 6  # characters of a variable's value that may be a secret


def support(
    *,
    out: Path,
    data: Path = Path("watchkeeper-data"),
    config: tuple[Path, ...] = (),
    log: Path | None = None,
    output: Output = "text",
) -> int:
    """Write a bundle for whoever helps: how things are, without telemetry and without secrets.

    Versions, the configuration with every secret masked, status, doctor, the metrics of the running
    house and the end of its log. No sample, no journal, no key, no account is in it. Names of hosts
    and targets are: read it before you hand it on.

    Examples:

      watchkeeper support --out support.tar.gz
      watchkeeper support --config watchkeeper.yaml --log house.log --out s.tar.gz

    Parameters
    ----------
    out
        The file to write.
    data
        Folder of journal and ledger.
    config
        Configuration files or folders.
    log
        The house's log, of which the last MiB is taken.
    output
        text or json.
    """
    from watchkeeper.cli._house import configured
    from watchkeeper.upkeep.support import end_of, write

    parts: dict[str, str] = {"about.json": _json(_about())}
    missing: dict[str, str] = {}

    def add(name: str, look: Callable[[], str]) -> Any:
        try:
            parts[name] = look()
        except Exception as error:  # what is broken is why somebody asks for help
            missing[name] = str(error) or repr(error)

    settings: list[Config] = []
    add("configuration.json", lambda: _masked(configured(config), settings))
    add("status.json", lambda: _status(data))
    add("doctor.json", lambda: _doctor(data))
    add("metrics.txt", lambda: _metrics(settings[0] if settings else None))
    if log is not None:
        add("log.txt", lambda: end_of(log))
    else:
        missing["log.txt"] = "no --log was named"
    parts["missing.json"] = _json(missing)
    known = tuple(
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and any(word in name.upper() for word in NAMED)
    )
    names = write(out, parts, known)
    lines = [f"wrote   {out}: {', '.join(names)}"]
    lines += [f"without {name}: {why}" for name, why in missing.items()]
    lines.append("read it before you hand it on; it names hosts and targets")
    emit(output, {"out": str(out), "files": names, "missing": missing}, "\n".join(lines))
    return 0


def _about() -> dict[str, Any]:
    packages = {one.name: one.version for one in distributions()}
    return {
        "watchkeeper": __version__,
        "made": stamp(now()),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "packages": dict(sorted(packages.items())),
    }


def _masked(settings: Config, seen: list[Config]) -> str:
    """Return every value that is written in the configuration, by its path."""
    seen.append(settings)
    values = {path: text for path, (text, _) in settings.written.values.items()}
    return _json({"files": [str(path) for path in settings.files], "values": values})


def _status(data: Path) -> str:
    from watchkeeper.cli.status import looked_up

    return _json(looked_up(data))


def _doctor(data: Path) -> str:
    from watchkeeper.cli.doctor import diagnose

    return _json([asdict(row) for row in diagnose(data)])


def _metrics(settings: Config | None) -> str:
    """Ask the running house; loopback reads need no token."""
    assert settings is not None, "the configuration cannot be used, so its address is not known"
    kind = http.client.HTTPSConnection if settings.tls else http.client.HTTPConnection
    line = kind(settings.listen.host, settings.listen.port, timeout=PATIENCE)
    try:
        line.request("GET", "/metrics")
        answer = line.getresponse()
        body = answer.read().decode(errors="replace")
    finally:
        line.close()
    assert answer.status == http.client.OK, f"/metrics answered {answer.status}"
    return body


def _json(facts: Any) -> str:
    return json.dumps(facts, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n"
