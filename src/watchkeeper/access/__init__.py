"""Who may do what. A scope names one thing that can be asked of a running house.

Every route of the page, the API and the doors says which scope it needs (`http.table`), and no
route is without one.
"""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """One thing that can be asked of a house; `what:deed`."""

    PUBLIC = "public"  # whether it is up, how to sign in, what a page is drawn with
    STATUS_READ = "status:read"  # entities, health, decisions, orders, reports, positions
    METRICS_READ = "metrics:read"  # the house's own metrics
    TELEMETRY_WRITE = "telemetry:write"  # push telemetry
    QUARANTINE_REPLAY = "quarantine:replay"  # offer rejected samples again
    OUTBOX_RETRY = "outbox:retry"  # try an order again
    FLAGS_WRITE = "flags:write"  # switch a feature on or off
    AUDIT_READ = "audit:read"  # who did what, and who was refused
    TOKENS_ADMIN = "tokens:admin"  # issue, rotate and revoke tokens; see them
