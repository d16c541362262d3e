"""The outbox on a terminal: what is open, delivered and failed, and trying again."""

import json

import pytest
from tests.commands import wk

from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
from watchkeeper.testing import ledger as t

ENTITIES = ("host:a", "host:b", "link:spine-0012/Ethernet128", "host:d")


@pytest.fixture
def data(tmp_path):
    """Four orders: one never tried, one tried in vain, one delivered, one given up."""
    JournalFile(path=tmp_path / "journal.sqlite").open().close()
    ledger = LedgerFile(path=tmp_path / "ledger.sqlite").open()
    ledger.commit(t.step(1_700_000_000_000, ENTITIES))
    orders = [order for order, _ in ledger.outbox(t.LATER * 10, 10)]
    for order, outcome in zip(orders[1:], ("retry", "done", "dead"), strict=True):
        ledger.settle(t.receipt(order, 1, outcome, 1_700_000_001_000, 1_700_000_009_000))
    ledger.close()
    return tmp_path


def listed(capsys, *arguments):
    capsys.readouterr()
    assert wk("outbox", *arguments) == 0
    return capsys.readouterr().out


def test_every_order_says_where_it_stands(data, capsys):
    facts = json.loads(listed(capsys, "--data", data, "--output", "json"))
    assert (facts["open"], facts["given_up"]) == (2, 1)
    assert facts["newest"] == {"open": 2, "delivered": 1, "failed": 1}
    stand = {one["entity"]: (one["stands"], one["attempts"], one["due"]) for one in facts["orders"]}
    assert stand == {
        "host:a": ("open", 0, None),
        "host:b": ("open", 1, "2023-11-14T22:13:29Z"),
        "link:spine-0012/Ethernet128": ("delivered", 1, None),
        "host:d": ("failed", 1, None),
    }
    some = listed(capsys, "--data", data, "--stands", "open", "--limit", 1, "--output", "json")
    assert [one["entity"] for one in json.loads(some)["orders"]] == ["host:b"]


def test_it_fits_a_terminal_of_80_columns(data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = listed(capsys, "--data", data)
    lines = text.splitlines()
    assert lines[0].startswith("2 open, the oldest since 2023-11-14T22:13:20Z; 1 given up")
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in text
    assert "  key order:hot:host:d:1700000000000" in lines
    assert "no such order" in listed(capsys, "--data", data, "--stands", "open", "--limit", 0)


def test_what_was_given_up_is_tried_again_and_nothing_else(data, capsys):
    key = "order:hot:host:d:1700000000000"
    assert listed(capsys, "retry", key, "--data", data) == f"{key} is sent at the next start\n"
    facts = json.loads(listed(capsys, "--data", data, "--output", "json"))
    assert facts["open"] == 3
    for wrong in (key, "order:hot:host:a:1700000000000", "none"):
        assert wk("outbox", "retry", wrong, "--data", data) == 1
        assert "WK" in capsys.readouterr().err
