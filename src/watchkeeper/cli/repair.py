"""Mend a data folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from watchkeeper.cli._terminal import Output, emit, now, progress


def repair(
    *, data: Path = Path("watchkeeper-data"), yes: bool = False, output: Output = "text"
) -> int:
    """Say what is broken in a data folder; with --yes, mend it.

    A journal is cut where it stops being whole. A ledger that does not hold is derived from the
    journal again, with what its chain still says of deliveries and of people. What is removed goes
    aside, into the folder `aside`. Stop the house first: with --yes nobody else may own the folder.

    Exit code 1 says that something is broken; with --yes, that it could not be mended.

    Examples:

      watchkeeper repair
      watchkeeper repair --data /var/lib/watchkeeper --yes

    Parameters
    ----------
    data
        Folder of journal and ledger.
    yes
        Do it; without, nothing is changed.
    output
        text or json.
    """
    from watchkeeper.cli._house import derive_silently
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.upkeep.repair import examine
    from watchkeeper.upkeep.repair import repair as mended

    derive_silently()
    engine = Local(workers=1)
    with progress("entries") as tell:
        if not yes:
            found = list(examine(data, read_rulebook, engine, tell))
            text = "\n".join(
                f"{one.what:<8} {one.found}\n{'':8} would {one.remedy}" for one in found
            )
            if found:
                text += "\nnothing was changed; --yes does it"
            facts = {"findings": [asdict(one) for one in found], "done": False}
            emit(output, facts, text or "nothing is broken")
            return 1 if found else 0
        done = mended(data, read_rulebook, engine, now(), tell)
    lines = [f"{one.what:<8} {one.found}\n{'':8} {one.remedy}: done" for one in done.findings]
    ledger = done.remade.rebuilt if done.remade is not None else None
    if ledger is not None:
        lines.append(
            f"ledger:  {ledger.steps} steps derived, {ledger.differ} of them other than before;"
            f" {ledger.receipts} deliveries known, {ledger.open} orders open,"
            f" {ledger.closed} closed unsent because nothing is known of them"
        )
    if done.aside is not None:
        lines.append(f"aside:   {done.aside}")
    facts = {
        "findings": [asdict(one) for one in done.findings],
        "done": True,
        "ledger": asdict(ledger) if ledger is not None else None,
        "aside": str(done.aside) if done.aside is not None else None,
    }
    emit(output, facts, "\n".join(lines) or "nothing is broken")
    return 0
