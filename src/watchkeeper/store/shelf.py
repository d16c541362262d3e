"""Folders of files that stand in their place whole or not at all: what was made, and is kept.

A folder is filled beside its place under a name that begins with a dot, synced, and renamed. So
whoever lists the shelf sees whole folders only, whatever ended the process and when.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from watchkeeper.errors import OutputError
from watchkeeper.model import canonical
from watchkeeper.store.placed import sync

CARD = "made.json"  # in each folder: what it holds
Writes = Callable[[Path], object]  # puts one file at a path

log = structlog.get_logger("watchkeeper")


def _nothing(point: str) -> None:
    """Go on. Crash tests put something deadlier here."""


crash_point: Callable[[str], None] = _nothing


class Shelf:
    """Folders `<name>/<stamp>` below one folder. One thread writes; any may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(
        self,
        name: str,
        stamp: str,
        files: Mapping[str, Writes],
        facts: Mapping[str, Any],
        confirm: Callable[[Mapping[str, Any]], object],
    ) -> None:
        """Write files into a folder of their own, with a card: the facts, and what each file is.

        :param confirm: given the card when all is durable and nothing is to be seen yet; what it
            raises leaves nothing behind.
        :raises OutputError: they cannot be written there.
        """
        place = self.folder / name / stamp
        beside = place.with_name(f".{stamp}")
        try:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            for file, write in files.items():
                write(beside / file)
                sync(beside / file)
                crash_point(f"written {file}")
            card = {**facts, "files": [_described(beside / file) for file in files]}
            (beside / CARD).write_text(canonical(card), "utf-8")
            sync(beside / CARD)
            crash_point(f"written {CARD}")
            sync(beside)
            confirm(card)
            crash_point("confirmed")
            beside.rename(place)
            sync(place.parent)
            sync(self.folder)
        except OSError as error:
            raise OutputError(
                f"{place}: {error.strerror}", hint="is there room, and is the folder ours?"
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def names(self) -> list[str]:
        """Return the names under which something may stand."""
        return self._inside(self.folder)

    def stamps(self, name: str) -> list[str]:
        """Return what stands under a name, newest first."""
        return self._inside(self.folder / name)[::-1]

    def card(self, name: str, stamp: str) -> dict[str, Any] | None:
        """Return what a folder says it holds; None when there is no such folder of ours."""
        try:
            found = json.loads((self.folder / name / stamp / CARD).read_bytes())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def body(self, name: str, stamp: str, file: str) -> bytes | None:
        """Return one file; None when it is not there any more."""
        try:
            return (self.folder / name / stamp / file).read_bytes()
        except OSError:
            return None

    def keep(self, name: str, count: int) -> None:
        """Delete all but the newest of a name."""
        for stamp in self.stamps(name)[count:]:
            gone = self.folder / name / f".{stamp}"
            try:
                (self.folder / name / stamp).rename(gone)  # nobody lists a half of it
            except OSError as error:
                log.warning("not_deleted", error=f"{gone}: {error.strerror}")
            shutil.rmtree(gone, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what a process left behind that was ended in the middle."""
        for name in self.names():
            for left in (self.folder / name).glob(".*"):
                shutil.rmtree(left, ignore_errors=True)

    def _inside(self, folder: Path) -> list[str]:
        try:
            return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        except OSError:
            return []


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"file": path.name, "size": path.stat().st_size, "sha256": sha256}
