"""The command line: one file a command, imported when it is called.

Results go to stdout, diagnostics and progress to stderr. Exit codes: 0 ok, 1 found failures,
2 usage, 78 configuration, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from watchkeeper import __version__
from watchkeeper.errors import ConfigError, WatchkeeperError

if TYPE_CHECKING:
    from cyclopts import App

USAGE, CONFIGURATION, INTERRUPTED, TERMINATED = 2, 78, 130, 143

COMMANDS = {
    "run": "Collect, score, decide and act until stopped; serve the page, the API and /metrics.",
    "score": "Run the whole pipeline over files and write a report.",
    "simulate": "Make a seeded fleet with faults and the truth about them.",
    "load": "Put load on a running server, and say what it took, how fast, and whether it kept it.",
    "drill": "Hold a scored simulation against its truth: detection, lead time, false incidents.",
    "replay": "Derive everything again from the journal, into a folder of results.",
    "verify": "Prove the ledger from the journal, or a pack of evidence.",
    "explain": "Say why an entity has this health, why this decision, why nothing happened.",
    "report": "Print or write a report of a running or stopped house.",
    "status": "Say how the house and its entities are, in one screen.",
    "top": "Show the worst entities with their reasons, rates and lag, and refresh.",
    "quarantine": "List rejected samples, or offer them again.",
    "outbox": "List what decisions owe, or try an order again.",
    "flag": "List feature flags, or switch one on or off.",
    "token": "Create, list, rotate and revoke API tokens.",
    "user": "Add people who sign in, change their roles and passwords.",
    "audit": "List who did what, and who was refused.",
    "check": "Check configuration, contracts and policies.",
    "schema": "Print the JSON schema of a file format, a log line or a report.",
    "monitoring": "Print what Prometheus and Grafana need to watch a house.",
    "readiness": "Hold evidence against a scorecard, and say what is missing.",
    "backup": "Copy a data folder while the house runs, whole or not at all.",
    "restore": "Bring a backup back, up to a moment if so asked, proven before it is in place.",
    "repair": "Say what is broken in a data folder; mend it if so asked.",
    "migrate": "Carry a data folder of an older release on under this one.",
    "capacity": "Say what this house costs, and which limit it reaches first.",
    "support": "Write a bundle for whoever helps, without telemetry and without secrets.",
    "doctor": "Look for trouble with this machine and this installation.",
}

ALSO = {"check": ("validate",)}  # what other programs call it

EPILOGUE = """\
Examples:

  watchkeeper run                               this host, on 127.0.0.1:8470
  watchkeeper score metrics/ --out out          a report, and all behind it
  watchkeeper explain host:web-1 --results out  why, at the worst moment
  watchkeeper verify                            prove every decision ever made

`watchkeeper COMMAND --help` has more of each.
"""


def main() -> None:
    """Run one command and exit with its code; SIGTERM ends it as Ctrl-C does, leaving no mess."""
    signal.signal(signal.SIGTERM, _terminated)
    code = call(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # all is done; it ends by itself
    leave(code)


def leave(code: int) -> NoReturn:
    """End the process, without taking the interpreter apart.

    That takes as long as many a command. And a thread that still runs may be in a library that
    lets nobody else in (a compiler, a resolver): the interpreter could wait for it for ever.
    """
    atexit._run_exitfuncs()
    for said in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a success was flushed before; a failure has its code
            said.flush()
    os._exit(code)


def program(arguments: Sequence[str] = ()) -> App:
    """Return all commands, not one of them imported. :param arguments: whose help may be asked."""
    from cyclopts import App, Parameter

    app = App(
        name="watchkeeper",
        help="Fleet telemetry into health, guarded decisions and reports that replay.",
        version=__version__,
        help_epilogue=EPILOGUE if _of_all(arguments) else "",
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(negative=(), show_default=_default),
    )
    for name, line in COMMANDS.items():
        app.command(
            f"watchkeeper.cli.{name}:{name}",
            name=(name, *ALSO.get(name, ())),
            help=_help(name, line, arguments),
        )
    return app


def call(arguments: list[str]) -> int:
    """Run one command; return its exit code. Errors are printed, not raised."""
    if arguments in (["--version"], ["version"]):
        print(f"watchkeeper {__version__}")
        return 0
    from cyclopts import CycloptsError

    app = program(arguments)
    try:
        result = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
        sys.stdout.flush()  # a reader who has gone is met here, not at the interpreter's end
    except CycloptsError:
        return USAGE
    except ConfigError as error:
        print(f"watchkeeper: {error}", file=sys.stderr)
        return CONFIGURATION
    except WatchkeeperError as error:
        print(f"watchkeeper: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output had enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, ImportError, OSError, SystemError) as error:
        if not _starved(error):
            raise
        print(f"watchkeeper: not enough memory (allow the process more): {error}", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _starved(error: BaseException | None) -> bool:
    """Whether memory lacked: then libraries do not map, and the interpreter loses exceptions."""
    lost = ("map segment", "without setting an exception", "without exception set")
    while error is not None:
        if isinstance(error, MemoryError) or any(said in str(error) for said in lost):
            return True
        error = error.__context__
    return False


def _help(name: str, line: str, arguments: Sequence[str]) -> str:
    """The command's own docstring when its help is asked for, its line in every listing."""
    if list(arguments[:1]) != [name] and not set(arguments[:1]) & set(ALSO.get(name, ())):
        return line
    module = __import__(f"watchkeeper.cli.{name}", fromlist=[name])
    return _flowing(inspect.cleandoc(getattr(module, name).__doc__ or line))


def _flowing(text: str) -> str:
    """Join the lines of each paragraph, so that the terminal breaks them where it ends."""
    said, mark, parameters = text.partition("\nParameters\n")
    paragraphs = (
        part if "\n " in f"\n{part}" else part.replace("\n", " ") for part in said.split("\n\n")
    )
    return "\n\n".join(paragraphs) + mark + parameters


def _default(value: Any) -> str | None:
    """How a default is shown; not at all where it only says "not given"."""
    return None if value in ((), False, None) else str(value)


def _of_all(arguments: Sequence[str]) -> bool:
    return not any(name in COMMANDS for name in arguments[:1])


def _terminated(*_: object) -> None:
    sys.exit(TERMINATED)
