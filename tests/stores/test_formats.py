"""docs/formats.md says what is in the files, no more and no less."""

import re
from pathlib import Path

import apsw
import pytest

from watchkeeper.journal._schema import LAYOUT as JOURNAL
from watchkeeper.ledger._schema import LAYOUT as LEDGER

TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")


def documented(part):
    """Return {table: [(column, type), ...]} of one part of the page."""
    tables, names = {}, []
    for line in part.splitlines():
        if line.startswith("### `"):
            names = re.findall(r"`(\w+)`", line)
        if alone := re.match(r"\| column of `(\w+)`", line):
            names = [alone[1]]
        row = re.match(r"\| (?!column)(\w+) \| (\w+) \| \S", line)
        if row and names:
            tables.setdefault(names[0], []).append((row[1], row[2]))
    return tables


@pytest.mark.parametrize(("layout", "title"), [(JOURNAL, "## Journal"), (LEDGER, "## Ledger")])
def test_the_documented_tables_are_the_real_ones(layout, title):
    part = TEXT.split(f"\n{title}\n")[1].split("\n## ")[0]
    db = apsw.Connection(":memory:")
    db.execute(layout.schema)
    real = {
        table: [(row[1], row[2].lower()) for row in db.execute(f"pragma table_info({table})")]
        for (table,) in db.execute("select name from sqlite_schema where type = 'table'")
    }
    assert documented(part) == real


@pytest.mark.parametrize("layout", [JOURNAL, LEDGER])
def test_the_documented_numbers_are_the_real_ones(layout):
    assert f"`application_id` 0x{layout.application:08X}" in TEXT
    assert (
        f'("{layout.application.to_bytes(4, "big").decode()}"), `user_version` {layout.version}'
        in TEXT
    )
