"""Bring a backup back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from watchkeeper.cli._terminal import Output, emit, moment, now, progress, stamp

if TYPE_CHECKING:
    from watchkeeper.upkeep.restore import Until

ENTRIES = 1_000_000_000  # a smaller number is an entry; as seconds it would be before 2001


def restore(
    backup: Path,
    /,
    *,
    data: Path = Path("watchkeeper-data"),
    until: str = "",
    output: Output = "text",
) -> int:
    """Bring a backup back into an empty data folder, proven before it is put in place.

    Up to a moment: the journal ends there, and the ledger is derived from it again. What is known
    of deliveries and of the audit is kept, so nothing is sent twice because of it.

    Examples:

      watchkeeper restore /backup/monday --data /var/lib/watchkeeper
      watchkeeper restore /backup/monday --until 2026-11-20T03:12:00Z
      watchkeeper restore /backup/monday --until 1207

    Parameters
    ----------
    backup
        A folder that `backup` made.
    data
        The folder to make; it must be empty or not there.
    until
        The last moment of arrival, or the number of the last journal entry.
    output
        text or json.
    """
    from watchkeeper.cli._house import derive_silently
    from watchkeeper.config import read_rulebook
    from watchkeeper.engines.local import Local
    from watchkeeper.upkeep.restore import restore as brought_back

    derive_silently()
    end = _until(until) if until else None
    with progress("entries") as tell:
        done = brought_back(backup, data, end, read_rulebook, Local(workers=1), now(), tell)
    facts = {
        "data": str(data),
        "entries": done.entries,
        "arrived": stamp(done.arrived),
        "entries_in_backup": done.manifest.entries,
        "proven": done.proven,
        "ledger": asdict(done.rebuilt) if done.rebuilt is not None else None,
    }
    left = done.manifest.entries - done.entries
    lines = [f"restored: {done.entries} journal entries up to {stamp(done.arrived)} in {data}"]
    if left:
        lines.append(f"left out: {left} later entries of the backup")
    if done.rebuilt is not None:
        lines.append(
            f"ledger:   derived again, {done.rebuilt.steps} steps;"
            f" {done.rebuilt.receipts} deliveries known, {done.rebuilt.open} orders open"
        )
    if done.proven:
        lines.append("proven:   the ledger follows from the journal")
    else:
        lines.append("another release made it: `watchkeeper migrate` comes next")
    emit(output, facts, "\n".join(lines))
    return 0


def _until(text: str) -> Until:
    from watchkeeper.errors import ConfigError
    from watchkeeper.upkeep.restore import Until

    if text.isdecimal() and 0 < int(text) < ENTRIES:
        return Until(entry=int(text))
    try:
        return Until(time=moment(text))
    except ValueError as error:
        raise ConfigError(f"--until: {error}", hint="or the number of an entry") from error
