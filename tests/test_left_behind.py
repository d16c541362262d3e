"""What one test sets for the whole process is set back before the next: see conftest.py."""

import logging
import os
import signal
from pathlib import Path

import structlog
from structlog.testing import capture_logs

from watchkeeper.observe import logs
from watchkeeper.observe.settings import Log

NAME = "WATCHKEEPER_LEFT_BEHIND"


def test_one_that_sets_all_of_it(tmp_path):
    logs.configure(Log(level="error", format="json"))
    os.environ[NAME] = "1"
    os.chdir(tmp_path)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def test_another_finds_none_of_it(tmp_path):
    with capture_logs() as lines:
        structlog.get_logger("watchkeeper").info("heard")
    assert [one["event"] for one in lines] == ["heard"]
    assert not [one for one in logging.root.handlers if type(one).__module__ == logs.__name__]
    assert NAME not in os.environ
    assert not Path.cwd().is_relative_to(tmp_path.parent)
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_IGN
