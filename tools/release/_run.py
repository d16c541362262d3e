"""Run one program of a stage, and say which one it was when it fails."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"


class Failed(Exception):
    """A program ended with an error."""


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """Return what a program prints; its diagnostics are shown only when it fails.

    :raises Failed: it ended with an error.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = (done.stdout + done.stderr)[-4_000:].strip()
        raise Failed(f"{shlex.join(words)}\n{tail}\nended with {done.returncode}")
    return done.stdout


def version() -> str:
    """Return the version of this tree: the one line that has it."""
    for line in (ROOT / "src/watchkeeper/__init__.py").read_text(encoding="utf-8").splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise Failed("src/watchkeeper/__init__.py names no version")


def commit() -> str:
    """Return the commit that is being built."""
    return run("git", "rev-parse", "HEAD").strip()


def epoch() -> str:
    """Return the time that everything built from this commit carries, in seconds since 1970."""
    return run("git", "log", "-1", "--format=%ct").strip()


def stage(main: object) -> None:
    """Run a stage's `main()`; a failure is its message and exit code 1."""
    assert callable(main)
    try:
        main()
    except Failed as error:
        sys.exit(f"{error}")
