"""Open what a data folder holds, and read the configuration a command was given."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from watchkeeper.config import Config
    from watchkeeper.journal import Journal
    from watchkeeper.ledger import Ledger
    from watchkeeper.secrets import Keeper
    from watchkeeper.store.reserve import Reserve


def configured(files: Sequence[Path], keeper: Keeper | None = None, **said: Any) -> Config:
    """Read configuration files (those of WATCHKEEPER_CONFIG without any), or take the defaults.

    :param keeper: who has the secrets; without one they are not asked for.
    :param said: what was said on the command line; laid over the files where it says something.
    """
    from watchkeeper import config
    from watchkeeper.secrets import Keeper

    given = {name: value for name, value in said.items() if value}
    overlay = json.dumps({"version": 1, **given}, ensure_ascii=False)  # JSON is YAML, quoted

    named = os.environ.get("WATCHKEEPER_CONFIG", "")
    paths = list(files) or [Path(part) for part in named.split(os.pathsep) if part]
    return config.load(paths, os.environ, overlay, keeper or Keeper(blind=True))


def derive_silently() -> None:
    """Let what is derived again not be logged as if it happened now."""
    from watchkeeper.observe import logs
    from watchkeeper.observe.settings import Log

    logs.configure(Log(level="warning"))


@contextmanager
def stores(
    data: Path, *, read_only: bool = True, reserve: Reserve | None = None
) -> Iterator[tuple[Journal, Ledger]]:
    """Open journal and ledger of a data folder, and close them again.

    :param reserve: what the journal leaves free of the disk, for the ledger and for operators.
    """
    from watchkeeper import plugins
    from watchkeeper.store import swap
    from watchkeeper.store.reserve import NOTHING

    if read_only:
        swap.unfinished(data)
    elif (data / swap.WHOLE).exists():
        with swap.owned(data):
            swap.finish(data)
    path = data / "journal.sqlite"
    journal = plugins.load("journal", "sqlite")(path=path, reserve=reserve or NOTHING).open(
        read_only=read_only
    )
    try:
        ledger = plugins.load("ledger", "sqlite")(path=data / "ledger.sqlite").open(
            read_only=read_only
        )
    except BaseException:
        journal.close()
        raise
    try:
        yield journal, ledger
    finally:
        ledger.close()
        journal.close()
