"""How things are, in one screen."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchkeeper.cli import _screen
from watchkeeper.cli._terminal import Output, emit, stamp

if TYPE_CHECKING:
    from watchkeeper.journal import Journal
    from watchkeeper.model import Assessed

DATA = Path("watchkeeper-data")
NOBODY = "no entity has reported yet; `watchkeeper run` collects"
SHOWN = 20  # entities, worst first; and targets
LOOK_BACK = 50_000  # newest journal entries in which targets are looked for
WELL = ("closed", "recovered", "gone", "discovered")  # targets of which nothing is to be said


def status(*, data: Path = DATA, output: Output = "text", nagios: bool = False) -> int:
    """Say how the house and its entities are, in one screen. Works beside a running service.

    Examples:

      watchkeeper status
      watchkeeper status --output json
      watchkeeper status --nagios        exit code 0, 1, 2 or 3 for the worst entity

    Parameters
    ----------
    data
        Folder of journal and ledger.
    output
        text or json.
    nagios
        One line, and the exit code that monitoring plugins use.
    """
    from watchkeeper.errors import StoreError

    try:
        facts = looked_up(data)
    except StoreError as error:
        if not nagios:
            raise
        print(f"UNKNOWN - {error}")
        return 3
    if nagios:
        return _nagios(facts["entities"])
    emit(output, facts, _shown(facts, shutil.get_terminal_size((80, 24)).columns, data))
    return 0


def looked_up(data: Path) -> dict[str, Any]:
    """Return how the house of a data folder is, JSON-able; worst entities first."""
    from watchkeeper.cli._house import stores
    from watchkeeper.model import Offset
    from watchkeeper.store.placed import held_by

    with stores(data) as (journal, ledger):
        entities = sorted(ledger.health(), key=_worst_first)
        mark = ledger.watermark()
        counts = ledger.counts()
        waiting = [order for order, receipt in ledger.orders(1000) if _open(receipt)]
        head, first = journal.head(), journal.first()
        begins = next(iter(journal.read(Offset(first - 1), 1)), None)
        targets = _unwell(journal)
    return {
        "tick": None if mark is None else stamp(mark.tick),
        "entries": head,
        "first_entry": {"entry": first, "arrived": begins and stamp(begins.arrived)},
        "bytes": {name: held_by(data, name) for name in ("journal", "ledger")},
        "behind": head - (mark.offset if mark else 0),
        "counts": {"accepted": counts.accepted, "rejected": counts.rejected,
                   "scored": counts.scored, "duplicate": counts.duplicate, "late": counts.late},
        "open_orders": len(waiting),
        "targets": targets,
        "objectives": _objectives(data),
        "configuration": _configured(data),
        "entities": [_row(one) for one in entities],
    }  # fmt: skip


def _objectives(data: Path) -> list[dict[str, Any]]:
    """Return how the house's own objectives stand, as it last wrote them down."""
    from watchkeeper.cli._terminal import now

    if not (data / "objectives.json").exists():
        return []
    from watchkeeper.live._objectives import Kept

    kept = Kept(data)
    kept.read()
    return kept.facts(now())


def _configured(data: Path) -> dict[str, Any]:
    """Return how the configuration on the disk stood to the running one, when last looked at."""
    from dataclasses import asdict

    from watchkeeper.live._configured import read

    return asdict(read(data))


def _unwell(journal: Journal) -> list[dict[str, Any]]:
    """Return the targets of collectors that last failed, and how their breakers stand.

    A breaker that is open is tried every few minutes, which is journalled; so the newest entries
    name every target that does not answer now.
    """
    from watchkeeper.model import Offset

    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for arrived, control in journal.controls(
        "collector", Offset(max(0, journal.head() - LOOK_BACK))
    ):
        said = json.loads(control.body)
        listed = "" if said["state"] in ("undiscovered", "discovered") else said["target"]
        newest[control.actor, listed] = {
            "source": control.actor, **said, "since": stamp(arrived),
        }  # fmt: skip
    return [one for _, one in sorted(newest.items()) if one["state"] not in WELL]


def _worst_first(one: Assessed) -> tuple[float, str]:
    return (-1.0 if one.health is None else one.health, one.entity)


def _open(receipt: Any) -> bool:
    return receipt is None or receipt.outcome == "retry"


def _row(one: Assessed) -> dict[str, Any]:
    return {
        "entity": one.entity,
        "health": one.health,
        "state": str(one.state),
        "coverage": one.coverage,
        "score": one.score,
        "time": stamp(one.time),
        "contributions": [
            {"metric": c.metric, "attributes": c.attributes, "share": c.share}
            for c in one.contributions
        ],
    }


def _shown(facts: dict[str, Any], width: int, data: Path) -> str:
    """Return one screen of text, at most so many columns wide but for a command."""
    counts = facts["counts"]
    lines = [
        f"at {facts['tick'] or 'no tick yet'}, {facts['behind']} of {facts['entries']} entries"
        f" since the last step, {facts['open_orders']} orders open",
        *_kept(facts),
        f"samples {counts['accepted']} accepted, {counts['rejected']} rejected,"
        f" {counts['late']} late, {counts['duplicate']} duplicate",
        *_promised(facts["objectives"]),
        *_drifted(facts["configuration"]),
        "",
    ]
    for one in facts["targets"][:SHOWN]:
        where = " ".join(filter(None, (one["source"], one["target"])))
        lines.append(f"{one['state']:<9} {where} since {one['since']}: {one['error']}")
    if facts["targets"]:
        more = len(facts["targets"]) - SHOWN
        lines += [f"… and {more} more targets do not answer", ""] if more > 0 else [""]
    entities = facts["entities"]
    lines += _screen.table(entities[:SHOWN], width) if entities else [NOBODY]
    if len(entities) > SHOWN:
        lines.append(f"… and {len(entities) - SHOWN} more, healthier")
    shown = [_screen.cut(line, width) for line in lines]
    sick = next((one["entity"] for one in entities if one["state"] in ("fail", "warn")), None)
    if sick is not None:
        there = [] if data == DATA else ["--data", str(data)]
        why = shlex.join(["watchkeeper", "explain", sick, *there])
        shown += ["", f"why, in full: {_screen.cut(why, len(why))}"]  # whole, to be copied
    return "\n".join(shown)


def _kept(facts: dict[str, Any]) -> list[str]:
    """Return a line about where the journal begins, once retention removed some of it."""
    first, size = facts["first_entry"], facts["bytes"]["journal"] / (1 << 20)
    if first["entry"] == 1:
        return []
    return [f"journal begins with entry {first['entry']}, of {first['arrived']}; {size:.0f} MiB"]


def _drifted(configured: dict[str, Any]) -> list[str]:
    """Return lines about a configuration that is not the one that runs."""
    lines = []
    if configured["drift"]:
        lines.append(f"configuration on disk differs, SIGHUP takes it up: {configured['drift']}")
    if configured["refused"]:
        lines.append("the last reload was refused; `watchkeeper check` says why")
    if configured["memory"]:
        lines.append(configured["memory"])
    if configured["restart_for"]:
        lines.append(f"only a restart takes up: {', '.join(configured['restart_for'])}")
    return lines


def _promised(objectives: list[dict[str, Any]]) -> list[str]:
    """Return a line about the error budgets that something was taken from."""
    spent = [one for one in objectives if one["remaining"] < 1]
    told = ", ".join(
        f"{one['name']} {one['remaining']:.0%}{' burning' if one['burning'] else ''}"
        for one in spent
    )
    return [f"error budget left: {told}"] if told else []


def _nagios(entities: list[dict[str, Any]]) -> int:
    """Monitoring Plugins' convention: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."""
    states = {one["state"] for one in entities}
    names = (("fail", 2, "CRITICAL"), ("warn", 1, "WARNING"), ("unknown", 3, "UNKNOWN"))
    for state, code, word in names:
        if state in states:
            bad = [one["entity"] for one in entities if one["state"] == state]
            print(f"{word} - {len(bad)} {state}: {', '.join(bad[:5])} | entities={len(entities)}")
            return code
    print(
        f"{'OK' if entities else 'UNKNOWN'} - {len(entities)} entities | entities={len(entities)}"
    )
    return 0 if entities else 3
