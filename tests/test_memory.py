"""Memory that was given back is there for the next batch, without the kernel clearing it again."""

import subprocess
import sys

from watchkeeper.cli import _memory

SCRIPT = """
import resource, sys
import numpy as np
from watchkeeper.cli._memory import keep_memory

if sys.argv[1] == "kept":
    assert keep_memory()

def batch():
    arrays = [np.ones(200_000) for _ in range(4)]
    assert len(arrays) == 4

batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    command = [sys.executable, "-c", SCRIPT, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_batches_use_the_pages_of_the_batches_before_them():
    usual, kept = faults("usual"), faults("kept")
    assert kept < usual / 10, f"{kept} page faults with memory kept, {usual} without"


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(_memory.ctypes, "CDLL", lambda _name: object())
    assert not _memory.keep_memory()
