"""Run the program until a named point is reached for the n-th time, then tell it to stop there."""

import os
import signal
import sys

from watchkeeper import cli
from watchkeeper.store import file as store_file

point, nth = sys.argv[1], int(sys.argv[2])


def stop_at(name: str) -> None:
    global nth
    if name == point:
        nth -= 1
        if nth == 0:
            os.kill(os.getpid(), signal.SIGTERM)


store_file.crash_point = stop_at
store_file.CHECKPOINT_PAGES = 20
sys.exit(cli.run(sys.argv[3:]))
