"""Hold branch coverage to two floors at the end of a test run: the whole, and the pure families.

A pytest plugin (`-p tools.coverage_floors`), so that pytest's own closing line stays the last one.
The floors are on lines and branches together, as coverage.py reports them. Bodies of numba
kernels are excluded (`exclude_also` in pyproject.toml): compiled code cannot be traced. They are
held to their slow Python twins by the conformance checks instead.
"""

from __future__ import annotations

from collections.abc import Generator
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from tools.evidence.facts import note

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

PURE = ("contracts", "detectors", "health", "policies", "reports")
FLOORS = {"everything": (90.0, "*")} | {
    family: (95.0, f"*/watchkeeper/{family}/*") for family in PURE
}
RESULTS = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Measure once pytest-cov has combined what all workers saw."""
    outcome = yield
    if not hasattr(session.config, "workerinput"):
        session.config.stash[RESULTS], missed = _measured()
        session.testsfailed += missed
    return outcome


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print one line for each floor."""
    terminalreporter.section("branch coverage")
    for line in terminalreporter.config.stash.get(RESULTS, []):
        terminalreporter.write_line(line)


def _measured() -> tuple[list[str], int]:
    import coverage

    measured = coverage.Coverage()
    measured.load()
    lines, missed, least = [], 0, 2.0
    for name, (floor, files) in FLOORS.items():
        try:
            total = measured.report(include=[files], file=StringIO(), ignore_errors=True)
        except coverage.exceptions.NoDataError:
            total = 0.0  # nothing of it ran
        verdict = "ok" if total >= floor else "TOO LOW"
        missed += total < floor
        least = min(least, total / floor)
        lines.append(f"{name:<12}{total:6.1f} %  floor {floor:.0f} %  {verdict}")
    note("coverage", least)
    return lines, missed
