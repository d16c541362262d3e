"""A copy of a data folder that stands alone, made while the house runs.

Reports and history are copied first, then the accounts, the ledger and the journal, each as it is
at one moment: so the journal holds at least what the ledger has concluded, and the ledger what the
others name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from watchkeeper import __version__, pipeline, plugins
from watchkeeper.errors import BackupError, OutputError, StoreError, StoreLocked
from watchkeeper.journal import Journal
from watchkeeper.journal._bases import Bases
from watchkeeper.ledger import Ledger
from watchkeeper.model import Millis, canonical
from watchkeeper.store import file, swap
from watchkeeper.store.copy import copy
from watchkeeper.store.lock import held, let_go, take
from watchkeeper.store.placed import sync
from watchkeeper.store.shelf import Shelf

SCHEMA = "watchkeeper.backup/1"
MANIFEST = "manifest.json"
STORES = ("accounts.sqlite", "ledger.sqlite", "journal.sqlite")  # in this order
PLAIN = ("keys/ledger.key", "keys/evidence.key", "objectives.json", "configuration.json")
SHELVES = ("reports", "history")  # what was made and is kept: a folder a thing, see `store.shelf`
HEAD = "ledger.sqlite.head"
JOURNAL = "journal.sqlite"
PIECE = 1 << 20

Tell = Callable[[str, int, int | None], None]


def silent(_stage: str, _done: int, _all: int | None) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Manifest:
    """What a backup holds.

    :param entries: the last entry of the journal. :param arrived: when that came in.
    :param links: of the ledger's chain. :param head: the hash of the last of them.
    """

    version: str
    made: Millis
    entries: int
    arrived: Millis
    links: int
    head: str
    files: dict[str, tuple[int, str]]  # name -> size, SHA-256

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())


def back_up(data: Path, to: Path, now: Millis, tell: Tell = silent) -> Manifest:
    """Copy a data folder to `to`, whole or not at all; the house may run meanwhile.

    Every entry and every link of the copy is held against its checksum before it stands in place.

    :raises OutputError: `to` is there already, or cannot be written.
    :raises Unfinished: a command on the folder was cut off.
    :raises StoreError: there is nothing to copy, or what is there is damaged.
    """
    swap.unfinished(data)
    if to.exists() or to.is_symlink():
        raise OutputError(f"{to}: it is there already", hint="name a folder that is not there yet")
    if not (data / "journal.sqlite").exists():
        raise StoreError(f"{data}: there is no journal", hint="name a data folder: --data")
    beside = to.with_name(f"{to.name}.partial")
    with _fresh(beside), held(data / JOURNAL):
        try:
            manifest = _filled(data, beside, now, tell)
            file.crash_point("backup.filled")
            beside.rename(to)
            sync(to.absolute().parent)
        except OSError as error:
            raise OutputError(f"{to}: {error.strerror}", hint="choose another place") from error
    file.crash_point("backup.placed")
    return manifest


@contextmanager
def _fresh(beside: Path) -> Iterator[None]:
    """Own the place beside, empty; what a cut left there is dropped, and so is a failure."""
    try:
        beside.absolute().parent.mkdir(parents=True, exist_ok=True)
        lock = take(beside, "backup")
    except StoreLocked as error:
        raise OutputError(
            f"{beside}: another backup is being made there", hint="wait for it"
        ) from error
    except OSError as error:
        raise OutputError(f"{beside}: {error.strerror}", hint="choose another place") from error
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(mode=0o700)
        yield
    except OSError as error:
        raise OutputError(f"{beside}: {error.strerror}", hint="choose another place") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        with contextlib.suppress(OSError):
            beside.with_name(f"{beside.name}.lock").unlink()
        let_go(lock)


def _filled(data: Path, beside: Path, now: Millis, tell: Tell) -> Manifest:
    for name in PLAIN:
        if (data / name).exists():
            (beside / name).parent.mkdir(mode=0o700, exist_ok=True)
            shutil.copyfile(data / name, beside / name)
            (beside / name).chmod(0o600)
    for name in SHELVES:
        _shelf(Shelf(data / name), beside / name)
    for name in STORES:
        if name == "ledger.sqlite" and (data / HEAD).exists():
            shutil.copyfile(data / HEAD, beside / HEAD)  # before its ledger: it may lag, not lead
            (beside / HEAD).chmod(0o600)
        if (data / name).exists():
            copy(data / name, beside / name, partial(tell, name.removesuffix(".sqlite")))
            file.crash_point("backup.copied")
    _bases(data, beside)
    entries, arrived, links, head = _sound(beside, tell)
    files = {}
    for path in sorted(path for path in beside.rglob("*") if path.is_file()):
        files[str(path.relative_to(beside))] = (path.stat().st_size, sha256(path))
    manifest = Manifest(__version__, now, entries, arrived, links, head, files)
    (beside / MANIFEST).write_text(_spelled(manifest) + "\n", encoding="utf-8")
    for path in [*beside.rglob("*"), beside]:
        sync(path)
    return manifest


def _shelf(shelf: Shelf, beside: Path) -> None:
    """Copy what was made, before the ledger that names it; what goes meanwhile is left out."""
    for name in shelf.names():
        for stamp in shelf.stamps(name):
            there, copied = shelf.folder / name / stamp, beside / name / stamp
            try:
                shutil.copytree(there, copied, copy_function=shutil.copyfile)
            except (FileNotFoundError, shutil.Error):
                if there.exists():
                    raise
                shutil.rmtree(copied, ignore_errors=True)


def _bases(data: Path, beside: Path) -> None:
    """Copy the states that stand for what retention removed of the journal, if it has any."""
    there, copied = Bases(data / JOURNAL), Bases(beside / JOURNAL)
    for base in there.known():
        copied.put(base, [there.checkpoint(base)[0].body])


def _sound(folder: Path, tell: Tell) -> tuple[int, Millis, int, str]:
    """Hold every entry and link against its checksum; return how much there is."""
    with opened(folder) as (journal, ledger):
        total, arrived = journal.head(), Millis(0)
        for entry in pipeline.entries(journal):
            arrived = entry.arrived
            tell("check", entry.offset, total)
        links = ledger.prove() if ledger is not None else 0
        mark = ledger.watermark() if ledger is not None else None
        assert mark is None or mark.offset <= total, "the journal is copied after the ledger"
        return total, arrived, links, ledger.head().hash if ledger is not None else ""


@contextmanager
def opened(folder: Path, *, ledger: bool = True) -> Iterator[tuple[Journal, Ledger | None]]:
    """Open a folder's stores for reading; there may be no ledger, or none is asked for."""
    journal = plugins.load("journal", "sqlite")(path=folder / "journal.sqlite").open(read_only=True)
    conclusions: Ledger | None = None
    try:
        if ledger and (folder / "ledger.sqlite").exists():
            plug = plugins.load("ledger", "sqlite")
            conclusions = plug(path=folder / "ledger.sqlite").open(read_only=True)
        yield journal, conclusions
    finally:
        if conclusions is not None:
            conclusions.close()
        journal.close()


def read_manifest(folder: Path) -> Manifest:
    """Return what a backup says that it holds.

    :raises BackupError: it is none, or of a newer release.
    """
    path = folder / MANIFEST
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema"] != SCHEMA:
            raise BackupError(
                f"{path}: schema {facts['schema']!r}, this release reads {SCHEMA}",
                hint="restore it with the release that made it",
            )
        files = {str(one["name"]): (int(one["size"]), str(one["sha256"])) for one in facts["files"]}
        return Manifest(
            str(facts["version"]), Millis(facts["made"]), int(facts["entries"]),
            Millis(facts["arrived"]), int(facts["links"]), str(facts["head"]), files,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(
            f"{folder}: this is no backup ({error})", hint="name a folder that `backup` made"
        ) from error


def sha256(path: Path, into: Path | None = None) -> str:
    """Return the SHA-256 of a file; write its bytes into another on the way, if one is named."""
    sha = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(path.open("rb"))
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        target = into and stack.enter_context(os.fdopen(os.open(into, flags, 0o600), "wb"))
        while piece := source.read(PIECE):
            sha.update(piece)
            if target:
                target.write(piece)
    return sha.hexdigest()


def _spelled(manifest: Manifest) -> str:
    files = [
        {"name": name, "size": size, "sha256": digest}
        for name, (size, digest) in manifest.files.items()
    ]
    return canonical(
        {
            "schema": SCHEMA,
            "version": manifest.version,
            "made": manifest.made,
            "entries": manifest.entries,
            "arrived": manifest.arrived,
            "links": manifest.links,
            "head": manifest.head,
            "files": files,
        }
    )
