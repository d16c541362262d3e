"""What decisions owe to the outside: what is open, was delivered, or was given up."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from watchkeeper.cli import _screen
from watchkeeper.cli._terminal import Output, emit, now, stamp

if TYPE_CHECKING:
    from watchkeeper.model import Order, Receipt

LOOKED_AT = 10_000  # newest orders
STANDS = {"retry": "open", "done": "delivered", "refused": "failed", "dead": "failed"}

Stands = Literal["open", "delivered", "failed"]


def outbox(
    action: Literal["list", "retry"] = "list",
    key: str = "",
    /,
    *,
    data: Path = Path("watchkeeper-data"),
    stands: Stands | None = None,
    limit: int = 20,
    output: Output = "text",
) -> int:
    """List what decisions owe, or try an order again that was refused or given up.

    Listing works beside a running service. `retry` needs it to be stopped, and the next start
    sends the order; of a running one ask POST /api/v1/orders/KEY/retry.

    Examples:

      watchkeeper outbox
      watchkeeper outbox --stands failed --output json
      watchkeeper outbox retry KEY

    Parameters
    ----------
    action
        list or retry.
    key
        Of the order that is to be tried again.
    data
        Folder of journal and ledger.
    stands
        Only orders that stand so: open, delivered or failed.
    limit
        How many are listed, the newest first.
    output
        text or json.
    """
    if action == "retry":
        return _retry(data, key, output)
    from watchkeeper.cli._house import stores

    with stores(data) as (_, ledger):
        found = ledger.orders(LOOKED_AT)
        count, oldest = ledger.owed()
        failed = ledger.given_up()
    rows = [_row(order, receipt) for order, receipt in found]
    shown = [row for row in rows if stands in (None, row["stands"])][:limit]
    facts = {
        "open": count,
        "oldest": None if oldest is None else stamp(oldest),
        "given_up": failed,
        "newest": dict(Counter(row["stands"] for row in rows)),
        "orders": shown,
    }
    emit(output, facts, _shown(facts, shutil.get_terminal_size((80, 24)).columns))
    return 0


def _row(order: Order, receipt: Receipt | None) -> dict[str, Any]:
    row = {
        "key": order.key,
        "action": order.action,
        "entity": order.entity,
        "decision": order.decision,
        "created": stamp(order.created),
        "stands": "open" if receipt is None else STANDS[receipt.outcome],
        "attempts": 0 if receipt is None else receipt.attempt,
        "outcome": None if receipt is None else receipt.outcome,
        "detail": "" if receipt is None else receipt.detail,
    }
    is_due = receipt is not None and receipt.outcome == "retry"
    return {**row, "due": stamp(receipt.due) if receipt is not None and is_due else None}


def _shown(facts: dict[str, Any], width: int) -> str:
    """Return one line an order; two of one that failed, as its key is what tries it again."""
    since = f", the oldest since {facts['oldest']}" if facts["oldest"] else ""
    lines = [f"{facts['open']} open{since}; {facts['given_up']} given up or refused, ever"]
    orders = facts["orders"]
    if not orders:
        return "\n".join([*lines, "no such order" if facts["newest"] else "nothing was ordered"])
    action, entity = (
        min(most, max(len(name), *(len(row[name]) for row in orders)))
        for name, most in (("action", 14), ("entity", 24))
    )
    head = f"{'created':<20} {'stands':<9} tries {'action':<{action}} {'entity':<{entity}}"
    lines += ["", f"{head} last answer"]
    for row in orders:
        due = f"again {row['due'][11:]}: " if row["due"] else ""
        lines.append(
            f"{row['created']:<20} {row['stands']:<9} {row['attempts']:>5}"
            f" {_screen.cut(row['action'], action):<{action}}"
            f" {_screen.cut(row['entity'], entity):<{entity}} {due}{row['detail']}"
        )
        lines += [f"  key {row['key']}"] if row["stands"] == "failed" else []
    return "\n".join(
        line if line.startswith("  key ") else _screen.cut(line, width).rstrip() for line in lines
    )


def _retry(data: Path, key: str, output: Output) -> int:
    from watchkeeper.cli._house import stores
    from watchkeeper.errors import InputError
    from watchkeeper.model import Receipt

    with stores(data):  # what is not there must not be made
        pass
    with stores(data, read_only=False) as (_, ledger):
        receipts = ledger.receipts(key)
        if ledger.order(key) is None:
            raise InputError(f"no order {key!r}", hint="`watchkeeper outbox --stands failed`")
        if not receipts or STANDS[receipts[-1].outcome] != "failed":
            raise InputError(
                f"order {key!r} was neither refused nor given up",
                hint="an open one is tried by itself; one that was delivered is over",
            )
        again = now()
        ledger.settle(Receipt(key, receipts[-1].attempt + 1, "retry", "asked for", again, again))
    emit(output, {"key": key, "due": stamp(again)}, f"{key} is sent at the next start")
    return 0
