"""Policies turn health into decisions, and decisions into orders behind guards.

The same shape as a detector: memory in, memory out; no clock, no I/O. A policy is one YAML
document: `match` (which entities), `when` (a CEL condition), `for`, `clear`, `severity`, `action`,
`runbook`, and guards. Phases are Prometheus': inactive, pending, firing, resolved.
"""

from __future__ import annotations

from watchkeeper.policies._cells import View
from watchkeeper.policies._document import Policy, digest, document, read
from watchkeeper.policies._explain import explain_silence
from watchkeeper.policies._held import Held, dump, load, nothing_held, paused
from watchkeeper.policies._judge import judge
from watchkeeper.policies._phases import Reason, warm_up

__all__ = [
    "Held",
    "Policy",
    "Reason",
    "View",
    "digest",
    "document",
    "dump",
    "explain_silence",
    "judge",
    "load",
    "nothing_held",
    "paused",
    "read",
    "warm_up",
]
