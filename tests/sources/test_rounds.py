"""Rounds over targets that behave, and over targets that do not."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkeeper.errors import InputError
from watchkeeper.model import STALE_BITS, Cursor, Millis
from watchkeeper.sources import Target, _breaker, _rounds
from watchkeeper.sources._breaker import Breaker, Budget
from watchkeeper.sources._found import Reading, collected
from watchkeeper.sources._rounds import Rounds
from watchkeeper.sources._turns import Turns
from watchkeeper.testing.sources import keys_of

STALE = "stale"


def now():
    return Millis(time.time_ns() // 1_000_000)


def target(name, host=None, **labels):
    return Target(name, f"target:{name}", host or name, labels)


def says(*metrics):
    """A target that has these metrics."""

    def ask(target, deadline):
        return collected([Reading(target.entity, m, "{}", now(), 1.0) for m in metrics])

    return ask


def fails(target, deadline):
    raise InputError("out of order")


@dataclass
class Fleet:
    """A collector whose targets do what the test says. `asked` counts questions."""

    does: dict
    interval: float = 0.5
    timeout: float = 0.3
    name: str = "fleet"
    per_target: dict = field(default_factory=dict)
    asked: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    listing: object = None

    def targets(self):
        if self.listing is not None:
            return self.listing()
        return [self.per_target.get(name) or target(name) for name in self.does]

    def collect(self, target, deadline):
        with self.lock:
            self.asked[target.name] += 1
        return self.does[target.name](target, deadline)


class Heard:
    """Polls rounds and keeps what came, in order."""

    def __init__(self, rounds):
        self.rounds, self.samples, self.controls, self.batches = rounds, [], [], []

    def until(self, done, seconds=20.0):
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, (self.rounds.states(), self.controls)
            self.poll()
        return self

    def poll(self):
        batch = self.rounds.poll()
        if batch is None:
            return
        self.batches.append(batch)
        keys = keys_of(batch).to_pylist()
        assert len({tuple(key.values()) for key in keys}) == len(keys)
        for s, t, value in zip(
            *(column.to_pylist() for column in batch.samples.columns), strict=True
        ):
            stale = np.array([value]).view(np.uint64)[0] == STALE_BITS
            key = keys[s]
            self.samples.append(
                (key["entity"], key["metric"], key["attributes"], t, STALE if stale else value)
            )
        for control in batch.controls:
            assert (control.kind, control.actor) == ("collector", "fleet")
            self.controls.append(json.loads(control.body))

    def of(self, name, metric="up"):
        return [s[4] for s in self.samples if s[:2] == (f"target:{name}", metric)]

    def changes(self, name):
        return [c["state"] for c in self.controls if c["target"] == name]


@pytest.fixture
def start():
    """Start rounds that are closed in the end."""
    running = []

    def begin(fleet, **options):
        running.append(Rounds(fleet, **options))
        return Heard(running[-1])

    yield begin
    for rounds in running:
        rounds.close()
        rounds.close()


def test_a_target_that_says_much_does_not_keep_the_others_waiting(start, monkeypatch):
    monkeypatch.setattr(_rounds, "SHARE", 100)
    monkeypatch.setattr(_rounds, "WAITING", 1000)
    much = says(*(f"m{n}" for n in range(150)))
    fleet = Fleet({"much": much, "a": says("m"), "b": says("m")}, interval=0.2)
    heard = start(fleet)
    end = time.monotonic() + 20
    while min(fleet.asked["a"], fleet.asked["b"]) < 12:  # and nobody fetches
        assert time.monotonic() < end, fleet.asked
        time.sleep(0.01)
    assert fleet.asked["much"] == 1
    heard.until(lambda: fleet.asked["much"] > 2)


def test_every_target_is_asked_once_a_round_at_its_own_place(start):
    fleet = Fleet({f"t{n}": says("m") for n in range(40)}, interval=1.0)
    heard = start(fleet)
    heard.until(lambda: min(len(heard.of(f"t{n}")) for n in range(40)) >= 3)
    assert max(fleet.asked.values()) - min(fleet.asked.values()) <= 1
    places = [(s[3] / 1000) % 1 for s in heard.samples if s[1] == "up"]
    assert len({round(place, 1) for place in places}) > 5, "spread over the round"
    assert {s[4] for s in heard.samples if s[1] == "up"} == {1.0}
    assert {s[4] for s in heard.samples if s[1] == "scrape_samples_scraped"} == {1.0}
    assert all(0 <= s[4] < 1 for s in heard.samples if s[1] == "scrape_duration_seconds")
    assert not heard.controls
    cursors = [int(batch.cursor) for batch in heard.batches]
    assert cursors == sorted(cursors)


def test_the_place_in_the_round_is_the_same_in_every_process():
    assert _rounds._place("10.0.0.1:9100") == pytest.approx(0.28873662)


def test_readings_carry_the_labels_of_the_target(start):
    fleet = Fleet({"t": says("m")}, per_target={"t": target("t", job="web")})
    heard = start(fleet).until(lambda: fleet.asked["t"] > 1)
    assert ("target:t", "up", '{"job":"web"}') in {s[:3] for s in heard.samples}


def test_a_target_that_fails_is_told_of_ended_left_alone_and_tried_again(start):
    does = {"t": says("m", "k"), "other": says("m")}
    fleet = Fleet(does, interval=0.12)
    heard = start(fleet).until(lambda: fleet.asked["t"] >= 2)
    does["t"] = fails
    heard.until(lambda: "open" in heard.changes("t"))
    asked = fleet.asked["t"]
    heard.until(lambda: len(heard.of("other")) >= 8)
    assert fleet.asked["t"] - asked <= 1, "it is left alone"
    for metric in ("m", "k"):
        told = heard.of("t", metric)
        assert told.count(STALE) == 1, "its series end once"
        assert told[-1] == STALE
    heard.until(lambda: heard.changes("t").count("open") >= 2)
    assert heard.changes("t") == ["failing", "open", "half_open", "open"], "one trial"
    (state,) = [s for s in heard.rounds.states() if s.name == "t"]
    assert (state.state, state.failures, state.error) == ("open", 6, "WK200 out of order")
    assert state.succeeded is not None
    does["t"] = says("m")
    heard.until(lambda: "closed" in heard.changes("t"))
    heard.until(lambda: heard.of("t")[-1] == 1.0)
    assert heard.changes("t")[-2:] == ["half_open", "closed"]
    up = heard.of("t")
    assert 0.0 in up
    assert STALE not in up
    assert heard.of("t", "m")[-1] == 1.0
    assert heard.changes("other") == []
    opened = next(c for c in heard.controls if c["state"] == "open")
    assert opened == {
        "target": "t", "state": "open", "error": "WK200 out of order", "failures": 5,
    }  # fmt: skip


def test_a_short_illness_is_told_when_it_begins_and_when_it_ends(start):
    does = {"t": fails}
    fleet = Fleet(does, interval=0.3)
    heard = start(fleet)
    heard.until(lambda: heard.changes("t"))
    does["t"] = says("m")
    heard.until(lambda: len(heard.changes("t")) == 2)
    assert heard.changes("t") == ["failing", "recovered"]
    assert heard.rounds.states()[0][:3] == ("t", "closed", "")


def test_a_series_that_is_no_longer_said_ends(start):
    does = {"t": says("m", "k")}
    heard = start(Fleet(does, interval=0.2))
    heard.until(lambda: heard.of("t", "k"))
    does["t"] = says("m")
    heard.until(lambda: STALE in heard.of("t", "k"))
    heard.until(lambda: len(heard.of("t")) > 6)
    assert heard.of("t", "k").count(STALE) == 1
    assert STALE not in heard.of("t", "m") + heard.of("t")


def test_a_target_that_is_no_longer_listed_ends_and_may_come_back(start):
    fleet = Fleet({"t": says("m"), "u": says("m")}, interval=0.2)
    heard = start(fleet)
    heard.until(lambda: heard.of("t") and heard.of("u"))
    fleet.listing = lambda: [target("u")]
    heard.until(lambda: heard.changes("t") == ["gone"])
    for metric in ("m", "up", "scrape_duration_seconds", "scrape_samples_scraped"):
        assert heard.of("t", metric)[-1] == STALE
    assert [state.name for state in heard.rounds.states()] == ["u"]
    fleet.listing = None
    heard.until(lambda: heard.of("t")[-1] == 1.0)
    assert heard.of("t").count(STALE) == 1


def test_a_target_that_leaves_while_it_is_asked_is_not_heard_any_more(start):
    leave = threading.Event()

    def slow(target, deadline):
        leave.wait(5)
        return says("late")(target, deadline)

    fleet = Fleet({"t": slow}, interval=0.25, timeout=0.2)
    heard = start(fleet)
    heard.until(lambda: fleet.asked["t"])
    fleet.listing = list
    heard.until(lambda: heard.changes("t")[-1:] == ["gone"])
    leave.set()
    for _ in range(3):
        heard.poll()
    assert not heard.of("t", "late")


def test_a_target_whose_labels_change_goes_on_under_the_new_ones(start):
    fleet = Fleet({"t": says("m")}, interval=0.2)
    heard = start(fleet)
    heard.until(lambda: heard.of("t"))
    fleet.per_target["t"] = target("t", site="b")
    heard.until(lambda: ("target:t", "up", '{"site":"b"}') in {s[:3] for s in heard.samples})
    old = [s[4] for s in heard.samples if s[:3] == ("target:t", "up", "{}")]
    assert old[-1] == STALE
    assert heard.changes("t") == []


def test_of_two_targets_of_one_name_the_first_counts(start):
    fleet = Fleet({"t": says("m")})
    fleet.listing = lambda: [target("t", n="1"), target("t", n="2")]
    heard = start(fleet).until(lambda: fleet.asked["t"] >= 2)
    assert {s[2] for s in heard.samples if s[1] == "up"} <= {'{"n":"1"}'}


def test_the_list_before_holds_while_no_new_one_can_be_had(start):
    fleet = Fleet({"t": says("m")}, interval=1.0, timeout=0.8)
    heard = start(fleet)
    heard.until(lambda: heard.of("t"))

    def broken():
        raise InputError("no list")

    fleet.listing = broken
    heard.until(lambda: heard.changes(""))
    count = len(heard.of("t"))
    heard.until(lambda: len(heard.of("t")) >= count + 3)
    fleet.listing = None
    heard.until(lambda: len(heard.changes("")) == 2)
    assert heard.changes("") == ["undiscovered", "discovered"]
    assert heard.changes("t") == []
    assert heard.controls[0]["error"] == "WK200 no list"


def test_a_discovery_that_hangs_is_told_of_and_delays_nobody(start):
    fleet = Fleet({"t": says("m")}, interval=0.2, timeout=0.1)
    heard = start(fleet)
    heard.until(lambda: heard.of("t"))
    ended = threading.Event()
    fleet.listing = lambda: ended.wait(20) and [target("t")]
    heard.until(lambda: heard.changes("") == ["undiscovered"])
    count = len(heard.of("t"))
    heard.until(lambda: len(heard.of("t")) >= count + 3)
    ended.set()
    heard.until(lambda: heard.changes("") == ["undiscovered", "discovered"])


def test_a_question_that_fails_once_is_asked_again_within_its_deadline(start):
    fell = Counter()

    def shaky(target, deadline):
        fell[target.name] += 1
        if fell[target.name] == 1:
            raise InputError("just now")
        assert time.monotonic() < deadline
        return says("m")(target, deadline)

    fleet = Fleet({"t": shaky}, interval=1.5, timeout=1.2)
    heard = start(fleet).until(lambda: fleet.asked["t"] >= 2)
    heard.until(lambda: heard.of("t"))
    assert heard.of("t") == [1.0]
    assert heard.changes("t") == []


def test_repeats_are_a_small_share_of_the_questions(start, monkeypatch):
    monkeypatch.setattr(_rounds, "PAUSE", 0.001)
    turn = Counter()

    def every_other(target, deadline):
        turn[target.name] += 1
        if turn[target.name] % 2:
            raise InputError("no")
        return says("m")(target, deadline)

    fleet = Fleet({f"t{n}": every_other for n in range(60)}, interval=0.5)
    heard = start(fleet)
    heard.until(lambda: sum(fleet.asked.values()) >= 250)
    told = sum(s[1] == "up" for s in heard.samples)
    repeats = sum(fleet.asked.values()) - told
    under_way = 120  # asked, and not told of yet
    assert repeats <= _breaker.SAVED_MAX + _breaker.EXTRA * told + under_way


def test_a_fault_of_the_collector_itself_is_a_failure_like_any_other(start):
    does = {"t": lambda target, deadline: 1 / 0, "u": says("m")}
    heard = start(Fleet(does, interval=0.2))
    heard.until(lambda: "failing" in heard.changes("t") and heard.of("u"))
    assert "division" in heard.controls[0]["error"]


class Crowd:
    """Counts who is inside at once."""

    def __init__(self):
        self.lock, self.inside, self.most = threading.Lock(), Counter(), Counter()

    def __call__(self, target, deadline):
        with self.lock:
            for place in (target.host, "all"):
                self.inside[place] += 1
                self.most[place] = max(self.most[place], self.inside[place])
        time.sleep(0.02)
        with self.lock:
            self.inside.subtract((target.host, "all"))
        return says("m")(target, deadline)


def test_neither_a_host_nor_all_of_them_are_asked_too_often_at_once(start):
    crowd = Crowd()
    names = [f"t{n}" for n in range(60)]
    fleet = Fleet(
        dict.fromkeys(names, crowd),
        interval=0.5,
        per_target={name: target(name, f"h{n % 3}") for n, name in enumerate(names)},
    )
    fleet.timeout = 0.4
    heard = start(fleet, workers=5, per_host=2)
    heard.until(lambda: len(fleet.asked) == 60)
    assert crowd.most["all"] <= 5
    assert max(crowd.most[f"h{n}"] for n in range(3)) == 2


def hangs(target, deadline):
    time.sleep(max(0.0, deadline - time.monotonic()))
    raise InputError("no answer in time")


def test_targets_that_hang_do_not_take_the_workers_of_others(start):
    does = {f"bad{n}": hangs for n in range(40)} | {f"good{n}": says("m") for n in range(20)}
    fleet = Fleet(does, interval=0.4, timeout=0.25)
    heard = start(fleet, workers=16)
    heard.until(lambda: len(fleet.asked) == 60, 30)
    before, begin = Counter(fleet.asked), time.monotonic()
    heard.until(lambda: fleet.asked["good0"] - before["good0"] >= 5, 30)
    rounds = int((time.monotonic() - begin) / 0.4)
    asked = [fleet.asked[f"good{n}"] - before[f"good{n}"] for n in range(20)]
    assert min(asked) >= min(5, rounds) - 1, "every good target is asked every round"
    assert sum(fleet.asked[f"bad{n}"] - before[f"bad{n}"] for n in range(40)) > 0
    ups = [s for s in heard.samples if s[1] == "up"]
    assert {s[4] for s in ups if s[0].startswith("target:good")} == {1.0}
    assert {s[4] for s in ups if s[0].startswith("target:bad")} == {0.0}


def test_a_question_that_outstays_its_deadline_is_given_up_and_taken_back_when_it_ends(start):
    ended = threading.Event()
    does = {"t": lambda target, deadline: ended.wait(20), "u": says("m")}
    fleet = Fleet(does, interval=0.2, timeout=0.1)
    heard = start(fleet, workers=1)
    heard.until(lambda: "open" in heard.changes("t"), 30)
    assert fleet.asked["t"] == 1, "nobody asks again while the first question is still there"
    assert "still busy" in heard.controls[0]["error"]
    assert len(heard.of("u")) > 2
    assert set(heard.of("t")) == {0.0}
    does["t"] = says("m")
    ended.set()
    heard.until(lambda: "closed" in heard.changes("t"))


def test_closing_waits_for_nobody():
    ended = threading.Event()
    fleet = Fleet({f"t{n}": lambda *_: ended.wait(30) for n in range(8)}, interval=0.3)
    heard = Heard(Rounds(fleet, Cursor("17")))
    heard.until(lambda: len(fleet.asked) >= 4)
    begin = time.monotonic()
    heard.rounds.close()
    assert time.monotonic() - begin < 15, "a question may go on for 30 s"
    asked = sum(fleet.asked.values())
    heard.rounds.close()
    ended.set()
    time.sleep(0.4)
    assert sum(fleet.asked.values()) == asked


def test_a_collector_that_can_end_its_questions_is_told_to(start):
    class Ends(Fleet):
        def cancel(self):
            stopped.set()

    stopped = threading.Event()
    fleet = Ends({"t": lambda target, deadline: stopped.wait(20)}, interval=0.3, name="ends")
    heard = start(fleet).until(lambda: fleet.asked["t"])
    heard.rounds.close()
    assert stopped.is_set()
    assert not [t for t in threading.enumerate() if t.name.startswith("ends-")]


def test_nobody_is_asked_while_answers_wait(start, monkeypatch):
    monkeypatch.setattr(_rounds, "WAITING", 40)
    fleet = Fleet({f"t{n}": says("m") for n in range(5)}, interval=0.1)
    heard = start(fleet)
    time.sleep(1.0)
    assert sum(fleet.asked.values()) <= 20
    asked = sum(fleet.asked.values())
    heard.until(lambda: sum(fleet.asked.values()) > asked + 10)


def test_a_batch_is_bounded_and_holds_many_targets(start, monkeypatch):
    monkeypatch.setattr(_rounds, "SAMPLES", 25)
    fleet = Fleet({f"t{n}": says("m", "k") for n in range(30)}, interval=0.2)
    heard = start(fleet)
    heard.until(lambda: len(heard.batches) >= 10)
    assert max(batch.samples.num_rows for batch in heard.batches) <= 25
    assert max(batch.samples.num_rows for batch in heard.batches) > 10


def test_what_two_targets_say_of_one_series_stands_under_one_key(start):
    def same(target, deadline):
        return collected([Reading("host:x", "m", "{}", now(), 1.0)])

    fleet = Fleet({"t": same, "u": same}, interval=0.2)
    heard = start(fleet)
    heard.until(lambda: len(heard.of("t")) >= 4)
    assert ("host:x", "m") in {s[:2] for s in heard.samples}


limits = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3))
line = st.lists(st.sets(st.sampled_from("abcd"), min_size=1).map(sorted).map(tuple), max_size=40)


@settings(deadline=None, max_examples=60)
@given(limits, st.integers(1, 3), line, st.randoms(use_true_random=False))
def test_turns_keep_every_limit_and_lose_nobody(limits, limit, line, chance):
    turns = Turns(limits, limit)
    for number, gates in enumerate(line):
        turns.add(number, gates)
    inside, served = [], []
    while len(served) < len(line):
        while (turn := turns.take()) is not None:
            inside.append(turn)
            served.append(turn[0])
            held = Counter(gate for _, gates in inside for gate in gates)
            assert all(count <= limits.get(gate, limit) for gate, count in held.items())
        kept = Counter(gate for _, gates in inside for gate in gates)
        for gates in (line[n] for n in range(len(line)) if n not in served):
            assert any(kept[gate] >= limits.get(gate, limit) for gate in gates), "kept for nothing"
        turns.leave(inside.pop(chance.randrange(len(inside)))[1])
    assert sorted(served) == list(range(len(line)))
    for gates in set(line):
        mine = [n for n in served if line[n] == gates]
        assert len(gates) > 1 or mine == sorted(mine), "first come, first served"


def test_a_breaker_goes_by_the_time_it_is_told():
    breaker = Breaker(interval=60.0)
    for _ in range(4):
        breaker.failed(0.0)
    assert (breaker.state, breaker.failures, breaker.admits(0.0)) == ("closed", 4, True)
    breaker.succeeded()
    assert breaker.failures == 0
    for _ in range(5):
        breaker.failed(100.0)
    assert (breaker.state, breaker.admits(339.0)) == ("open", False)
    assert breaker.admits(340.0)
    assert breaker.state == "half_open"
    breaker.failed(341.0)
    assert (breaker.state, breaker.admits(580.0)) == ("open", False)
    assert breaker.admits(581.0)
    breaker.succeeded()
    assert (breaker.state, breaker.failures) == ("closed", 0)


def test_a_rest_is_at_most_five_minutes():
    breaker = Breaker(interval=3600.0)
    for _ in range(5):
        breaker.failed(0.0)
    assert breaker.admits(300.0)


@given(st.lists(st.booleans(), max_size=300))
def test_a_budget_never_gives_more_than_a_tenth_beyond_what_was_saved(uses):
    budget, spent = Budget(), 0
    for asked, wanted in enumerate(uses, 1):
        budget.earn()
        spent += wanted and budget.spend()
        assert spent <= _breaker.SAVED_MAX + _breaker.EXTRA * asked + 1e-6


def test_keys_are_told_once_and_those_long_gone_are_given_up(start, monkeypatch):
    monkeypatch.setattr(_rounds, "SPARE", 50)
    turn = Counter()

    def changes(target, deadline):
        turn[target.name] += 1
        return says(*(f"m{turn[target.name]}_{n}" for n in range(10)))(target, deadline)

    heard = start(Fleet({"steady": says("m"), "t": changes}, interval=0.1))
    heard.until(lambda: len(heard.of("steady")) >= 12)
    tables = [batch.keys for batch in heard.batches]
    assert 1 < len({id(table) for table in tables}) < len(tables)
    assert max(len(table) for table in tables) < 150
    assert heard.of("steady", "m") == [1.0] * len(heard.of("steady", "m"))
    ended = [s[1] for s in heard.samples if s[4] == STALE]
    assert len(ended) == len(set(ended)) >= 50
