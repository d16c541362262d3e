"""The live screen: what is on it, that it fits, and that it gives the terminal back."""

import os
import pty
import select
import shlex
import sys
import time

import pytest
from tests.commands import MAIN, SOURCE, finished, wk
from tests.test_service import Running, Scripted, hot

from watchkeeper.cli import _screen
from watchkeeper.cli.top import frame
from watchkeeper.model import State

BAD = {
    "entity": "host:web-1",
    "health": 12.5,
    "state": "fail",
    "coverage": 1.0,
    "score": 3.2,
    "contributions": [{"metric": "system.cpu.utilization", "attributes": "{}", "share": 1.0}],
}
GOOD = {**BAD, "entity": "host:web-2", "health": 99.0, "state": "ok", "score": 0.1}
DARK = {
    **BAD,
    "entity": "host:\u202eweb-3" + "x" * 90,
    "health": None,
    "state": "unknown",
    "coverage": 0.1,
}
FACTS = {"tick": "2026-11-20T03:12:00Z", "entries": 10, "behind": 2, "open_orders": 1,
         "counts": {"accepted": 100, "rejected": 3, "scored": 97, "duplicate": 0, "late": 0},
         "targets": [], "objectives": [
             {"name": "delivery", "remaining": 0.4, "burning": "critical"},
             {"name": "loss", "remaining": 1.0, "burning": None}],
         "entities": [GOOD, BAD, DARK]}  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 8), (200, 60), (10, 2)])
@pytest.mark.parametrize("entities", [[], [BAD], [GOOD, BAD, DARK] * 40])
def test_a_frame_fits_the_screen_without_colours(width, height, entities):
    lines = frame(
        {**FACTS, "entities": entities}, {"accepted": 1e9, "scored": 1.0}, width, height, "health"
    )
    assert len(lines) <= max(8, height)
    assert all(len(line) <= max(40, width) for line in lines)
    assert all(line.isprintable() for line in lines), "no name moves the cursor"


def test_the_worst_comes_first_and_says_why():
    text = "\n".join(frame(FACTS, {"accepted": 1234.4}, 80, 24, "health"))
    assert text.index("x…") < text.index("host:web-1") < text.index("host:web-2")
    assert "system.cpu.util…" in text
    assert "accepted 1,234/s" in text
    assert "2 entries behind, 1 orders open" in text
    assert "error budget left: delivery 40%" in text


@pytest.mark.parametrize(
    ("sort", "first"), [("score", "web-1"), ("coverage", "xx"), ("name", "web-1")]
)
def test_it_sorts_as_is_asked(sort, first):
    lines = frame(FACTS, None, 80, 24, sort)
    head = next(number for number, line in enumerate(lines) if line.startswith("entity"))
    shown = [line.split()[0] for line in lines[head + 1 : head + 4]]
    wanted = [first] if sort != "name" else ["web-1", "web-2"]
    assert all(one in line for one, line in zip(wanted, shown, strict=False))


def test_what_is_cut_says_so():
    assert _screen.cut("abcdef", 4) == "abc…"
    assert _screen.cut("a\x1b[31m", 9) == "a·[31m"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("top")
    at = int(time.time()) - 600
    rows = [f"{at + 60 * m},host:a,system.filesystem.utilization,0.99" for m in range(9)]
    (folder / "now.csv").write_text("timestamp,entity,metric,value\n" + "\n".join(rows) + "\n")
    (folder / "wk.yaml").write_text("version: 1\nsources: [{type: file, paths: [now.csv]}]\n")
    code, _, err = finished("run", "--once", "--config", "wk.yaml", "--data", "data", cwd=folder)
    assert code == 0, err
    return folder / "data"


def test_one_frame_goes_to_a_pipe(data):
    code, out, err = finished("top", "--once", "--data", data)
    assert (code, err) == (0, "")
    assert "host:a" in out
    assert "\x1b" not in out


def test_on_a_terminal_it_refreshes_and_leaves_it_as_it_was(data):
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"PYTHONPATH": str(SOURCE), "COLUMNS": "80", "LINES": "24"}
        told = ["top", "--data", str(data), "--interval", "0.3"]
        os.execv(sys.executable, [sys.executable, "-c", MAIN, *told])
    shown, end = b"", time.monotonic() + 60
    asked = False
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
        if not asked and shown.count(b"\x1b[H") >= 3:
            os.write(terminal, b"sq")
            asked = True
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asked, shown[-500:]
    assert b"host:a" in shown
    assert shown.startswith(b"\x1b[?1049h")
    assert shown.rstrip().endswith(b"\x1b[?1049l")


def test_status_names_the_command_that_says_why(tmp_path, capsys):
    with Running(tmp_path, Scripted([hot(0.2), hot(0.99, "2")])) as house:
        house.until(
            lambda: any(one.state is State.FAIL for one in house.live.fleet().entities), 120
        )
    capsys.readouterr()  # what was told on the way
    assert wk("status", "--data", tmp_path) == 0
    told = capsys.readouterr().out.splitlines()
    asked = shlex.split(told[-1].removeprefix("why, in full: "))
    assert asked == ["watchkeeper", "explain", "host:a", "--data", str(tmp_path)]
    assert all(len(line) <= 80 for line in told[:-1])
    assert wk(*asked[1:]) == 0
    assert "host:a" in capsys.readouterr().out
