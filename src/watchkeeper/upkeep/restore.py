"""Bring a backup back into an empty data folder, whole or up to a moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from watchkeeper import __version__, pipeline, plugins
from watchkeeper.access.accounts import FILE, Accounts
from watchkeeper.core.fold import Reread
from watchkeeper.engines import Engine
from watchkeeper.errors import BackupError, OutputError, StoreVersion
from watchkeeper.journal._entry import Stored
from watchkeeper.journal._former import Former, copied
from watchkeeper.ledger._former import believed
from watchkeeper.model import Millis, Offset, canonical
from watchkeeper.store import file, swap
from watchkeeper.upkeep.backup import Manifest, Tell, opened, read_manifest, sha256, silent
from watchkeeper.upkeep.rebuild import KIND, Rebuilt, rebuild

IGNORED = {"lost+found"}  # a disk of its own may be mounted at the folder
BASES = "journal.sqlite.bases/"
REBUILT = ("journal.sqlite", "ledger.sqlite", "ledger.sqlite.head")


@dataclass(frozen=True)
class Until:
    """How far a restore goes. :param entry: the last one, or :param time: of the last arrival."""

    entry: int | None = None
    time: Millis | None = None

    def over(self, row: Stored) -> bool:
        """Whether an entry comes too late."""
        if self.entry is not None:
            return row.offset > self.entry
        return self.time is not None and row.arrived > self.time


@dataclass(frozen=True)
class Restored:
    """What was brought back.

    :param proven: the ledger follows from the journal; False: another release made them, and
        `migrate` is next. :param rebuilt: of a restore up to a moment.
    """

    manifest: Manifest
    entries: int
    arrived: Millis
    proven: bool
    rebuilt: Rebuilt | None


def restore(
    source: Path,
    data: Path,
    until: Until | None,
    reread: Reread,
    engine: Engine,
    now: Millis,
    tell: Tell = silent,
) -> Restored:
    """Verify a backup, and put it in place as `data`, whole or not at all.

    :raises BackupError: it is not what was written. :raises OutputError: `data` is not empty.
    :raises VerifyError: the ledger in it does not follow from the journal in it.
    """
    manifest = read_manifest(source)
    _empty(data)
    with swap.owned(data):
        folder = swap.begin(data)
        try:
            _fetched(source, folder, manifest, until, tell)
            rebuilt = None
            if until is not None:
                rebuilt = _up_to(source, folder, until, reread, engine, now, tell)
            entries, arrived, proven = _proven(folder, manifest, reread, engine, tell)
            if until is None and proven:
                _noted(folder, manifest, now)
            file.crash_point("restore.proven")
            swap.commit(data, "restored")
        finally:
            swap.drop(data)
    return Restored(manifest, entries, arrived, proven, rebuilt)


def _empty(data: Path) -> None:
    try:
        data.mkdir(mode=0o755, parents=True, exist_ok=True)
        known = {swap.NEXT, "journal.sqlite.lock", "ledger.sqlite.lock"} | IGNORED
        there = sorted(path.name for path in data.iterdir() if path.name not in known)
    except OSError as error:
        raise OutputError(f"{data}: {error.strerror}", hint="choose another --data") from error
    swap.unfinished(data)
    if there:
        raise OutputError(
            f"{data}: it is not empty, {there[0]} is there",
            hint="move the folder away first, or name another --data",
        )


def _fetched(
    source: Path, folder: Path, manifest: Manifest, until: Until | None, tell: Tell
) -> None:
    """Copy the files, and hold each against the manifest."""
    done = 0
    for name, (size, digest) in sorted(manifest.files.items()):
        path, target = source / name, folder / name
        inside = target.resolve().is_relative_to(folder.resolve())
        if not inside or not path.is_file() or path.is_symlink():
            raise BackupError(f"{path}: it is missing", hint="take another backup")
        into: Path | None = target
        if until is not None and (name in REBUILT or name.startswith(BASES)):
            into = None
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.stat().st_size != size or sha256(path, into) != digest:
            raise BackupError(
                f"{path}: its bytes are not those that were written", hint="take another backup"
            )
        done += size
        tell("copy", done, manifest.size)
        file.crash_point("restore.copied")


def _up_to(
    source: Path, folder: Path, until: Until, reread: Reread, engine: Engine, now: Millis,
    tell: Tell,
) -> Rebuilt:  # fmt: skip
    """Write the journal up to a moment, and the ledger that follows from it."""
    former = Former(source / "journal.sqlite")
    try:
        prefix = copied(
            former, folder / "journal.sqlite", last=until.over,
            progress=lambda offset: tell("journal", offset, former.newest),
        )  # fmt: skip
    finally:
        former.close()
    if prefix.damage or prefix.offset == prefix.floor:
        raise BackupError(
            f"{source}: {prefix.damage or 'nothing is as old as that'}",
            hint="take another backup, or another moment",
        )
    file.crash_point("restore.cut")
    before = believed(source / "ledger.sqlite", source / "keys" / "ledger.key")
    with opened(folder, ledger=False) as (journal, _):
        done = rebuild(
            journal, folder / "ledger.sqlite", folder / "keys" / "ledger.key", before,
            f"restored up to entry {prefix.offset}", reread, engine, now,
            lambda offset: tell("ledger", offset, prefix.offset),
        )  # fmt: skip
    if (folder / FILE).exists():
        accounts = Accounts(folder)
        accounts.unlink()
        accounts.close()
    return done


def _proven(
    folder: Path, manifest: Manifest, reread: Reread, engine: Engine, tell: Tell
) -> tuple[int, Millis, bool]:
    """Prove the new ledger from the new journal; return entries, the last arrival, and whether."""
    try:
        with opened(folder) as (journal, ledger):
            total, arrived = journal.head(), Millis(0)
            for last in journal.read(Offset(max(total - 1, 0)), 1):
                arrived = last.arrived
            if ledger is not None:
                pipeline.verify(
                    journal, ledger, reread, engine, lambda offset: tell("prove", offset, total)
                )
            return total, arrived, True
    except StoreVersion:  # its bytes are those of the backup, whose maker has checked them
        return manifest.entries, manifest.arrived, False


def _noted(folder: Path, manifest: Manifest, now: Millis) -> None:
    """Let the audit chain say that everything before it came from a backup."""
    if not (folder / "ledger.sqlite").exists():
        return
    ledger = plugins.load("ledger", "sqlite")(path=folder / "ledger.sqlite").open()
    facts = {"done": "restored", "version": __version__, "backup_made": manifest.made,
             "links_before": manifest.links, "hash_before": manifest.head}  # fmt: skip
    ledger.note(KIND, now, canonical(facts))
    ledger.close()
