"""Production is reached by what is ready: from tests and stages to evidence, score and gate."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from tools.evidence import collect, table
from tools.evidence.collect import Run, collected, run_of
from tools.evidence.facts import Fact, facts, head, note
from tools.evidence.lines import FLOOR, LINES, is_test
from tools.release._run import Failed, commit
from tools.release.promote import promote
from tools.release.ready import Gate, waive_today
from tools.release.stages import Stage

from watchkeeper import readiness

ROOT = Path(__file__).parents[1]
CARD = readiness.read_card(readiness.shipped())
POINTS = dict(zip((line.id for line in CARD.lines), CARD.points(), strict=True))
TESTS = sorted({n for checks in LINES.values() for of in checks.values() for n in of if is_test(n)})
FACTS = sorted({n for checks in LINES.values() for of in checks.values() for n in of} - {*TESTS})
NOTED = re.compile(r'(?:\$\(NOTE\) |note\(")([a-z-]+)')


def test_every_check_of_the_card_says_what_holds_it():
    assert {line: list(checks) for line, checks in LINES.items()} == {
        line.id: list(line.evidence) for line in CARD.lines
    }


@pytest.mark.parametrize("name", TESTS)
def test_every_named_test_exists(name):
    path, _, test = name.partition("::")
    found = ROOT / path
    assert found.is_dir() if name.endswith("/") else found.is_file()
    if test:
        tree = ast.parse(found.read_text(encoding="utf-8"))
        (named,) = (node for node in tree.body if getattr(node, "name", "") == test)
        marks = [ast.unparse(mark) for mark in named.decorator_list]
        assert "pytest.mark.nightly" not in marks, "it does not run with every change"


def test_every_named_fact_is_one_that_a_stage_keeps():
    sources = [ROOT / "Makefile", *(ROOT / "tools").rglob("*.py"), *ROOT.glob("benchmarks/*.py")]
    kept = {name for path in sources for name in NOTED.findall(path.read_text("utf-8"))}
    assert set(FACTS) <= kept


def test_the_documentation_has_the_table():
    assert table.stale() is False, "run `python -m tools.evidence.table`"


def junit(path: Path, *cases: tuple[str, str, str]) -> Path:
    rows = "".join(
        f'<testcase classname="{classname}" name="{name}" time="0.1">{inside}</testcase>'
        for classname, name, inside in cases
    )
    suite = f'<testsuite timestamp="2026-11-28T17:00:00+00:00" time="1.5">{rows}</testsuite>'
    path.write_text(f"<testsuites>{suite}</testsuites>")
    return path


def test_a_test_holds_when_all_of_its_cases_passed_and_there_was_one(tmp_path):
    run = run_of(
        junit(
            tmp_path / "junit.xml",
            ("tests.a.test_x", "test_good[1]", ""),
            ("tests.a.test_x", "test_good[2]", ""),
            ("tests.a.test_x", "test_half[1]", ""),
            ("tests.a.test_x", "test_half[2]", "<failure/>"),
            ("tests.a.test_x", "test_left_out", "<skipped/>"),
            ("tests.test_y", "test_broken", "<error/>"),
            ("tests.test_y", "test_goo", ""),
        )
    )
    assert run.at == 1795885201500
    said = {
        "tests/a/test_x.py::test_good": True,
        "tests/a/test_x.py::test_half": False,
        "tests/a/test_x.py::test_left_out": None,
        "tests/a/test_x.py::test_go": None,
        "tests/a/test_x.py": False,
        "tests/a/": False,
        "tests/test_y.py::test_goo": True,
        "tests/test_y.py": False,
        "tests/b/": None,
    }
    assert {name: run.holds(name) for name in said} == said


def test_without_a_run_nothing_is_known(tmp_path):
    assert run_of(tmp_path / "junit.xml") == Run()


def test_a_fact_is_kept_with_its_commit_and_forgotten_when_it_cannot_be_known(tmp_path):
    note("bills", folder=tmp_path, wheel="abc")
    note("ratio", 0.5, folder=tmp_path)
    found = facts(tmp_path)
    assert (found["bills"].holds, found["bills"].commit) == (1.0, head())
    assert found["bills"].seen == {"wheel": "abc"}
    assert found["ratio"].holds == 0.5
    note("bills", None, folder=tmp_path)
    assert list(facts(tmp_path)) == ["ratio"]


def kept(commit: str = "c", **changed: float) -> dict[str, Fact]:
    return {name: Fact(changed.get(name, 1.0), 5, commit, {}) for name in [*FACTS, "coverage"]}


class Passed(Run):
    """A run in which every test passed but those named."""

    def __init__(self, *failed: str) -> None:
        super().__init__(7, {})
        object.__setattr__(self, "failed", failed)

    def holds(self, name):
        return name not in self.failed


def samples(run: Run, seen, commit: str = "c"):
    return {(one.line, one.check): one for one in collected(LINES, run, seen, commit)}


def score(run: Run, seen, commit: str = "c") -> float:
    told = {
        (f"line:{one.line}", one.check): readiness.Seen(one.at, one.value)
        for one in samples(run, seen, commit).values()
        if one.value is not None
    }
    return readiness.stand(CARD, told, 8).score


WHOLE = score(Passed(), kept())
OPEN = {line for line, checks in LINES.items() if not all(checks.values())}


def test_all_that_is_named_makes_all_but_the_lines_for_which_nothing_is():
    assert pytest.approx(100.0 - sum(POINTS[line] for line in OPEN)) == WHOLE
    assert WHOLE >= FLOOR


@pytest.mark.parametrize("name", TESTS)
def test_a_test_that_fails_takes_exactly_the_lines_that_name_it(name):
    lines = {line for line, checks in LINES.items() if any(name in of for of in checks.values())}
    lost = sum(POINTS[line] for line in lines - OPEN)
    assert score(Passed(name), kept()) == pytest.approx(WHOLE - lost)


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_that_is_gone_or_does_not_hold_takes_exactly_the_lines_that_name_it(name):
    lines = {line for line, checks in LINES.items() if any(name in of for of in checks.values())}
    lost = sum(POINTS[line] for line in lines - OPEN)
    assert score(Passed(), kept(**{name: 0.9})) == pytest.approx(WHOLE - lost)
    if name != "coverage":  # without it no test was run at all
        without = {one: fact for one, fact in kept().items() if one != name}
        assert score(Passed(), without) == pytest.approx(WHOLE - lost)


def test_any_three_lines_that_break_take_exactly_their_weights():
    broken = ("SEC3", "OBS3", "TEST3")
    run = Passed(*(name for line in broken for of in LINES[line].values() for name in of))
    lost = sum(POINTS[line] for line in broken)
    assert score(run, kept(sbom=0.0)) == pytest.approx(WHOLE - lost)


def test_what_was_seen_at_another_commit_is_not_known():
    assert score(Passed(), kept("b")) == 0.0
    one = samples(Passed(), kept("b"))["SEC3", "bills"]
    assert (one.value, one.why) == (None, ("sbom was not seen at this commit",))


def test_evidence_is_as_old_as_the_oldest_of_it():
    seen = kept() | {"image": Fact(1.0, 3, "c", {})}
    assert samples(Passed(), seen)["RE2", "digests"].at == 3


@pytest.fixture
def evidence(tmp_path):
    """Evidence of this commit, as `make evidence` writes it."""
    folder = tmp_path / "facts"
    for name in FACTS:
        note(name, folder=folder)
    out = tmp_path / "evidence" / "evidence.jsonl"
    collect.write(tmp_path / "junit.xml", folder, out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(row["commit"] == commit() for row in rows)
    at = rows[0]["timestamp"]
    every = [
        {"timestamp": at, "entity": f"line:{line.id}", "metric": check, "value": 1}
        | {"commit": commit()}
        for line in CARD.lines
        for check in line.evidence
    ]
    out.write_text("".join(json.dumps(row) + "\n" for row in every))
    return out


def test_what_is_ready_may_pass(evidence):
    assert Gate(evidence.parent).hold(commit()).startswith("readiness 100 %")


def test_what_is_not_ready_may_not_and_is_told_what_is_missing(evidence):
    rows = [row for row in evidence.read_text().splitlines() if '"line:SEC3"' not in row]
    evidence.write_text("\n".join(rows) + "\n")
    with pytest.raises(Failed, match=r"(?s)readiness 97 %.*missing: 3 points, SEC3.*not promoted"):
        Gate(evidence.parent).hold(commit())
    assert Gate(evidence.parent, least=97.0).hold(commit()).startswith("readiness 97 %")


def test_evidence_of_another_commit_opens_nothing(evidence):
    with pytest.raises(Failed, match="readiness 0 %"):
        Gate(evidence.parent).hold("0" * 40)


def test_a_waiver_is_printed_when_it_opens_the_gate(evidence, tmp_path):
    rows = [row for row in evidence.read_text().splitlines() if '"audit"' not in row]
    evidence.write_text("\n".join(rows) + "\n")
    file = waive_today(tmp_path / "waivers.yaml", {("SEC2", "audit"): "nobody answers"})
    said = Gate(evidence.parent, file).hold(commit())
    assert re.search(
        r"waived: SEC2 audit from \S+ until \S+ by the rehearsal: nobody answers", said
    )
    with pytest.raises(Failed, match="SEC2"):
        Gate(evidence.parent).hold(commit())


def test_nothing_is_fetched_or_copied_before_the_gate_to_production(tmp_path):
    """The stages are nowhere: whoever got past the gate would fail otherwise."""
    (tmp_path / "none.jsonl").touch()
    before, to = (
        Stage(name, "127.0.0.1:1/none", "http://127.0.0.1:1/none", "nobody", "/nowhere")
        for name in ("staging", "prod")
    )
    with pytest.raises(Failed, match="readiness 0 %"):
        promote(before, to, "0.0.0", tmp_path / "key", commit(), Gate(tmp_path))
