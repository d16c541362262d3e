"""Ledgers, through the promises every backend makes and through attacks on the SQLite one."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper import plugins
from watchkeeper.errors import CorruptionError, StoreError, StoreLocked, VerifyError
from watchkeeper.ledger import sqlite as backend
from watchkeeper.ledger import step_link_body
from watchkeeper.ledger.sqlite import Sqlite
from watchkeeper.model import (
    Assessed,
    Checkpoint,
    Contribution,
    Counts,
    Decision,
    Millis,
    Offset,
    Order,
    Outcome,
    Phase,
    Receipt,
    State,
    Step,
)
from watchkeeper.testing import ledger as promises
from watchkeeper.testing.ledger import receipt, step


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "ledger.sqlite"


@pytest.mark.parametrize("check", list(promises.ledger_checks()), ids=lambda check: check.__name__)
def test_sqlite_keeps_the_promise(check, path):
    check(lambda: Sqlite(path).open())


def test_the_file_is_the_plug():
    assert plugins.load("ledger", "sqlite") is Sqlite


def test_the_key_is_secret_and_stays(path):
    Sqlite(path).open().close()
    key = path.parent / "keys" / "ledger.key"
    before = key.read_bytes()
    assert (len(before), stat.S_IMODE(key.stat().st_mode)) == (32, 0o600)
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    Sqlite(path).open().close()
    assert key.read_bytes() == before


def test_the_key_may_live_elsewhere(path, tmp_path):
    Sqlite(path, key=tmp_path / "vault" / "k").open().close()
    assert (tmp_path / "vault" / "k").exists()
    assert not (path.parent / "keys").exists()


@pytest.mark.parametrize("content", [None, b"short"])
def test_a_lost_key_is_never_made_anew(path, content):
    filled(path).close()
    key = path.parent / "keys" / "ledger.key"
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    with pytest.raises(StoreError, match="signing key"):
        Sqlite(path).open()
    assert key.exists() == (content is not None)


def test_a_second_writer_is_refused_with_the_pid_of_the_first(path):
    ledger = Sqlite(path).open()
    with pytest.raises(StoreLocked, match=f"process {os.getpid()} owns this ledger"):
        Sqlite(path).open()
    ledger.close()


def test_a_reader_proves_while_a_writer_commits(path):
    writer = filled(path)
    reader = Sqlite(path).open(read_only=True)
    for tick in range(10_000, 15_000, 1_000):
        links = reader.prove()
        writer.commit(step(tick))
        assert reader.prove() == links + 1
        assert reader.watermark().tick == tick
    reader.close()
    writer.close()


def test_a_step_with_a_number_that_is_none_is_refused_whole(path):
    ledger = filled(path)
    one = step(9_000)
    for bad in (float("nan"), float("inf")):
        wrong = dataclasses.replace(one.health[0], score=bad)
        with pytest.raises(ValueError, match="JSON compliant"):
            ledger.commit(dataclasses.replace(one, health=(wrong,)))
    ledger.commit(one)
    assert ledger.prove() == 7
    ledger.close()


def test_only_the_ledger_writes_its_own_kinds_of_link(path):
    ledger = filled(path)
    for kind in ("genesis", "step", "receipt"):
        with pytest.raises(AssertionError, match="not for notes"):
            ledger.note(kind, Millis(1), "{}")
    ledger.close()


def test_an_attempt_belongs_to_an_order_and_follows_the_last(path):
    ledger = filled(path)
    ((order, _), *_) = ledger.outbox(Millis(10**9), 10)
    with pytest.raises(AssertionError, match="no order"):
        ledger.settle(dataclasses.replace(receipt(order, 1, "done"), key="other"))
    with pytest.raises(AssertionError, match="attempt 2 is missing"):
        ledger.settle(receipt(order, 3, "done"))
    ledger.close()


def test_a_broken_checkpoint_gives_way_to_the_one_before(path):
    ledger = filled(path)
    for tick in (1_000, 2_000, 3_000):
        ledger.save(Checkpoint(Offset(tick // 10), Millis(tick), b"body of %d" % tick))
    ledger.close()
    change(path, "update checkpoint_part set body = x'00' where tick = 3000")
    change(path, "delete from checkpoint_part where tick = 2000")
    ledger = Sqlite(path).open()
    assert ledger.checkpoint().body == b"body of 1000"
    change(path, "update checkpoint set sha256 = x'00'")
    assert ledger.checkpoint() is None
    ledger.close()


def test_a_checkpoint_may_be_larger_than_a_part(path, monkeypatch):
    monkeypatch.setattr(backend, "PART_BYTES", 1000)
    ledger = filled(path)
    body = os.urandom(2_500)
    ledger.save(Checkpoint(Offset(300), Millis(3_000), body))
    ledger.save(Checkpoint(Offset(300), Millis(3_000), body[:1_500]))
    assert ledger.checkpoint().body == body[:1_500]
    ledger.close()


def test_steps_are_committed_while_a_checkpoint_is_written_piece_by_piece(path, monkeypatch):
    monkeypatch.setattr(backend, "PART_BYTES", 1000)
    ledger = filled(path)
    before = Checkpoint(Offset(200), Millis(2_000), b"before")
    ledger.save(before)

    def pieces():
        for tick in (4_000, 5_000, 6_000):
            ledger.commit(step(tick))
            assert ledger.checkpoint() == before
            yield b"x" * 900

    ledger.save_pieces(Offset(300), Millis(3_000), pieces())
    assert ledger.checkpoint() == Checkpoint(Offset(300), Millis(3_000), b"x" * 2_700)
    assert ledger.prove() == 9
    ledger.close()


def test_a_checkpoint_cut_short_leaves_the_one_before_and_no_litter_for_long(path, monkeypatch):
    monkeypatch.setattr(backend, "PART_BYTES", 10)
    ledger = filled(path)
    for tick in (1_000, 2_000):
        ledger.save(Checkpoint(Offset(tick // 10), Millis(tick), b"y" * 15))

    def pieces():
        yield b"x" * 75
        raise OSError("the power went")

    with pytest.raises(OSError, match="power"):
        ledger.save_pieces(Offset(300), Millis(3_000), pieces())
    assert ledger.checkpoint() == Checkpoint(Offset(200), Millis(2_000), b"y" * 15)
    for _ in range(4):
        ledger.save(Checkpoint(Offset(300), Millis(3_000), b"z" * 15))
    ledger.close()
    db = apsw.Connection(str(path))
    parts = db.execute("select tick, count(*) from checkpoint_part group by tick").fetchall()
    assert parts == [(1_000, 2), (2_000, 2), (3_000, 2)]
    db.close()


def test_parts_of_a_dropped_checkpoint_go_as_new_ones_come(path, monkeypatch):
    monkeypatch.setattr(backend, "PART_BYTES", 10)
    ledger = filled(path)
    for tick in range(1, 30):
        ledger.save(Checkpoint(Offset(10), Millis(tick), bytes([tick]) * 95))
    ledger.close()
    db = apsw.Connection(str(path))
    assert db.execute("select count(*) from checkpoint_part").get == 30
    db.close()


def test_histories_are_the_history_of_every_entity(path):
    ledger = filled(path)
    since, until = Millis(1_500), Millis(3_000)
    histories = ledger.histories(since, until)
    entities = [one.entity for one in ledger.health()]
    assert histories == {name: ledger.history(name, since, until) for name in entities}
    assert list(histories) == sorted(histories)
    assert ledger.histories(Millis(0), Millis(1)) == {}
    ledger.close()


# Links of `filled`: 1 genesis, 2 to 4 steps of ticks 1000 to 3000, 5 receipt, 6 note.
EDITS = {
    "update link set body = replace(body, '100', '101') where seq = 3": 3,
    "update link set at = at + 1 where seq = 3": 3,
    "update link set kind = 'note' where seq = 3": 3,
    "update link set hash = (select hash from link where seq = 2) where seq = 3": 3,
    "delete from link where seq = 3": 3,
    "update link set seq = 99 where seq = 3; update link set seq = 3 where seq = 4;"
    "update link set seq = 4 where seq = 99": 3,
    "delete from link where seq = 1": 1,
    "update health set health = 99 where tick = 2000": 3,
    "update health set score = 0 where tick = 2000": 3,
    "update health set state = 'odd' where tick = 2000": 3,
    "update health set contributions = '[]' where tick = 2000": 3,
    "update health set contributions = 'x' where tick = 2000": 3,
    "update health set entity = 'host:z' where tick = 2000": 3,
    "delete from health where tick = 2000": 3,
    "insert into health values (null, 2000, 'host:z', 1, 1, 'ok', 1, 0, '[]')": 3,
    "update decision set outcome = 'cooldown' where tick = 2000": 3,
    "update decision set trace = '' where tick = 2000": 3,
    "delete from decision where tick = 1000": 2,
    "update orders set payload = '{}' where tick = 3000": 4,
    "delete from orders where tick = 2000": 3,
    "update step set scores = 'x' where tick = 2000": 3,
    "update step set accepted = accepted + 1, scored = scored + 1 where tick = 2000": 3,
    "update step set accepted = accepted + 1 where tick = 2000": 3,
    "update step set rulebook = '' where tick = 3000": 4,
    "update step set \"offset\" = 0 where tick = 3000": 4,
    "delete from step where tick = 2000": 3,
    "update step set seq = 4 where tick = 2000": 3,
    "update receipt set detail = 'HTTP 200'": 5,
    "delete from receipt": 5,
    "insert into health values (null, 5, 'host:z', 1, 1, 'ok', 1, 0, '[]')": 6,
    "insert into decision select null, 5, 'k', policy, version, entity, phase, at, severity,"
    "health, reason, outcome, trace from decision limit 1": 6,
    "update orders set due = null": 6,
    "update orders set attempts = 0": 6,
    "update orders set due = 0 where due > 0": 6,
    "delete from entity": 6,
    "insert into entity values ('host:ghost')": 6,
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_every_edit_is_found_at_the_link_it_broke(path, edit):
    filled(path).close()
    change(path, edit)
    reader = Sqlite(path).open(read_only=True)
    with pytest.raises(VerifyError, match=rf"WK400 ledger link {EDITS[edit]} "):
        reader.prove()
    reader.close()


CUTS = [
    "delete from link where seq = 6",
    "delete from link where seq >= 5; delete from receipt; update orders set attempts = 0, due = 0",
    "delete from link where seq > 1; delete from step; delete from health; delete from decision;"
    "delete from orders; delete from receipt; delete from entity",
    "delete from link; delete from step; delete from health; delete from decision;"
    "delete from orders; delete from receipt; delete from entity",
]


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_tail_is_found_and_never_signed_over(path, cut):
    filled(path).close()
    change(path, cut)
    reader = Sqlite(path).open(read_only=True)
    with pytest.raises(VerifyError, match="the tail up to the signed head 6 was cut"):
        reader.prove()
    reader.close()
    for _ in range(2):
        with pytest.raises(VerifyError, match="the tail up to the signed head 6 was cut"):
            Sqlite(path).open()


def test_an_older_copy_of_the_ledger_is_found(path):
    filled(path).close()
    shutil.copy(path, path.with_name("copy"))
    ledger = Sqlite(path).open()
    ledger.commit(step(9_000))
    ledger.close()
    path.with_name("copy").replace(path)
    with pytest.raises(VerifyError, match="signed head 7 was cut"):
        Sqlite(path).open()


def test_a_deleted_ledger_is_found(path):
    filled(path).close()
    path.unlink()
    with pytest.raises(VerifyError, match="ledger link 1 is missing"):
        Sqlite(path).open()


def test_another_ledger_written_as_long_is_found(path, tmp_path):
    filled(path).close()
    other = tmp_path / "other" / "ledger.sqlite"
    filled(other, first=500).close()
    other.replace(path)
    reader = Sqlite(path).open(read_only=True)
    with pytest.raises(VerifyError, match="link 6 is not the one that the head signed"):
        reader.prove()
    reader.close()
    with pytest.raises(VerifyError, match="link 6 is not the one that the head signed"):
        Sqlite(path).open()


def forged(**changes):
    def forge(path):
        head = json.loads(path.read_text())
        path.write_text(json.dumps(head | changes))

    return forge


FORGERIES = {
    "another seq": forged(seq=5),
    "another count": forged(count=5),
    "another hash": forged(hash="0" * 64),
    "no signature": forged(hmac=""),
    "a list": lambda path: path.write_text("[]"),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "nothing in it": lambda path: path.write_text(""),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_head_is_found(path, forgery):
    filled(path).close()
    FORGERIES[forgery](head_of(path))
    reader = Sqlite(path).open(read_only=True)
    with pytest.raises(VerifyError, match="head"):
        reader.prove()
    reader.close()
    with pytest.raises(VerifyError, match="head"):
        Sqlite(path).open()


def test_a_head_signed_by_another_key_is_found(path, tmp_path):
    filled(path).close()
    other = tmp_path / "other" / "ledger.sqlite"
    filled(other).close()
    shutil.copy(head_of(other), head_of(path))
    with pytest.raises(VerifyError, match="not signed by this ledger's key"):
        Sqlite(path).open()


def test_a_removed_head_is_found(path):
    filled(path).close()
    head_of(path).unlink()
    reader = Sqlite(path).open(read_only=True)
    with pytest.raises(VerifyError, match="the signed head is missing"):
        reader.prove()
    reader.close()
    with pytest.raises(VerifyError, match="the signed head is missing"):
        Sqlite(path).open()


def test_a_head_that_lags_is_accepted_and_caught_up(path):
    ledger = filled(path)
    older = head_of(path).read_bytes()
    ledger.commit(step(9_000))
    ledger.note("report", Millis(9_001), "{}")
    ledger.close()
    head_of(path).write_bytes(older)
    reader = Sqlite(path).open(read_only=True)
    assert reader.prove() == 8
    reader.close()
    ledger = Sqlite(path).open()
    assert json.loads(head_of(path).read_text())["seq"] == 8
    assert ledger.prove() == 8
    ledger.close()


def test_a_broken_chain_after_a_lagging_head_is_not_signed(path):
    ledger = filled(path)
    older = head_of(path).read_bytes()
    ledger.commit(step(9_000))
    ledger.close()
    head_of(path).write_bytes(older)
    change(path, "update link set body = '{}' where seq = 7")
    with pytest.raises(VerifyError, match="link 7 does not follow"):
        Sqlite(path).open()
    assert head_of(path).read_bytes() == older


def test_a_head_that_cannot_be_written_lags_by_one_link_only(path):
    ledger = filled(path)
    blocker = head_of(path).with_name("ledger.sqlite.head.new")
    blocker.mkdir()
    ledger.commit(step(9_000))
    with pytest.raises(StoreError, match=r"head\.new"):
        ledger.commit(step(10_000))
    assert ledger.watermark().tick == 9_000
    blocker.rmdir()
    ledger.commit(step(10_000))
    assert ledger.prove() == 8
    ledger.close()


def test_an_index_that_disagrees_with_its_table_is_found(path):
    filled(path).close()
    db = apsw.Connection(str(path))
    db.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    root = db.execute("select rootpage from sqlite_schema where name = 'orders_open'").get
    page = db.pragma("page_size")
    db.close()
    content = bytearray(path.read_bytes())
    content[root * page - 4] ^= 0x55  # inside the last cell of the index
    path.write_bytes(content)
    ledger = Sqlite(path).open(read_only=True)
    with pytest.raises(CorruptionError, match="orders_open"):
        ledger.prove()
    ledger.close()


text = st.text(st.characters(codec="utf-8"), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)
maybe = st.none() | floats
contributions = st.lists(st.builds(Contribution, text, text, floats), max_size=3).map(tuple)
counts = st.tuples(*[st.integers(0, 2**40)] * 4).map(
    lambda each: Counts(each[0] + each[1] + each[2], each[3], *each[:3])
)
millis = st.integers(-(2**62), 2**62)


@st.composite
def steps(draw):
    """Return some steps in order, each with rows of its own."""
    found, offset = [], 0
    for tick in sorted(draw(st.sets(st.integers(1, 2**50), min_size=1, max_size=4))):
        offset += draw(st.integers(0, 9))
        entities = draw(st.lists(text, max_size=3, unique=True))
        health = tuple(
            Assessed(
                entity,
                tick,
                draw(maybe),
                draw(st.sampled_from(State)),
                draw(floats),
                draw(floats),
                draw(contributions),
            )
            for entity in entities
        )
        decisions = tuple(
            Decision(
                f"{tick}:{k}",
                draw(text),
                draw(text),
                entity,
                draw(st.sampled_from(Phase)),
                draw(millis),
                draw(text),
                draw(maybe),
                draw(text),
                draw(st.sampled_from(Outcome)),
                draw(text),
            )
            for k, entity in enumerate(entities)
        )
        orders = tuple(
            Order(f"o{one.key}", draw(text), one.key, one.entity, draw(millis), draw(text))
            for one in decisions
        )
        found.append(
            Step(offset, tick, draw(text), draw(counts), draw(text), health, decisions, orders)
        )
    return found  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(story=steps(), outcomes=st.lists(st.sampled_from(["retry", "done", "dead"]), max_size=6))
def test_whatever_is_concluded_comes_back_and_is_proved(tmp_path_factory, story, outcomes):
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    ledger, total = Sqlite(path).open(), Counts()
    for one in story:
        ledger.commit(one)
        total += one.counts
    settled = 0
    for outcome in outcomes:
        for order, attempts in ledger.outbox(Millis(2**62), 1):
            ledger.settle(Receipt(order.key, attempts + 1, outcome, "", Millis(1), Millis(7)))
            settled += 1
    ledger.close()
    ledger = Sqlite(path).open()
    assert ledger.prove() == 1 + len(story) + settled
    assert ledger.counts() == total
    assert {repr(one) for one in ledger.decisions()} == {
        repr(one) for each in story for one in each.decisions
    }
    assert {repr(order) for order, _ in ledger.orders(100)} == {
        repr(order) for each in story for order in each.orders
    }
    for one in story:
        assert ledger.step_body(one.tick) == step_link_body(one)
        for each in one.health:
            (found,) = ledger.history(each.entity, one.tick, one.tick)
            assert repr(found) == repr(each)
    ledger.close()


def filled(path, first=0):
    """Return an open ledger: genesis, three steps, a receipt that asks for a retry, a note."""
    ledger = Sqlite(path).open()
    for tick in (1_000, 2_000, 3_000):
        ledger.commit(step(tick + first))
    ((order, _), *_) = ledger.outbox(Millis(10**9), 10)
    ledger.settle(receipt(order, 1, "retry", at=3_500, due=9_000))
    ledger.note("report", Millis(4_000), "{}")
    return ledger


def head_of(path):
    return path.with_name(path.name + ".head")


def change(path, edit):
    db = apsw.Connection(str(path))
    db.execute(edit)
    db.close()
