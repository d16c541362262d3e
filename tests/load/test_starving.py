"""D10: one core, few files, little memory. It says what it lacks or goes on; nothing is corrupt."""

import contextlib
import http.client
import re
import resource
import shutil
import signal
import socket
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
