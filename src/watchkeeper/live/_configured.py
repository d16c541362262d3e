"""How the configuration on the disk stands to the one that runs: a file for commands to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from watchkeeper.errors import OutputError
from watchkeeper.model import canonical
from watchkeeper.store.placed import put

FILE = "configuration.json"
VERSION = 1


@dataclass(frozen=True)
class Configured:
    """What a running house last saw of its configuration.

    :param refused: whether the last reload was, and the configuration before it holds.
    :param restart_for: changed fields that only a restart takes up.
    :param drift: how what is on the disk differs from what runs; empty when it does not.
    :param memory: why its budget is not what was asked for; empty when it is.
    """

    refused: bool = False
    restart_for: Sequence[str] = ()
    drift: str = ""
    memory: str = ""

    def write(self, folder: Path | None) -> None:
        """Write it down, whole or not at all; a full disk leaves what was there."""
        if folder is not None:
            with suppress(OutputError):
                put(folder / FILE, canonical({"version": VERSION, **asdict(self)}).encode())


def read(folder: Path) -> Configured:
    """Return what a house last wrote down; of a house that wrote nothing, nothing is to be said."""
    try:
        found = json.loads((folder / FILE).read_bytes())
        if found.pop("version") != VERSION:
            return Configured()
        return Configured(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Configured()
