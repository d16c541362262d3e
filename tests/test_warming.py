"""A first start: the house shows and judges while receivers are still being compiled."""

import itertools
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
from tests.test_service import Running, Scripted, clock, hot

from watchkeeper.errors import Overloaded
from watchkeeper.http.receive import taker
from watchkeeper.intake import Intake
from watchkeeper.receivers import Received
from watchkeeper.receivers.alerts import Alerts
from watchkeeper.receivers.json_lines import JsonLines
from watchkeeper.service import _warming


@dataclass(frozen=True)
class Slow(JsonLines):
    """A receiver whose decoder is not compiled before it is told so."""

    name: str = "slow"
    compiled: threading.Event = field(default_factory=threading.Event)

    def examples(self):
        assert self.compiled.wait(60)
        return super().examples()


class Starting(Running):
    """A house that is entered as soon as it watches."""

    def __init__(self, folder, source, receivers):
        super().__init__(folder, source)
        house = self.service.house = replace(self.service.house, receivers=receivers)
        self.service.warming = _warming.Warming(house, self.service.intake, self.stop)

    def __enter__(self):
        self.thread.start()
        assert self.service.watching.wait(180)  # a first start compiles
        return self

    def push(self, receiver):
        take = taker(receiver, self.service.intake, clock, itertools.count(1))
        (example,) = JsonLines().examples()
        line = example.body.replace(b"1700000000", str(clock() / 1000).encode())
        return take(replace(example, body=line))


def test_a_house_judges_and_others_push_while_one_receiver_is_not_compiled(tmp_path):
    ready, slow = JsonLines(), Slow()
    source = Scripted([hot(0.2), hot(0.99, "2")])
    with Starting(tmp_path, source, (ready, slow)) as house:
        try:
            house.until(lambda: house.live.findings().entities)
            house.until(lambda: house.service.intake.expected == ("slow",))
            assert house.live.ready()[0] is False
            assert house.live.checks()["recovered"] == "ok"
            assert house.live.checks()["receivers"] != "ok"
            refused = house.push(slow)
            assert isinstance(refused, Overloaded)
            assert refused.retry_after
            assert "getting ready: compiling what decodes slow" in str(refused)
            taken = house.push(ready)
            assert isinstance(taken, Received)
            assert taken.accepted == 1
        finally:
            slow.compiled.set()
        house.until(lambda: house.live.ready() == (True, "ready"))
        assert house.live.checks()["receivers"] == "ok"
        assert isinstance(house.push(slow), Received)
    assert house.code == 0


def test_a_house_that_is_stopped_while_receivers_are_compiled_ends(tmp_path):
    slow = Slow()
    with Starting(tmp_path, Scripted([hot(0.2)]), (slow, JsonLines())) as house:
        house.stop.set()
        house.thread.join(30)
        slow.compiled.set()
        assert not house.thread.is_alive()
        assert house.service.intake.expected
    assert house.code == 0


def test_the_other_process_names_each_receiver_that_is_compiled():
    told = subprocess.run(
        [sys.executable, "-m", "watchkeeper.service._beside", "json_lines=lines", "alerts=a"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.split() == ["lines", "a"]


@contextmanager
def first_start(folder, receivers=()):
    """Something of the house had to be compiled."""
    with Running(folder, Scripted()) as house:
        intake, stop = Intake(house.service.house.journal), threading.Event()
        kind = replace(house.service.house, receivers=receivers)
        warming = _warming.Warming(kind, intake, stop)
        assert warming.said == ""
        warming.on_start(None)
        try:
            yield warming, intake
        finally:
            stop.set()
            for thread in threading.enumerate():
                if thread.name == "beside":
                    thread.join(60)


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
def test_without_another_process_receivers_are_let_in_all_the_same(tmp_path, monkeypatch, program):
    monkeypatch.setattr(sys, "executable", program)
    receivers, ready = (JsonLines(), Alerts()), threading.Event()
    with first_start(tmp_path, receivers) as (warming, intake):
        intake.closed = ""
        assert warming.said == "compiling what decodes pushed telemetry: json_lines, alerts"
        warming.receiving(ready)
        assert warming.said == ""
        assert ready.is_set()
        for one in receivers:
            intake.admit(one, "")


def test_how_far_compiling_is_counts_kernels_that_can_be_called(tmp_path):
    with first_start(tmp_path) as (warming, _):
        words = warming.said.split()
        done, every = int(words[words.index("of") - 1]), int(words[words.index("about") + 1])
        assert 0 < done <= every


def test_what_compiles_beside_ends_with_the_house(tmp_path):
    with first_start(tmp_path, (JsonLines(), Alerts())) as (warming, _):
        process = warming._beside
    assert process.poll() is not None
