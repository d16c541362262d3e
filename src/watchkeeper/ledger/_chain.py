"""What a link of the audit chain says, as pure functions, so that a replay can say it too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from watchkeeper.model import Assessed, Decision, Order, Receipt, Step, canonical, digest

GENESIS = canonical({"format": 1})  # the body of link 1; no clock and no chance in it


def link_hash(before: str, seq: int, kind: str, at: int, body: str) -> str:
    """Return the SHA-256 (hex) of the hash before and the link's own fields.

    :param before: the hash of link `seq` - 1; empty for the first link.
    """
    own = canonical({"seq": seq, "kind": kind, "at": at, "body": body})
    return hashlib.sha256((before + own).encode()).hexdigest()


def step_link_body(step: Step) -> str:
    """Return the body of a step's link: what it saw, and digests of all that it concluded.

    :raises ValueError: a number is NaN or infinite.
    """
    return step_body_of(step, [health_fields(one) for one in step.health])


def step_body_of(step: Step, health: Sequence[list[Any]]) -> str:
    """Return `step_link_body` of a step whose health is spelled as rows already."""
    counts = step.counts
    return canonical(
        {
            "offset": step.offset,
            "tick": step.tick,
            "rulebook": step.rulebook,
            "counts": {
                "accepted": counts.accepted,
                "rejected": counts.rejected,
                "scored": counts.scored,
                "duplicate": counts.duplicate,
                "late": counts.late,
            },
            "scores": step.scores,
            "health": _told(health),
            "decisions": _told([decision_fields(one) for one in step.decisions]),
            "orders": _told([order_fields(one) for one in step.orders]),
        }
    )


def receipt_link_body(receipt: Receipt) -> str:
    """Return the body of a receipt's link: the receipt itself."""
    return canonical(
        {
            "key": receipt.key,
            "attempt": receipt.attempt,
            "outcome": receipt.outcome,
            "detail": receipt.detail,
            "at": receipt.at,
            "due": receipt.due,
        }
    )


def health_fields(one: Assessed) -> list[Any]:
    """Return an assessment as a row, in the order of the table; contributions as lists."""
    shares = [[part.metric, part.attributes, part.share] for part in one.contributions]
    return [one.entity, one.time, one.health, str(one.state), one.coverage, one.score, shares]


def decision_fields(one: Decision) -> list[Any]:
    """Return a decision as a row, in the order of the table."""
    return [
        one.key, one.policy, one.version, one.entity, str(one.phase), one.at, one.severity,
        one.health, one.reason, str(one.outcome), one.trace,
    ]  # fmt: skip


def order_fields(one: Order) -> list[Any]:
    """Return an order as a row, in the order of the table."""
    return [one.key, one.action, one.decision, one.entity, one.created, one.payload]


def _told(rows: Sequence[Any]) -> dict[str, Any]:
    return {"rows": len(rows), "digest": digest(rows)}
