"""What can be believed of a ledger that cannot be used as it is: its chain, up to the first break.

The journal implies all that was concluded, but not what was delivered, nor what people did. That is
in the chain only, so it is kept from there when a ledger is made anew.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from watchkeeper.errors import StoreError, StoreVersion, VerifyError
from watchkeeper.ledger import Link
from watchkeeper.ledger._chain import link_hash
from watchkeeper.ledger._head import Head, read_head, signing_key
from watchkeeper.ledger._schema import LAYOUT, OURS
from watchkeeper.model import Millis, Receipt

NEVER = Millis(-1)
REMADE = frozenset({"rulebook", "flag", "configuration"})  # notes that deciding makes again


@dataclass
class Believed:
    """What the chain says up to its first break.

    :param whole: nothing is broken, and its end is the signed one.
    :param steps: the body of each step, by tick. :param orders: keys of all orders there were.
    :param damage: what ended it; empty when it is whole.
    :param unsigned: why its head says nothing.
    """

    links: int = 0
    hash: str = ""
    tick: Millis = NEVER
    whole: bool = False
    damage: str = ""
    unsigned: str = ""
    receipts: list[Receipt] = field(default_factory=list)
    notes: list[Link] = field(default_factory=list)
    steps: dict[int, str] = field(default_factory=dict)
    orders: set[str] = field(default_factory=set)


def believed(path: Path, key: Path) -> Believed:
    """Read a ledger's chain as far as it holds; a ledger that is not there says nothing.

    :raises StoreVersion: a newer release wrote it.
    """
    found = Believed()
    if not path.exists():
        found.damage = "there is no ledger"
        return found
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    head = _head(path, key, found)
    try:
        _not_newer(path, db)
        rows = db.execute("select seq, kind, at, body, hash from link order by seq")
        for row in rows:
            link = Link(*row)
            own = link_hash(found.hash, link.seq, link.kind, link.at, link.body)
            if link.seq != found.links + 1 or own != link.hash:
                found.damage = f"link {found.links + 1} does not follow from the link before"
                break
            _add(found, link)
            if head is not None and link.seq == head.seq and link.hash != head.hash:
                found = Believed(damage=f"link {link.seq} is not the one that the head signed")
                break  # whoever made the chain anew made all of it
        found.orders = {row[0] for row in db.execute("select key from orders")}
        if db.execute("pragma integrity_check(1)").fetchall() != [("ok",)]:
            found.damage = found.damage or "its tables do not agree with their indexes"
    except (apsw.Error, UnicodeDecodeError, ValueError, TypeError, AttributeError) as error:
        found.damage = found.damage or str(error)
    finally:
        db.close(True)
    if not found.damage and head is not None and head.seq > found.links:
        found.damage = f"the tail up to the signed head {head.seq} was cut"
    if not found.damage and head is None and found.links > 1:
        found.damage = found.unsigned or "the signed head is missing"
    found.whole = not found.damage
    return found


def _not_newer(path: Path, db: apsw.Connection) -> None:
    version = db.pragma("user_version")
    if version > LAYOUT.version:
        raise StoreVersion(
            f"{path}: schema version {version}, this program knows {LAYOUT.version}",
            hint="a newer release wrote it, and there is no way back: use that release, or"
            " restore a backup made before the upgrade",
        )


def _add(found: Believed, link: Link) -> None:
    found.links, found.hash = link.seq, link.hash
    if link.kind == "step":
        found.tick, found.steps[link.at] = link.at, link.body
    elif link.kind == "receipt":
        found.receipts.append(Receipt(**json.loads(link.body)))
    elif link.kind not in OURS | REMADE:
        found.notes.append(link)


def _head(path: Path, key: Path, found: Believed) -> Head | None:
    """Return the signed head; None, and the reason in `unsigned`, when there is none to believe."""
    try:
        return read_head(path.with_name(path.name + ".head"), signing_key(key, create=False))
    except (VerifyError, StoreError) as error:
        found.unsigned = str(error.args[0])
        return None
