"""What a stage saw, kept in `build/facts`: `python -m tools.evidence.facts NAME [KEY=VALUE…]`.

A stage writes its fact once what it proves has held. The fact is 1 unless `holds=` says otherwise:
0 for what was seen not to hold, a ratio for what was measured against what was wanted. What could
not be seen at all is forgotten (`holds=unknown`), so an older word of it does not go on counting.
Only the standard library is used: every environment of ours can say what it saw.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FACTS = ROOT / "build" / "facts"


@dataclass(frozen=True)
class Fact:
    """:param holds: 1 or more when it does. :param at: when, in ms. :param commit: of what."""

    holds: float
    at: int
    commit: str
    seen: dict[str, str]


def head() -> str:
    """Return the commit that is checked out; empty where there is none to ask."""
    command = ("git", "-C", str(ROOT), "rev-parse", "HEAD")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def note(name: str, holds: float | None = 1.0, folder: Path = FACTS, **seen: str) -> None:
    """Keep what was seen; forget it when it cannot be known."""
    path = folder / f"{name}.json"
    if holds is None:
        path.unlink(missing_ok=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    kept = {"holds": holds, "at": time.time_ns() // 1_000_000, "commit": head(), "seen": seen}
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def facts(folder: Path = FACTS) -> dict[str, Fact]:
    """Return every fact, by name."""
    return {
        path.stem: Fact(**json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("*.json"))
    }


def main() -> None:
    """Keep one fact."""
    name, *pairs = sys.argv[1:]
    seen = dict(pair.split("=", 1) for pair in pairs)
    said = seen.pop("holds", "1")
    note(name, None if said == "unknown" else float(said), **seen)


if __name__ == "__main__":
    main()
