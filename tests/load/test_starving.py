"""D10: one core, few files, little memory. It says what it lacks or goes on; nothing is corrupt."""

import contextlib
import http.client
import os
import re
import resource
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from .driving import balanced, house, nothing_lost, pushers

MEBIBYTE = 1 << 20


def test_one_core_is_enough(tmp_path):
    with house(tmp_path) as one:
        one.begin(shutil.which("taskset"), "-c", "0")
        with pushers(one) as crowd:
            one.until(lambda: all(len(each.acknowledged) > 200 for each in crowd))
        balanced(one.metrics())
        assert one.end() == 0
        nothing_lost(one, crowd)
        one.prove()


def test_without_files_for_more_connections_it_keeps_those_it_has_and_comes_back(tmp_path):
    with house(tmp_path) as one:
        one.begin(shutil.which("prlimit"), "--nofile=64:64")
        with pushers(one, count=2) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
            with contextlib.ExitStack() as held:
                for _ in range(100):
                    plug = socket.create_connection(("127.0.0.1", one.port), timeout=5)
                    held.enter_context(contextlib.closing(plug))
                before = [len(each.acknowledged) for each in crowd]
                one.until(
                    lambda: all(len(c.acknowledged) > n for c, n in zip(crowd, before, strict=True))
                )
        assert one.ask("GET", "/-/ready")[0] == 200
        assert one.end() == 0
        nothing_lost(one, crowd)
        one.prove()


def test_without_address_space_it_says_so_and_corrupts_nothing(tmp_path):
    with house(tmp_path) as one:
        one.begin()
        with pushers(one) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
        assert one.end() == 0

        def starve():
            resource.setrlimit(resource.RLIMIT_AS, (512 * MEBIBYTE, 512 * MEBIBYTE))

        assert one.start(preexec_fn=starve).wait(120) == 1  # its libraries alone take more
        assert "not enough memory" in one.text()
        nothing_lost(one, crowd)
        one.begin()
        assert one.end() == 0
        one.prove()


@contextlib.contextmanager
def group():
    """A control group of our own, within the one we are in (version 1; version 2 at its root)."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    inner = [path for _, what, path in (one.split(":", 2) for one in lines) if what == "memory"]
    mounted = Path("/sys/fs/cgroup")
    place = mounted / "memory" / inner[0].lstrip("/") if inner else mounted
    made = place / f"watchkeeper-{os.getpid()}"
    made.mkdir()
    try:
        yield made
    finally:
        for _ in range(100):  # a process that ended a moment ago may still be in it
            with contextlib.suppress(OSError):
                made.rmdir()
                break
            time.sleep(0.1)


def greedy(one, turns=8, lines=20_000):
    """Send bodies of new series, each of another tenant, so that no quota stops them."""
    for turn in range(turns):
        body = "\n".join(f"greed,turn={turn},id={n} value=1" for n in range(lines))
        whose = {"X-Scope-OrgID": f"greedy-{turn}"}
        yield one.ask("POST", "/write", body.encode(), whose, timeout=120)[0]


def held_to_it(one, crowd):
    """Hold a house under a limit to its budget: it sheds, lives on, and ends in order."""
    codes = list(greedy(one))
    assert set(codes) <= {204, 503}, (codes, one.text())
    assert 503 in codes, "there was memory for all of it"
    before = [len(each.acknowledged) for each in crowd]
    one.until(lambda: all(len(c.acknowledged) > n for c, n in zip(crowd, before, strict=True)))
    assert one.child.poll() is None
    told = one.status()["memory"]
    assert told["held"] <= told["budget"] <= told["allowed"]
    balanced(one.metrics())


def test_in_a_control_group_it_keeps_to_a_budget_below_its_limit(tmp_path):
    """D10: what senders want more than there is, is refused with 503; nobody ends the process."""
    with group() as limits, house(tmp_path) as one:

        def enter():
            (limits / "cgroup.procs").write_text(str(os.getpid()))

        one.begin()  # its kernels are compiled then, which takes memory of its own
        one.end()
        one.begin()
        most = one.resident() + 256 * MEBIBYTE
        assert one.end() == 0
        first = limits / "memory.limit_in_bytes"
        (first if first.exists() else limits / "memory.max").write_text(str(most))
        one.begin(preexec_fn=enter)
        with pushers(one, count=2) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
            assert one.status()["memory"]["allowed_by"] == "the control group"
            held_to_it(one, crowd)
        assert one.end() == 0
        acknowledged_is_there(one, crowd)
        one.prove()


def test_a_budget_of_its_own_is_kept_without_any_limit_from_outside(tmp_path):
    with house(tmp_path) as one:
        one.begin()
        one.end()
        one.begin()
        most = one.resident() + 128 * MEBIBYTE
        assert one.end() == 0
        one.config.write_text(one.config.read_text() + f"limits: {{memory: {most}}}\n")
        one.begin()
        with pushers(one, count=2) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
            held_to_it(one, crowd)
            more = one.config.read_text().replace(str(most), str(most + 1024 * MEBIBYTE))
            one.config.write_text(more)
            one.child.send_signal(signal.SIGHUP)  # more is taken up without a restart
            one.until(lambda: one.status()["memory"]["budget"] > most)
            assert set(greedy(one, turns=2)) == {204}
        assert one.end() == 0
        acknowledged_is_there(one, crowd)
        one.prove()


def test_under_a_limit_on_its_data_it_asks_senders_to_wait_before_it_is_reached(tmp_path):
    with house(tmp_path) as one:
        one.begin()
        with pushers(one, count=2) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
            status = Path(f"/proc/{one.child.pid}/status").read_text()
            most = int(re.search(r"VmData:\s+(\d+) kB", status)[1]) * 1024 + 256 * MEBIBYTE
            resource.prlimit(one.child.pid, resource.RLIMIT_DATA, (most, most))
            codes = list(greedy(one, turns=12))
            assert set(codes) <= {204, 503}, (codes, one.text())
            assert 503 in codes, "there was memory for all of it"
        assert one.end() == 0
        acknowledged_is_there(one, crowd)
        one.prove()


def acknowledged_is_there(one, crowd):
    """Hold the journal to what pushers were told; it holds what the greedy sent beside it."""
    held = one.journalled()
    assert {row for each in crowd for row in each.acknowledged} - held.keys() == set()


@pytest.mark.nightly
def test_when_memory_runs_out_under_load_nothing_acknowledged_is_lost(tmp_path):
    """It goes on with what it has, or ends; the next start goes on where it was."""
    with house(tmp_path) as one:
        one.begin()
        with pushers(one) as crowd:
            one.until(lambda: all(each.acknowledged for each in crowd))
            status = Path(f"/proc/{one.child.pid}/status").read_text()
            most = int(re.search(r"VmData:\s+(\d+) kB", status)[1]) * 1024 + 8 * MEBIBYTE
            resource.prlimit(one.child.pid, resource.RLIMIT_DATA, (most, most))
            codes = set(greed(one))
        # 500 where not even the answer could be made; a sender tries that again, as it does 503.
        assert codes <= {204, 500, 503}, (codes, one.text())
        code = one.end(within=60)
        assert code in (0, 1, -signal.SIGABRT), one.text()  # libraries below Python give up
        nothing_lost(one, crowd)
        one.begin()
        assert one.end() == 0
        one.prove()


def greed(one):
    """Send large bodies that all want more than there is, as long as somebody answers."""
    for turn in range(6):
        lines = "\n".join(f"greed,turn={turn},id={n} value=1" for n in range(100_000))
        try:
            yield one.ask("POST", "/write", lines.encode(), timeout=120)[0]
        except (OSError, http.client.HTTPException):
            return
