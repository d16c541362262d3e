"""Copy a data folder while the house runs."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.cli._terminal import Output, emit, now, progress, stamp


def backup(*, to: Path, data: Path = Path("watchkeeper-data"), output: Output = "text") -> int:
    """Copy a data folder while the house runs, whole or not at all.

    The copy is a data folder by itself: `verify --data` proves it. It holds the keys of the ledger
    and the accounts, so keep it as safe as the house. The configuration is not in it.

    Examples:

      watchkeeper backup --to /backup/monday
      watchkeeper backup --data /var/lib/watchkeeper --to /backup/monday

    Parameters
    ----------
    to
        The folder to make; it may not be there yet.
    data
        Folder of journal and ledger.
    output
        text or json.
    """
    from watchkeeper.upkeep.backup import back_up

    with progress("pages") as tell:
        made = back_up(data, to, now(), tell)
    facts = {
        "to": str(to),
        "made": stamp(made.made),
        "entries": made.entries,
        "arrived": stamp(made.arrived),
        "links": made.links,
        "head": made.head,
        "bytes": made.size,
        "files": sorted(made.files),
    }
    text = (
        f"copied: {made.entries} journal entries up to {stamp(made.arrived)} and {made.links}"
        f" ledger links, {made.size / (1 << 20):.1f} MiB\n"
        f"whole:  every entry and every link matches its checksum\n"
        f"in      {to}; it holds keys, keep it safe"
    )
    emit(output, facts, text)
    return 0
