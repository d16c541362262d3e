"""Where a journal begins: with nothing, or with the state that retention left."""

from __future__ import annotations

from watchkeeper.core import checkpoint
from watchkeeper.core.fold import Fold, Reread
from watchkeeper.engines import Engine
from watchkeeper.errors import Removed, StoreVersion, VerifyError
from watchkeeper.journal import Base, Journal
from watchkeeper.ledger import Ledger
from watchkeeper.model import Checkpoint, Millis, canonical

BASE = "base"  # of links of the audit chain: a state that may once stand for all before it


def begun(journal: Journal, reread: Reread, engine: Engine) -> Fold:
    """Return the core as it is before the oldest entry.

    :raises StoreVersion: entries were removed, and another version kept the state before the rest.
    """
    fold, base = Fold(reread, engine), journal.base()
    if base is not None:
        restored = checkpoint.load(base[0], reread)
        if restored is None:
            raise StoreVersion(
                f"the journal begins after entry {base[0].offset}, with a state that another"
                " version wrote",
                hint="use the release that wrote it",
            )
        fold.rulebook, fold.state = restored
    return fold


def named(journal: Journal, ledger: Ledger) -> Checkpoint | None:
    """Return the state that a journal begins with, if any.

    Every state that is kept must be whole, and one that the chain names: that also of a journal
    that was not cut yet, because it will be.

    :raises VerifyError: the chain does not name one. :raises CorruptionError: one is not whole.
    """
    said = {told(base, journal.state(base)[1]): base for base in journal.bases()}
    for link in ledger.links() if said else ():
        if link.kind == BASE:
            said.pop(link.body, None)
    for base in said.values():
        raise VerifyError(
            f"the state that stands for the journal up to entry {base.offset} is not one that the"
            " ledger's chain names",
            hint="it was changed, or comes from another folder; restore a backup",
        )
    begins = journal.base()
    return begins[0] if begins is not None else None


def told(base: Base, sha256: str) -> str:
    """Return what the audit chain says of a state that is kept."""
    return canonical(
        {"offset": base.offset, "tick": base.tick, "series": base.series, "sha256": sha256}
    )


def reaches(journal: Journal, at: Millis) -> None:
    """Return if what was concluded at a time can be derived again.

    :raises Removed: retention removed what it follows from.
    """
    base = journal.base()
    if base is not None and at <= base[0].tick:
        raise Removed(
            f"what was concluded up to {base[0].tick} (ms since 1970) can no longer be derived:"
            f" retention removed the journal up to entry {base[0].offset}",
            hint="ask for a later time, or restore a backup that still has it",
        )
