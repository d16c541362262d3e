"""What the journal's SQLite file looks like, for all that read it."""

from __future__ import annotations

from pathlib import Path

from watchkeeper.store.layout import Layout, queries

SQL = queries(Path(__file__).with_name("sqlite.sql"))
LAYOUT = Layout("journal", application=0x574B4A4C, version=2, schema=SQL["schema"])  # "WKJL"
