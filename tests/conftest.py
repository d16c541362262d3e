"""What holds for every test: how often it is tried, in which order, and what it may leave behind.

Tests that run whole programs live on the machine's pace; one that fails is tried twice more. A
machine that stands still for seconds, as rented ones do, ends waits that the program kept to.
Three failures one after the other are ours. The summary names each test that was tried again, and
no other test is: what does not wait for a clock must pass at once.

Longest first: the last test to end would otherwise run alone, with the other core idle. Those that
mostly wait lead: one worker has them one after the other, and the cores are free for the others.

Measuring coverage makes Python nearly twice as dear. Properties of what reads and writes are not
measured: they run the same lines a thousand times (those of the pure families are, for they are
what holds them). Nor are whole programs under load or in trouble: what they run, others run too;
nor tests of the documents and tools.

A worker runs many tests. What one of them sets for the whole process is set back, so that none
depends on which ran before.
"""

import logging
import os
import signal
from pathlib import Path

import pytest
import structlog
from tests.lives import MEASURING

HERE = Path(__file__).parent
PACED = {
    "browser", "faults", "integration", "load", "observe", "runbooks", "sources",
    "test_cli.py", "test_collecting.py", "test_crash.py", "test_deployment.py", "test_reload.py",
    "test_service.py", "test_top.py",
}  # fmt: skip
UNMEASURED = {
    "browser", "faults", "fuzz", "integration", "load", "runbooks", "test_canary.py",
    "test_crash.py", "test_deployment.py", "test_docs.py", "test_house.py", "test_site.py",
    "test_tutorial.py",
}  # fmt: skip
READING = {
    "receivers", "simulate", "sources", "stores", "test_config.py", "test_journal.py",
    "test_lives.py", "test_metamorphic.py", "upkeep",
}  # fmt: skip
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
        drawn = item.get_closest_marker("hypothesis")
        if folder in UNMEASURED or (folder in READING and drawn):
            item.add_marker(pytest.mark.no_cover)
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(
        key=lambda item: min(
            places.get(part, len(LONG)) for part in item.path.relative_to(HERE).parts
        )
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Have nothing measured that an unmeasured test starts, nor what its fixtures start."""
    kept = {}
    if item.get_closest_marker("no_cover"):
        kept = {name: os.environ.pop(name) for name in MEASURING if name in os.environ}
    try:
        return (yield)
    finally:
        os.environ.update(kept)


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
