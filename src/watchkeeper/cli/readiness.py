"""Hold evidence against a scorecard, and say what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from watchkeeper.cli._terminal import Output, When, emit, now, stamp

if TYPE_CHECKING:
    from watchkeeper.readiness import AreaStanding, Check, Standing

UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def readiness(
    *,
    evidence: Path = Path("build/evidence"),
    card: Path | None = None,
    waivers: Path | None = None,
    commit: str = "",
    least: float | None = None,
    at: When = None,
    output: Output = "text",
) -> int:
    """Hold evidence against a scorecard; exit with 1 when the score is too low.

    A line counts when every check of it was seen to hold, of late. What is missing or too old is
    not known, and counts as not held.

    Examples:

      watchkeeper readiness
      watchkeeper readiness --evidence evidence/ --commit "$(git rev-parse HEAD)"
      watchkeeper readiness --card own.yaml --output json

    Parameters
    ----------
    evidence
        A folder of .jsonl files, or one: entity line:ID, metric the check, value 1 when it holds.
    card
        The scorecard; that of the production-readiness plan unless given.
    waivers
        A file of checks that need not be shown for a while. Each that is used is printed.
    commit
        Count only evidence of this commit (its attribute commit).
    least
        The score below which the exit code is 1; the card's own unless given.
    at
        The moment; now unless given.
    output
        text or json.
    """
    from watchkeeper import readiness as house

    read = house.read_card(card or house.shipped())
    moment = now() if at is None else at
    seen = house.read_evidence(evidence, moment, commit)
    true = house.stand(read, seen, moment)
    leave = house.read_waivers(waivers) if waivers else ()
    waived = house.stand(read, seen, moment, leave)
    wanted = read.least if least is None else least
    passed = waived.score >= wanted
    facts = {
        "card": read.name,
        "at": stamp(moment),
        "score": true.score,
        "coverage": true.coverage,
        "score_with_waivers": waived.score,
        "least": wanted,
        "passed": passed,
        "areas": [asdict(area) for area in true.areas],
        "waivers": [one.model_dump(mode="json") for one in waived.used],
    }
    emit(output, facts, "\n".join(_text(true, waived, wanted)))
    return 0 if passed else 1


def _text(true: Standing, waived: Standing, wanted: float) -> Iterator[str]:
    lines = [line for area in true.areas for line in area.lines]
    held = sum(line.held for line in lines)
    yield (
        f"{true.card} {_figure(true.score)} %   {held} of {len(lines)} lines held, "
        f"all is known of {true.coverage:.0%}"
    )
    for area, with_leave in zip(true.areas, waived.areas, strict=True):
        yield from _area(area, with_leave)
    for one in waived.used:
        yield (
            f"waived: {one.line} {one.check} from {one.granted} until {one.until} "
            f"by {one.owner}: {one.reason}"
        )
    missing = [line for line in lines if not line.held]
    if missing:
        lost = sum(line.points for line in missing)
        yield f"missing: {_figure(lost)} points, {', '.join(line.id for line in missing)}"
    if waived.used:
        yield f"with waivers: {_figure(waived.score)} %"
    if waived.score < wanted:
        yield f"below {wanted:g} %: not ready"


def _area(area: AreaStanding, with_leave: AreaStanding) -> Iterator[str]:
    yield ""
    got = area.points * area.score / 100.0
    yield f"{area.id:<5}{area.title}: {_figure(got)} of {_figure(area.points)}"
    for line, leave in zip(area.lines, with_leave.lines, strict=True):
        mark = "held" if line.held else "waived" if leave.held else "OPEN"
        yield f"  {line.id:<6}{mark:<7}{_figure(line.points):>4}  {line.title}"
        yield f"{'':21}{'; '.join(_checks(leave.checks))}"


def _checks(checks: Sequence[Check]) -> Iterator[str]:
    held = [one for one in checks if one.state == "held"]
    if held:
        oldest = max(one.age or 0 for one in held)
        yield f"{', '.join(one.name for one in held)}: {_age(oldest)} ago"
    for one in checks:
        if one.state != "held":
            value = "" if one.value is None or one.state == "waived" else f" ({one.value:.3g})"
            age = "" if one.age is None else f" {_age(one.age)} ago"
            yield f"{one.name} {one.state}{value}{age}"


def _age(millis: int) -> str:
    size, unit = next(((s, u) for s, u in UNITS if millis >= s), UNITS[-1])
    return f"{millis // size} {unit}"


def _figure(points: float) -> str:
    """Return points as people read them; never rounded up to what was not reached."""
    return f"{int(points * 100 + 1e-6) / 100:.2f}".rstrip("0").rstrip(".")
