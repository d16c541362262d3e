"""Run the program until a named point is reached for the n-th time, then die as kill -9 does."""

import os
import signal
import sys

from watchkeeper import cli
from watchkeeper.store import file as store_file

point, nth = sys.argv[1], int(sys.argv[2])


def die_at(name: str) -> None:
    global nth
    if name == point:
        nth -= 1
        if nth == 0:
            os.kill(os.getpid(), signal.SIGKILL)


store_file.crash_point = die_at
store_file.CHECKPOINT_PAGES = 20
sys.exit(cli.run(sys.argv[3:]))
