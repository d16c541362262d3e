"""Reports render what was found. Every other file here is one report.

`gather` boils bulk results down to `Findings`: the few hundred facts a person can use. A report
turns findings into bytes and adds nothing. Both are pure: the same results give the same bytes.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from watchkeeper.reports._findings import (
    Entity,
    Event,
    Facts,
    Findings,
    Incident,
    Input,
    Line,
    Plot,
    Quarantined,
    Range,
    Signal,
)
from watchkeeper.reports._gather import gather
from watchkeeper.reports._history import History
from watchkeeper.reports._schedule import Schedule
from watchkeeper.reports._scope import Scope

SUFFIXES = {".html": "html", ".json": "json", ".txt": "text", ".parquet": "parquet"}  # of files

__all__ = [
    "SUFFIXES",
    "Entity",
    "Event",
    "Facts",
    "Findings",
    "History",
    "Incident",
    "Input",
    "Line",
    "Plot",
    "Quarantined",
    "Range",
    "Report",
    "Schedule",
    "Scope",
    "Signal",
    "gather",
]


class Report(Protocol):
    """One way to show findings. Its fields are its configuration."""

    file: ClassVar[str]
    """The file name it is stored under."""
    media: ClassVar[str]
    """Its media type."""

    def render(self, findings: Findings) -> bytes:
        """Return the whole report. Every name in the findings is data, however hostile."""
