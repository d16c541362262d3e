"""Write journal and ledger of a data folder anew, from what of them is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watchkeeper.access.accounts import FILE, Accounts
from watchkeeper.core.fold import Reread
from watchkeeper.engines import Engine
from watchkeeper.errors import CorruptionError
from watchkeeper.journal._bases import Bases
from watchkeeper.journal._former import Former, Prefix, Rewrite, copied
from watchkeeper.ledger._former import believed
from watchkeeper.model import Millis
from watchkeeper.store import file, swap
from watchkeeper.upkeep.backup import Tell, opened
from watchkeeper.upkeep.rebuild import Rebuilt, rebuild

KEY = Path("keys") / "ledger.key"


@dataclass(frozen=True)
class Remade:
    """What became of a folder. :param aside: where the files before are."""

    prefix: Prefix | None
    rebuilt: Rebuilt
    aside: Path


def remake(
    data: Path,
    why: str,
    aside: str,
    reread: Reread,
    engine: Engine,
    now: Millis,
    tell: Tell,
    *,
    rewrite: Rewrite | None = None,
    journal_too: bool = True,
) -> Remade:
    """Write a new ledger, and a new journal too; swap them in. The caller owns the folder.

    :param rewrite: makes today's controls of older ones. :param journal_too: False: it is whole.
    :raises CorruptionError: nothing of the journal is whole.
    """
    folder = swap.begin(data)
    try:
        prefix = _journal(data, folder, rewrite, tell) if journal_too else None
        if prefix is not None and prefix.offset == prefix.floor:
            raise CorruptionError(
                f"{data / 'journal.sqlite'}: {prefix.damage}; not one entry is whole",
                hint="restore a backup",
            )
        file.crash_point("remake.journal")
        before = believed(data / "ledger.sqlite", data / KEY)
        with opened(folder if journal_too else data, ledger=False) as (journal, _):
            total = journal.head()
            rebuilt = rebuild(
                journal, folder / "ledger.sqlite", data / KEY, before, why, reread, engine, now,
                lambda offset: tell("ledger", offset, total),
            )  # fmt: skip
        file.crash_point("remake.ledger")
        if (data / FILE).exists():
            accounts = Accounts(data)
            accounts.unlink()
            accounts.close()
        if prefix is not None:  # what they knew is no longer what the journal says
            Bases(data / "journal.sqlite").drop_after(prefix.offset)
        return Remade(prefix, rebuilt, swap.commit(data, aside))
    finally:
        swap.drop(data)


def _journal(data: Path, folder: Path, rewrite: Rewrite | None, tell: Tell) -> Prefix:
    former = Former(data / "journal.sqlite")
    try:
        return copied(
            former, folder / "journal.sqlite", rewrite=rewrite,
            progress=lambda offset: tell("journal", offset, former.newest),
        )  # fmt: skip
    finally:
        former.close()
