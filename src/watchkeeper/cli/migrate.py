"""Carry a data folder of an older release on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from watchkeeper.cli._terminal import Output, emit, now, progress


def migrate(
    *, data: Path = Path("watchkeeper-data"), dry_run: bool = False, output: Output = "text"
) -> int:
    """Carry a data folder of an older release on under this one.

    The journal keeps every sample as it was. The ledger is derived again by the methods of this
    release; orders that only those would have given in the past are not sent. The files before go
    aside, and the release that wrote them proves them. Cut off, it changes nothing, or is finished
    by the next start. There is no way back but a backup: make one first.

    Examples:

      watchkeeper migrate --dry-run
      watchkeeper migrate --data /var/lib/watchkeeper

    Parameters
    ----------
    data
        Folder of journal and ledger.
    dry_run
        Say what would be done, and change nothing.
    output
        text or json.
    """
    from watchkeeper.cli._house import derive_silently
    from watchkeeper.config import carried_on, read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.upkeep.migrate import migrate as carried
    from watchkeeper.upkeep.migrate import plan

    derive_silently()
    with progress("entries") as tell:
        if dry_run:
            wanted, done = plan(data, carried_on, tell), None
        else:
            wanted, done = carried(data, carried_on, read_rulebook, Local(workers=1), now(), tell)
    facts = {
        **asdict(wanted),
        "needed": wanted.needed,
        "done": done is not None,
        "ledger": asdict(done.rebuilt) if done is not None else None,
        "aside": str(done.aside) if done is not None else None,
    }
    if not wanted.needed:
        emit(output, facts, f"nothing to do: {data} is of this release")
        return 0
    lines = [
        f"journal  layout {wanted.layout} to {wanted.layout_wanted}, {wanted.entries} entries",
        f"methods  {len(wanted.rulebooks)} rulebooks name older ones",
    ]
    if done is None:
        lines.append("nothing was changed; without --dry-run it is done")
    else:
        ledger = done.rebuilt
        lines += [
            f"ledger   {ledger.steps} steps derived, {ledger.differ} of them other than before;"
            f" {ledger.receipts} deliveries known, {ledger.open} orders open,"
            f" {ledger.closed} closed unsent",
            f"aside    {done.aside}: delete it when you no longer need to prove that era",
        ]
    emit(output, facts, "\n".join(lines))
    return 0
