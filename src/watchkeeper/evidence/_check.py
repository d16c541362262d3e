"""Prove a pack of evidence from what is in it, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from watchkeeper import __version__
from watchkeeper.core import checkpoint
from watchkeeper.core.fold import Fold, Reread
from watchkeeper.engines import Engine
from watchkeeper.errors import ConfigError, StoreError, VerifyError
from watchkeeper.evidence._archive import Member, content, index
from watchkeeper.evidence._derive import Derived, derive
from watchkeeper.evidence._format import chained, entries_of, links_of
from watchkeeper.evidence._key import is_signed, trusted
from watchkeeper.evidence._make import SCHEMA
from watchkeeper.ledger import Link
from watchkeeper.model import Checkpoint, Entry, Millis, Offset

SEALED = ("manifest.json", "manifest.sig")  # the last two, in this order
MANIFEST_MAX = 64 << 20
SAID_MAX = 500  # characters of what others wrote, in a message
UNREADABLE = (
    AssertionError, ConfigError, StoreError, LookupError, TypeError, ValueError, OverflowError,
    RecursionError, AttributeError, OSError, MemoryError, pa.ArrowException,
)  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """What a pack was shown to be.

    :param key: the public key it is signed with.
    :param base: the entry up to which its signer vouches for the state; None: nothing is taken on
        trust but the journal's entries themselves.
    """

    version: str
    key: str
    since: Millis
    until: Millis
    base: Offset | None
    entries: int
    links: int
    steps: int
    decisions: int
    head: str


def check(
    file: BinaryIO,
    reread: Reread,
    engine: Engine,
    key: str = "",
    progress: Callable[[Offset], None] = lambda _: None,
) -> Checked:
    """Prove a pack: its signature, every byte, and every decision from the entries.

    :param key: the public key that the reader trusts; empty: the one that the pack names.
    :raises VerifyError: what does not hold first, by name.
    :raises InputError: `key` is no public key.
    """
    trust = trusted(key) if key else ""
    try:
        return _proven(file, reread, engine, trust, progress)
    except UNREADABLE as error:  # anyone can sign nonsense with a key of their own
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk; Arrow's own have no number
        raise VerifyError(
            f"the pack holds what version {__version__} would not write: {error!r}"[:SAID_MAX],
            hint="verify with the version that made it, or ask whoever signed it for another",
        ) from error


def _proven(
    file: BinaryIO, reread: Reread, engine: Engine, key: str, progress: Callable[[Offset], None]
) -> Checked:
    pack = _Pack(file, key)
    facts = pack.facts
    count, last = _chained(pack)
    derived = Derived(Millis(facts["since"]), Millis(facts["until"]))
    begins = facts["base"]["tick"] if facts["base"] is not None else -1
    inside = begins < derived.since <= derived.until and isinstance(facts["version"], str)
    _expect(inside, SEALED[0], "names a window that the pack does not hold")
    fold = pack.fold(Fold(reread, engine))
    held = pack.links()
    if facts["base"] is not None:
        next(held)  # the step of the checkpoint
    for entry in derive(fold, _dense(pack.entries(), fold), held, derived):
        progress(entry.offset)
    surplus = next((link for link in held if link.kind == "step"), None)
    _expect(surplus is None, "journal", f"has no entry from which {_named(surplus)} follows")
    ends = fold.state is not None and fold.state.tick >= derived.until
    _expect(ends, "journal", "ends before the window does")
    _expect(derived.entries == facts["entries"], "journal", "has entries beyond the window")
    counted = (derived.steps, len(derived.decisions)) == (facts["steps"], facts["decisions"])
    _expect(counted, SEALED[0], "counts what is not there")
    lines = "".join(line + "\n" for line in derived.decisions).encode()
    _expect(pack.body("decisions.jsonl") == lines, "decisions.jsonl", "is not what follows")
    books = [text.encode() for text in derived.rulebooks.values()]
    _expect(pack.bodies("rulebooks/") == books, "rulebooks", "are not those it was judged by")
    base = facts["base"]
    return Checked(
        facts["version"], facts["key"], derived.since, derived.until,
        None if base is None else Offset(base["offset"]), derived.entries, count,
        derived.steps, len(derived.decisions), last.hash,
    )  # fmt: skip


def _chained(pack: _Pack) -> tuple[int, Link]:
    """Hold the links against one another, and the first against the manifest."""
    base, count, last = pack.facts["base"], 0, None
    for link in chained(pack.links(), pack.facts["before"]):
        if count == 0 and base is None:
            begins = link.kind == "genesis" and link.seq == 1 and pack.facts["before"] == ""
            _expect(begins, "chain", "has no beginning, nor is there a checkpoint")
        elif count == 0:
            made_anew = link.kind == "genesis" and link.seq == 1 and pack.facts["before"] == ""
            holds = made_anew or (link.kind == "step" and link.at <= base["tick"])
            _expect(holds, "base.checkpoint", "does not stand where the chain begins")
        count, last = count + 1, link
    if last is None or count != pack.facts["links"]:
        raise _broken("chain", "has another number of links than the manifest says")
    return count, last


class _Pack:
    """An archive whose every byte is as its manifest says, and whose manifest is signed."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file = file
        members = index(file)
        names = tuple(member.name for member in members[-2:])
        _expect(names == SEALED, "the end of the pack", "is no signed manifest")
        self._members = {member.name: member for member in members}
        self.facts = self._signed(key)
        self._hold(members[:-2], self.facts["files"])

    def body(self, name: str) -> bytes:
        """Return one file."""
        _expect(name in self._members, name, "is missing")
        return content(self._file, self._members[name])

    def bodies(self, folder: str) -> list[bytes]:
        """Return the files of a folder."""
        return list(self._each(folder))

    def links(self) -> Iterator[Link]:
        """Yield the links of the chain."""
        return (link for body in self._each("chain/") for link in links_of(body))

    def entries(self) -> Iterator[Entry]:
        """Yield the entries of the journal."""
        return (entry for body in self._each("journal/") for entry in entries_of(body))

    def fold(self, fold: Fold) -> Fold:
        """Begin where the pack begins."""
        base = self.facts["base"]
        if base is None:
            return fold
        body = self.body("base.checkpoint")
        there = Checkpoint(Offset(base["offset"]), Millis(base["tick"]), body)
        restored = checkpoint.load(there, fold.reread)
        if restored is None:
            raise VerifyError(
                f"base.checkpoint was written by another version: {self.facts['version']}",
                hint="verify with that version",
            )
        fold.rulebook, fold.state = restored
        same = (fold.state.offset, fold.state.tick) == (there.offset, there.tick)
        _expect(same, "base.checkpoint", "is of another moment than the manifest says")
        return fold

    def _each(self, folder: str) -> Iterator[bytes]:
        names = [name for name in self._members if name.startswith(folder)]
        return (self.body(name) for name in names)

    def _signed(self, key: str) -> dict[str, Any]:
        _expect(self._members[SEALED[0]].size <= MANIFEST_MAX, SEALED[0], "is too long")
        text, signature = (self.body(name) for name in SEALED)
        try:
            facts = json.loads(text)
            known = facts["schema"] == SCHEMA
            own = str(facts["key"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _broken(SEALED[0], "is not what was signed") from error
        _expect(known, SEALED[0], f"is not of the schema {SCHEMA}")
        if key and key != own:
            raise VerifyError(
                f"the pack is signed with another key: {own[:64]}",
                hint="ask whoever runs the house which keys are theirs",
            )
        signed = is_signed(own, signature, text)
        _expect(signed, "manifest.json or manifest.sig", "is not what was signed")
        return dict(facts)

    def _hold(self, members: Sequence[Member], files: Sequence[dict[str, Any]]) -> None:
        """Hold the files against the manifest."""
        told = {one["name"]: one for one in files}
        for member in members:
            said = told.get(member.name)
            _expect(said is not None, member.name, "is not in the manifest")
            same = said == {"name": member.name, "size": member.size, "sha256": member.sha256}
            _expect(same, member.name, "is not what was signed")
        missing = [name for name in told if name not in self._members]
        _expect(not missing, ", ".join(missing[:3]), "is missing")
        order = [member.name for member in members] == [one["name"] for one in files]
        _expect(order, "the pack", "has its files in another order")


def _dense(entries: Iterator[Entry], fold: Fold) -> Iterator[Entry]:
    """Yield entries of which none is missing."""
    offset = fold.offset
    for entry in entries:
        _expect(entry.offset == offset + 1, "journal", f"lacks entry {offset + 1}")
        offset = entry.offset
        yield entry


def _named(link: Link | None) -> str:
    return f"link {link.seq}" if link is not None else ""


def _expect(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise _broken(name, what)


def _broken(name: str, what: str) -> VerifyError:
    return VerifyError(
        f"{name} {what}",
        hint=f"the pack was changed, or a version other than {__version__} made it",
    )
