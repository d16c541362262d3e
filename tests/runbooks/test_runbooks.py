"""Every step of every runbook is run as it stands, against a house of its own."""

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
from tests import lives
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


@pytest.fixture
def place(tmp_path, lived):
    """A machine as the runbooks see it."""
    shutil.copytree(lived, tmp_path / "data")
    (tmp_path / "backups").mkdir()
    (tmp_path / "config.yaml").write_text(CONFIG)
    command = tmp_path / "bin" / "watchkeeper"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\n{MAIN}\n")
    command.chmod(0o755)
    return {
        **lives.unmeasured(),  # the commands are measured where their own tests run them
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "DATA": str(tmp_path / "data"),
        "CONFIG": str(tmp_path / "config.yaml"),
        "LISTEN": f"127.0.0.1:{free_port()}",
        "BACKUPS": str(tmp_path / "backups"),
        "LOG": str(tmp_path / "house.log"),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_step_works(page, place):
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


def test_a_step_that_fails_fails_the_page(place):
    assert subprocess.run(
        ["bash", "-c", "set -euo pipefail\nwatchkeeper verify --data /nowhere\ntrue\n"],
        env=place, check=False, capture_output=True,
    ).returncode != 0  # fmt: skip


def test_every_page_has_steps_and_is_in_the_table():
    listed = (FOLDER / "README.md").read_text()
    for page in PAGES:
        assert steps(page), page.name
        assert f"({page.name})" in listed, page.name
