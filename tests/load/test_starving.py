"""D10: one core, few files, little memory. It says what it lacks or goes on; nothing is corrupt."""

import contextlib
import resource
import shutil
import socket

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
