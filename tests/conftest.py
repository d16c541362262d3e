"""What holds for every test: how often it is tried, in which order, and what it may leave behind.

Tests that run whole programs live on the machine's pace; one that fails is tried twice more. A
machine that stands still for seconds, as rented ones do, ends waits that the program kept to.
Three failures one after the other are ours. The summary names each test that was tried again, and
no other test is: what does not wait for a clock must pass at once.

Longest first: the last test to end would otherwise run alone, with the other core idle. Those that
mostly wait lead: one worker has them one after the other, and the cores are free for the others.

Properties of what reads and writes are not measured for coverage: they run the same lines a
thousand times, at nearly twice the price. Those of the pure families are: they are what holds them.

A worker runs many tests. What one of them sets for the whole process is set back, so that none
depends on which ran before.
"""

import logging
import os
import signal
from pathlib import Path

import pytest
import structlog

HERE = Path(__file__).parent
PACED = {
    "browser", "faults", "integration", "load", "observe", "runbooks", "sources",
    "test_cli.py", "test_collecting.py", "test_crash.py", "test_deployment.py", "test_reload.py",
    "test_service.py", "test_top.py",
}  # fmt: skip
READING = {"receivers", "simulate", "sources", "stores", "test_config.py", "test_journal.py"}
LONG = (
    "integration", "test_minutes.py", "test_crash.py", "runbooks", "faults", "load", "browser",
    "fuzz",
)  # fmt: skip
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.hookimpl(trylast=True)  # hypothesis has marked its own by then
def pytest_collection_modifyitems(items):
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in PACED:
            item.add_marker(pytest.mark.flaky(reruns=2))
        if folder in READING and item.get_closest_marker("hypothesis"):
            item.add_marker(pytest.mark.no_cover)
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(
        key=lambda item: min(
            places.get(part, len(LONG)) for part in item.path.relative_to(HERE).parts
        )
    )


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Set back logs, environment, folder and signals; wider fixtures keep what they set."""
    structured = structlog.get_config()
    level, handlers = logging.root.level, [*logging.root.handlers]
    around, folder = dict(os.environ), Path.cwd()
    signals = {number: signal.getsignal(number) for number in HANDLED}
    yield
    structlog.configure(**structured)
    logging.root.setLevel(level)
    for handler in {*logging.root.handlers}.difference(handlers):
        logging.root.removeHandler(handler)
    for name in {*os.environ, *around} - {"PYTEST_CURRENT_TEST"}:
        if name not in around:
            del os.environ[name]
        elif os.environ.get(name) != around[name]:
            os.environ[name] = around[name]
    os.chdir(folder)
    for number, handler in signals.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)
