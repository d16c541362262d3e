"""Ask the product whether this commit is ready for production; a promotion there depends on it.

`watchkeeper readiness` holds the evidence of this very commit against the plan. Below the threshold
nothing is promoted. A check may be waived for a while in a file that says why, by whom and until
when (docs/readiness.md); each waiver that is used is printed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tools.release._run import ROOT, Failed

EVIDENCE = ROOT / "build" / "evidence"
COMMAND = ROOT / ".venv" / "bin" / "watchkeeper"


@dataclass(frozen=True)
class Gate:
    """What must be shown before production. :param least: None is the card's own, 100."""

    evidence: Path = EVIDENCE
    waivers: Path | None = None
    least: float | None = None

    def hold(self, of: str) -> str:
        """Return what was said of a commit that is ready.

        :raises Failed: it is not; the message names every line that is open.
        """
        words = [str(COMMAND), "readiness", "--evidence", str(self.evidence), "--commit", of]
        if self.waivers is not None:
            words += ["--waivers", str(self.waivers)]
        if self.least is not None:
            words += ["--least", f"{self.least:g}"]
        try:
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        except OSError as error:
            raise Failed(f"{COMMAND}: {error.strerror}; run `make setup`") from None
        said = done.stdout.splitlines()
        told = [
            line for line in said if line.startswith(("readiness", "waived", "with", "missing"))
        ]
        if done.returncode:
            raise Failed("\n".join([*told, done.stderr.strip(), "not promoted to prod"]).strip())
        return "\n".join(told)


def waive_today(path: Path, checks: Mapping[tuple[str, str], str]) -> Path:
    """Write waivers that hold until tomorrow, for a rehearsal; the file says what for."""
    today = datetime.now(tz=UTC).date()
    waivers = [
        {
            "line": line,
            "check": check,
            "reason": reason,
            "owner": "the rehearsal",
            "granted": today.isoformat(),
            "until": (today + timedelta(days=1)).isoformat(),
        }
        for (line, check), reason in checks.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "waivers": waivers}, indent=2) + "\n", "utf-8")
    return path
