"""A disk that fills up under the whole program: 503 before it is full, and on without a restart."""

import os
import signal
import time

import pytest
from tests.stores.test_full_disk import a_disk_of, fill
from tests.stores.test_reserve import take

from .driving import house, nothing_lost, pushers

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path):
    with a_disk_of("64m", tmp_path / "disk") as folder:
        yield folder


def push(one, at=None):
    at = at or time.time_ns() // 1_000_000
    line = f'{{"timestamp": {at}, "entity": "host:a", "metric": "load", "value": 1}}'
    return one.ask("POST", "/api/v1/samples", line, {"Content-Type": "application/x-ndjson"})


def test_at_the_reserve_clients_are_asked_to_wait_and_room_is_noticed_without_a_request(
    tmp_path, disk
):
    with house(tmp_path, data=disk / "data") as one:
        one.begin()
        assert push(one)[0] == 200
        assert (disk / "data" / "reserve.ballast").stat().st_size == 8 * MIB
        with pushers(one) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
            taken = take(disk / "data", leave=15 * MIB)  # 16 are kept
            one.until(lambda: all(503 in each.answers for each in crowd))
        status, headers, body = push(one)
        assert (status, b"kept in reserve" in body) == (503, True)
        assert int(headers["Retry-After"]) >= 1
        assert one.ask("GET", "/-/ready")[::2] == (503, b"the disk is full\n")
        entries = one.status()["journal"]["head"]
        one.until(lambda: one.status()["journal"]["head"] > entries + 1)  # time goes on
        taken.unlink()
        one.until(lambda: one.ask("GET", "/-/ready")[0] == 200, seconds=5)
        assert push(one)[0] == 200
        assert one.end() == 0
        held = one.journalled()
        acknowledged = {row for each in crowd for row in each.acknowledged}
        assert acknowledged <= held.keys()
        one.prove()


def test_a_disk_that_is_full_to_the_last_byte_loses_nothing_and_is_lived_through(tmp_path, disk):
    with house(tmp_path, "reserve: {share: 0.0, size: 0, ballast: 0}\n", disk / "data") as one:
        one.begin()
        with pushers(one) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
            taken = fill(disk / "data")
            one.until(lambda: all(503 in each.answers for each in crowd))
            assert {code for each in crowd for code in each.answers} <= {200, 503}
            before = [len(each.acknowledged) for each in crowd]
            taken.unlink()
            one.until(
                lambda: all(
                    len(each.acknowledged) > n for each, n in zip(crowd, before, strict=True)
                ),
                seconds=5,
            )
        one.until(lambda: one.status()["journal"]["head"] > 0)
        assert one.end() == 0
        nothing_lost(one, crowd)
        one.prove()


def test_a_disk_that_is_full_at_the_start_needs_nobody(tmp_path, disk):
    with house(tmp_path, data=disk / "data") as one:
        one.begin()
        push(one)
        assert one.end() == 0
        taken = fill(disk / "data")
        one.begin()  # the ballast made room for what a start has to write
        assert push(one)[0] == 503
        taken.unlink()
        one.until(lambda: push(one)[0] == 200, seconds=5)
        assert one.end() == 0
        one.prove()


def test_a_reload_takes_up_limits_and_says_what_waits_for_a_restart(tmp_path):
    with house(tmp_path) as one:
        one.begin()
        assert one.status()["restart_for"] == []
        one.config.write_text(
            one.config.read_text()
            + "limits: {body: 20}\nreserve: {share: 0.2}\nreceivers: [{type: json_lines}]\n"
        )
        os.kill(one.child.pid, signal.SIGHUP)
        one.until(lambda: one.status()["restart_for"] == ["reserve", "receivers"])
        one.until(lambda: push(one)[0] == 413)
        one.until(lambda: '"restart_needed"' in one.text())
        assert one.end() == 0
