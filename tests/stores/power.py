"""A disk that can lose power or fail to sync, as a SQLite file system layer.

It keeps, for each file, what is on the disk for certain (the content at the last sync) and the
writes since then. At a power cut any subset of those writes has reached the disk, each 512-byte
sector by itself (the idea of SQLite's own test6.c). What a cut would leave can be kept at many
moments of one life, which goes on: nothing a cut leaves depends on what would have come after it.
A failing sync forgets its writes, as Linux
does: the page cache shows them, the disk does not hold them, and the next sync succeeds. Each open
file hears of the failure once (errseq, Linux 4.13): the one that synced at once, others when they
sync.

Files are known by their inode, so a rename keeps their history; renames and removals themselves
are taken as durable, because the stores sync the folder after each that matters.
"""

from __future__ import annotations

import contextlib
import random
import threading
import weakref
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

import apsw

SECTOR = 512
LOST, TORN = 0.35, 0.3  # shares of un-synced writes


Image = dict[str, bytes]  # what each file of the folder holds, by its name in it


class PowerIsOff(apsw.IOError):
    """The machine has no power: whatever was going on did not happen."""


class Cut(NamedTuple):
    """What a cut before this operation leaves, and what had been promised until then."""

    operation: int
    promised: tuple[int, ...]
    image: Image


class Disk(apsw.VFS):
    """A file system over the platform's own. One at a time is alive, under its own name.

    :param seed: decides which writes a cut loses and which syncs fail.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.random = name, random.Random(seed)
        self.certain: dict[int, bytes] = {}
        self.since: dict[int, list[tuple[int, bytes | None]]] = {}  # None: cut to this length
        self.operations, self.cut_at = 0, None
        self.sync_failure = 0.0  # share of syncs that fail
        self.failed_syncs = self.syncs = 0
        self.bad_syncs: range = range(0)  # which syncs fail for certain, counted from 1
        self.off = False
        self.image: Image = {}
        self.moments: Set[int] = frozenset()  # operations before which a cut's image is kept
        self.promised: tuple[int, ...] = ()  # what the user of the store has been told so far
        self.kept: list[Cut] = []
        self.folder: Path | None = None
        self.open: weakref.WeakSet[_File] = weakref.WeakSet()
        self.turn = threading.RLock()  # a checkpoint is made beside the writer
        super().__init__(name, "")

    def xOpen(self, name, flags):
        with self.turn:
            self.alive()
            return _File(self, name, flags)

    def xDelete(self, name, sync_folder):
        with self.turn:
            self.alive()
            super().xDelete(name, sync_folder)

    def alive(self) -> None:
        """Count one operation; cut the power when its turn has come."""
        if not self.off:
            self.operations += 1
            if self.operations in self.moments:
                self.kept.append(Cut(self.operations, self.promised, self._left()))
            if self.cut_at is not None and self.operations >= self.cut_at:
                self.cut()
        if self.off:
            raise PowerIsOff("the power is off")

    def cut(self) -> None:
        """Turn the power off and remember what the disk of this folder holds."""
        self.off = True
        self.image = self._left()

    def restore(self, folder: Path) -> None:
        """Lay what the disk held at the cut into another folder."""
        lay(self.image, folder)

    def _left(self) -> Image:
        """Return what this folder's files hold if the power goes now, by chance."""
        while True:
            # what is written beside us, and put in its place, has another name from then on
            with contextlib.suppress(FileNotFoundError):
                return self._found()

    def _found(self) -> Image:
        assert self.folder is not None
        image = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file() and not path.name.endswith("-shm"):  # that is memory, not disk
                inode = path.stat().st_ino
                known = inode in self.certain
                content = self._survives(inode) if known else path.read_bytes()
                image[str(path.relative_to(self.folder))] = content
        return image

    def _survives(self, inode: int) -> bytes:
        content = bytearray(self.certain[inode])
        for offset, data in self.since[inode]:
            chance = self.random.random()
            if data is None:
                if chance < 0.5:
                    del content[offset:]
                continue
            if chance < LOST:
                continue
            torn = chance > 1 - TORN
            for k in range(0, len(data), SECTOR):
                if torn and self.random.random() < 0.5:
                    continue
                _lay(content, offset + k, data[k : k + SECTOR])
        return bytes(content)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name, flags) -> None:
        self.disk, self.untold = disk, False
        super().__init__("", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.inode = Path(path).stat().st_ino
        if self.inode not in disk.certain or Path(path).stat().st_size == 0:
            disk.certain[self.inode] = b""
            disk.since[self.inode] = []
        disk.open.add(self)

    def xWrite(self, data, offset):
        with self.disk.turn:
            self.disk.alive()
            self.disk.since[self.inode].append((offset, bytes(data)))
            super().xWrite(data, offset)

    def xTruncate(self, length):
        with self.disk.turn:
            self.disk.alive()
            self.disk.since[self.inode].append((length, None))
            super().xTruncate(length)

    def xSync(self, flags):
        with self.disk.turn:
            self.disk.alive()
            waiting, self.disk.since[self.inode] = self.disk.since[self.inode], []
            self.disk.syncs += 1
            by_chance = self.disk.random.random() < self.disk.sync_failure
            untold, self.untold = self.untold, False
            if by_chance or self.disk.syncs in self.disk.bad_syncs:
                self.disk.failed_syncs += 1
                for other in self.disk.open:
                    other.untold |= other is not self and other.inode == self.inode
                untold = True
            if untold:
                raise apsw.IOError("EIO: the disk did not take it")
            content = bytearray(self.disk.certain[self.inode])
            for offset, data in waiting:
                if data is None:
                    del content[offset:]
                else:
                    _lay(content, offset, data)
            self.disk.certain[self.inode] = bytes(content)


def lay(image: Image, folder: Path) -> None:
    """Write an image's files into a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in image.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _lay(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
