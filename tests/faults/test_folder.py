"""A9: the data folder goes, cannot be made, turns read-only, or takes no more files.

Each time the house says once what is wrong, takes nothing it could not keep, and goes on as soon
as it can: by itself where the disk is only full, by a start where it was not to be believed.
"""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.integration.house import House
from tests.stores.test_full_disk import a_disk_of

START = 1_750_000_000_000
CONFIG = "sources: []\nreceivers: [{type: json_lines}]\nreserve: {ballast: 0}"


class Sender:
    """Sends fifty samples at a time, and counts those that were acknowledged."""

    def __init__(self, house):
        self.house, self.stored = house, 0

    def send(self):
        rows = [
            {"timestamp": START + self.stored + k, "entity": "host:a", "metric": "load", "value": k}
            for k in range(50)
        ]
        code, said = self.house.ask("/api/v1/samples", "\n".join(map(json.dumps, rows)).encode())
        assert code in (200, 503), said
        self.stored += 50 * (code == 200)
        return code


@pytest.fixture
def houses():
    """Make houses whose last life does not outlive the test."""
    with contextlib.ExitStack() as stack:

        def make(folder, data):
            house = House(folder, CONFIG)
            house.data = data
            stack.callback(lambda: house.life is not None and house.kill())
            return house

        yield make


def lines(house, event):
    """How often the log holds an event, and the last line of it."""
    found = [line for line in house.log.read_text().splitlines() if f'"event": "{event}"' in line]
    return len(found), (found or [""])[-1]


def holds_what_it_acknowledged(house, sender):
    house.stop()
    house.prove()
    assert {one.time for one in house.samples()} >= set(range(START, START + sender.stored))


def is_degraded_and_says_so_once(house, sender, what):
    """Nothing is taken any more, and however often it is asked, one line of the log says why."""
    house.until(lambda: sender.send() == 503)
    house.until(lambda: not house.ready())
    for _ in range(100):
        assert sender.send() == 503
    assert house.ask("/-/healthy")[0] == 200, "restarting it in a circle would help nobody"
    assert house.status()["journal"], "it still shows what it knows"
    count, said = lines(house, "degraded")
    assert count == 1
    assert what in said.lower()
    assert "Traceback" not in house.log.read_text()


@pytest.fixture
def ext4(tmp_path):
    """A real file system that turns read-only at an error, as most are told to."""
    image, folder = tmp_path / "image", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)

    def mount():
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, folder], check=True)

    def unmount():
        subprocess.run(["umount", folder], check=True)

    mount()
    yield folder, mount, unmount
    subprocess.run(["umount", "--lazy", folder], check=True)


def turn_read_only(folder):
    found = subprocess.run(
        ["findmnt", "-no", "SOURCE", folder], check=True, capture_output=True, text=True
    )
    device = Path(found.stdout.strip()).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("said by a test\n")


def test_a_disk_that_turns_read_only_is_told_of_once_and_what_was_acknowledged_is_there(
    tmp_path, ext4, houses
):
    folder, mount, unmount = ext4
    house = houses(tmp_path / "house", folder / "data")
    sender = Sender(house.start())
    assert [sender.send() for _ in range(20)] == [200] * 20
    turn_read_only(folder)
    is_degraded_and_says_so_once(house, sender, "data/")
    house.life.terminate()
    assert house.life.wait(30) == 1, "a degraded house does not end as if all were well"
    house.life = None
    unmount()
    mount()
    house.start()
    assert sender.send() == 200
    holds_what_it_acknowledged(house, sender)


def test_a_folder_that_is_moved_away_is_told_of_once_and_what_was_acknowledged_is_there(
    tmp_path, houses
):
    house = houses(tmp_path / "house", tmp_path / "data")
    sender = Sender(house.start())
    assert sender.send() == 200
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    is_degraded_and_says_so_once(house, sender, "no such file")
    house.kill()
    shutil.move(tmp_path / "elsewhere", tmp_path / "data")
    house.start()
    assert sender.send() == 200
    holds_what_it_acknowledged(house, sender)


def test_without_inodes_nothing_acknowledged_is_lost_and_it_goes_on_by_itself(tmp_path, houses):
    with a_disk_of("64m,nr_inodes=40", tmp_path / "disk") as folder:
        house = houses(tmp_path / "house", folder / "data")
        sender = Sender(house.start())
        assert sender.send() == 200
        others = []
        with contextlib.suppress(OSError):
            while len(others) < 100:
                (folder / f"{len(others)}").touch()
                others.append(folder / f"{len(others)}")
        assert len(others) < 40
        for _ in range(100):
            sender.send()
        house.until(lambda: lines(house, "ledger_full")[0] == 1)
        assert "no space left" in lines(house, "ledger_full")[1]
        for other in others:
            other.unlink()
        house.until(lambda: sender.send() == 200, 20)
        house.until(house.ready, 20)
        assert lines(house, "ledger_full")[0] == 1, "once a minute at most"
        assert lines(house, "degraded")[0] == 0
        holds_what_it_acknowledged(house, sender)


def test_a_folder_that_cannot_be_made_is_named_at_once(tmp_path, houses):
    (tmp_path / "file").touch()
    house = houses(tmp_path / "house", tmp_path / "file" / "data")
    life = house.begin()
    assert life.wait(120) == 1
    house.life = None
    assert "WK300" in house.said()
    assert f"{tmp_path}/file/data" in house.said()
    assert "Traceback" not in house.said()
