"""The whole service on a disk that is full or may not be written: 503, never 500, and on again."""

import json
import random
import subprocess

import pytest
from tests.integration.house import House
from tests.stores.test_full_disk import a_disk_of, fill

START = 1_750_000_000_000


@pytest.fixture
def disk(tmp_path):
    with a_disk_of("48m", tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def house(tmp_path, disk):
    found = House(tmp_path / "house", "sources: []\nreceivers: [{type: json_lines}]")
    found.data = disk / "data"
    yield found
    if found.life is not None:
        found.kill()


class Sender:
    def __init__(self, house):
        self.house, self.stored, self.chance = house, 0, random.Random(20261128)

    def send(self):
        """Send the next samples; return the code that answers them."""
        rows = [
            {"timestamp": START + self.stored + k, "entity": "host:a", "metric": "load",
             "value": self.chance.random()}
            for k in range(2_000)
        ]  # fmt: skip
        code, said = self.house.ask("/api/v1/samples", "\n".join(map(json.dumps, rows)).encode())
        assert code in (200, 503), said
        self.stored += 2_000 * (code == 200)
        return code


def test_a_full_disk_is_answered_with_503_and_waited_for(house, disk):
    sender = Sender(house)
    house.start()
    assert sender.send() == 200
    for _ in range(2):
        ballast = fill(disk)
        house.until(lambda: sender.send() == 503)
        assert not house.ready()
        assert house.ask("/-/healthy")[0] == 200
        ballast.unlink()
        house.until(lambda: sender.send() == 200, 60)
        house.until(house.ready, 60)
    house.stop()
    house.prove()
    assert {one.time for one in house.samples()} == set(range(START, START + sender.stored))


def test_a_disk_that_may_not_be_written_is_named_at_once(house, disk):
    house.start()
    sender = Sender(house)
    assert sender.send() == 200
    house.stop()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    life = house.begin()
    assert life.wait(60) not in (0, None)
    house.life = None
    said = house.said()
    assert "read-only" in said.lower() or "readonly" in said.lower(), said
    assert "Traceback" not in said
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    house.start()
    assert sender.send() == 200
    house.stop()
    house.prove()
