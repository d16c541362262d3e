"""What a stretch of the journal comes to, held against the chain: both sides of a pack do this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from watchkeeper.core.fold import Fold
from watchkeeper.core.state import Rulebook
from watchkeeper.errors import VerifyError
from watchkeeper.ledger import Link, step_link_body
from watchkeeper.model import Entry, Millis, Step, canonical, decision_facts


@dataclass
class Derived:
    """What was concluded in a window.

    :param decisions: one line of canonical JSON each, in order.
    :param rulebooks: by digest, in the order they came into force: document and models.
    """

    since: Millis
    until: Millis
    decisions: list[str] = field(default_factory=list)
    rulebooks: dict[str, str] = field(default_factory=dict)
    entries: int = 0
    steps: int = 0

    def take(self, step: Step, rulebook: Rulebook | None) -> None:
        """Add one step, and what it was judged by."""
        self.steps += 1
        if rulebook is not None and rulebook.digest not in self.rulebooks:
            facts = {"document": rulebook.document, "models": rulebook.models()}
            self.rulebooks[rulebook.digest] = canonical(facts) + "\n"
        self.decisions += [
            canonical(decision_facts(one)) for one in step.decisions if one.at >= self.since
        ]


def derive(
    fold: Fold, entries: Iterable[Entry], links: Iterator[Link], into: Derived
) -> Iterator[Entry]:
    """Carry entries through the core until the window ends; yield those that were needed.

    :param links: those of the chain that follow from the entries; what is no step is passed over.
    :raises VerifyError: a step is not the one that the chain holds.
    """
    held = steps(links)
    for entry in entries:
        into.entries += 1
        yield entry
        for step in fold.close(entry)[0]:
            if step.tick <= into.until:
                same(step, next(held, None))
                into.take(step, fold.rulebook)
        if fold.state is not None and fold.state.tick >= into.until:
            return
        fold.take(entry)


def steps(links: Iterable[Link]) -> Iterator[Link]:
    """Yield the links that are steps."""
    return (link for link in links if link.kind == "step")


def same(step: Step, link: Link | None) -> None:
    """Hold a step against its link.

    :raises VerifyError: the chain says something else, or nothing.
    """
    if link is None or link.body != step_link_body(step):
        raise VerifyError(
            f"step at tick {step.tick}: the chain does not hold what the journal implies",
            hint="one of them was altered, or another version of the program wrote them",
        )
