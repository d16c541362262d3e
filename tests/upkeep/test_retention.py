"""A journal that is cut: what is decided after it, what still can be proven, and who holds it."""

import functools
import io
import itertools
import json
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import CapturingLogger
from tests.commands import wk
from tests.test_pipeline import ENGINE, START, Stores, drain, rules, steps_of, telemetry
from tests.upkeep.houses import NOW, READ, a_cut_house, entries, kept, opened

from watchkeeper import config, cutting, evidence, explain, pipeline, rerun
from watchkeeper.cutting import Cutter, due
from watchkeeper.errors import CorruptionError, Removed, StoreVersion, VerifyError
from watchkeeper.evidence import private_key
from watchkeeper.journal import Base
from watchkeeper.journal import sqlite as journal_file
from watchkeeper.model import Millis, Offset, Receipt
from watchkeeper.pipeline import Decider
from watchkeeper.service import _retention as service_retention
from watchkeeper.store.retention import Retention
from watchkeeper.upkeep.backup import back_up
from watchkeeper.upkeep.migrate import plan
from watchkeeper.upkeep.repair import examine, repair
from watchkeeper.upkeep.restore import Until, restore

SECONDS = 160


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A data folder whose journal was cut; only to be looked at, or copied."""
    return a_cut_house(tmp_path_factory.mktemp("cut") / "data", SECONDS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same house with all of its journal."""
    return a_cut_house(tmp_path_factory.mktemp("whole") / "data", SECONDS, Retention())


def copy_of(folder, tmp_path):
    back_up(folder, tmp_path / "data", NOW)
    return tmp_path / "data"


def bodies(folder):
    journal, ledger = opened(folder)
    journal.close()
    try:
        return [link.body for link in ledger.links() if link.kind == "step"]
    finally:
        ledger.close()


def floor_of(folder):
    journal, ledger = opened(folder)
    base = journal.base()
    journal.close()
    ledger.close()
    return base[0]


def test_what_is_decided_after_a_cut_is_byte_for_byte_what_it_would_have_been(cut, whole):
    assert bodies(cut) == bodies(whole) != []
    floor = floor_of(cut)
    assert entries(cut) == [one for one in entries(whole) if one[0] > floor.offset]
    assert 1 < len(entries(cut)) < len(entries(whole))


@settings(max_examples=2, deadline=None)
@given(portions=st.lists(st.integers(1, 60), min_size=2, max_size=4), steps=st.integers(1, 4))
def test_neither_when_nor_how_much_is_cut_shows_in_what_follows(tmp_path_factory, portions, steps):
    """Also not by a process that ends with half of it removed."""
    stores = Stores(tmp_path_factory.mktemp("parts"), rules()).begin()
    telemetry(stores, seconds=80, hot_from=20)
    retention = SimpleNamespace(keep=0, size=4_000)  # less than a configuration may say
    for portion in itertools.chain(portions, [80, 0]):
        cutter = Cutter(stores.journal, stores.ledger, lambda: retention)
        decider = Decider(
            stores.journal, stores.ledger, config.read_rulebook, ENGINE, kept=cutter.consider
        )
        decider.decide(portion)
        decider.save()  # when nothing is pending, which the checkpoints beside the work wait for
        left = iter(range(steps))
        cutter.look(lambda left=left: next(left, None) is not None)
        for order, attempts in stores.ledger.outbox(Millis(2**60), 10):
            stores.ledger.settle(Receipt(order.key, attempts + 1, "done", "", NOW, NOW))
    drain(stores.decider())
    assert stores.journal.first() > 1
    assert steps_of(stores) == all_of_it(tmp_path_factory.getbasetemp())
    stores.verify()
    stores.close()


@functools.cache
def all_of_it(folder):
    stores = Stores(folder / "all-of-it", rules()).begin()
    telemetry(stores, seconds=80, hot_from=20)
    drain(stores.decider())
    try:
        return steps_of(stores)
    finally:
        stores.close()


def test_a_cut_house_is_proven_from_its_base_on_and_says_so(cut, whole):
    journal, ledger = opened(cut)
    proof = pipeline.verify(journal, ledger, *READ)
    assert proof.base == floor_of(cut).offset > 0
    assert proof.entries == journal.head() - proof.base
    names = [json.loads(link.body) for link in ledger.links() if link.kind == "retention"]
    assert names[-1]["removed"] == proof.base
    journal.close()
    ledger.close()


def test_what_retention_removed_is_refused_by_name_and_never_guessed(cut, tmp_path):
    journal, ledger = opened(cut)
    floor = floor_of(cut)
    with pytest.raises(Removed, match="begins with entry"):
        list(journal.read(Offset(0), 1))
    key = private_key(tmp_path / "evidence.key")
    with pytest.raises(Removed, match="up to entry"):
        evidence.make(io.BytesIO(), journal, ledger, *READ, key, (Millis(START), None))
    assert Removed.code == "WK307"
    with pytest.raises(Removed):
        rerun.found(journal, *READ, "x", rerun.Scope(since=floor.tick))
    journal.close()
    ledger.close()


def test_evidence_replay_and_explanations_begin_where_the_journal_does(cut, whole, tmp_path):
    journal, ledger = opened(cut)
    floor = floor_of(cut)
    with (tmp_path / "pack").open("w+b") as file:
        made = evidence.make(file, journal, ledger, *READ, private_key(tmp_path / "key"))
        assert made.base >= floor.offset
    with (tmp_path / "pack").open("rb") as file:
        assert evidence.check(file, *READ, made.key).base == made.base
    run = rerun.replayed(journal, *READ, tmp_path / "again", "x")
    assert run["journal"]["first"] == floor.offset + 1
    told = explain.explain(tmp_path / "again", "host:a", None, READ[0])
    assert told["health"] < 90
    journal.close()
    ledger.close()
    complete, other = opened(whole)
    rerun.replayed(complete, *READ, tmp_path / "complete", "x")
    at = explain.explain(tmp_path / "complete", "host:a", Millis(told["at"]), READ[0])
    assert at["health"] == told["health"]
    complete.close()
    other.close()


def test_a_base_of_which_a_byte_changed_is_refused_wherever_it_is_needed(cut, tmp_path):
    folder = copy_of(cut, tmp_path)
    paths = sorted((folder / "journal.sqlite.bases").iterdir())
    assert len(paths) > 1
    for path, part in itertools.product((paths[0], paths[-1]), (0.0, 0.3, 0.7, 1.0)):
        body = path.read_bytes()
        place = int(part * (len(body) - 1))
        path.write_bytes(body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])
        journal, ledger = opened(folder)
        with pytest.raises(CorruptionError):
            pipeline.verify(journal, ledger, *READ)
        path.write_bytes(body)
        journal.close()
        ledger.close()


def test_a_base_that_the_chain_does_not_name_proves_nothing(cut, tmp_path):
    folder = copy_of(cut, tmp_path)
    journal, ledger = opened(folder)
    (base, *_), (state, _) = journal.bases(), journal.base()
    forged = Base(base.offset, base.tick, Millis(base.arrived - 1), base.series, base.size)
    journal.keep(forged, [state.body], lambda _: None)
    with pytest.raises(VerifyError, match="not one that the ledger's chain names"):
        pipeline.verify(journal, ledger, *READ)
    journal.close()
    ledger.close()


def test_a_damaged_base_is_never_cut_to(tmp_path):
    stores = Stores(tmp_path, rules()).begin()
    telemetry(stores, seconds=30)
    cutter = Cutter(stores.journal, stores.ledger, lambda: Retention(60_000))
    kept(
        stores,
        Decider(stores.journal, stores.ledger, config.read_rulebook, ENGINE, kept=cutter.consider),
        30,
    )
    telemetry(stores, seconds=31, after=30)
    base = stores.journal.bases()[0]
    path = min((tmp_path / "journal.sqlite.bases").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptionError):
        stores.journal.cut(base)
    assert stores.journal.first() == 1
    stores.close()


class Owing:
    """A ledger with an order that was never delivered."""

    def __init__(self, ledger):
        self._ledger = ledger

    def owed(self):
        return 1, Millis(START + 10_000)

    def __getattr__(self, name):
        return getattr(self._ledger, name)


def test_a_reader_in_another_process_or_an_open_order_holds_the_journal(tmp_path):
    folder = a_cut_house(tmp_path / "data", SECONDS, Retention(), bases=Retention(60_000))
    stores = Stores(folder, rules())
    cutter = Cutter(stores.journal, stores.ledger, lambda: Retention(60_000))
    decider = Decider(
        stores.journal, stores.ledger, config.read_rulebook, ENGINE, kept=cutter.consider
    )
    kept(stores, decider, SECONDS + 1)
    reading, other = opened(folder)
    assert cutter.look() is None
    assert cutter.held == "another process reads the journal"
    assert stores.journal.first() == 1
    reading.close()
    other.close()
    owing = Cutter(stores.journal, Owing(stores.ledger), lambda: Retention(60_000))
    owing.consider(decider.fold.picture())
    assert owing.look() is None
    assert owing.held == "an order of that time is still open"
    assert stores.journal.first() == 1
    assert cutter.look() is not None
    assert cutter.held == ""
    assert stores.journal.first() > 1
    stores.close()


def test_backup_restore_and_repair_carry_a_cut_journal(cut, tmp_path):
    back_up(cut, tmp_path / "kept", NOW)
    restore(tmp_path / "kept", tmp_path / "data", None, *READ, NOW)
    assert entries(tmp_path / "data") == entries(cut)
    assert list(examine(tmp_path / "data", *READ)) == []
    last = entries(cut)[len(entries(cut)) // 2][0]
    restore(tmp_path / "kept", tmp_path / "half", Until(entry=last), *READ, NOW)
    assert entries(tmp_path / "half") == [one for one in entries(cut) if one[0] <= last]
    assert [body for body in bodies(cut) if body in bodies(tmp_path / "half")]
    with pytest.raises(Exception, match="nothing is as old as that"):
        restore(tmp_path / "kept", tmp_path / "none", Until(entry=1), *READ, NOW)
    (tmp_path / "data" / "ledger.sqlite").write_bytes(b"gone")
    (tmp_path / "data" / "ledger.sqlite.head").unlink()
    repair(tmp_path / "data", *READ, NOW)
    journal, ledger = opened(tmp_path / "data")
    proof = pipeline.verify(journal, ledger, *READ)
    assert proof.base == floor_of(cut).offset
    journal.close()
    ledger.close()
    after = bodies(tmp_path / "data")
    assert [json.loads(one)["health"] for one in after] == [
        json.loads(one)["health"] for one in bodies(cut)
    ][-len(after) :]


def test_a_cut_journal_whose_methods_are_older_is_not_carried_on_silently(cut, tmp_path):
    folder = copy_of(cut, tmp_path)
    assert not plan(folder, config.carried_on).needed
    with pytest.raises(StoreVersion, match="retention removed"):
        plan(folder, lambda document: dict(document))


def test_a_house_looks_again_and_again_and_tells_what_it_removed_or_could_not(monkeypatch):
    monkeypatch.setattr(service_retention, "LOOK", 0.01)
    log = CapturingLogger()  # whatever level an earlier test configured
    monkeypatch.setattr(service_retention, "log", log)
    stop, told = threading.Event(), []
    answers = iter([None, CorruptionError("torn"), Base(Offset(7), *[Millis(1)] * 2, 1, 1)])

    def look(go_on):
        assert go_on()
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            stop.set()
        return answer

    service_retention.retain(
        SimpleNamespace(look=look), stop, lambda what, error: told.append((what, error.code))
    )
    assert told == [("retention_failed", "WK301")]
    assert log.calls == [("info", ("journal_cut",), {"entry": 7})]


def test_commands_say_where_a_cut_house_begins(cut, capsys, tmp_path):
    begins = floor_of(cut).offset
    assert wk("verify", "--data", cut) == 0
    assert f"begins with the state after entry {begins}" in capsys.readouterr().out
    assert wk("status", "--data", cut) == 0
    assert f"journal begins with entry {begins + 1}" in capsys.readouterr().out
    assert wk("replay", "--data", cut, "--out", tmp_path / "out") == 0
    assert f"begins with entry {begins + 1}" in capsys.readouterr().out
    assert wk("explain", "host:a", "--data", cut, "--at", "2023-11-14T22:13:21Z") == 1
    assert "WK307" in capsys.readouterr().err
    assert wk("capacity", "--data", cut) == 0
    assert wk("quarantine", "--data", cut) == 0


def test_a_clock_that_leaps_ahead_does_not_take_all_there_is():
    bases = [Base(Offset(n * 10), Millis(n), Millis(n * 1_000_000), 1, 100) for n in (1, 2, 3)]
    assert due(Retention(60_000), bases, Millis(10**15), 0) == bases[1]
    assert due(Retention(60_000), bases, Millis(1_059_999), 0) is None
    assert due(Retention(60_000), bases, Millis(1_060_000), 0) == bases[0]
    limit = 1 << 20
    assert due(Retention(0, limit), bases, Millis(10**15), limit - 300) is None
    assert due(Retention(0, limit), bases, Millis(10**15), limit - 299) == bases[0]
    assert due(Retention(0, limit), bases, Millis(10**15), limit + 1) == bases[2]
    assert due(Retention(0, 1 << 20), bases, Millis(10**15), 0) is None


@given(
    sizes=st.lists(st.integers(1, 1 << 21), min_size=1, max_size=12),
    newest=st.integers(0, 1 << 21),
    limit=st.integers(1 << 20, 1 << 22),
)
def test_of_what_is_kept_by_size_no_more_than_that_is_left(sizes, newest, limit):
    bases = [Base(Offset(n), Millis(n), Millis(n), 1, size) for n, size in enumerate(sizes, 1)]
    base = due(Retention(0, limit), bases, Millis(99), newest)
    left = newest + sum(one.size for one in bases if base is None or one.offset > base.offset)
    assert left <= limit or base == bases[-1]
    if base is not None:
        assert left + base.size > limit


def test_a_journal_that_is_cut_again_and_again_stops_growing(tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "PIECE", 16)
    monkeypatch.setattr(journal_file, "CUT_ENTRIES", 8)
    stores = Stores(tmp_path, rules()).begin()
    cutter = Cutter(stores.journal, stores.ledger, lambda: Retention(60_000))
    sizes = []
    decider = Decider(
        stores.journal, stores.ledger, config.read_rulebook, ENGINE, kept=cutter.consider
    )
    for second in range(1, 221):
        at = START + second * 1_000
        stores.offer([("host:a", "system.cpu.utilization", at - 5, 0.2)], at)
        if second % 20 == 0:
            kept(stores, decider, second)
            cutter.look()
            sizes.append(stores.journal.head() - stores.journal.first())
    assert max(sizes) <= 60 * 1.5 + 20
    assert len(stores.journal.bases()) <= cutting.PARTS + 2
    stores.close()
