"""Run commands as their users do, and read what they leave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from watchkeeper.cli import call

SOURCE = Path(__file__).parents[1] / "src"
MAIN = "from watchkeeper.cli import main; main()"


def wk(*arguments) -> int:
    """Run one command in this process; return its exit code."""
    return call([str(one) for one in arguments])


def process(*arguments, code=MAIN, **options):
    """Start one command as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def finished(*arguments, **options):
    """Run one command as a process to its end; return exit code, stdout and stderr."""
    with process(*arguments, **options) as one:
        out, err = one.communicate(timeout=180)
        return one.returncode, out, err


def read_run(out):
    return json.loads((Path(out) / "run.json").read_text())


def digest(out):
    return read_run(out)["digest"]


def rows(path):
    return pq.read_table(path).to_pylist()


def simulated(out, *more):
    """Write a fleet of four hosts over six hours: 42,480 samples with faults in them."""
    assert wk("simulate", "--hosts", 4, "--duration", "6h", "--out", out, *more) == 0
    return out


def left_in(folder):
    """Everything in a folder, hidden files too."""
    return sorted(path.name for path in Path(folder).iterdir())
