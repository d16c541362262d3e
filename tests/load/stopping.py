"""Run the program until a named point is reached for the n-th time, then tell it to stop there.

Stores name their points themselves; a few others of a life get names here. Those at its end are
reached by a run that ends by itself.
"""

import os
import signal
import sys

from watchkeeper import cli
from watchkeeper.cli import _house
from watchkeeper.journal.sqlite import SqliteJournal
from watchkeeper.service import Service
from watchkeeper.service._warming import Warming
from watchkeeper.store import file as store_file

AT_THE_END = ("drained", "closing")
point, nth = sys.argv[1], int(sys.argv[2])


def stop_at(name: str) -> None:
    global nth
    if name == point:
        nth -= 1
        if nth == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def name(owner: object, function: str, *, before: str = "", after: str = "") -> None:
    whole = getattr(owner, function)

    def watched(*arguments, **named):
        stop_at(before)
        result = whole(*arguments, **named)
        stop_at(after)
        return result

    setattr(owner, function, watched)


name(_house, "configured", after="configured")
name(Warming, "judging", before="warming")
name(Service, "_begin", before="beginning")
name(Service, "run", after="drained")
name(SqliteJournal, "close", before="closing")
store_file.crash_point = stop_at
store_file.CHECKPOINT_PAGES = 20
code = cli.call([*sys.argv[3:], *(["--once"] if point in AT_THE_END else [])])
assert nth <= 0, f"{point} was not reached"
cli.leave(code)
