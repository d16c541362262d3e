"""The findings for a terminal or a mail: plain text, 80 columns, no colour needed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from watchkeeper.model import State
from watchkeeper.reports._findings import Entity, Findings
from watchkeeper.reports._words import (
    count,
    health,
    number,
    rfc3339,
    shown,
    span,
    time_of,
    verdict,
    when,
    why,
)

WIDTH = 80


@dataclass(frozen=True)
class Text:
    """Plain text in UTF-8. What could move a terminal's cursor is shown as `�`.

    :param entities: how many to tell; the rest is counted.
    """

    entities: int = 20
    file: ClassVar[str] = "report.txt"
    media: ClassVar[str] = "text/plain; charset=utf-8"

    def render(self, findings: Findings) -> bytes:
        """Return the text; no line is longer than 80 columns."""
        lines = [_fitted(line) for part in self._parts(findings) for line in part]
        return ("\n".join(lines).rstrip("\n") + "\n").encode("utf-8", "replace")

    def _parts(self, findings: Findings) -> Iterator[Iterator[str]]:
        yield _head(findings)
        if findings.timeline:
            yield _went(findings)
        told = [entity for entity in findings.entities if entity.troubled]
        for entity in told[: self.entities]:
            yield _told(entity)
        if len(told) > self.entities:
            yield iter([f"… and {len(told) - self.entities:,} more that had trouble", ""])
        yield _tail(findings)


def _head(findings: Findings) -> Iterator[str]:
    facts = findings.facts
    yield verdict(findings)
    yield "=" * min(WIDTH, len(verdict(findings)))
    yield f"{facts.title}: {facts.scope}" if facts.scope else facts.title
    yield f"{when(facts.since)} to {when(facts.until)} UTC ({span(facts.until - facts.since)})"
    states = [f"{amount:,} {state}" for state, amount in findings.states if amount]
    if states:
        yield ", ".join(states) + f"; {count(findings.incident_count, 'incident', 'incidents')}"
    for problem in facts.problems:
        yield f"! {problem}"
    yield ""


def _went(findings: Findings) -> Iterator[str]:
    day = ""
    for one in findings.timeline:
        date, _, clock = rfc3339(one.at).rstrip("Z").partition("T")
        if date != day:
            yield date
        day = date
        yield f"{clock[:8]}  {one.kind:<8}  {one.what}"
        yield from textwrap.wrap(
            one.about, WIDTH, initial_indent=" " * 20, subsequent_indent=" " * 20
        )
    yield ""


def _told(entity: Entity) -> Iterator[str]:
    mark = "now" if entity.state is not State.OK else "then"
    yield f"{health(entity.health):>3}  {entity.state.upper():<7}  {entity.name}"
    if time_of(entity):
        yield f"     {mark}: {time_of(entity)}; lowest {number(entity.worst)}"
    for series, about in why(entity):
        yield f"     why: {series}"
        if about:
            yield from textwrap.wrap(
                about, WIDTH, initial_indent=" " * 10, subsequent_indent=" " * 10
            )
    for decision in entity.decisions[:2]:
        yield f"     {decision.policy} {decision.phase}: {decision.outcome} ({decision.reason})"
    yield ""


def _tail(findings: Findings) -> Iterator[str]:
    facts, counts = findings.facts, findings.facts.counts
    if findings.outcomes:
        outcomes = ", ".join(f"{amount:,} {name}" for name, amount in findings.outcomes)
        yield f"decisions  {findings.decision_count:,}: {outcomes}"
    for held in findings.quarantine:
        yield f"quarantine {held.count:,} {held.reason}, such as"
        yield from textwrap.wrap(
            held.examples[0], WIDTH, initial_indent=" " * 11, subsequent_indent=" " * 11
        )
    yield (
        f"samples    {facts.offered:,} = {counts.accepted:,} accepted"
        f" + {counts.rejected:,} rejected"
    )
    yield (
        f"           {counts.accepted:,} = {counts.scored:,} scored"
        f" + {counts.duplicate:,} duplicate + {counts.late:,} late"
    )
    yield f"digest     {facts.digest}"


def _fitted(line: str) -> str:
    text = shown(line).replace("\n", "�")
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


plugin = Text
