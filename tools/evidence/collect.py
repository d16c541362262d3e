"""Write `build/evidence/evidence.jsonl` from what the tests and the stages left: `make evidence`.

For each check of each line one sample, the share of what holds it that was seen to hold: 1 when all
of it does. It is as old as the oldest of it. A check of which nothing, or not everything, was seen
gets no sample, so readiness calls it missing. Prints why, for every check that is not whole.
"""

from __future__ import annotations

import argparse
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tools.evidence.facts import FACTS, ROOT, Fact, facts, head
from tools.evidence.lines import LINES, Held, is_test

JUNIT = ROOT / "build" / "junit.xml"
EVIDENCE = ROOT / "build" / "evidence" / "evidence.jsonl"
RUN = "coverage"  # the fact that the run which wrote JUNIT leaves; it names the commit


@dataclass
class Cases:
    """How the cases of one test ended."""

    passed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Run:
    """One run of the tests. :param at: when it ended, in ms."""

    at: int = 0
    tests: Mapping[str, Cases] = field(default_factory=dict)

    def holds(self, name: str) -> bool | None:
        """Return whether all cases passed; None when there was none."""
        parts = [
            cases
            for test, cases in self.tests.items()
            if test == name
            or (test.startswith(name) and (name[-1] == "/" or test[len(name)] == ":"))
        ]
        if not sum(one.passed + one.failed for one in parts):
            return None
        return not any(one.failed for one in parts)


@dataclass(frozen=True)
class Sample:
    """What is known of one check; a value of None is no sample, and `why` says why."""

    line: str
    check: str
    value: float | None
    at: int
    why: tuple[str, ...]


def run_of(junit: Path) -> Run:
    """Return the run that a JUnit file tells of; none when there is no such file."""
    if not junit.is_file():
        return Run()
    tests: dict[str, Cases] = {}
    suites = list(ET.parse(junit).getroot().iter("testsuite"))  # noqa: S314, we wrote it
    ended = 0.0
    for suite in suites:
        began = datetime.fromisoformat(suite.attrib["timestamp"]).timestamp()
        ended = max(ended, began + float(suite.attrib["time"]))
        for case in suite.iter("testcase"):
            file = case.attrib["classname"].replace(".", "/") + ".py"
            cases = tests.setdefault(f"{file}::{case.attrib['name'].partition('[')[0]}", Cases())
            wrong = case.find("failure") is not None or case.find("error") is not None
            cases.failed += wrong
            cases.passed += not wrong and case.find("skipped") is None
    return Run(round(ended * 1000), tests)


def collected(
    lines: Mapping[str, Held], run: Run, seen: Mapping[str, Fact], commit: str
) -> Iterator[Sample]:
    """Yield what is known of each check of each line."""
    of_now = {name: fact for name, fact in seen.items() if fact.commit == commit}
    told = run if RUN in of_now else Run()
    for line, checks in lines.items():
        for check, names in checks.items():
            found = {name: _seen(name, told, of_now) for name in names}
            why = [
                f"{name} was not seen at this commit" if one is None
                else f"{name} does not hold ({one[0]:.3g})"
                for name, one in found.items()
                if one is None or one[0] < 1.0
            ] or ([] if names else ["nothing is named that holds it"])  # fmt: skip
            parts = [one for one in found.values() if one is not None]
            if not names or len(parts) < len(names):
                yield Sample(line, check, None, 0, tuple(why))
            else:
                share, at = min(one[0] for one in parts), min(one[1] for one in parts)
                yield Sample(line, check, share, at, tuple(why))


def _seen(name: str, run: Run, facts: Mapping[str, Fact]) -> tuple[float, int] | None:
    """Return how far a test or a fact holds, and when that was seen; None when it was not."""
    if is_test(name):
        held = run.holds(name)
        return None if held is None else (float(held), run.at)
    fact = facts.get(name)
    return None if fact is None else (fact.holds, fact.at)


def write(junit: Path = JUNIT, folder: Path = FACTS, out: Path = EVIDENCE) -> list[Sample]:
    """Write what is known of every check; return all of them, known or not."""
    commit = head()
    samples = list(collected(LINES, run_of(junit), facts(folder), commit))
    rows = [
        {"timestamp": one.at, "entity": f"line:{one.line}", "metric": one.check,
         "value": one.value, "commit": commit}
        for one in samples
        if one.value is not None
    ]  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return samples


def main() -> None:
    """Collect, write, and say what is not whole."""
    parser = argparse.ArgumentParser(description="write evidence of what CI saw")
    parser.add_argument("--junit", type=Path, default=JUNIT)
    parser.add_argument("--facts", type=Path, default=FACTS)
    parser.add_argument("--out", type=Path, default=EVIDENCE)
    given = parser.parse_args()
    samples = write(given.junit, given.facts, given.out)
    for one in samples:
        if one.why:
            print(f"{one.line} {one.check}: {'; '.join(one.why)}")
    known = sum(one.value is not None for one in samples)
    print(f"evidence of {known} of {len(samples)} checks: {given.out}")


if __name__ == "__main__":
    main()
