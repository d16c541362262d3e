"""Guards stand between a decision and an act. They gate acts, never decisions.

Each guard is a pure function of the facts; all are asked, in this order, and all answers go into
the trace. The first that blocks gives the outcome. `mode` is asked last and a dry run counts its
acts as if it had acted: so its trace says exactly what the policy would do once it is switched on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from watchkeeper.model import Outcome
from watchkeeper.policies._document import Policy, duration_text


class Facts(NamedTuple):
    """What guards look at, for one policy and one entity at one tick.

    :param rested: ms since the last act on this entity; None when there was none.
    :param recent: acts of this policy within its rate window.
    :param in_force: entities that this policy has acted on and that still fire.
    :param fleet: entities the policy looks at and of which anything is expected.
    :param wanted: feature flags that the policy and its actions need. :param off: those not on.
    """

    coverage: float
    rested: int | None
    recent: int
    in_force: int
    fleet: int
    wanted: tuple[str, ...] = ()
    off: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What one guard said: its limit, what it saw, and the outcome when it blocks."""

    name: str
    limit: str
    observed: str
    blocks: Outcome | None


def coverage(policy: Policy, facts: Facts) -> Verdict:
    """Too little is known about the entity."""
    low = facts.coverage < policy.coverage_min
    return Verdict(
        "coverage", f">= {policy.coverage_min:g}", f"{facts.coverage:.6g}",
        Outcome.COVERAGE if low else None,
    )  # fmt: skip


def cooldown(policy: Policy, facts: Facts) -> Verdict:
    """This entity was acted on too recently."""
    early = facts.rested is not None and facts.rested < policy.cooldown
    seen = "never acted" if facts.rested is None else duration_text(facts.rested)
    return Verdict(
        "cooldown", f">= {duration_text(policy.cooldown)}", seen,
        Outcome.COOLDOWN if early else None,
    )  # fmt: skip


def rate(policy: Policy, facts: Facts) -> Verdict:
    """Too many acts of this policy in the window."""
    full = facts.recent >= policy.rate.acts
    return Verdict(
        "rate", f"< {policy.rate.acts} in {duration_text(policy.rate.window)}", str(facts.recent),
        Outcome.RATE if full else None,
    )  # fmt: skip


def blast_radius(policy: Policy, facts: Facts) -> Verdict:
    """Too many, or too large a share, of the entities at once; one is always allowed."""
    allowed = allowed_at_once(policy, facts.fleet)
    return Verdict(
        "blast_radius", f"< {allowed} of {facts.fleet}", str(facts.in_force),
        Outcome.BLAST_RADIUS if facts.in_force >= allowed else None,
    )  # fmt: skip


def flag(policy: Policy, facts: Facts) -> Verdict:
    """A feature flag that the policy, or one of its actions, needs is off."""
    seen = f"off: {', '.join(facts.off)}" if facts.off else "on"
    return Verdict(
        "flag", f"on: {', '.join(facts.wanted)}", seen, Outcome.FLAG if facts.off else None
    )


def mode(policy: Policy, facts: Facts) -> Verdict:
    """The policy is not switched on."""
    dry = policy.mode == "dry_run"
    return Verdict("mode", "auto", policy.mode, Outcome.DRY_RUN if dry else None)


GUARDS: tuple[Callable[[Policy, Facts], Verdict], ...] = (
    coverage, cooldown, rate, blast_radius, flag, mode,
)  # fmt: skip


def _asked(guard: Callable[[Policy, Facts], Verdict], facts: Facts) -> bool:
    """Every guard but that of flags, where no flag is needed."""
    return guard is not flag or bool(facts.wanted)


def allowed_at_once(policy: Policy, fleet: int) -> int:
    """Return how many entities the policy may have acted on at once: amount and percent hold."""
    radius = policy.blast_radius
    return max(1, min(radius.amount, int(fleet * radius.percent / 100.0)))


def ask(policy: Policy, facts: Facts) -> tuple[Outcome, tuple[Verdict, ...]]:
    """Ask every guard; return ORDERED, or what the first that blocks says, and all answers."""
    verdicts = tuple([guard(policy, facts) for guard in GUARDS if _asked(guard, facts)])
    for verdict in verdicts:
        if verdict.blocks is not None:
            return verdict.blocks, verdicts
    return Outcome.ORDERED, verdicts
