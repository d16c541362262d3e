"""What the file of a store must look like, and its SQL by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """What a store's file must look like.

    :param name: `journal` or `ledger`, for messages.
    :param application: SQLite's application_id. :param version: schema version (user_version).
    :param schema: the SQL that creates every table.
    """

    name: str
    application: int
    version: int
    schema: str


def queries(path: Path) -> dict[str, str]:
    """Return the named queries of a .sql file: each starts with a line `-- name: NAME`."""
    found: dict[str, str] = {}
    for part in path.read_text(encoding="utf-8").split("-- name: ")[1:]:
        name, _, text = part.partition("\n")
        found[name.strip()] = text.strip()
    return found
