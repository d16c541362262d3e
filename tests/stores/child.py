"""A process that writes to both stores and tells what was acknowledged, until it is killed.

    python child.py FOLDER [POINT] [NTH]

With POINT it kills itself when that point of the code is reached for the NTH time.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Checkpoint, Millis
from watchkeeper.store import file as store_file
from watchkeeper.testing.journal import checked
from watchkeeper.testing.ledger import receipt, step

folder, point, nth = Path(sys.argv[1]), "".join(sys.argv[2:3]), int("".join(sys.argv[3:4]) or 1)


def die_at(name: str) -> None:
    global nth
    if name == point:
        nth -= 1
        if nth == 0:
            os.kill(os.getpid(), signal.SIGKILL)


store_file.crash_point = die_at
store_file.CHECKPOINT_PAGES = 10


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


journal = Journal(folder / "journal.sqlite").open()
ledger = Ledger(folder / "ledger.sqlite").open()
tell("open", journal.head())
for _ in range(int(os.environ.get("WATCHKEEPER_CHILD_ENTRIES", "1000000"))):
    k = journal.head()
    name = ("host:a", f"m{k % 90}", "{}")
    (offset,) = journal.append([checked({name: [(k, float(k))] * 50}, cursor=str(k))])
    tell("entry", offset)
    mark = ledger.watermark()
    tick = Millis(mark.tick + 1_000 if mark else 1_000)
    ledger.commit(step(tick))
    tell("step", tick)
    if tick % 5_000 == 0:
        ledger.save(Checkpoint(mark.offset, tick, b"x" * 50_000))
        tell("checkpoint", tick)
    for order, attempts in ledger.outbox(tick, 1):
        ledger.settle(receipt(order, attempts + 1, "done"))
        tell("receipt", order.key)
journal.close()
ledger.close()
tell("closed")
