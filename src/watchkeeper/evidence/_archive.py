"""A tar file of which there is one spelling, so that no byte of it can change unseen.

Any tar program unpacks it. A header follows from the name and the size alone, padding is zeros,
and two empty blocks are the end: whatever differs from that is refused, with its place.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass
from typing import BinaryIO

from watchkeeper.errors import VerifyError

BLOCK = 512
CHUNK = 1 << 20
END = bytes(2 * BLOCK)
NAME_MAX = 64
HINT = "ask for the pack again; this one is not what was made"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive. :param at: where its bytes begin. :param sha256: hexadecimal."""

    name: str
    size: int
    sha256: str
    at: int


class Writer:
    """Writes one member after the other."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0
        self.members: list[Member] = []

    def add(self, name: str, body: bytes) -> None:
        """Write one file."""
        self._put(_header(name, len(body)))
        self.members.append(
            Member(name, len(body), hashlib.sha256(body).hexdigest(), self._at),
        )
        self._put(body)
        self._put(bytes(-len(body) % BLOCK))

    def end(self) -> None:
        """Write the end."""
        self._put(END)

    def _put(self, part: bytes) -> None:
        self._file.write(part)
        self._at += len(part)


def index(file: BinaryIO) -> list[Member]:
    """Read the whole archive once; return its members in order.

    :raises VerifyError: a byte outside the members' bytes is not as `Writer` writes it.
    """
    found: list[Member] = []
    names = set[str]()
    while True:
        at = file.tell()
        block = file.read(BLOCK)
        if block == END[:BLOCK]:
            _expect(file.read() == END[BLOCK:], at, "the end is not two empty blocks")
            return found
        name, size = _said(block, at)
        _expect(name not in names, at, f"{name!r} is there twice")
        names.add(name)
        sha256, left, begin = hashlib.sha256(), size, file.tell()
        while left:
            part = file.read(min(left, CHUNK))
            _expect(bool(part), at, f"{name} is cut")
            sha256.update(part)
            left -= len(part)
        padding = -size % BLOCK
        _expect(file.read(padding) == bytes(padding), at, f"what follows {name} is not empty")
        found.append(Member(name, size, sha256.hexdigest(), begin))


def content(file: BinaryIO, member: Member) -> bytes:
    """Return the bytes of a member, which are still those that were there before.

    :raises VerifyError: they changed meanwhile.
    """
    file.seek(member.at)
    body = file.read(member.size)
    if hashlib.sha256(body).hexdigest() != member.sha256:
        raise VerifyError(f"{member.name} changed while it was read", hint=HINT)
    return body


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _said(block: bytes, at: int) -> tuple[str, int]:
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        same = len(info.name) <= NAME_MAX and _header(info.name, info.size) == block
    except (tarfile.HeaderError, ValueError) as error:
        raise _broken(at, f"no header of a file: {error}") from error
    _expect(same, at, f"the header of {info.name!r} is not as it was written")
    return info.name, info.size


def _expect(holds: bool, at: int, what: str) -> None:
    if not holds:
        raise _broken(at, what)


def _broken(at: int, what: str) -> VerifyError:
    return VerifyError(f"evidence pack, at byte {at}: {what}", hint=HINT)
