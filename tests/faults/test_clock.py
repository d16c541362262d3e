"""Clocks that jump while the whole program runs, told to it from outside by Debian's faketime.

It goes on taking, deciding and acting, whatever the clock on the wall says; it acts once on each
thing, and afterwards all of it is proven.
"""

import json
import time
from pathlib import Path
from unittest.mock import ANY

import pytest
from tests.faults.living import CONFIG, Sink
from tests.integration.house import House

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
JUMPS = ("-3h", "+2y", "-56y", "+1h", "-1", "+0 x60", "+0")  # the first is to +0 before all
SECONDS = 120


class Clock:
    """What the program takes for the time on the wall. :param told: the file that says it."""

    def __init__(self, told: Path) -> None:
        self.told = told
        self.jump("+0")

    def jump(self, to: str) -> None:
        new = self.told.with_suffix(".new")
        new.write_text(to + "\n")
        new.replace(self.told)

    def around(self) -> dict[str, str]:
        """The environment of a program that believes it."""
        assert Path(FAKETIME).exists(), "install Debian's faketime"
        return {
            "LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.told),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip


@pytest.fixture
def sink():
    found = Sink()
    yield found
    found.close()


def test_it_goes_on_and_acts_once_however_the_clock_on_the_wall_jumps(tmp_path, sink):
    house, clock = House(tmp_path / "house", CONFIG.format(sink=sink.port)), Clock(tmp_path / "now")
    try:
        house.start(**clock.around())
        for number, to in enumerate(("+0", *JUMPS)):
            clock.jump(to)
            line = {"timestamp": time.time_ns() // 1_000_000, "entity": f"host:{number}"}
            told = json.dumps({**line, "metric": "load", "value": 1.0}).encode()
            assert house.ask("/api/v1/samples", told) == (200, ANY), to
            house.until(lambda number=number: len(sink.seen) > number, SECONDS)
        assert house.ready()
        house.stop()
    finally:
        if house.life is not None:
            house.kill()
    house.prove()
    assert len(sink.seen) == len(JUMPS) + 1
    assert set(sink.times.values()) == {1}, "each order was sent once"
    assert {len(bodies) for bodies in sink.seen.values()} == {1}
