"""Damage to the files: every flipped byte is found, or changes nothing that anybody reads."""

from __future__ import annotations

import random
import shutil

import pytest

from watchkeeper.errors import StoreError, VerifyError
from watchkeeper.journal.sqlite import Sqlite as Journal
from watchkeeper.ledger.sqlite import Sqlite as Ledger
from watchkeeper.model import Checkpoint, Control, Millis, Offset
from watchkeeper.store import file as store_file
from watchkeeper.testing.journal import START, checked
from watchkeeper.testing.ledger import receipt, step

pytestmark = pytest.mark.no_cover  # the same lines, again and again
FLIPS = 200  # of each store


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    monkeypatch.setattr(store_file, "PAGE_BYTES", 512)  # more of the file is structure


def damaged(path, chance):
    """Change one to three bytes of a file."""
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 3])):
        content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    path.write_bytes(content)


def everything_seen(path):
    """Return all that a journal tells."""
    journal = Journal(path).open()
    try:
        entries = list(journal.read(START, 10_000))
        return (
            journal.head(),
            [(e.offset, e.source, e.cursor, e.arrived, e.first, e.controls) for e in entries],
            [[e.samples, e.new, e.rejected] for e in entries],
            [entry.offset for entry in journal.rejected(START, 1_000)],
            journal.series().to_pylist(),
            [journal.cursor(name) for name in ("a", "b", "c")],
        )
    finally:
        journal.close()


def test_a_flipped_byte_of_the_journal_is_found_or_harmless(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path).open()
    for k in range(25):
        points = {("host:a", f"m{k + j}", "{}"): [(k, 1.5), (k + 1, -2.5)] for j in range(k % 5)}
        journal.append([checked(points, source="abc"[k % 3], cursor=str(k), rejected=k % 2)])
    journal.note(Control("started", "x", '{"a":1}'), Millis(5))
    journal.close()
    whole = everything_seen(path)
    found = 0
    for seed in range(FLIPS):
        copy = tmp_path / f"{seed}" / path.name
        copy.parent.mkdir()
        shutil.copy(path, copy)
        damaged(copy, random.Random(seed))
        try:
            assert everything_seen(copy) == whole, f"seed {seed}"
        except StoreError:
            found += 1
    assert found > FLIPS // 2


def test_a_flipped_byte_of_the_ledger_is_found_or_harmless(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path).open()
    for tick in range(1_000, 16_000, 1_000):
        ledger.commit(step(tick, [f"host:{k}" for k in range(tick // 1_000 % 4)]))
        for order, attempts in ledger.outbox(Millis(10**9), 1):
            ledger.settle(receipt(order, attempts + 1, "retry", due=tick + 5_000))
    ledger.save(Checkpoint(Offset(1_500), Millis(15_000), b"x" * 2_000))
    ledger.close()
    whole = all_concluded(path)
    found = 0
    for seed in range(FLIPS):
        folder = tmp_path / f"{seed}"
        shutil.copytree(path.parent / "keys", folder / "keys")
        for name in (path.name, path.name + ".head"):
            shutil.copy(path.with_name(name), folder / name)
        chance = random.Random(seed)
        damaged(folder / (path.name if seed % 10 else path.name + ".head"), chance)
        try:
            seen = all_concluded(folder / path.name)
            assert seen[:-1] == whole[:-1], f"seed {seed}"
            assert seen[-1] in (whole[-1], None)  # a checkpoint is a cache: whole, or not there
        except (StoreError, VerifyError):
            found += 1
    assert found > FLIPS // 2


def all_concluded(path):
    """Return all that a proven ledger tells."""
    ledger = Ledger(path).open()
    try:
        return (
            ledger.prove(),
            ledger.watermark(),
            ledger.counts(),
            ledger.health(),
            ledger.history("host:1", Millis(0), Millis(10**9)),
            ledger.decisions(),
            ledger.orders(1_000),
            ledger.outbox(Millis(10**9), 1_000),
            list(ledger.links()),
            ledger.checkpoint(),
        )
    finally:
        ledger.close()


@pytest.mark.parametrize("store", ["journal", "ledger"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_found(tmp_path, store, share):
    path = tmp_path / f"{store}.sqlite"
    if store == "journal":
        journal = Journal(path).open()
        for k in range(20):
            journal.append([checked({("host:a", f"m{k}", "{}"): [(k, 1.0)]}, cursor=str(k))])
        journal.close()
    else:
        ledger = Ledger(path).open()
        for tick in range(1_000, 20_000, 1_000):
            ledger.commit(step(tick))
        ledger.close()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    if share == 0.0 and store == "journal":  # nothing is left that could say what was there
        assert everything_seen(path)[0] == 0
        return
    with pytest.raises((StoreError, VerifyError)):
        everything_seen(path) if store == "journal" else all_concluded(path)
