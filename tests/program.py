"""The program, ready to be forked: what a house imports is imported, and its kernels are loaded.

`lives.ready("tests.program").begin(...)` forks it. What a life still imports costs time, no more.
"""

import importlib
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

from tests import crashing

from watchkeeper import cli, config, core
from watchkeeper.engines.local import Local
from watchkeeper.identity import Identity
from watchkeeper.intake import Intake
from watchkeeper.journal.sqlite import Sqlite
from watchkeeper.live._recent import Recent
from watchkeeper.receivers import Limits
from watchkeeper.service._warming import Warming

for name in (
    *("cli._access", "cli._house", "cli._reload", "cli._witness"),
    *(f"cli.{command}" for command in cli.COMMANDS),
    *("features", "http.server", "live", "observe.export", "service"),
):
    importlib.import_module(f"watchkeeper.{name}")
settings = config.default()
with tempfile.TemporaryDirectory() as folder:
    journal = Sqlite(path=Path(folder) / "journal.sqlite").open()
    house = SimpleNamespace(
        rulebook=settings.rules, receivers=settings.receivers, journal=journal,
        limits=Limits(), identity=Identity(),
    )  # fmt: skip
    warming = Warming(house, Intake(journal), threading.Event())
    for receiver in settings.receivers:
        warming.let_in(receiver)
    journal.close()
core.warm_up(settings.rules, Local(workers=1))
Recent(rows=1)
assert threading.active_count() == 1, "a fork has none of the other threads"


def main(arguments: list[str]) -> None:
    """Run one command to the end of the process; one after `at POINT NTH` dies there."""
    if arguments[0] == "at":
        point, nth = arguments[1:3]
        crashing.arm(point, int(nth))
        arguments = arguments[3:]
    sys.argv = ["watchkeeper", *arguments]
    cli.main()
