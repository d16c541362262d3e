"""The command line as its users meet it: help, exit codes, JSON, pipes."""

import json
import re
import sys

import pytest
from tests.commands import finished, process, simulated, wk

from watchkeeper.cli import COMMANDS

HEAVY = ("numba", "numpy", "pyarrow", "pydantic", "uvicorn", "apsw", "psutil", "starlette")
IMPORTED = """
import sys
from watchkeeper.cli import call
code = call(sys.argv[1:])
print("\\nimported", *(name for name in {heavy} if name in sys.modules))
sys.exit(code)
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    fleet = simulated(folder / "fleet.parquet")
    assert wk("score", fleet, "--out", folder / "out") == 0
    return folder / "out"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_that_fits_the_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert wk(command, "--help") == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: watchkeeper {command}")
    head, _, examples = told.partition("\nExamples:\n\n")
    lines = examples.split("\n\n")[0].splitlines()
    assert lines
    assert all(line.startswith("  watchkeeper ") for line in lines), "a line was broken"
    short = [line for line in head.splitlines()[1:-1] if 0 < len(line) < 40]
    assert len(short) <= head.count("\n\n"), "paragraphs are broken where the source was"
    assert "[default: None]" not in told
    assert "[default: ()]" not in told
    assert "--no-" not in told
    assert "--empty-" not in told


def test_the_root_help_lists_every_command_and_does_not_break_its_examples(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert wk("--help") == 0
    told = capsys.readouterr().out
    assert re.findall(r"│ (\w+)(?: \(\w+\))? {2,}\S", told) == sorted(COMMANDS)
    examples = told.partition("Examples:\n\n")[2].split("\n\n")[0].splitlines()
    assert [line.split()[1] for line in examples] == ["run", "score", "explain", "verify"]


@pytest.mark.parametrize("arguments", [("--help",), ("score", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(arguments):
    code, told, err = finished(*arguments, code=IMPORTED.format(heavy=HEAVY))
    assert code == 0, err
    assert told.splitlines()[-1] == "imported"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 0, ""),
        (("nonsense",), 2, "nonsense"),
        (("score", "in.csv"), 2, "--out"),
        (("score", "in.csv", "--out", "o", "--nope"), 2, "--nope"),
        (("score", "in.csv", "--out", "o", "--workers", "0"), 2, "--workers"),
        (("score", "in.csv", "--out", "o", "--batch", "some"), 2, "--batch"),
        (("score", "in.csv", "--out", "o", "--layout", "tall"), 2, "tall"),
        (("score", "in.csv", "--out", "o", "--tick", "soon"), 78, "WK100"),
        (("score", "in.csv", "--out", "o", "--pack", "boat@1"), 78, "known: generic, host"),
        (("score", "in.csv", "--out", "o", "--engine", "steam"), 78, "WK101"),
        (("score", "in.csv", "--out", "o", "--config", "no.yaml"), 78, "no.yaml"),
        (("score", "in.csv", "--out", "o"), 1, "WK203 in.csv: does not exist"),
        (("verify", "--data", "nowhere"), 1, "WK300"),
        (("replay", "--data", "nowhere", "--out", "o"), 1, "WK300"),
        (("report", "--data", "nowhere"), 1, "WK300"),
        (("report", "--since", "whenever"), 2, "whenever"),
        (("status", "--data", "nowhere"), 1, "WK300"),
        (("explain", "host:a", "--data", "nowhere"), 1, "WK300"),
        (("drill", ".", "--truth", "none.json"), 1, "WK200"),
        (("simulate", "--scenario", "none.yaml", "--out", "o.csv"), 78, "WK100"),
        (("simulate", "--out", "fleet.doc"), 1, "WK600"),
        (("schema", "poem"), 2, "poem"),
        (("run", "--listen", "everywhere"), 78, "WK100"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_end_with_the_documented_code_and_say_what_is_wrong(
    arguments, code, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert wk(*arguments) == code
    told = capsys.readouterr()
    assert said in " ".join(told.err.replace("│", " ").split())
    assert code == 0 or told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_error_has_a_hint(tmp_path, capsys):
    wk("status", "--data", tmp_path / "nowhere")
    assert re.search(r"watchkeeper: WK300 .+ \(.+\)\n$", capsys.readouterr().err)


def test_a_command_in_json_prints_one_document(out, tmp_path, capsys):
    fleet = out.parent / "fleet.parquet"
    truth = out.parent / "fleet.parquet.truth.json"
    (tmp_path / "evidence.jsonl").write_text("")
    asked = {
        "simulate": ("--out", tmp_path / "x.csv", "--hosts", "1", "--duration", "1h"),
        "score": (fleet, "--out", tmp_path / "out"),
        "drill": (out, "--truth", truth),
        "explain": ("host:node-1", "--results", out),
        "quarantine": ("--results", out),
        "check": (),
        "doctor": ("--data", tmp_path),
        "schema": ("policy",),
        "readiness": ("--evidence", tmp_path / "evidence.jsonl", "--least", 0),
    }
    # run and load need a house in motion; the others read a data folder: tests/test_live.py,
    # tests/test_top.py, tests/test_flags.py, tests/test_outbox.py, tests/access; monitoring prints
    # files as they are
    elsewhere = {"replay", "verify", "report", "status", "top", "flag", "token", "user", "audit"}
    elsewhere |= {"backup", "restore", "repair", "migrate", "capacity", "support"}  # tests/upkeep
    assert set(COMMANDS) - set(asked) == {"run", "load", "monitoring", "outbox"} | elsewhere
    for command, arguments in asked.items():
        capsys.readouterr()
        assert wk(command, *arguments, "--output", "json") == 0, command
        told = capsys.readouterr().out
        assert json.loads(told, parse_constant=pytest.fail), command


def test_a_reader_who_goes_away_is_not_complained_about(out):
    lister = ("quarantine", "--results", out, "--output", "json")
    for arguments in (("--help",), ("schema",), lister):
        with process(*arguments) as one:
            one.stdout.close()
            assert "Traceback" not in (err := one.stderr.read())
            assert "Broken" not in err
            assert one.wait(60) in (0, 1)


HALF = """
from watchkeeper import cli
from watchkeeper.errors import OutputError
def half(*_, **__):
    print("half a result")
    raise OutputError("no room")
cli.program = lambda _: half
cli.main()
"""


def test_nor_is_one_who_is_gone_when_a_command_fails():
    with process(code=HALF, env={"PYTHONUNBUFFERED": ""}) as one:
        one.stdout.close()
        assert one.stderr.read() == "watchkeeper: WK600 no room\n"
        assert one.wait(60) == 1


def test_progress_is_silent_where_nobody_looks(out, tmp_path):
    code, _, err = finished("score", out.parent / "fleet.parquet", "--out", tmp_path / "out")
    assert (code, err) == (0, "")


def test_progress_is_shown_on_a_terminal(tmp_path, monkeypatch):
    import io

    from watchkeeper.cli._terminal import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", screen)
    with progress("samples") as tell:
        tell("read", 1, None)
        tell("read", 500, None)
        tell("score", 1234, 2000)
    assert "samples" in screen.getvalue()
    assert "1,234" in screen.getvalue()


def test_run_refuses_to_listen_where_others_could_reach_it(tmp_path, capsys):
    assert wk("run", "--data", tmp_path / "d", "--listen", "0.0.0.0:0") == 78
    assert "is not loopback" in capsys.readouterr().err
