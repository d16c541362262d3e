"""Who did what, and who was refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchkeeper.cli._terminal import Output, When, emit, stamp

if TYPE_CHECKING:
    from watchkeeper.access.accounts import Event
    from watchkeeper.ledger import Ledger

LIMIT_MAX = 100_000


def audit(
    *,
    who: str = "",
    action: str = "",
    outcome: str = "",
    since: When = None,
    limit: int = 50,
    data: Path = Path("watchkeeper-data"),
    output: Output = "text",
) -> int:
    """List who did what, and who was refused, newest first.

    Each event is a link of the ledger's signed chain, and is compared with it here; exit code 1
    says that one differs. `watchkeeper verify` proves the chain itself.

    Examples:

      watchkeeper audit
      watchkeeper audit --outcome refused --since 2026-11-20
      watchkeeper audit --who person:ann --output json

    Parameters
    ----------
    who
        Only what one did: person:ann, token:k3q5x7ab, anyone.
    action
        Only one action, such as token.create or sign_in.
    outcome
        Only done, allowed, refused or denied.
    since
        Only what happened at this time or later.
    limit
        How many.
    data
        Folder of journal and ledger.
    output
        text or json.
    """
    from watchkeeper.cli._access import accounts_of

    with accounts_of(data) as accounts:
        found = accounts.events(
            min(limit, LIMIT_MAX), who=who, action=action, outcome=outcome, since=since or 0
        )
    proofs = _proofs(data, found)
    rows = [{**event.facts(stamp), "chain": proofs[event.number]} for event in found]
    lines = [
        f"{row['time']}  {row['outcome']:<8} {row['who']:<24} {row['action']}"
        f" {_brief(row['detail'])} from {row['origin'] or 'nowhere'}"
        + ("" if row["chain"] in ("holds", "waiting") else f"  <- {row['chain']}")
        for row in rows
    ]
    emit(output, {"events": rows}, "\n".join(lines) or "nothing happened")
    return 1 if any(row["chain"] == "differs" for row in rows) else 0


def _proofs(data: Path, found: list[Event]) -> dict[int, str]:
    """Return of each event whether it is what the chain says: holds, waiting, or differs."""
    from watchkeeper.cli._house import stores

    if not any(event.link for event in found):
        return {event.number: "waiting" for event in found}
    with stores(data) as (_, ledger):
        return {event.number: _proof(ledger, event) for event in found}


def _proof(ledger: Ledger, event: Event) -> str:
    from watchkeeper.access.audit import KIND, body

    if event.link is None:
        return "waiting"
    link = next(ledger.links(event.link - 1), None)
    same = link is not None and (link.seq, link.kind) == (event.link, KIND)
    return "holds" if same and link is not None and link.body == body(event) else "differs"


def _brief(detail: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(detail.items()))
