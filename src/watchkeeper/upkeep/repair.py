"""Find what is broken in a data folder, and mend it without losing what may still be of use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from watchkeeper import pipeline
from watchkeeper.core.fold import Reread
from watchkeeper.engines import Engine
from watchkeeper.errors import CorruptionError, StoreVersion, VerifyError
from watchkeeper.journal._former import Former
from watchkeeper.journal._schema import LAYOUT
from watchkeeper.ledger._former import believed
from watchkeeper.ledger._head import KEY_BYTES
from watchkeeper.model import Millis
from watchkeeper.store import swap
from watchkeeper.upkeep.backup import Tell, opened, silent
from watchkeeper.upkeep.remake import KEY, Remade, remake

STRAY = (swap.NEXT, "*.new", "keys/*.new", "*.rewrite", "*.rewrite-*", ".objectives.json.*")
ASIDE = "repaired"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be.

    :param what: `swap`, `stray`, `key`, `journal` or `ledger`.
    :param remedy: what `repair --yes` does about it.
    """

    what: str
    found: str
    remedy: str


@dataclass(frozen=True)
class Repaired:
    """What was done. :param aside: where that is which was removed."""

    findings: tuple[Finding, ...]
    remade: Remade | None
    aside: Path | None


def examine(data: Path, reread: Reread, engine: Engine, tell: Tell = silent) -> Iterator[Finding]:
    """Yield what is broken; change nothing.

    :raises StoreVersion: another release wrote it, and `migrate` comes first.
    :raises StoreError: there is no journal.
    """
    if (data / swap.WHOLE).exists():
        yield Finding("swap", "a restore, repair or migration was cut off at its end", "finish it")
        return  # what stands there is half old, half new
    for path in _stray(data):
        yield Finding("stray", f"{path} belongs to nothing", "put it aside")
    key = data / KEY
    if key.exists() and key.stat().st_size != KEY_BYTES:
        found = f"{key} has {key.stat().st_size} bytes, a signing key has {KEY_BYTES}"
        yield Finding("key", found, "put it aside and make a new one")
    journal = _journal(data, tell)
    if journal is not None:
        yield journal
    ledger = _ledger(data, reread, engine, tell, journal is not None)
    if ledger:
        remedy = "derive it from the journal again; keep what is known of deliveries and people"
        yield Finding("ledger", ledger, remedy)


def repair(
    data: Path, reread: Reread, engine: Engine, now: Millis, tell: Tell = silent
) -> Repaired:
    """Mend what `examine` finds, all of it or nothing; what is removed goes aside.

    Cut off at any moment and called again, it ends the same.

    :raises CorruptionError: nothing of the journal is whole.
    """
    with swap.owned(data):
        finished = swap.finish(data)
        findings = tuple(examine(data, reread, engine, tell))
        kinds = {one.what for one in findings}
        aside = swap.free(data, ASIDE)
        remade = None
        if "key" in kinds:
            swap.set_aside(data, [KEY], aside)
        if "stray" in kinds:
            swap.set_aside(data, list(_stray(data)), aside)
        if kinds & {"journal", "ledger", "key"}:
            why = "; ".join(f"{one.what}: {one.found}" for one in findings if one.what != "stray")
            remade = remake(
                data, f"repaired, {why}", aside, reread, engine, now, tell,
                journal_too="journal" in kinds,
            )  # fmt: skip
        if finished:
            done = Finding("swap", "a command was cut off at its end", "finished it")
            findings = (done, *findings)
    kept = data / swap.ASIDE / aside
    return Repaired(findings, remade, kept if kept.exists() else None)


def _stray(data: Path) -> Iterator[Path]:
    for pattern in STRAY:
        for path in sorted(data.glob(pattern)):
            yield path.relative_to(data)


def _journal(data: Path, tell: Tell) -> Finding | None:
    former = Former(data / "journal.sqlite")
    try:
        if former.version != LAYOUT.version:
            raise StoreVersion(
                f"{data / 'journal.sqlite'}: schema version {former.version}, this program knows"
                f" {LAYOUT.version}",
                hint="`watchkeeper migrate` carries the folder on",
            )
        for row in former.rows():
            tell("journal", row.stored.offset, former.newest)
    finally:
        former.close()
    found = former.found
    if not found.damage:
        try:
            with opened(data, ledger=False) as (journal, _):
                for _ in journal.read(found.offset, 1):
                    pass
        except CorruptionError as error:
            found.damage = str(error.args[0])
    if not found.damage:
        return None
    lost = "an unknown number" if found.lost is None else found.lost
    remedy = f"keep entries 1 to {found.offset}; {lost} behind them go aside with the damaged file"
    return Finding("journal", found.damage, remedy)


def _ledger(data: Path, reread: Reread, engine: Engine, tell: Tell, cut: bool) -> str:
    """Return what is wrong with the ledger; empty when nothing is."""
    before = believed(data / "ledger.sqlite", data / KEY)
    if before.damage:
        return before.damage
    if cut:
        return "it must follow from the journal that is kept"
    with contextlib.ExitStack() as stack:
        try:
            journal, ledger = stack.enter_context(opened(data))
            assert ledger is not None, "there is one, and its chain holds"
            total = journal.head()
            pipeline.verify(
                journal, ledger, reread, engine, lambda offset: tell("verify", offset, total)
            )
            mark = ledger.watermark()
            if mark is not None and mark.offset > total:
                return f"it has concluded entry {mark.offset}, the journal ends at {total}"
        except StoreVersion:
            raise
        except (VerifyError, CorruptionError) as error:
            return str(error.args[0])
    return ""
