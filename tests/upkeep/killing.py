"""Kill a command at each step, as kill -9 does, and see what is left.

    python killing.py SCRATCH [COMMAND FOLDER EVERY]…

For every EVERY-th moment the command is begun on a copy of FOLDER and dies there; then it is
called again, and must end as if nothing had happened. Moments of putting files in place are
always tried. Each attempt is a fork, so nothing is cleaned up. Prints one line of JSON an attempt.
"""

import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.upkeep.houses import COMMANDS, RESULT, picture

from watchkeeper.cli._house import derive_silently
from watchkeeper.journal import sqlite as journal_file
from watchkeeper.store import file as store_file

ENOUGH = 100_000
MOMENTS = ("swap.whole", "swap.placed", "base.written", "base.placed", "base.dropped")
journal_file.CUT_ENTRIES = 16  # so that there are several moments with half of it removed


def in_a_fork(work) -> tuple[int, str]:
    """Run work in a process of its own; return how it ended and what it says."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            said = json.dumps(work())
            code = 0
        except BaseException as error:
            said, code = json.dumps(repr(error)), 1
        os.write(writer, said.encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def dying(command, folder: Path, nth: int) -> dict:
    """Run the command until the nth moment; say which moments there were if it gets through."""
    met: list[str] = []

    def moment(name: str) -> None:
        met.append(name)
        if len(met) == nth:
            os._exit(9)

    store_file.crash_point = moment
    said = command(folder)
    return {"moments": met, "said": said}


def tried(name: str, source: Path, scratch: Path, every: int) -> None:
    command = COMMANDS[name]
    result = scratch / RESULT.get(name, "data")

    def fresh() -> Path:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(source, scratch)
        return scratch

    command(fresh())  # in this process: kernels that a fork finds loaded take no time in it
    picture(result)
    code, said = in_a_fork(lambda: dying(command, fresh(), ENOUGH))
    assert code == 0, said
    moments = json.loads(said)["moments"]
    whole = in_a_fork(lambda: picture(result))[1]
    always = {moments.index(one) + 1 for one in MOMENTS if one in moments}
    for nth, moment in enumerate(moments, 1):
        if nth % every and nth not in always:
            continue
        folder = fresh()
        code, said = in_a_fork(lambda nth=nth, folder=folder: dying(command, folder, nth))
        assert code == 9, (moment, code, said)
        code, said = in_a_fork(lambda folder=folder: dying(command, folder, ENOUGH))
        same = in_a_fork(lambda: picture(result))[1] == whole
        told = {"command": name, "at": moment, "again": code, "said": said, "same": same}
        print(json.dumps(told), flush=True)


derive_silently()
scratch, *wanted = sys.argv[1:]
for name, source, every in zip(wanted[::3], wanted[1::3], wanted[2::3], strict=True):
    tried(name, Path(source), Path(scratch), int(every))
