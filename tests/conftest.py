"""Tests that run whole programs live on the machine's pace; one that fails is tried twice more.

A machine that stands still for seconds, as rented ones do, ends waits that the program kept to.
Three failures one after the other are ours. The summary names each test that was tried again, and
no other test is: what does not wait for a clock must pass at once.
"""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACED = {
    "browser", "faults", "integration", "load", "observe", "runbooks", "sources",
    "test_cli.py", "test_collecting.py", "test_crash.py", "test_deployment.py", "test_reload.py",
    "test_service.py", "test_top.py",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.relative_to(HERE).parts[0] in PACED:
            item.add_marker(pytest.mark.flaky(reruns=2))
