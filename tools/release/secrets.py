"""Look for secrets in every commit; first in a history with planted ones, which must be found.

    make secrets

gitleaks with its own rules and one for our tokens (security/gitleaks.toml). A scanner that finds
nothing where something is would pass every change, so it has to prove itself before each scan.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
from pathlib import Path

from tools.release._run import ROOT, Failed, run, stage

RULES = ROOT / "security" / "gitleaks.toml"


def scan(repository: Path) -> list[str]:
    """Return `rule commit file:line` of each secret in any commit of a repository."""
    with tempfile.NamedTemporaryFile(prefix="watchkeeper-leaks-", suffix=".json") as report:
        done = subprocess.run(
            [
                *("gitleaks", "detect", "--no-banner", "--redact", "--source", repository),
                *("--config", RULES, "--report-format", "json", "--report-path", report.name),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise Failed(f"gitleaks did not run: {done.stderr[-500:]}")
        found = json.loads(Path(report.name).read_text(encoding="utf-8") or "[]")
    return [
        f"{one['RuleID']} {one['Commit'][:12]} {one['File']}:{one['StartLine']}" for one in found
    ]


def planted() -> dict[str, str]:
    """Return secrets made for this run, one of each kind the scan must find, by rule."""
    token = f"wk_prod_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    cloud = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))
    return {
        "watchkeeper-token": f"token: {token}",
        "aws-access-token": f"aws_access_key_id = {cloud}",
        # In two parts, or this line would be found.
        "private-key": f"-----BEGIN EC {'PRIVATE'} KEY-----\n{secrets.token_hex(48)}\n"
        f"-----END EC {'PRIVATE'} KEY-----",
    }


def prove() -> int:
    """Plant secrets, delete them in a later commit, and find them all; return how many.

    :raises Failed: one was not found.
    """
    with tempfile.TemporaryDirectory(prefix="watchkeeper-planted-") as name:
        folder = Path(name)
        git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "-C", folder)
        run(*git, "init", "--quiet")
        kinds = planted()
        for rule, text in kinds.items():
            (folder / f"{rule}.txt").write_text(text + "\n", encoding="utf-8")
        run(*git, "add", ".")
        run(*git, "commit", "--quiet", "-m", "plant")
        run(*git, "rm", "--quiet", "*.txt")
        run(*git, "commit", "--quiet", "-m", "delete")
        found = {line.split()[0] for line in scan(folder)}
    if missed := kinds.keys() - found:
        raise Failed(f"the scanner missed planted secrets: {', '.join(sorted(missed))}")
    return len(kinds)


def main() -> None:
    """Prove the scanner, then scan this repository."""
    print(f"{prove()} planted secrets found, in a commit that was deleted since")
    if leaks := scan(ROOT):
        raise Failed("secrets in the history:\n  " + "\n  ".join(leaks))
    print("no secret in any commit")


if __name__ == "__main__":
    stage(main)
