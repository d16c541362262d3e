"""D8, D9, A11: told to stop under load, started again on a large journal, started twice."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.commands import wk

from .driving import balanced, house, nothing_lost, pushers

STOPPING = Path(__file__).with_name("stopping.py")


def test_told_to_stop_under_load_it_answers_what_it_owes_and_goes_on_where_it_was(tmp_path):
    with house(tmp_path) as one:
        for _ in range(2):
            one.begin()
            with pushers(one) as crowd:
                one.until(lambda crowd=crowd: all(len(c.acknowledged) > 200 for c in crowd))
                assert one.end(within=10) == 0
            assert sum(each.resets for each in crowd) <= len(crowd)  # idle ones, at most
            assert {code for each in crowd for code in each.answers} <= {200, 503}
            one.first += 1_000_000  # later samples in the next life
            one.crowds = [*getattr(one, "crowds", []), *crowd]
        held = nothing_lost(one, one.crowds)
        assert one.prove().ahead == 0
        counts = one.counts()
        assert (
            counts.scored + counts.duplicate + counts.late == counts.accepted == sum(held.values())
        )


def test_told_twice_it_ends_at_once_and_loses_nothing(tmp_path):
    with house(tmp_path) as one:
        one.begin()
        with pushers(one) as crowd:
            one.until(lambda: all(len(each.acknowledged) > 200 for each in crowd))
            one.child.send_signal(signal.SIGSTOP)  # so that both are there at once
            one.child.send_signal(signal.SIGTERM)
            one.child.send_signal(signal.SIGINT)
            one.child.send_signal(signal.SIGCONT)
            code = one.child.wait(10)
        assert code in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        nothing_lost(one, crowd)
        one.begin()
        assert one.end() == 0
        one.prove()


@pytest.mark.parametrize("point", ["journal.before_checkpoint", "ledger.before_checkpoint"])
def test_told_to_stop_during_a_checkpoint_it_stops_in_time(tmp_path, point):
    with house(tmp_path) as one:
        one.begin(program=(STOPPING, point, "3"))
        with pushers(one) as crowd:
            assert one.child.wait(60) == 0, one.text()
        assert not (one.data / "journal.sqlite-wal").exists()  # it was finished, and closed
        nothing_lost(one, crowd)
        one.prove()


def test_killed_with_a_long_journal_it_starts_by_itself_and_concludes_all_of_it(tmp_path, capsys):
    with house(tmp_path) as one:
        one.begin()
        to = f"http://127.0.0.1:{one.port}"
        how = ("--series", 10_000, "--duration", "4s", "--output", "json")
        assert wk("load", "--to", to, *how) == 0
        capsys.readouterr()
        samples = one.status()["journal"]["samples"]
        assert samples >= 10_000
        one.kill()
        one.begin()
        status = one.status()
        assert status["journal"]["samples"] == samples
        assert one.resident() < 512 << 20
        one.until(lambda: one.status()["journal"]["pending"] == 0)
        balanced(one.metrics())
        assert one.end() == 0
        one.prove()
        assert one.counts().accepted == samples


def test_a_second_one_is_refused_with_the_owners_process_id(tmp_path):
    with house(tmp_path) as one:
        one.begin()
        second = one.start()
        assert second.wait(60) == 1
        said = one.text()
        assert f"WK302 {one.data}/journal.sqlite: process {one.child.pid} owns this" in said
        assert f"stop process {one.child.pid}" in said
        with pushers(one) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
        assert one.end() == 0
        nothing_lost(one, crowd)


def test_of_two_that_start_at_once_one_wins_and_the_other_says_so(tmp_path):
    with house(tmp_path) as one:
        racing = [one.start(), one.start()]
        end = time.monotonic() + 120
        while time.monotonic() < end and all(each.poll() is None for each in racing):
            time.sleep(0.05)
        loser, winner = sorted(racing, key=lambda each: each.poll() is None)
        one.child = winner
        assert loser.wait(10) == 1
        assert "WK302" in one.text()
        one.until(lambda: "page    http://" in one.text(), seconds=240)
        assert one.end() == 0
        one.prove()


def test_run_once_asks_each_source_once_concludes_and_exits(tmp_path):
    feed = tmp_path / "feed.csv"
    at = time.time_ns() // 1_000_000
    feed.write_text(f"timestamp,entity,metric,value\n{at},host:a,load,1\n{at},host:b,load,2\n")
    sources = f"""
sources:
  - {{type: file, paths: ["{feed}"], follow: true}}
  - {{type: host, interval: 1h}}
  - {{type: scrape, targets: ["http://127.0.0.1:9/metrics"], interval: 10s, timeout: 2s}}
flags: {{source.scrape: true}}
"""
    with house(tmp_path) as one:
        one.config.write_text(one.config.read_text().replace("sources: []", "") + sources)
        child = one.start(*(), program=("-c", "from watchkeeper.cli import call; import sys;"
                                        "sys.exit(call([*sys.argv[1:], '--once']))"))  # fmt: skip
        try:
            assert child.wait(240) == 0, one.text()
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        held = one.journalled()
        entities = {entity for entity, *_ in held}
        assert {"host:a", "host:b"} < entities
        assert one.counts().accepted == sum(held.values())
        assert one.prove().ahead == 0
