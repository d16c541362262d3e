"""`python -m watchkeeper.service._beside KIND=NAME…`: compile what receivers need, into the cache.

Prints the name of each receiver whose decoder is compiled. The house that started it (`_warming`)
comes first where there is one processor only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from watchkeeper import plugins
from watchkeeper.identity import Identity
from watchkeeper.receivers import Limits, Receiver

BEHIND = 5  # by how much nicer than the house


def main(asked: Sequence[str]) -> None:
    """Decode the examples of receivers, each given as `kind=name`."""
    os.nice(BEHIND)
    for one in asked:
        kind, _, name = one.partition("=")
        receiver: Receiver = plugins.load("receivers", kind)(name=name)
        for example in receiver.examples():
            receiver.open(Limits(), Identity()).decode(example)
        print(name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
