"""What a server says of itself, before and after it was loaded, and what that proves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONCLUDED = ("scored", "duplicate", "late")


@dataclass(frozen=True, slots=True)
class Account:
    """What Watchkeeper's `/api/v1/status` tells that matters here.

    :param started: names this life of the server.
    :param taken: samples by outcome that one receiver took in this life; offered = accepted +
        rejected + shed.
    :param accepted: samples in its journal, of all senders, ever.
    :param concluded: those that its ledger has concluded, by how.
    """

    started: str
    taken: Mapping[str, int]
    accepted: int
    concluded: Mapping[str, int]

    @property
    def pending(self) -> int:
        """Samples that are in the journal and not concluded yet."""
        return self.accepted - sum(self.concluded.values())


def read(body: bytes, receiver: str) -> Account | None:
    """Return the account in an answer of `/api/v1/status`; None when there is none in it."""
    try:
        data: Any = json.loads(body)["data"]
        nothing = dict.fromkeys(("offered", "accepted", "rejected", "shed"), 0)
        return Account(
            str(data["started"]),
            nothing | {name: int(n) for name, n in data["receivers"].get(receiver, {}).items()},
            int(data["journal"]["samples"]),
            {name: int(data["counts"][name]) for name in CONCLUDED},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of acknowledged samples by the server's own account.

    :param missing: samples that were acknowledged, and that it does not account for.
    :param surplus: samples it took beyond those: of other senders, or of requests whose answer was
        lost and that were sent again.
    :param duplicate: samples it had already.
    :param pending: samples that it had not concluded when it was asked last.
    :param restarted: whether it was started again meanwhile, so that only its journal counts.
    """

    missing: int
    surplus: int
    rejected: int
    shed: int
    duplicate: int
    pending: int
    restarted: bool


def verdict(before: Account, after: Account, acknowledged: int) -> Verdict:
    """Hold what was acknowledged to what a server says it took in between.

    The journal counts every sender. So where the receiver's own count can be trusted, both must
    cover what was acknowledged; after a restart, whose counts begin at 0, only the journal's.
    """
    restarted = before.started != after.started
    journalled = after.accepted - before.accepted
    taken = {
        name: count - (0 if restarted else before.taken.get(name, 0))
        for name, count in after.taken.items()
    }
    accepted = journalled if restarted else min(journalled, taken["accepted"])
    return Verdict(
        missing=max(0, acknowledged - accepted),
        surplus=max(0, accepted - acknowledged),
        rejected=taken["rejected"],
        shed=taken["shed"],
        duplicate=after.concluded["duplicate"] - before.concluded["duplicate"],
        pending=after.pending,
        restarted=restarted,
    )
