"""Bases of a journal: what a death leaves half written is gone at the next start."""

import subprocess
import sys
from pathlib import Path

import pytest

from watchkeeper.journal.sqlite import Sqlite

ROOT = Path(__file__).parents[2]
DYING = """
import os, sys
from pathlib import Path
from watchkeeper.journal._bases import Base
from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.store import file

def die(point):
    if point == sys.argv[2]:
        os._exit(9)

journal = Sqlite(path=Path(sys.argv[1])).open()
file.crash_point = die
journal.keep(Base(1, 1, 1, 0, 0), [b"state" * 1000], lambda _sha256: None)
"""


@pytest.mark.parametrize(("point", "whole"), [("base.written", 0), ("base.placed", 1)])
def test_a_base_half_written_when_killed_is_gone_at_the_next_start(point, whole, tmp_path):
    path = tmp_path / "journal.sqlite"
    command = [sys.executable, "-c", DYING, str(path), point]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT / "src")}, check=False)
    assert done.returncode == 9
    folder = tmp_path / "journal.sqlite.bases"
    assert len(list(folder.iterdir())) == 1
    Sqlite(path=path).open(read_only=True).close()
    assert len(list(folder.iterdir())) == 1, "a reader changes nothing"
    Sqlite(path=path).open().close()
    assert [one.suffix for one in folder.iterdir()] == [".base"] * whole
