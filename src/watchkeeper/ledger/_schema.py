"""What the ledger's SQLite file looks like, for all that read it."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.store.layout import Layout, queries

SQL = queries(Path(__file__).with_name("sqlite.sql"))
LAYOUT = Layout("ledger", application=0x574B4C47, version=1, schema=SQL["schema"])  # "WKLG"
OURS = frozenset({"genesis", "step", "receipt"})  # kinds of link that a note may not have
