"""A house in motion: sources that fail and recover, an orderly end, and what it shows meanwhile."""

import itertools
import threading
import time
from dataclasses import dataclass, field, replace

import pytest
from tests.test_pipeline import CPU, POLICY, Stores, batch, rules

from watchkeeper import config, pipeline
from watchkeeper.engines.local import Local
from watchkeeper.errors import InputError, Overloaded, StoreError, StoreFull
from watchkeeper.live import Live
from watchkeeper.model import Millis
from watchkeeper.service import House, Service, Steady
from watchkeeper.sources import TargetState


def clock():
    return Millis(time.time_ns() // 1_000_000)


@dataclass
class Scripted:
    """A source that gives what its list holds; an exception is raised, None is nothing yet."""

    script: list = field(default_factory=list)
    name: str = "scripted"
    interval: float = 0.05
    sampled: bool = False
    opened_at: list = field(default_factory=list)

    def open(self, cursor):
        self.opened_at.append(cursor)
        return self

    def poll(self):
        item = self.script.pop(0) if self.script else None
        if isinstance(item, Exception):
            raise item
        return item() if callable(item) else item

    def close(self):
        pass


TURN = itertools.count()


def hot(value, cursor="1"):
    at = clock() - 100_000 + next(TURN) * 10  # each sample is newer than the one before
    return lambda: batch([("host:a", CPU, at, value)], "scripted", cursor)


class Running:
    def __init__(self, folder, source, once=False, over=lambda journal: journal, exposed=None):
        self.stores = Stores(folder, rules())
        house = House(
            rulebook=rules(),
            sources=[source],
            journal=over(self.stores.journal),
            ledger=self.stores.ledger,
            actions={},
            engine=Local(workers=1),
            reread=config.read_rulebook,
        )
        self.stop = threading.Event()
        self.service = Service(house, self.stop, clock, once=once)
        self.live = Live(self.service, "test", clock, folder=folder, exposed=exposed)
        self.service.watch = self.live.recent.add
        self.code = None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        self.code = self.service.run()

    def __enter__(self):
        self.thread.start()
        assert self.service.ready.wait(180)  # a first start compiles
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(30)
        self.stores.close()

    def until(self, holds, seconds=30):
        end = time.monotonic() + seconds
        while not holds() and time.monotonic() < end:
            time.sleep(0.02)
        assert holds()


def test_a_house_shows_its_worst_entity_its_counts_and_its_readiness(tmp_path):
    with Running(tmp_path, Scripted([hot(0.2), hot(0.99, "2")])) as house:
        assert house.live.ready() == (True, "ready")
        house.until(lambda: house.live.status()["counts"]["scored"] == 2)
        house.until(lambda: house.live.findings().entities)
        findings = house.live.findings()
        (entity,) = findings.entities
        assert (entity.name, str(entity.state)) == ("host:a", "fail")
        assert house.live.findings() is findings or house.live.findings().entities
        status = house.live.status()
        assert status["traffic"]["offered"] == status["traffic"]["accepted"] == 2
        assert status["sources"] == {"scripted": "ok"}
        metrics = house.live.metrics()[0].decode()
        assert 'watchkeeper_health_score{entity="a",entity_type="host"}' in metrics
        assert 'watchkeeper_scored_samples_total{outcome="scored"} 2.0' in metrics
        house.stop.set()
        assert house.live.ready() == (False, "stopping")
    assert house.code == 0


@dataclass
class Asking(Scripted):
    """A source that asks targets and can say how they are."""

    def states(self):
        return [TargetState("10.0.0.1:9100", "open", "refused", 0.1, None, 5)]


def test_the_breakers_of_targets_are_shown(tmp_path):
    with Running(tmp_path, Asking(name="scrape")) as house:
        house.until(lambda: house.live.status()["targets"])
        assert house.live.status()["targets"]["scrape"][0]["error"] == "refused"
        told = house.live.metrics()[0].decode()
        target = 'source="scrape",state="open",target="10.0.0.1:9100"'
        assert f"watchkeeper_target_breaker{{{target}}} 1.0" in told
        assert 'watchkeeper_target_failures{source="scrape",target="10.0.0.1:9100"} 5.0' in told


def test_a_source_that_fails_is_named_tried_again_and_forgiven(tmp_path, monkeypatch):
    monkeypatch.setattr("watchkeeper.service.RETRY", 0.3)
    source = Scripted([InputError("the cable is out"), hot(0.2)])
    with Running(tmp_path, source) as house:
        house.until(lambda: "cable" in house.live.status()["sources"]["scripted"])
        house.until(lambda: house.live.status()["traffic"]["accepted"] == 1)
        assert house.live.status()["sources"] == {"scripted": "ok"}
    assert house.code == 0


def test_once_concludes_everything_it_collected(tmp_path):
    running = Running(tmp_path, Scripted([hot(0.2), hot(0.3, "2")]), once=True)
    running._run()
    assert running.code == 0
    assert running.stores.ledger.counts().scored == 2
    assert running.stores.verify().ahead == 0
    running.stores.close()


def test_a_source_goes_on_where_the_journal_stands(tmp_path):
    first = Scripted([hot(0.2, "41"), hot(0.2, "42")])
    Running(tmp_path, first, once=True)._run()
    assert first.opened_at == [None]


class Full:
    """A journal whose disk is full for a while."""

    def __init__(self, journal, times):
        self._journal, self.times = journal, times

    def __getattr__(self, name):
        return getattr(self._journal, name)

    def append(self, batches):
        if self.times > 0:
            self.times -= 1
            raise StoreFull("no space left")
        return self._journal.append(batches)


def test_a_full_journal_makes_sources_wait_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("watchkeeper.service.RETRY", 0.1)
    source = Scripted([hot(0.2), hot(0.3, "2"), hot(0.4, "3")])
    with Running(tmp_path, source, over=lambda journal: Full(journal, 3)) as house:
        house.until(lambda: house.live.status()["counts"]["scored"] == 3)
        assert house.live.ready() == (True, "ready")
    assert house.code == 0


class Failing(Full):
    def append(self, batches):
        if self.times > 0:
            self.times -= 1
            return self._journal.append(batches)
        raise StoreError("input/output error", hint="see the system's log")


def test_a_disk_that_fails_leaves_the_house_degraded_and_decides_nothing_more(tmp_path):
    source = Scripted([hot(0.2), hot(0.3, "2")])
    with Running(tmp_path, source, over=lambda journal: Failing(journal, 1)) as house:
        house.until(lambda: not house.live.ready()[0])
        assert house.live.ready()[1].startswith("degraded: WK300 input/output error")
        assert b"watchkeeper_degraded 1.0" in house.live.metrics()[0]
        with pytest.raises(Overloaded, match="the disk has failed"):
            house.service.intake.reserve(1)
        assert house.live.status()["traffic"]["accepted"] == 1
    assert house.code == 1


def test_a_house_that_is_told_to_goes_on_under_another_rulebook_with_other_sources(tmp_path):
    first, second = Scripted([hot(0.2)]), Scripted([hot(0.3)], name="second")
    with Running(tmp_path, first) as house:
        house.until(lambda: house.live.status()["counts"]["scored"] == 1)
        stricter = config.load((), {}, POLICY.replace("90.0", "95.0")).rules
        wanted = replace(house.service.house, rulebook=stricter, sources=[second])
        house.service.reload(wanted)
        house.until(lambda: house.live.status()["counts"]["scored"] == 2)
        assert house.live.status()["rulebook"] == stricter.digest
        assert list(house.live.status()["sources"]) == ["second"]
        house.until(lambda: len(house.service.readers()) == 1)
    assert house.code == 0
    stores = Stores(tmp_path, rules())
    pipeline.verify(stores.journal, stores.ledger, config.read_rulebook, Local(workers=1))
    stores.close()


def test_a_source_with_a_bug_is_opened_again_and_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("watchkeeper.service.RETRY", 0.1)
    source = Scripted([RuntimeError("a plug with a bug"), hot(0.2)])
    with Running(tmp_path, source) as house:
        house.until(lambda: house.live.status()["counts"]["scored"] == 1)
        assert len(source.opened_at) == 2
    assert house.code == 0


class Broken(Full):
    def append(self, batches):
        raise RuntimeError("a store with a bug")


def test_a_stage_that_breaks_stops_the_house_with_a_reason(tmp_path):
    with Running(tmp_path, Scripted([hot(0.2)]), over=lambda j: Broken(j, 0)) as house:
        house.until(lambda: not house.live.ready()[0])
        assert "a store with a bug" in house.live.ready()[1]
    assert house.code == 1


class FullLedger:
    def __init__(self, ledger, times):
        self._ledger, self.times = ledger, times

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def commit(self, step):
        if self.times > 0:
            self.times -= 1
            raise StoreFull("no space left")
        self._ledger.commit(step)


def test_a_full_ledger_is_waited_for_and_misses_no_step(tmp_path, monkeypatch):
    monkeypatch.setattr("watchkeeper.service.RETRY", 0.1)
    running = Running(tmp_path, Scripted([hot(0.2), hot(0.3, "2")]))
    running.service.house.ledger = FullLedger(running.stores.ledger, 3)
    with running as house:
        house.until(lambda: running.stores.ledger.counts().scored == 2)
    assert running.code == 0


def test_a_wall_clock_that_is_set_back_does_not_stop_time():
    wall = iter([1_000, 90_000_000, 2_000, 2_500])
    steady = Steady(lambda: Millis(next(wall)), Millis(500))
    told = [steady() for _ in range(4)]
    assert told == sorted(told)
    assert told[0] >= 1_000
    assert told[1:] >= [90_000_000] * 3


@pytest.mark.parametrize("chosen", [[], [("host:a", CPU, "{}")]])
def test_plots_come_from_the_newest_samples(tmp_path, chosen):
    with Running(tmp_path, Scripted([hot(0.2), hot(0.3, "2")])) as house:
        house.until(lambda: house.live.status()["counts"]["scored"] == 2)
        told = house.live.recent.read(chosen)["value"].to_pylist()
        assert told[-1:] == [0.3] * len(chosen)


def test_what_a_stopped_house_left_is_proven(tmp_path):
    with Running(tmp_path, Scripted([hot(0.2), hot(0.99, "2")])) as house:
        house.until(lambda: house.live.status()["traffic"]["accepted"] == 2)
    stores = Stores(tmp_path, rules())
    proof = pipeline.verify(stores.journal, stores.ledger, config.read_rulebook, Local(workers=1))
    assert proof.ahead == 0
    assert stores.ledger.counts().scored == 2
    stores.close()
