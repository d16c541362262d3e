"""Derive everything again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from watchkeeper.cli._terminal import Output, emit, progress


def replay(*, out: Path, data: Path = Path("watchkeeper-data"), output: Output = "text") -> int:
    """Derive everything again from the journal, into a folder of results.

    Writes the same files as `score` (scores, health, decisions, quarantine, reports, run.json);
    the same journal always gives the same digest.

    Examples:

      watchkeeper replay --out again
      watchkeeper replay --data /var/lib/watchkeeper --out again --output json

    Parameters
    ----------
    out
        Folder to write; replaced whole when it holds an earlier run.
    data
        Folder of journal and ledger.
    output
        text or json.
    """
    from watchkeeper import rerun
    from watchkeeper.cli._house import stores
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local

    with stores(data) as (journal, _), progress("entries") as tell:
        total = journal.head()
        run: dict[str, Any] = rerun.replayed(
            journal, read_rulebook, Local(workers=1), out, str(data),
            lambda offset: tell("replay", offset, total),
        )  # fmt: skip
    text = f"{out}/report.html\ndigest {run['digest']}"
    if run["journal"]["first"] > 1:
        text += f"\nbegins with entry {run['journal']['first']}: retention removed what came before"
    emit(output, {"out": str(out), "digest": run["digest"], "counts": run["counts"]}, text)
    return 0
