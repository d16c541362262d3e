"""Run the program until a named point is reached for the n-th time, then die as kill -9 does.

Stores name their points themselves. Here the moments before and after other steps get names, too:
`answer` (a client is told), `ingest` (a round becomes durable), `send` (an order leaves), `settle`
(what came of it is kept) and `save` (a checkpoint of all state).
"""

import functools
import os
import signal
from collections.abc import Callable

from watchkeeper import cli, intake, pipeline
from watchkeeper.actions.webhook import Webhook
from watchkeeper.http import receive
from watchkeeper.ledger.sqlite import SqliteLedger
from watchkeeper.store import file as store_file


def main(arguments: list[str]) -> int:
    """Arm a point, `POINT NTH`, and run the command that follows."""
    point, nth, *command = arguments
    arm(point, int(nth))
    return cli.call(command)


def arm(point: str, nth: int) -> None:
    left = nth

    def die_at(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    answer = receive._send

    async def answering(*arguments) -> None:
        die_at("answer.before")
        await answer(*arguments)
        die_at("answer.after")

    receive._send = answering
    around(die_at, pipeline, "ingest", "ingest")
    around(die_at, Webhook, "perform", "send")
    around(die_at, SqliteLedger, "settle", "settle")
    around(die_at, SqliteLedger, "save_pieces", "save")
    assert intake.pipeline is pipeline
    store_file.crash_point = die_at
    store_file.CHECKPOINT_PAGES = 20


def around(die_at: Callable[[str], None], owner: object, function: str, name: str) -> None:
    whole = getattr(owner, function)

    @functools.wraps(whole)
    def watched(*arguments, **named):
        die_at(f"{name}.before")
        result = whole(*arguments, **named)
        die_at(f"{name}.after")
        return result

    setattr(owner, function, watched)
