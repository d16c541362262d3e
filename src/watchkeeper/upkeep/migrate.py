"""Carry a data folder of an older release on under this one.

The journal keeps every sample, rejection, cursor and time as it was; its entries are written in
today's layout, and rulebooks that name older methods name today's. The ledger is derived again by
those methods: a new era. Files of the era before go aside; the release that wrote them proves them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from watchkeeper.core import checkpoint
from watchkeeper.core.fold import Reread
from watchkeeper.engines import Engine
from watchkeeper.errors import CorruptionError, StoreVersion, VerifyError
from watchkeeper.journal._former import Former
from watchkeeper.journal._schema import LAYOUT
from watchkeeper.ledger._former import believed
from watchkeeper.model import Control, Millis, canonical, digest
from watchkeeper.store import swap
from watchkeeper.upkeep.backup import Tell, silent
from watchkeeper.upkeep.remake import KEY, Remade, remake

ASIDE = "before-migration"
CarryOn = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """What a migration would do. :param layout: of the journal. :param rulebooks: to carry on."""

    layout: int
    layout_wanted: int
    entries: int
    rulebooks: tuple[str, ...]

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return self.layout != self.layout_wanted or bool(self.rulebooks)


def plan(data: Path, carry_on: CarryOn, tell: Tell = silent) -> Plan:
    """Look through a folder; change nothing.

    :raises StoreVersion: a newer release wrote it. :raises CorruptionError: the journal is damaged.
    :raises VerifyError: the ledger does not hold.
    """
    swap.unfinished(data)
    former, old = Former(data / "journal.sqlite"), []
    try:
        _cut(former, carry_on)
        for row in former.rows():
            tell("look", row.stored.offset, former.newest)
            for kind, _, body in json.loads(row.stored.controls):
                document = json.loads(body) if kind == "rulebook" else None
                if document is not None and carry_on(document) is not document:
                    old.append(digest(document))
    finally:
        former.close()
    if former.found.damage:
        raise CorruptionError(
            f"{data / 'journal.sqlite'}: {former.found.damage}",
            hint="restore a backup; a damaged journal is not carried on",
        )
    before = believed(data / "ledger.sqlite", data / KEY)
    if not before.whole and before.links:
        raise VerifyError(
            f"{data / 'ledger.sqlite'}: {before.damage}",
            hint="restore a backup; a ledger that does not hold is not carried on",
        )
    return Plan(former.version, LAYOUT.version, int(former.found.offset), tuple(old))


def _cut(former: Former, carry_on: CarryOn) -> None:
    """Return if what stands for entries that retention removed needs no carrying on.

    :raises StoreVersion: it does, and they are not there to derive it again from.
    """
    if former.base is None:
        return
    document = checkpoint.document(former.bases.checkpoint(former.base)[0])
    if carry_on(document) is not document or former.version != LAYOUT.version:
        raise StoreVersion(
            f"retention removed the journal up to entry {former.base.offset}, so its state cannot"
            " be derived again by the methods of this release",
            hint="keep this folder for the release that wrote it, and begin another"
            " (docs/operations.md, Upgrading)",
        )


def migrate(
    data: Path,
    carry_on: CarryOn,
    reread: Reread,
    engine: Engine,
    now: Millis,
    tell: Tell = silent,
) -> tuple[Plan, Remade | None]:
    """Carry a folder on, whole or not at all; None when it needs nothing.

    Cut off at any moment and called again, it ends the same.
    """

    def rewrite(control: Control) -> Control:
        if control.kind != "rulebook":
            return control
        document = json.loads(control.body)
        today = carry_on(document)
        body = control.body if today is document else canonical(today)
        return Control(control.kind, control.actor, body)

    with swap.owned(data):
        swap.finish(data)
        wanted = plan(data, carry_on, tell)
        if not wanted.needed:
            return wanted, None
        why = f"migrated from journal layout {wanted.layout}, {len(wanted.rulebooks)} rulebooks"
        return wanted, remake(
            data, why, swap.free(data, ASIDE), reread, engine, now, tell, rewrite=rewrite
        )
