"""A process that writes to both stores and tells what was acknowledged, until it is killed.

`lives.ready("tests.stores.child").begin(FOLDER, POINT, NTH, ENTRIES)`: with POINT it kills itself
when that point of the code is reached for the NTH time; after ENTRIES it ends by itself.
"""

import os
import signal
import tempfile
from pathlib import Path

from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Checkpoint, Millis
from watchkeeper.store import file as store_file
from watchkeeper.testing.journal import checked
from watchkeeper.testing.ledger import receipt, step

with tempfile.TemporaryDirectory() as place:  # so that no life has kernels to load
    first = Journal(Path(place) / "journal.sqlite").open()
    first.warm_up([checked({("host:a", "m", "{}"): [(1, 1.0)]})])
    first.close()


def main(arguments: list[str]) -> None:
    folder, point, nth, entries = arguments
    arm(point, int(nth))
    live(Path(folder), int(entries))


def arm(point: str, nth: int) -> None:
    left = nth

    def die_at(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    store_file.crash_point = die_at
    store_file.CHECKPOINT_PAGES = 10


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def live(folder: Path, entries: int) -> None:
    journal = Journal(folder / "journal.sqlite").open()
    ledger = Ledger(folder / "ledger.sqlite").open()
    tell("open", journal.head())
    for _ in range(entries):
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
