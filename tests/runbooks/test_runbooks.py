"""Every step of every runbook is run as it stands, against a house of its own.

`watchkeeper` is a fork of the program that stands ready, but where the page is about how it
starts: there each command is executed from its first instruction on.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests import lives, standing
from tests.commands import MAIN, SOURCE
from tests.sources.agents import free_port
from tests.upkeep.houses import a_house

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
CONFIG = "version: 1\nsources: [{type: host, interval: 1s}]\npacks: [host@1, generic@1]\n"
LONGEST = 500  # seconds; a whole page takes a tenth of it where nothing else runs


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """The data folder of a house in which something went wrong."""
    return a_house(tmp_path_factory.mktemp("lived") / "data")


def steps(page):
    blocks = re.findall(r"^ *```sh(?: drill)?\n(.*?)^ *```$", page.read_text(), re.M | re.S)
    return [textwrap.dedent(block) for block in blocks]


@contextlib.contextmanager
def executed(place):
    """The command, executed anew each time."""
    place.parent.mkdir()
    place.write_text(f"#!{sys.executable}\n{MAIN}\n")
    place.chmod(0o755)
    yield


@pytest.fixture
def place(tmp_path, lived):
    """A machine as the runbooks see it."""
    shutil.copytree(lived, tmp_path / "data")
    (tmp_path / "backups").mkdir()
    (tmp_path / "config.yaml").write_text(CONFIG)
    return {
        **lives.unmeasured(),  # the commands are measured where their own tests run them
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "DATA": str(tmp_path / "data"),
        "CONFIG": str(tmp_path / "config.yaml"),
        "LISTEN": f"127.0.0.1:{free_port()}",
        "BACKUPS": str(tmp_path / "backups"),
        "LOG": str(tmp_path / "house.log"),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_step_works(page, place, tmp_path):
    made = executed if page.stem == "start-stop" else standing.command
    with made(tmp_path / "bin" / "watchkeeper"):
        walk(page, place)


def walk(page, place):
    script = "set -euo pipefail\n" + "".join(steps(page))
    with subprocess.Popen(
        ["bash", "-x", "-c", script], env=place, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    ) as shell:  # fmt: skip
        try:
            said = shell.communicate(timeout=LONGEST)[0]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)  # a house that a failing step left
    log = Path(place["LOG"])
    assert shell.returncode == 0, said + (log.read_text() if log.exists() else "")


@pytest.mark.parametrize("made", [executed, standing.command])
def test_a_step_that_fails_fails_the_page(made, place, tmp_path):
    with made(tmp_path / "bin" / "watchkeeper"):
        assert subprocess.run(
            ["bash", "-c", "set -euo pipefail\nwatchkeeper verify --data /nowhere\ntrue\n"],
            env=place, check=False, capture_output=True,
        ).returncode == 1  # fmt: skip


def test_every_page_has_steps_and_is_in_the_table():
    listed = (FOLDER / "README.md").read_text()
    for page in PAGES:
        assert steps(page), page.name
        assert f"({page.name})" in listed, page.name
