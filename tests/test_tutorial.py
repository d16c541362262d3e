"""The tutorial, run literally: every block in one shell, and what it says is there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
STEP = "== the next step of the tutorial =="


@pytest.mark.timeout(1800)
def test_the_tutorial_leads_from_an_installation_to_an_incident_that_is_understood(tmp_path):
    steps = re.findall(r"```sh\n(.*?)```(?:\n\n```text\n(.*?)```)?", TUTORIAL, re.DOTALL)
    assert len(steps) == len(re.findall(r"^```sh$", TUTORIAL, re.MULTILINE)) >= 6
    script = f"\necho '{STEP}'\n".join(commands for commands, _ in steps)
    # `make setup` is what built the environment that runs this test, whatever its name is.
    script = script.replace("make setup\n", f"PATH={Path(sys.executable).parent}:$PATH\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "120"},
        capture_output=True, text=True, check=False, timeout=1700,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = [" ".join(part.split()) for part in done.stdout.split(STEP)]
    for (commands, promised), told in zip(steps, said, strict=True):
        for line in promised.splitlines():
            assert " ".join(line.split()) in told, f"{line!r} is not what {commands} says:\n{told}"
