"""A report of what a data folder holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from watchkeeper.cli._terminal import When, progress, say


def report(
    *,
    data: Path = Path("watchkeeper-data"),
    format: Annotated[
        Literal["text", "html", "json"] | None, Parameter(name=["--format", "--output"])
    ] = None,
    out: Path | None = None,
    since: When = None,
    until: When = None,
) -> int:
    """Print or write a report of a running or stopped house.

    Derived from the journal, so signals are drawn with the band they were judged by.

    Examples:

      watchkeeper report
      watchkeeper report --out monday.html --since 2026-11-16 --until 2026-11-17

    Parameters
    ----------
    data
        Folder of journal and ledger.
    format
        text (default on stdout), html (default for a file) or json.
    out
        File to write; stdout without.
    since
        Begin of the window, RFC 3339 or epoch; everything without.
    until
        End of the window.
    """
    from watchkeeper import plugins, rerun
    from watchkeeper.cli._house import stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.results import put

    suffix = {".html": "html", ".json": "json", ".txt": "text"}.get(out.suffix if out else "")
    kind = format or suffix or ("html" if out else "text")
    with stores(data) as (journal, _), progress("entries") as tell:
        total = journal.head()
        findings = rerun.found(
            journal, read_rulebook, Local(workers=1), str(data), (since, until),
            lambda offset: tell("replay", offset, total),
        )  # fmt: skip
    body = plugins.load("reports", kind)().render(findings)
    if out is None:
        sys.stdout.buffer.write(body)
        return 0
    put(out, body)
    say(f"report  {out}")
    return 0
