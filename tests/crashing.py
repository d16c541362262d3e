"""Run the program until a named point is reached for the n-th time, then die as kill -9 does.

Stores name their points themselves. Here the moments before and after other steps get names, too:
`answer` (a client is told), `ingest` (a round becomes durable), `send` (an order leaves), `settle`
(what came of it is kept) and `save` (a checkpoint of all state).
"""

import os
import signal
import sys

from watchkeeper import cli, intake, pipeline
from watchkeeper.actions.webhook import Webhook
from watchkeeper.http import receive
from watchkeeper.ledger.sqlite import SqliteLedger
from watchkeeper.store import file as store_file

point, nth = sys.argv[1], int(sys.argv[2])


def die_at(name: str) -> None:
    global nth
    if name == point:
        nth -= 1
        if nth == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def around(owner: object, function: str, name: str) -> None:
    whole = getattr(owner, function)

    def watched(*arguments, **named):
        die_at(f"{name}.before")
        result = whole(*arguments, **named)
        die_at(f"{name}.after")
        return result

    setattr(owner, function, watched)


async def answering(*arguments) -> None:
    die_at("answer.before")
    await answer(*arguments)
    die_at("answer.after")


answer, receive._send = receive._send, answering
around(pipeline, "ingest", "ingest")
around(Webhook, "perform", "send")
around(SqliteLedger, "settle", "settle")
around(SqliteLedger, "save_pieces", "save")
assert intake.pipeline is pipeline
store_file.crash_point = die_at
store_file.CHECKPOINT_PAGES = 20
sys.exit(cli.call(sys.argv[3:]))
