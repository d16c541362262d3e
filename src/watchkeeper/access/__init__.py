"""Who may do what, and who did.

    credential ─► Doorkeeper ─► Asker (who, with which scopes) ─► the route's scope ─► yes or no
                     │                                                                   │
                  accounts, sessions, OpenID, certificates             audit ─► LEDGER ◄─┘

A scope names one thing that can be asked of a running house. Every route of the page, the API and
the doors says which one it takes (`http.table`); none is without, and what is not granted is
refused. A role is a set of scopes, and there is no other way to get one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """One thing that can be asked of a house; `what:deed`."""

    PUBLIC = "public"  # whether it is up, how to sign in, what a page is drawn with
    STATUS_READ = "status:read"  # entities, health, decisions, orders, quarantine, reports
    METRICS_READ = "metrics:read"  # the house's own metrics
    TELEMETRY_WRITE = "telemetry:write"  # push telemetry
    QUARANTINE_REPLAY = "quarantine:replay"  # offer rejected samples again
    OUTBOX_RETRY = "outbox:retry"  # try an order again that was given up
    APPROVALS_WRITE = "approvals:write"  # let a decision act, or keep it from acting
    FLAGS_WRITE = "flags:write"  # switch a feature on or off
    AUDIT_READ = "audit:read"  # who did what, and who was refused
    TOKENS_ADMIN = "tokens:admin"  # issue, rotate and revoke tokens; see them


class Role(StrEnum):
    """What people and programs are here for."""

    AGENT = "agent"
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


_VIEWER = frozenset({Scope.PUBLIC, Scope.STATUS_READ, Scope.METRICS_READ})

# Who writes flags and tokens does not approve, and who approves does not write them: what acts on a
# fleet needs two people.
ROLES: Mapping[Role, frozenset[Scope]] = {
    Role.AGENT: frozenset({Scope.PUBLIC, Scope.TELEMETRY_WRITE}),
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _VIEWER | {Scope.QUARANTINE_REPLAY, Scope.OUTBOX_RETRY},
    Role.APPROVER: _VIEWER | {Scope.APPROVALS_WRITE, Scope.AUDIT_READ},
    Role.ADMIN: frozenset(Scope) - {Scope.APPROVALS_WRITE},
}

PEOPLE = (Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN)

# Whoever can reach loopback is on this machine already: he reads, and pushes telemetry.
LOCAL = _VIEWER | {Scope.TELEMETRY_WRITE}


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what he may.

    :param name: `person:ann`, `token:a1b2c3d4`, `certificate:agent-7`, `openid:ann`, or `anyone`.
    :param csrf: what an unsafe request of his browser must bring along; empty without a session.
    :param shown: the name that people know.
    """

    name: str
    scopes: frozenset[Scope]
    role: str = ""
    csrf: str = ""
    shown: str = ""

    def may(self, scope: Scope) -> bool:
        """Return whether this was granted."""
        return scope in self.scopes


ANYONE = Asker("anyone", frozenset({Scope.PUBLIC}))
ANYONE_HERE = Asker("anyone", LOCAL)
