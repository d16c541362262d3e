"""A report of what a data folder holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from watchkeeper.cli._terminal import When, progress, say

if TYPE_CHECKING:
    from watchkeeper.model import Millis
    from watchkeeper.reports import Scope


def report(
    *,
    data: Path = Path("watchkeeper-data"),
    entity: str = "",
    group: str = "",
    incident: str = "",
    evidence: bool = False,
    format: Annotated[
        Literal["text", "html", "json", "parquet"] | None, Parameter(name=["--format", "--output"])
    ] = None,
    out: Path | None = None,
    since: Annotated[When, Parameter(name=["--from", "--since"])] = None,
    until: Annotated[When, Parameter(name=["--to", "--until"])] = None,
    last: str = "",
) -> int:
    """Print or write a report of a running or stopped house.

    Derived from the journal, so signals are drawn with the band they were judged by.

    With --evidence it writes a signed pack of all that was seen and decided in the window, which
    anyone can prove with `watchkeeper verify --evidence`, without this machine.

    Examples:

      watchkeeper report
      watchkeeper report --group rack=r7 --last 24h --out rack.html
      watchkeeper report --incident host:web-1 --out incident.html
      watchkeeper report --out monday.html --from 2026-11-16 --to 2026-11-17
      watchkeeper report --evidence --from 2026-11-16T03:00:00Z --out pack.tar

    Parameters
    ----------
    data
        Folder of journal and ledger.
    entity
        Only this entity, `type:name`.
    group
        Only entities of this type, such as `host`, or with this label, such as `rack=r7`.
    incident
        One incident from its first word until it cleared: the newest of this entity, or the one
        with this key of a decision.
    evidence
        Write a pack of evidence instead.
    format
        text (default on stdout), html (default for a file), json or parquet.
    out
        File to write; stdout without.
    since
        Begin of the window, RFC 3339 or epoch; everything without.
    until
        End of the window.
    last
        Length of the window, such as 24h or 7d, up to the last tick unless --to says another end.
    """
    from watchkeeper.errors import InputError
    from watchkeeper.reports import SUFFIXES, Scope

    scope = Scope(entity, group, since, until, _length(last, since))
    if evidence:
        return _evidence(data, scope, out)
    kind = format or SUFFIXES.get(out.suffix if out else "") or ("html" if out else "text")
    if incident and scope != Scope():
        raise InputError(
            "an incident says itself which entity and time it is about",
            hint="leave --entity, --group, --from, --to and --last out",
        )
    return _written(data, incident or scope, kind, out)


def _written(data: Path, of: Scope | str, kind: str, out: Path | None) -> int:
    """Write the report of a part of the house, or of an incident, by its name."""
    from watchkeeper import plugins, rerun
    from watchkeeper.cli._house import stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.errors import OutputError
    from watchkeeper.store.placed import put

    if kind == "parquet" and out is None and sys.stdout.isatty():
        raise OutputError("a terminal cannot show Parquet", hint="say --out FILE")
    with stores(data) as (journal, ledger), progress("entries") as tell:
        total, engine = journal.head(), Local(workers=1)

        def done(offset: int) -> None:
            tell("replay", offset, total)

        if isinstance(of, str):
            findings = rerun.incident(journal, ledger, read_rulebook, engine, str(data), of, done)
        else:
            findings = rerun.found(journal, read_rulebook, engine, str(data), of, done)
    body = plugins.load("reports", kind)().render(findings)
    if out is None:
        sys.stdout.buffer.write(body)
        return 0
    put(out, body)
    say(f"report  {out}")
    return 0


def _evidence(data: Path, scope: Scope, out: Path | None) -> int:
    from watchkeeper.cli._house import stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.errors import OutputError
    from watchkeeper.evidence import make, private_key
    from watchkeeper.store.placed import placed

    if out is None:
        raise OutputError("a pack of evidence needs a file", hint="say --out pack.tar")
    if not scope.is_whole:
        raise OutputError(
            "a pack of evidence holds all entities of its window",
            hint="leave --entity and --group out: what one entity is depends on its peers",
        )
    with stores(data) as (journal, ledger), progress("entries") as tell, placed(out) as file:
        total = journal.head()
        until = scope.until
        if until is None and (mark := ledger.watermark()) is not None:
            until = mark.tick
        window = (_begin(scope, until), until)
        made = make(
            file, journal, ledger, read_rulebook, Local(workers=1),
            private_key(data / "keys" / "evidence.key"), window,
            lambda stage, offset: tell(stage, offset, total),
        )  # fmt: skip
    print(
        f"evidence  {out}: {made.entries} journal entries, {made.links} links,"
        f" {made.steps} steps, {made.decisions} decisions\n"
        f"key       {made.key}\n"
        "prove it  watchkeeper verify --evidence FILE --key KEY; tell the key by another way"
    )
    return 0


def _begin(scope: Scope, until: Millis | None) -> Millis | None:
    from watchkeeper.model import Millis

    if scope.since is None and scope.last is not None and until is not None:
        return Millis(max(0, until - scope.last))
    return scope.since


def _length(last: str, since: Millis | None) -> Millis | None:
    from watchkeeper.config._units import duration
    from watchkeeper.errors import InputError
    from watchkeeper.model import Millis

    if not last:
        return None
    length = duration(last)
    if not length:
        raise InputError(f"--last {last!r} is no duration", hint="such as 30m, 24h or 7d")
    if since is not None:
        raise InputError("--last and --from both say where to begin", hint="leave one out")
    return Millis(length)
