"""Readiness: each line counts exactly its weight, once every check of it was seen to hold."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from tests.commands import wk

from watchkeeper import config, readiness
from watchkeeper.errors import ConfigError
from watchkeeper.readiness import Seen, stand

PACK = readiness.shipped().parent
CARD = readiness.read_card(readiness.shipped())
NAMED = [(line.id, check) for line in CARD.lines for check in line.evidence]
POINTS = dict(zip((line.id for line in CARD.lines), CARD.points(), strict=True))
NOW = 1_800_000_000_000
TODAY = datetime.fromtimestamp(NOW / 1000, UTC).date().isoformat()
HOUR = 3_600_000
LINES = st.sets(st.sampled_from(sorted(POINTS)), max_size=8)


def everything(at: int = NOW, value: float = 1.0):
    return {(f"line:{line}", check): Seen(at, value) for line, check in NAMED}


def without(lines, how: str):
    seen = everything()
    for key in list(seen):
        if key[0].removeprefix("line:") in lines:
            if how == "missing":
                del seen[key]
            else:
                old = {"failed": Seen(NOW, 0.99), "stale": Seen(NOW - 8 * 24 * HOUR, 1.0)}
                seen[key] = old[how]
    return seen


def test_the_card_is_the_plan():
    assert [(area.id, area.weight) for area in CARD.areas] == [
        *(("RE", 12), ("SEC", 15), ("OBS", 12), ("REL", 12), ("PERF", 10)),
        *(("DATA", 10), ("CONF", 8), ("OPS", 6), ("TEST", 10), ("DOC", 5)),
    ]
    assert len(CARD.lines) == 41
    assert sum(POINTS.values()) == pytest.approx(100.0, abs=1e-12)
    assert CARD.least == 100.0


def test_the_contract_names_exactly_the_checks_of_the_card():
    contract = YAML(typ="safe").load((PACK / "contract.yaml").read_text(encoding="utf-8"))
    named = [metric["name"] for metric in contract["metrics"]]
    assert named == sorted({check for _, check in NAMED})


def test_with_all_evidence_it_is_a_hundred():
    standing = stand(CARD, everything(), NOW)
    assert (standing.score, standing.coverage) == (100.0, 1.0)
    assert all(area.score == 100.0 for area in standing.areas)


def test_without_any_it_is_nothing_and_says_that_nothing_is_known():
    standing = stand(CARD, {}, NOW)
    assert (standing.score, standing.coverage) == (0.0, 0.0)


@settings(deadline=None)
@given(LINES, st.sampled_from(["missing", "failed", "stale"]))
def test_lines_that_break_take_exactly_their_weights(lines, how):
    standing = stand(CARD, without(lines, how), NOW)
    assert standing.score == pytest.approx(100.0 - sum(POINTS[line] for line in lines), abs=1e-9)
    open_lines = {line.id for area in standing.areas for line in area.lines if not line.held}
    assert open_lines == lines
    wanted = 1.0 if how == "failed" else 1.0 - len(lines) / 41
    assert standing.coverage == pytest.approx(wanted)


@pytest.mark.parametrize("lines", [("RE1", "SEC3", "DOC4"), ("PERF2", "OPS1", "TEST4")])
def test_any_three_lines_take_their_weights_from_their_areas(lines):
    standing = stand(CARD, without(lines, "failed"), NOW)
    for area in standing.areas:
        lost = sum(line.points for line in area.lines if line.id in lines)
        assert area.score == pytest.approx(100.0 * (1.0 - lost / area.points))


@pytest.mark.parametrize("key", NAMED, ids="/".join)
def test_a_single_check_that_is_gone_takes_its_line(key):
    seen = everything()
    del seen[f"line:{key[0]}", key[1]]
    assert stand(CARD, seen, NOW).score == pytest.approx(100.0 - POINTS[key[0]])


def test_evidence_counts_until_its_greatest_age():
    ages = {(line.id, c): age for line in CARD.lines for c, age in line.evidence.items()}
    seen = {(f"line:{i}", c): Seen(NOW - age, 1.0) for (i, c), age in ages.items()}
    assert stand(CARD, seen, NOW).score == 100.0
    assert stand(CARD, seen, NOW + 1).score == 0.0


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "evidence"
    folder.mkdir()
    write(folder, dict.fromkeys(NAMED, 1.0))
    return folder


def write(folder: Path, values, at: int = NOW, commit: str = "abc", name: str = "a.jsonl"):
    rows = [
        {"timestamp": at, "entity": f"line:{line}", "metric": check, "value": value}
        | {"commit": commit}
        for (line, check), value in values.items()
    ]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def answered(capsys, *arguments):
    code = wk("readiness", "--at", NOW, *arguments)
    return code, capsys.readouterr()


def test_the_command_prints_every_line_with_its_evidence(folder, capsys):
    code, said = answered(capsys, "--evidence", folder)
    assert code == 0
    assert said.out.startswith("readiness 100 %   41 of 41 lines held")
    for line, check in NAMED:
        assert f"  {line:<6}held" in said.out
        assert check in said.out


def test_the_newest_evidence_of_a_check_counts(folder, capsys):
    write(folder, {("RE1", "policy"): 0.0}, at=NOW - HOUR, name="b.jsonl")
    assert answered(capsys, "--evidence", folder)[0] == 0
    write(folder, {("RE1", "policy"): 0.0}, at=NOW + 1, name="b.jsonl")
    code, said = answered(capsys, "--evidence", folder)
    assert code == 1
    assert "readiness 97 %   40 of 41 lines held" in said.out
    assert "missing: 3 points, RE1\nbelow 100 %: not ready\n" in said.out
    assert "policy failed (0) 0 s ago" in said.out


def test_evidence_of_another_commit_does_not_count(folder, capsys):
    assert answered(capsys, "--evidence", folder, "--commit", "abc")[0] == 0
    code, said = answered(capsys, "--evidence", folder, "--commit", "abd")
    assert code == 1
    assert said.out.startswith("readiness 0 %   0 of 41 lines held, all is known of 0%")


def test_evidence_from_the_future_is_none(folder, capsys):
    write(folder, dict.fromkeys(NAMED, 1.0), at=NOW + HOUR)
    assert answered(capsys, "--evidence", folder)[0] == 1


def test_a_lower_threshold_is_asked_for_by_name(folder, capsys):
    write(folder, {("RE1", "policy"): 0.0}, at=NOW + 1, name="b.jsonl")
    assert answered(capsys, "--evidence", folder, "--least", 97)[0] == 0
    assert answered(capsys, "--evidence", folder, "--least", 97.1)[0] == 1


def waiver(path: Path, **changed) -> Path:
    said = {"line": "RE1", "check": "policy", "reason": "moved house", "owner": "ada"}
    said |= {"granted": TODAY, "until": TODAY} | changed
    rows = "".join(f"    {name}: {value}\n" for name, value in said.items())
    path.write_text(f"version: 1\nwaivers:\n  -\n{rows}")
    return path


def test_a_waiver_is_printed_where_it_is_used_and_changes_no_score(folder, tmp_path, capsys):
    write(folder, {("RE1", "policy"): 0.0}, at=NOW + 1, name="b.jsonl")
    file = waiver(tmp_path / "waivers.yaml")
    code, said = answered(capsys, "--evidence", folder, "--waivers", file)
    assert code == 0
    assert said.out.startswith("readiness 97 %")
    assert f"waived: RE1 policy from {TODAY} until {TODAY} by ada: moved house" in said.out
    assert "with waivers: 100 %" in said.out
    code, said = answered(capsys, "--evidence", folder, "--waivers", file, "--output", "json")
    facts = json.loads(said.out)
    assert (facts["score"], facts["score_with_waivers"], facts["passed"]) == (97.0, 100.0, True)
    assert [one["check"] for one in facts["waivers"]] == ["policy"]


@pytest.mark.parametrize(
    "changed",
    [
        {"granted": "2026-01-01", "until": "2026-01-02"},
        {"granted": "2026-11-01", "until": "2027-12-01"},
        {"granted": "2099-01-01", "until": "2099-01-02"},
        {"check": "versions"},
    ],
    ids=["expired", "longer than 90 days", "not yet", "of another check"],
)
def test_a_waiver_that_is_not_for_this_and_for_now_waives_nothing(
    folder, tmp_path, capsys, changed
):
    write(folder, {("RE1", "policy"): 0.0}, at=NOW + 1, name="b.jsonl")
    file = waiver(tmp_path / "waivers.yaml", **changed)
    code, said = answered(capsys, "--evidence", folder, "--waivers", file)
    assert code == 1
    assert "waived" not in said.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: 1\nname: x\nareas: []\n", "areas"),
        ("version: 1\nname: x\n", "areas: is missing"),
        (
            "version: 1\nname: x\nareas:\n  - {id: A, title: a, weight: 1, lines: "
            "[{id: A1, title: b, evidence: {c: soon}}]}\n",
            "an age is written like",
        ),
    ],
)
def test_a_card_that_is_none_is_told_with_its_place(tmp_path, text, said):
    file = tmp_path / "card.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as told:
        readiness.read_card(file)
    assert "card.yaml:" in str(told.value)


def test_lines_of_a_card_of_ones_own_weigh_what_it_says(tmp_path):
    file = tmp_path / "card.yaml"
    file.write_text(
        "version: 1\nname: own\nareas:\n"
        "  - {id: A, title: a, weight: 3, lines: [{id: A1, title: b, evidence: {c: 1d}}]}\n"
        "  - id: B\n    title: b\n    weight: 1\n    lines:\n"
        "      - {id: B1, title: b, weight: 3, evidence: {c: 1d}}\n"
        "      - {id: B2, title: b, evidence: {c: 1d}}\n"
    )
    card = readiness.read_card(file)
    assert card.points() == [75.0, 18.75, 6.25]
    seen = {("line:A1", "c"): Seen(NOW, 1.0), ("line:B1", "c"): Seen(NOW, 1.5)}
    assert stand(card, seen, NOW).score == pytest.approx(93.75)


def test_what_is_no_evidence_is_told(folder, tmp_path, capsys):
    assert answered(capsys, "--evidence", tmp_path / "nowhere")[0] == 1
    (tmp_path / "empty").mkdir()
    code, said = answered(capsys, "--evidence", tmp_path / "empty")
    assert (code, "WK203" in said.err) == (1, True)
    (folder / "c.jsonl").write_text("{}\n")
    code, said = answered(capsys, "--evidence", folder)
    assert (code, "WK200" in said.err) == (1, True)


def test_a_house_watches_the_lines_as_entities():
    loaded = config.load((), {}, "version: 1\npacks: [readiness@1]\nhealth: {type: scorecard}\n")
    assert [contract.label for contract in loaded.rules.contracts] == ["readiness@1"]


def test_every_pair_of_lines_is_worth_the_sum_of_both():
    whole = stand(CARD, everything(), NOW).score
    for pair in itertools.islice(itertools.combinations(POINTS, 2), 0, None, 40):
        lost = whole - stand(CARD, without(pair, "missing"), NOW).score
        assert lost == pytest.approx(sum(POINTS[one] for one in pair))
