"""D1 and D2: ten times the load for a while, the same load for long; nothing grows or is lost."""

import json
import time

import psutil
import pytest
from tests.commands import wk

from .driving import balanced, house

NOMINAL = 5_000  # samples a second
FEW = ("--series", 5_000, "--entities", 50, "--connections", 3, "--batch", 1_000)
MEBIBYTE = 1 << 20


def burst(one, capsys, duration):
    to = f"http://127.0.0.1:{one.port}"
    how = ("--rate", NOMINAL, "--burst", 10, "--duration", duration, "--output", "json")
    code = wk("load", "--to", to, *FEW, *how)
    facts = json.loads(capsys.readouterr().out)
    answers = {status for phase in facts["phases"] for status in phase["answers"]}
    assert code == 0, facts
    assert answers <= {"204", "503", "429"}
    assert sum(phase["refused"] for phase in facts["phases"]) == 0
    assert facts["server"]["missing"] == 0
    assert facts["server"]["settled_seconds"] is not None  # within 120 s
    assert one.resident() < 512 * MEBIBYTE
    balanced(one.metrics())
    return facts


@pytest.mark.parametrize("duration", ["9s", pytest.param("6m", marks=pytest.mark.nightly)])
def test_a_burst_of_ten_times_the_load_loses_nothing_and_is_drained(tmp_path, capsys, duration):
    with house(tmp_path) as one:
        one.begin()
        facts = burst(one, capsys, duration)
        offered = {phase["name"]: phase["offered"] for phase in facts["phases"]}
        assert offered["burst"] > offered["before"]
        assert one.end() == 0
        one.prove()
        assert one.counts().accepted == sum(p["acknowledged"] for p in facts["phases"])


def test_more_than_may_wait_is_refused_with_503_and_comes_again(tmp_path, capsys):
    # A quarter of one body may wait: while one is stored the next is told to come again.
    with house(tmp_path, "limits: {waiting: 16KiB}\n") as one:
        one.begin()
        to = f"http://127.0.0.1:{one.port}"
        how = ("--protocol", "json_lines", "--series", 400, "--entities", 4, "--connections", 4)
        code = wk("load", "--to", to, *how, "--batch", 100, "--duration", "3s", "--output", "json")
        facts = json.loads(capsys.readouterr().out)
        (steady,) = facts["phases"]
        assert code == 0
        assert set(steady["answers"]) == {"200", "503"}
        assert steady["retries"] > 0
        assert (steady["refused"], facts["server"]["missing"]) == (0, 0)
        balanced(one.metrics())
        assert one.end() == 0
        one.prove()


@pytest.mark.parametrize("seconds", [12, pytest.param(120, marks=pytest.mark.nightly)])
def test_under_steady_load_nothing_grows(tmp_path, capsys, seconds):
    with house(tmp_path) as one:
        one.begin()
        to = f"http://127.0.0.1:{one.port}"
        how = ("--rate", NOMINAL, "--output", "json")
        assert wk("load", "--to", to, *FEW, *how, "--duration", "6s") == 0  # warm
        begun, files = one.resident(), psutil.Process(one.child.pid).num_fds()
        assert wk("load", "--to", to, *FEW, *how, "--duration", f"{seconds}s") == 0
        time.sleep(1)
        assert psutil.Process(one.child.pid).num_fds() <= files + 2  # a reader that comes and goes
        assert (one.data / "journal.sqlite-wal").stat().st_size <= 65 * MEBIBYTE
        assert (one.data / "ledger.sqlite-wal").stat().st_size <= 65 * MEBIBYTE
        # What lasts: newest entries (64 MiB at most) and charts of the page; nothing else grows.
        assert one.resident() - begun < 48 * MEBIBYTE
        capsys.readouterr()
        assert one.end() == 0
