"""Make a pack of evidence from a data folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from watchkeeper import __version__, pipeline
from watchkeeper.beginning import begun, named, reaches
from watchkeeper.core import checkpoint
from watchkeeper.core.fold import Fold, Reread
from watchkeeper.core.state import BEGINNING
from watchkeeper.engines import Engine
from watchkeeper.errors import NothingToRead
from watchkeeper.evidence._archive import Writer
from watchkeeper.evidence._derive import Derived, derive, same, steps
from watchkeeper.evidence._format import chained, entries_body, links_body
from watchkeeper.evidence._key import public_text
from watchkeeper.journal import Journal
from watchkeeper.ledger import Ledger, Link
from watchkeeper.model import Checkpoint, Entry, Millis, Offset, canonical

SCHEMA = "watchkeeper.evidence/1"
ENTRIES = 256  # in one file of a pack
LINKS = 4096
README = """\
Evidence of Watchkeeper {version}: what was seen and decided from {since} to {until}
(milliseconds since 1970, UTC). Prove it with the same version, on any machine:

  watchkeeper verify --evidence THIS_FILE --key PUBLIC_KEY

Ask whoever runs the house for the public key, by another way than this pack. manifest.json has the
SHA-256 of every file, and manifest.sig is its Ed25519 signature (64 bytes).
"""

Progress = Callable[[str, Offset], None]


@dataclass(frozen=True)
class Made:
    """What a pack holds. :param base: entry of the checkpoint it begins with; None: all there is.

    :param key: the public key.
    """

    since: Millis
    until: Millis
    base: Offset | None
    entries: int
    links: int
    steps: int
    decisions: int
    rulebooks: int
    key: str


@dataclass
class _Chain:
    """The links that belong to a pack.

    :param before: the hash of the link before the first.
    """

    before: str
    first: int
    last: int


def make(
    file: BinaryIO,
    journal: Journal,
    ledger: Ledger,
    reread: Reread,
    engine: Engine,
    key: Ed25519PrivateKey,
    window: tuple[Millis | None, Millis | None] = (None, None),
    progress: Progress = lambda _stage, _offset: None,
) -> Made:
    """Write a pack of a window; everything that was concluded, without.

    Everything up to the window is derived again too, so a pack is only made from a ledger that
    follows from its journal.

    :raises NothingToRead: nothing was concluded in the window.
    :raises Removed: the window begins before the journal does.
    :raises VerifyError: the ledger does not hold what the journal implies.
    """
    mark = ledger.watermark()
    floor = journal.base()
    if window[0] is not None:
        reaches(journal, window[0])
    since = window[0] or Millis(floor[0].tick + 1 if floor is not None else 0)
    until = min(window[1] or mark.tick, mark.tick) if mark is not None else since
    if mark is None or since > until:
        raise NothingToRead(
            "nothing was concluded in this window",
            hint="`watchkeeper status` says how far the house is",
        )
    named(journal, ledger)
    base = _base(journal, ledger, begun(journal, reread, engine), since, progress)
    chain = _chain(ledger, base, until)
    fold = Fold(reread, engine)
    start = BEGINNING
    if base is not None:
        restored = checkpoint.load(base, reread)
        assert restored is not None, "a checkpoint made just now"
        (fold.rulebook, fold.state), start = restored, base.offset
    out = Writer(file)
    out.add("README.txt", _readme(since, until))
    if base is not None:
        out.add("base.checkpoint", base.body)
    derived = Derived(since, until)
    after = chain.first if base is not None else 0  # the first link is that of the checkpoint
    needed = derive(fold, pipeline.entries(journal, start), ledger.links(after), derived)
    _put(out, "journal/{:06}.arrow", ENTRIES, _told(needed, progress), entries_body)
    _put(out, "chain/{:06}.jsonl", LINKS, _links(ledger, chain), links_body)
    out.add("decisions.jsonl", "".join(line + "\n" for line in derived.decisions).encode())
    for number, text in enumerate(derived.rulebooks.values(), 1):
        out.add(f"rulebooks/{number:06}.json", text.encode())
    made = Made(
        since, until, base.offset if base is not None else None, derived.entries,
        chain.last - chain.first + 1, derived.steps, len(derived.decisions),
        len(derived.rulebooks), public_text(key),
    )  # fmt: skip
    manifest = canonical(_manifest(made, base, chain, out)).encode() + b"\n"
    out.add("manifest.json", manifest)
    out.add("manifest.sig", key.sign(manifest))
    out.end()
    return made


def _manifest(made: Made, base: Checkpoint | None, chain: _Chain, out: Writer) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": __version__,
        "key": made.key,
        "since": made.since,
        "until": made.until,
        "base": None if base is None else {"offset": base.offset, "tick": base.tick},
        "before": chain.before,
        "entries": made.entries,
        "links": made.links,
        "steps": made.steps,
        "decisions": made.decisions,
        "files": [{"name": m.name, "size": m.size, "sha256": m.sha256} for m in out.members],
    }


def _readme(since: Millis, until: Millis) -> bytes:
    return README.format(version=__version__, since=since, until=until).encode()


def _base(
    journal: Journal, ledger: Ledger, fold: Fold, since: Millis, progress: Progress
) -> Checkpoint | None:
    """Return the state shortly before the window; None when the window begins with the journal.

    A checkpoint is made whenever half of the way that was left is done: a few dozen at most.
    """
    floor = journal.base()
    kept = floor[0] if floor is not None else None
    held = steps(link for link in ledger.links() if kept is None or link.at > kept.tick)
    for entry in pipeline.entries(journal) if since else ():
        progress("prove", entry.offset)
        for step in fold.close(entry)[0]:
            if step.tick >= since:
                return kept
            same(step, next(held, None))
        now = fold.picture()
        if now is not None and now.tick < since:
            done = 0 if kept is None else 2 * (now.tick - kept.tick) - (since - kept.tick)
            if done >= 0:
                kept = fold.checkpoint()
        fold.take(entry)
    return kept


def _chain(ledger: Ledger, base: Checkpoint | None, until: Millis) -> _Chain:
    """Return which links there are from the step of the checkpoint to the end of the window."""
    chain, before, seq = _Chain("", 1, 0), "", 0
    for link in ledger.links():
        if link.kind == "step" and link.at > until:
            break
        if base is not None and link.kind == "step" and link.at <= base.tick:
            chain = _Chain(before, link.seq, 0)
        before, seq = link.hash, link.seq
    chain.last = seq
    return chain


def _links(ledger: Ledger, chain: _Chain) -> Iterator[Link]:
    for link in chained(ledger.links(chain.first - 1), chain.before):
        yield link
        if link.seq == chain.last:
            return


def _told(entries: Iterable[Entry], progress: Progress) -> Iterator[Entry]:
    for entry in entries:
        progress("pack", entry.offset)
        yield entry


def _put(
    out: Writer, name: str, size: int, rows: Iterable[Any], body: Callable[[list[Any]], bytes]
) -> None:
    """Write rows as files of so many each."""
    held, number = list[Any](), 1
    for row in rows:
        held.append(row)
        if len(held) == size:
            out.add(name.format(number), body(held))
            held, number = [], number + 1
    if held:
        out.add(name.format(number), body(held))
