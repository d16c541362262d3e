"""From batches to a proven ledger: the four verbs, restarts, replays, and what must not show."""

import functools
import hashlib
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper import config, core, pipeline
from watchkeeper.core import state
from watchkeeper.core.fold import Fold
from watchkeeper.core.state import Arrived, together
from watchkeeper.engines.local import Local
from watchkeeper.errors import (
    ActionRefused,
    ActionRetry,
    CorruptionError,
    VerifyError,
)
from watchkeeper.flags import flip
from watchkeeper.journal.sqlite import Sqlite as JournalFile
from watchkeeper.ledger.sqlite import Sqlite as LedgerFile
from watchkeeper.model import (
    KEYS,
    REJECTS,
    SAMPLES,
    STALE_BITS,
    Batch,
    Control,
    Cursor,
    Millis,
    canonical,
)
from watchkeeper.pipeline import Decider, Offer
from watchkeeper.quarantine import release

ENGINE = Local(workers=1)
POLICY = """
version: 1
tick: 1s
receivers: []
sources: []
policies:
  - name: hot
    match: {types: [host]}
    when: health < 90.0
    for: 2s
    action: [log]
    mode: auto
    cooldown: 0s
    blast_radius: {amount: 100, percent: 100}
"""
STALE = float(np.array([STALE_BITS], np.uint64).view(np.float64)[0])
START = 1_700_000_000_000
CPU = "system.cpu.utilization"


@functools.cache
def rules():
    return config.load((), {}, POLICY).rules


def steps_of(stores):
    return [link.body for link in stores.ledger.links() if link.kind == "step"]


@pytest.fixture(scope="module")
def rulebook():
    return rules()


def batch(rows, source="test", cursor="1"):
    """Rows are (entity, metric, time, value)."""
    numbers = {}
    series = [numbers.setdefault((e, m), len(numbers)) for e, m, _, _ in rows]
    keys = [{"entity": e, "metric": m, "attributes": "{}"} for e, m in numbers]
    samples = [
        pa.array(series, pa.uint32()),
        pa.array([t for _, _, t, _ in rows], pa.int64()),
        pa.array([v for *_, v in rows], pa.float64()),
    ]
    return Batch(
        source,
        Cursor(cursor),
        pa.RecordBatch.from_pylist(keys, KEYS),
        pa.RecordBatch.from_arrays(samples, schema=SAMPLES),
        pa.RecordBatch.from_pylist([], REJECTS),
    )


class Stores:
    def __init__(self, folder, rulebook):
        self.folder, self.rulebook = folder, rulebook
        self.journal = JournalFile(path=folder / "journal.sqlite").open()
        self.ledger = LedgerFile(path=folder / "ledger.sqlite").open()

    def begin(self, at=START):
        self.journal.note(Control("rulebook", "test", canonical(self.rulebook.document)), at)
        self.journal.note(Control("started", "test", "{}"), at)
        return self

    def offer(self, rows, at):
        return pipeline.ingest(
            [Offer(batch(rows), Millis(at))], self.rulebook.contracts, self.journal
        )

    def decider(self):
        return Decider(self.journal, self.ledger, config.read_rulebook, ENGINE)

    def verify(self):
        return pipeline.verify(self.journal, self.ledger, config.read_rulebook, ENGINE)

    def close(self):
        self.ledger.close()
        self.journal.close()


@pytest.fixture
def stores(tmp_path, rulebook):
    made = Stores(tmp_path, rulebook)
    yield made
    made.close()


def telemetry(stores, seconds=60, hot_from=30, hosts=("a", "b"), after=0):
    """One sample a second of a metric with a bound; host a goes over it."""
    for second in range(after + 1, seconds + 1):
        at = START + second * 1_000
        rows = [
            (
                f"host:{h}",
                CPU,
                at - 5,
                0.99 if h == "a" and second >= hot_from else 0.2,
            )
            for h in hosts
        ]
        stores.offer(rows, at)


def drain(decider, limit=256):
    while decider.decide(limit):
        pass


def hot(stores):
    """The decisions of our own policy, newest first; the packs' are dry runs."""
    return [one for one in stores.ledger.decisions() if one.policy == "hot"]


def test_a_bound_broken_for_long_enough_is_decided_ordered_and_proven(stores):
    telemetry(stores.begin())
    drain(stores.decider())
    phases = [(d.entity, str(d.phase)) for d in reversed(hot(stores))]
    assert phases[:2] == [("host:a", "pending"), ("host:a", "firing")]
    assert {entity for entity, _ in phases} == {"host:a"}
    assert [order.action for order, _ in stores.ledger.outbox(Millis(2**60), 10)] == ["log"]
    proof = stores.verify()
    assert proof.steps > 0
    counts = stores.ledger.counts()
    assert (counts.late, counts.duplicate, counts.rejected) == (0, 0, 0)
    assert counts.scored in (118, 120)  # the last tick is still open


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8), workers=st.sampled_from([1, 2]))
def test_neither_portions_nor_restarts_nor_workers_show_in_the_ledger(
    tmp_path_factory, cuts, workers
):
    whole = Stores(tmp_path_factory.mktemp("whole"), rules()).begin()
    parts = Stores(tmp_path_factory.mktemp("parts"), rules()).begin()
    for one in (whole, parts):
        telemetry(one, seconds=40, hot_from=15)
    drain(whole.decider())
    parts.engine = Local(workers=workers)
    for cut in cuts:
        decider = Decider(parts.journal, parts.ledger, config.read_rulebook, parts.engine)
        decider.decide(cut)
        if cut % 2:
            decider.save()
    drain(parts.decider())
    assert steps_of(parts) == steps_of(whole) != []
    assert parts.verify().steps == whole.verify().steps
    whole.close()
    parts.close()


def test_entries_scored_in_one_say_what_each_would_have_said_alone(
    stores, tmp_path_factory, rulebook
):
    """Series that alternate, new ones, what is late, twice, stale or refused, a flip between."""
    alone = Stores(tmp_path_factory.mktemp("alone"), rulebook)
    a, b, c = (("host:a", CPU), ("host:b", CPU), ("host:c", CPU))
    switched = flip("anything", True, "ops", "to see")
    for one in (alone.begin(), stores.begin()):
        for tick in range(40):
            at = START + 1_000 * tick
            one.offer([(*b, at + 100, 0.3 + tick % 7 / 50)], at + 101)
            one.offer([(*a, at + 200, 0.2), (*b, at + 200, 0.4)], at + 201)
            one.offer([(*a, at + 150, 0.2)], at + 202)  # late, and alone in its entry
            one.offer([(*c, at + 300, STALE if tick % 9 == 8 else 0.1)], at + 301)
            one.offer([(*a, at + 200, 0.2), (*b, at + 90_000_000, 0.1)], at + 302)
            if tick == 20:
                one.journal.note(switched, Millis(at + 303))
            one.offer([(f"host:{tick}", CPU, at + 400, 0.9), (*a, at + 400, 0.95)], at + 401)
        one.journal.note(Control("heartbeat", "test", "{}"), Millis(START + 50_000))
    shown: list[int] = []
    decider = Decider(
        stores.journal, stores.ledger, config.read_rulebook, ENGINE,
        watch=lambda observed, _state: shown.append(len(observed.samples.row)),
    )  # fmt: skip
    drain(decider)
    drain(alone.decider(), limit=1)
    assert len(shown) == 41, "one for each tick, and two where the flip lies"
    assert steps_of(stores) == steps_of(alone) != []
    assert stores.ledger.counts() == alone.ledger.counts()
    assert stores.ledger.counts().late >= 40
    assert stores.ledger.counts().rejected == 40
    stores.verify()
    alone.close()


def test_large_entries_are_scored_in_one_only_where_nothing_is_sorted(
    stores, tmp_path_factory, rulebook, monkeypatch
):
    monkeypatch.setattr(pipeline, "TOGETHER", 3)
    monkeypatch.setattr(pipeline, "IN_ORDER", 6)
    alone = Stores(tmp_path_factory.mktemp("alone"), rulebook)
    hosts = [f"host:{number}" for number in range(8)]
    for one in (alone.begin(), stores.begin()):
        for second in range(3):
            at = START + 60 * second
            for few in (hosts[:2], hosts[2:4], hosts[4:6], hosts[6:]):
                one.offer([(host, CPU, at + 1, 0.2 + second / 10) for host in few], at + 2)
        one.journal.note(Control("heartbeat", "test", "{}"), Millis(START + 50_000))
    shown: list[list[int]] = []
    decider = Decider(
        stores.journal, stores.ledger, config.read_rulebook, ENGINE,
        watch=lambda observed, _state: shown.append(observed.samples.row.tolist()),
    )  # fmt: skip
    drain(decider)
    drain(alone.decider(), limit=1)
    assert shown == [[0, 1, 2, 3, 4, 5], [6, 7]] * 3, "as many as are allowed, in order"
    assert steps_of(stores) == steps_of(alone) != []
    alone.close()


def test_a_checkpoint_brings_back_exactly_what_a_replay_would(stores):
    telemetry(stores.begin(), seconds=40)
    decider = stores.decider()
    decider.decide(25)
    kept = decider.fold.checkpoint()
    if kept is None:
        decider.decide(1)
        kept = decider.fold.checkpoint()
    assert kept is None or decider.save() in (True, False)
    drain(decider)
    again = stores.decider()
    drain(again)
    assert again.fold.state.tick == decider.fold.state.tick
    ours, theirs = decider.fold, again.fold
    for fold in (ours, theirs):
        fold.finish()
    assert ours.checkpoint().body == theirs.checkpoint().body


def test_an_orderly_end_keeps_all_state_also_after_silence(stores):
    telemetry(stores.begin(), seconds=5, hot_from=99)
    stores.journal.note(Control("stopped", "test", "{}"), Millis(START + 60_000))
    decider = stores.decider()
    drain(decider)
    assert decider.save()
    assert decider.fold.state.tick > stores.ledger.watermark().tick, "silence commits no step"
    assert not decider.save(within=-1.0)
    assert stores.decider().fold.offset == stores.journal.head()
    telemetry(stores, seconds=62)
    drain(stores.decider())
    stores.verify()


def test_rejected_samples_of_an_open_tick_survive_a_restart(stores):
    telemetry(stores.begin(), seconds=10, hot_from=99)
    stores.offer([("host:a", CPU, START + 10_500, 9.0)], START + 10_600)
    decider = stores.decider()
    drain(decider)
    decider.save()  # waits for the one begun before, if any
    assert not decider.save()  # the tick that rejected it is still open
    telemetry(stores, seconds=1, hot_from=99)
    stores.journal.note(Control("heartbeat", "test", "{}"), Millis(START + 13_000))
    drain(stores.decider())
    assert stores.ledger.counts().rejected == 1
    stores.verify()


def test_late_duplicate_and_stale_samples_are_counted_and_change_no_score(stores):
    stores.begin()
    one = ("host:a", CPU)
    stores.offer([(*one, START + 1_000, 0.2), (*one, START + 2_000, 0.2)], START + 2_500)
    stores.offer([(*one, START + 2_000, 0.9), (*one, START + 1_500, 0.9)], START + 3_500)
    stores.offer([(*one, START + 4_000, STALE)], START + 4_500)
    stores.offer([("host:b", CPU, START + 9_000, 0.1)], START + 9_500)
    drain(stores.decider())
    counts = stores.ledger.counts()
    assert (counts.scored, counts.duplicate, counts.late) == (3, 1, 1)
    assert [str(one.state) for one in stores.ledger.health() if one.entity == "host:a"] == [
        "unknown"
    ]


def test_rejected_samples_are_in_the_journal_with_their_reason(stores):
    stores.begin()
    (checked,) = stores.offer(
        [
            ("host:a", CPU, START, 7.0),
            ("host:a", CPU, START + 5, 0.5),
            ("host:a", "free.text", START, float("inf")),
        ],
        START + 1_000,
    )
    assert checked.offered == checked.samples.num_rows + checked.rejected.num_rows == 3
    (entry,) = stores.journal.rejected(0, 10)
    assert sorted(entry.rejected["reason"].to_pylist()) == ["above_bound", "not_finite"]


def test_a_pause_of_the_program_accuses_nobody(stores):
    telemetry(stores.begin(), seconds=20, hot_from=99)
    hours_later = START + 5 * 3_600_000
    stores.journal.note(Control("started", "test", "{}"), Millis(hours_later))
    stores.offer(
        [(f"host:{h}", CPU, hours_later + 900, 0.2) for h in "ab"],
        hours_later + 1_000,
    )
    stores.journal.note(Control("heartbeat", "test", "{}"), Millis(hours_later + 3_000))
    drain(stores.decider())
    assert [str(one.state) for one in stores.ledger.health()] == ["ok", "ok"]
    assert not [d for d in hot(stores) if d.phase == "firing"]
    stores.verify()


def test_silence_while_we_watch_becomes_unknown_not_healthy(stores):
    telemetry(stores.begin(), seconds=30, hot_from=99)
    for minute in range(1, 30):
        stores.journal.note(
            Control("heartbeat", "test", "{}"), Millis(START + 30_000 + minute * 60_000)
        )
    drain(stores.decider())
    assert {str(one.state) for one in stores.ledger.health()} == {"unknown"}
    assert {one.health for one in stores.ledger.health()} == {None}


def test_a_new_rulebook_holds_from_its_entry_on_and_replays(stores):
    telemetry(stores.begin(), seconds=20, hot_from=5)
    calm = config.without_acts(stores.rulebook)
    later = START + 20_500
    stores.journal.note(Control("rulebook", "test", canonical(calm.document)), Millis(later))
    for second in range(21, 60):
        at = START + second * 1_000
        stores.offer([("host:b", CPU, at - 5, 0.99)], at)
    drain(stores.decider())
    named = [
        json.loads(link.body)["rulebook"] for link in stores.ledger.links() if link.kind == "step"
    ]
    assert set(named) == {stores.rulebook.digest, calm.digest}
    assert named == sorted(named, key=[stores.rulebook.digest, calm.digest].index)
    outcomes = {(d.entity, str(d.outcome)) for d in hot(stores) if d.phase == "firing"}
    # a changed policy starts afresh: host:a, still hot, fires once more, and owes nothing now
    assert outcomes == {("host:a", "ordered"), ("host:a", "dry_run"), ("host:b", "dry_run")}
    stores.verify()


def test_scores_are_hashed_as_the_rulebook_of_their_first_says_and_an_older_one_means_sha256(
    tmp_path, rulebook, monkeypatch
):
    older = {name: part for name, part in rulebook.document.items() if name != "scores"}
    older["schema"] = 1
    newer = Control("rulebook", "test", canonical(rulebook.document))
    nothing = Control("remark", "test", "{}")

    def hashes(name, document, control):
        """By tick, of 20 s; the control comes in the middle of the tick that ends after 11 s."""
        (tmp_path / name).mkdir()
        stores = Stores(tmp_path / name, config.read_rulebook(document)).begin()
        telemetry(stores, 10)
        stores.offer([("host:a", CPU, START + 10_200, 0.3)], START + 10_300)
        stores.journal.note(control, Millis(START + 10_500))
        stores.offer([("host:a", CPU, START + 10_600, 0.4)], START + 10_700)
        telemetry(stores, 20, after=11)
        drain(stores.decider())
        stores.verify()
        links = [link for link in stores.ledger.links() if link.kind == "step"]
        told = {link.at - START: json.loads(link.body)["scores"] for link in links}
        stores.close()
        return told

    before = hashes("before", older, nothing)
    changed = hashes("changed", older, newer)
    assert before.keys() == changed.keys() >= {11_000, 12_000}
    assert all((before[tick] == changed[tick]) == (tick <= 11_000) for tick in before)
    monkeypatch.setitem(state.HASHES, "blake3", hashlib.sha256)
    assert hashes("the same bytes", rulebook.document, nothing) == before


def test_the_audit_chain_names_every_model_with_its_version_and_digest(stores):
    telemetry(stores.begin(), seconds=5)
    drain(stores.decider())
    (told,) = [json.loads(link.body) for link in stores.ledger.links() if link.kind == "rulebook"]
    assert (told["rulebook"], told["from_entry"]) == (stores.rulebook.digest, 1)
    assert [one["name"] for one in told["contracts"]] == ["host", "generic"]
    named = {one["name"] for one in told["detectors"]}
    assert {"robust", "seasonal", "level_shift", "flatline", "absence", "bounds"} == named
    assert all(one["digest"] and one["state_version"] for one in told["detectors"])
    assert "hot" in {one["name"] for one in told["policies"]}
    drain(stores.decider())
    assert len([link for link in stores.ledger.links() if link.kind == "rulebook"]) == 1


def test_a_ledger_that_says_something_else_is_not_believed(tmp_path, rulebook):
    honest = Stores(tmp_path / "honest", rulebook).begin()
    other = Stores(tmp_path / "other", rulebook).begin()
    telemetry(honest, hot_from=30)
    telemetry(other, hot_from=31)
    drain(honest.decider())
    drain(other.decider())
    with pytest.raises(VerifyError, match="WK400 step at tick"):
        pipeline.verify(other.journal, honest.ledger, config.read_rulebook, ENGINE)
    with pytest.raises(VerifyError, match="step at tick"):
        drain(Decider(other.journal, honest.ledger, config.read_rulebook, ENGINE))
    honest.close()
    other.close()


def test_a_ledger_ahead_of_its_journal_is_refused_at_the_start(tmp_path, rulebook):
    full = Stores(tmp_path / "full", rulebook).begin()
    telemetry(full, seconds=10)
    drain(full.decider())
    empty = JournalFile(path=tmp_path / "empty.db").open()
    with pytest.raises(CorruptionError, match="the journal ends at 0"):
        Decider(empty, full.ledger, config.read_rulebook, ENGINE)
    empty.close()
    full.close()


def test_telemetry_before_any_rulebook_is_refused(stores):
    stores.offer([("host:a", CPU, START, 0.5)], START)
    with pytest.raises(VerifyError, match="comes before any rulebook"):
        list(pipeline.replay(stores.journal, config.read_rulebook, ENGINE))


class Scripted:
    """An action that answers from a list."""

    def __init__(self, *answers):
        self.answers, self.keys = list(answers), []

    def perform(self, order):
        self.keys.append(order.key)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def ordered(stores):
    telemetry(stores.begin())
    drain(stores.decider())


def test_an_order_is_tried_again_with_the_same_key_until_it_is_done(stores):
    ordered(stores)
    action = Scripted(ActionRetry("down"), RuntimeError("a faulty plug"), "delivered")
    clock = iter(range(START + 100_000, START + 10_000_000, 400_000))
    for _ in range(5):
        at = Millis(next(clock))
        pipeline.act(stores.ledger, {"log": action}, now=lambda at=at: at, limit=5)
    assert len(action.keys) == 3
    assert len(set(action.keys)) == 1
    ((_, receipt),) = stores.ledger.orders(5)
    assert (receipt.outcome, receipt.detail) == ("done", "delivered")
    stores.verify()


@pytest.mark.parametrize("actions", [{}, {"log": Scripted(ActionRefused("no such receiver"))}])
def test_a_refused_order_is_never_tried_again(stores, actions):
    ordered(stores)
    at = Millis(START + 100_000)
    assert pipeline.act(stores.ledger, actions, now=lambda: at, limit=5) == 1
    assert pipeline.act(stores.ledger, actions, now=lambda: Millis(at + 10**8), limit=5) == 0
    ((_, receipt),) = stores.ledger.orders(5)
    assert receipt.outcome == "refused"


def test_a_long_suspension_is_jumped_over_in_bounded_time(stores):
    telemetry(stores.begin(), seconds=10, hot_from=99)
    far = START + 30 * 86_400_000
    stores.offer([("host:a", CPU, far - 5, 0.2)], far)
    stores.journal.note(Control("heartbeat", "test", "{}"), Millis(far + 2_000))
    drain(stores.decider())
    assert stores.ledger.watermark().tick >= far
    stores.verify()


def test_the_open_tick_counts_in_a_finished_fold(rulebook):
    fold = Fold(config.read_rulebook, ENGINE)
    assert fold.finish() is None
    assert fold.checkpoint() is None
    state = core.fresh(rulebook)
    assert state.offset == 0


def heartbeats(stores, first, last, every=1_000):
    for at in range(START + first, START + last, every):
        stores.journal.note(Control("heartbeat", "test", "{}"), Millis(at))


@pytest.mark.parametrize(("old", "new"), [("60s", "1s"), ("1s", "60s"), ("7s", "2s")])
def test_another_tick_holds_from_the_next_entry_on(tmp_path, old, new):
    before, after = (
        config.load((), {}, POLICY.replace("tick: 1s", f"tick: {tick}")).rules
        for tick in (old, new)
    )
    stores = Stores(tmp_path, before).begin()
    telemetry(stores, seconds=100)
    later = Millis(START + 100_500)
    stores.journal.note(Control("rulebook", "test", canonical(after.document)), later)
    stores.rulebook = after
    for second in range(101, 260):
        at = START + second * 1_000
        stores.offer([("host:a", CPU, at - 5, 0.2)], at)
    drain(stores.decider())
    ticks = [json.loads(body)["tick"] for body in steps_of(stores)]
    assert ticks == sorted(set(ticks))
    assert max(ticks) >= START + 180_000
    stores.verify()
    stores.close()


@pytest.mark.parametrize("restarted", [True, False])
def test_a_pause_accuses_nobody_and_lets_no_hold_run_on(tmp_path, restarted):
    slow = config.load((), {}, POLICY.replace("for: 2s", "for: 10m")).rules
    stores = Stores(tmp_path, slow).begin()
    telemetry(stores, seconds=20, hot_from=5)
    hour = 3_600_000
    if restarted:
        stores.journal.note(Control("started", "test", "{}"), Millis(START + hour))
    for second in range(1, 8):
        at = START + hour + second * 1_000
        stores.offer([(f"host:{h}", CPU, at - 5, 0.99 if h == "a" else 0.2) for h in "ab"], at)
    drain(stores.decider())
    assert [str(d.phase) for d in hot(stores)] == ["pending"]
    assert "unknown" not in {str(one.state) for one in stores.ledger.health()}
    stores.verify()
    stores.close()


def test_other_health_parameters_resolve_and_repeat_no_alarm(stores):
    telemetry(stores.begin(), seconds=30, hot_from=5)
    text = POLICY + "health: {type: noisy_or, smoothing_seconds: 300}\n"
    document = config.load((), {}, text).rules.document
    later = Millis(START + 30_500)
    stores.journal.note(Control("rulebook", "test", canonical(document)), later)
    for second in range(31, 45):
        at = START + second * 1_000
        stores.offer([(f"host:{h}", CPU, at - 5, 0.99 if h == "a" else 0.2) for h in "ab"], at)
    drain(stores.decider())
    assert [str(d.phase) for d in reversed(hot(stores))] == ["pending", "firing"]


@pytest.mark.parametrize("together", [True, False])
def test_a_series_that_ends_and_begins_again_is_there(stores, together):
    stores.begin()
    rows = [("host:a", CPU, START + 1_000, STALE), ("host:a", CPU, START + 1_500, 0.2)]
    portions = [rows] if together else [rows[:1], rows[1:]]
    for portion in portions:
        stores.offer(portion, START + 2_000)
    heartbeats(stores, 3_000, 5_000)
    drain(stores.decider())
    assert [str(one.state) for one in stores.ledger.health()] == ["ok"]


class Earlier:
    """A ledger whose watermark was read before the service committed more."""

    def __init__(self, ledger, mark):
        self._ledger, self._mark = ledger, mark

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def watermark(self):
        return self._mark


def test_verify_beside_a_running_service_raises_no_false_alarm(stores):
    telemetry(stores.begin(), seconds=20)
    decider = stores.decider()
    decider.decide(12)
    mark = stores.ledger.watermark()
    drain(decider)
    proof = pipeline.verify(
        stores.journal, Earlier(stores.ledger, mark), config.read_rulebook, ENGINE
    )
    assert proof.steps < stores.verify().steps


def test_quarantine_releases_nothing_that_came_from_the_future(stores):
    ten_years = 315_360_000_000
    stores.begin()
    stores.offer([("host:a", CPU, START + ten_years, 0.2)], START + 1_000)
    released = release(stores.journal, stores.rulebook.contracts, Millis(START + 60_000))
    assert (released.offered, released.accepted) == (1, 0)
    drain(stores.decider())
    assert stores.ledger.counts().accepted == 0


def test_checkpoints_come_beside_the_work_and_as_often_as_they_are_worth_it(stores):
    telemetry(stores.begin(), seconds=300)
    now = iter(range(10**6))  # every look at the clock is a second later
    decider = Decider(
        stores.journal, stores.ledger, config.read_rulebook, ENGINE, clock=lambda: float(next(now))
    )
    drain(decider, limit=1)
    decider.save()
    kept = stores.ledger.checkpoint()
    assert START < kept.tick <= START + 300_000
    again = stores.decider()
    assert again.fold.state.tick == kept.tick
    drain(again)
    assert again.fold.state.tick == decider.fold.state.tick
    stores.verify()


@st.composite
def said_in_one_tick(draw):
    """How many series there are, and what some of them said, in parts as entries bring it."""
    series = draw(st.integers(1, 6))
    scores = st.sampled_from([0.0, 0.5, 1.0, 3.0])
    one = st.tuples(st.integers(0, series - 1), scores, st.integers(-5, 5_000))
    return series, draw(st.lists(st.lists(one, max_size=8), min_size=1, max_size=6))


@settings(deadline=None)  # the first example compiles
@given(said_in_one_tick())
def test_what_series_said_in_a_tick_is_put_together_as_if_it_were_folded_one_by_one(told):
    series, lists = told
    parts, last = [], {}
    for at, rows in enumerate(lists, START):
        columns = ([at] * len(rows), *([row[k] for row in rows] for k in range(3)))
        kinds = (np.int64, np.uint32, np.float64, np.int64)
        parts.append(Arrived(*(np.array(c, k) for c, k in zip(columns, kinds, strict=True))))
        for s, score, deadline in rows:
            last[s] = (at, s, max(score, last[s][2] if s in last else score), deadline)
    found = together(parts, series)
    assert list(zip(*(column.tolist() for column in found), strict=True)) == [
        last[s] for s in sorted(last)
    ]


def test_a_tick_in_which_series_speak_again_and_again_ends_as_if_nothing_were_put_together(
    tmp_path, rulebook, monkeypatch
):
    rows = [[(f"host:h{k}", CPU, START + at * 20, 0.9 if at % 7 == k else 0.1) for k in range(3)]
            for at in range(1, 300)]  # fmt: skip
    told = []
    for most in (state.LEAST, 4):
        monkeypatch.setattr(state, "LEAST", most)
        (tmp_path / str(most)).mkdir()
        stores = Stores(tmp_path / str(most), rulebook).begin()
        for at, some in enumerate(rows, 1):
            stores.offer(some, START + at * 20)
        drain(stores.decider())
        told.append(steps_of(stores))
        stores.close()
    assert told[0] == told[1]
    assert len(told[0]) > 1
