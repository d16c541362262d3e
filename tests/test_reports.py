"""Findings are what the results say, and reports show them and nothing else."""

import dataclasses
import html.parser
import json
import math
import re
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.steps import steps

from watchkeeper import plugins
from watchkeeper.config import DIALECT
from watchkeeper.model import Millis, Phase, State
from watchkeeper.reports import Event, Incident, Line, Plot, Signal, gather
from watchkeeper.reports import _words as words
from watchkeeper.reports._plots import bar, health_plot, signal_plot, stacked
from watchkeeper.reports._schema import schema
from watchkeeper.reports.html import PAGE, STYLE, Html, content_policy
from watchkeeper.reports.json import document
from watchkeeper.reports.text import Text
from watchkeeper.testing import reports as t
from watchkeeper.testing.reports import START, TICK


def found(health, names=None, decisions=(), scores=lambda series: t.scores(series)):
    table = t.health_table(np.asarray(health, float), names)
    return gather(table, scores, list(decisions), t.rejects(0), t.facts())


def at(tick: int) -> int:
    return START + tick * TICK


@pytest.mark.parametrize("kind", plugins.kinds("reports"))
@pytest.mark.parametrize("check", list(t.report_checks()), ids=lambda c: c.__name__)
def test_every_report_holds_to(check, kind):
    check(plugins.load("reports", kind))


# What is found


def test_the_worst_entity_comes_first_then_the_recovered_then_the_calm():
    health = np.full((10, 6), 100.0)
    health[8:, 0] = 70  # warn now
    health[8:, 1] = 30  # fail now
    health[8:, 2] = 10  # fail now, lower
    health[3:5, 3] = 5  # recovered
    health[8:, 4] = np.nan
    findings = found(health, list("abcdef"))
    assert [e.name for e in findings.entities] == list("cbaedf")
    assert [e.state for e in findings.entities] == ["fail", "fail", "warn", "unknown", "ok", "ok"]
    assert dict(findings.states) == {"ok": 2, "warn": 1, "fail": 2, "unknown": 1}


def test_an_incident_lasts_from_the_first_tick_not_ok_to_the_first_that_is():
    health = [[100], [70], [20], [60], [100], [100], [40]]
    (entity,) = found(health).entities
    first, second = entity.incidents
    assert (first.start, first.end, first.worst, first.worst_at) == (at(1), at(4), 20, at(2))
    assert first.state is State.FAIL
    assert (second.start, second.end, second.worst) == (at(6), None, 40)
    assert entity.since == at(6)
    assert (entity.worst, entity.worst_at) == (20, at(2))


def test_an_entity_that_was_never_known_is_unknown_but_no_incident():
    (entity,) = found([[math.nan], [math.nan]]).entities
    assert (entity.state, entity.health, entity.worst) == ("unknown", None, None)
    assert entity.since == at(0)
    assert entity.incident_count == 0
    assert not entity.lead


def test_an_entity_that_becomes_known_late_was_not_in_trouble_before():
    (entity,) = found([[math.nan], [math.nan], [100], [math.nan]]).entities
    (incident,) = entity.incidents
    assert (incident.start, incident.state, incident.worst) == (at(3), "unknown", None)


def test_a_signal_says_what_it_said_at_the_worst_moment():
    (entity,) = found([[100], [70], [20], [60], [100]]).entities
    signal = entity.incidents[0].signals[0]
    row = t.scores([("host:web-0000", "system.memory.utilization", "{}")]).slice(2, 1).to_pylist()
    assert signal.metric == "system.memory.utilization"
    assert [signal.value, signal.expected, signal.lower, signal.upper, signal.score] == [
        row[0][name] for name in ("value", "expected", "lower", "upper", "score")
    ]


def test_scores_are_asked_for_once_and_only_for_the_worst_entities():
    asked = []

    def scores(series):
        asked.append(list(series))
        return t.scores(series[:0])

    findings = found(np.full((5, 40), 20.0), scores=scores)
    (series,) = asked
    assert len({entity for entity, _, _ in series}) == 12
    assert all(not e.plots for e in findings.entities)
    assert findings.entities[0].signals[0].value is None


def test_scores_are_not_asked_for_when_nothing_took_health():
    findings = found(np.full((5, 4), 100.0), scores=lambda series: pytest.fail("asked"))
    assert findings.entities[0].signals == ()


def test_samples_without_a_value_are_not_drawn():
    def scores(series):
        table = t.scores(series)
        gap = table["value"].to_numpy().copy()
        gap[:700] = np.nan
        return table.set_column(table.column_names.index("value"), "value", pa.array(gap))

    (entity,) = found([[100], [20]], scores=scores).entities
    (_, _, plot), _ = entity.plots
    assert plot.time[0] >= at(700)
    assert not any(map(math.isnan, plot.value))
    assert entity.signals[0].value is None  # nothing had been said at that time


def test_decisions_stand_with_their_entity_and_their_incident():
    made = [
        t.decision("host:web-0000", at(2), Phase.PENDING),
        t.decision("host:web-0000", at(3), Phase.FIRING),
        t.decision("host:web-0000", at(9), Phase.RESOLVED),
        t.decision("host:other", at(3)),
    ]
    findings = found([[100], [70], [20], [60], [100]], decisions=made)
    (entity,) = findings.entities
    assert [d.phase for d in entity.decisions] == ["resolved", "firing", "pending"]
    assert entity.incidents[0].decisions == (made[0].key, made[1].key)
    assert (findings.decision_count, findings.outcomes) == (4, (("dry_run", 4),))


def test_a_flapping_entity_is_told_by_its_worst_incidents_and_their_count():
    health = np.where(np.arange(100) % 2, 100.0, 75.0)
    health[50] = 1
    (entity,) = found(health[:, None]).entities
    assert entity.incident_count == 50
    assert len(entity.incidents) == 8
    assert min(i.worst for i in entity.incidents) == 1
    assert [i.start for i in entity.incidents] == sorted(i.start for i in entity.incidents)


def test_quarantine_is_counted_by_reason_with_examples():
    findings = gather(t.health_table(np.zeros((0, 0)), []), t.scores, [], t.rejects(9), t.facts())
    first, second = findings.quarantine
    assert (first.reason, first.count, len(first.examples)) == ("not_a_number", 6, 3)
    assert (second.reason, second.count) == ("above_bound", 3)
    assert second.examples[0] == (
        "fleet.csv:2: host:web-0000 system.cpu.utilization: got 1.7, wanted 0 <= value <= 1"
    )


def test_the_table_may_be_shuffled_cut_and_typed_otherwise():
    rng = np.random.default_rng(5)
    health = rng.choice([100.0, 70.0, 20.0, math.nan], size=(40, 7))
    table = t.health_table(health)
    wanted = gather(table, t.scores, [], t.rejects(0), t.facts())
    other = table.take(pa.array(rng.permutation(table.num_rows)))
    other = other.set_column(1, "time", other["time"].cast(pa.timestamp("ms", "UTC")))
    other = other.set_column(0, "entity", other["entity"].dictionary_encode())
    other = pa.concat_tables([other.slice(0, 100), other.slice(100)])
    assert gather(other, t.scores, [], t.rejects(0), t.facts()) == wanted


def test_of_two_rows_of_one_moment_the_later_counts():
    table = t.health_table(np.array([[100.0], [20.0]]))
    again = t.health_table(np.array([[100.0], [90.0]])).slice(1)
    both = pa.concat_tables([table, again])
    (entity,) = gather(both, t.scores, [], t.rejects(0), t.facts()).entities
    assert (entity.health, entity.incident_count) == (90, 0)


def slow_incidents(states, health):
    """The definition: walk the ticks of one entity."""
    told, current, known = [], None, False
    for tick, (state, value) in enumerate(zip(states, health, strict=True)):
        known = known or state != "unknown"
        if state == "ok" or not known:
            if current:
                told.append({**current, "end": at(tick)})
            current = None
            continue
        if current is None:
            current = {"start": at(tick), "end": None, "worst": None, "worst_at": at(tick)}
        if value is not None and (current["worst"] is None or value < current["worst"]):
            current |= {"worst": value, "worst_at": at(tick)}
    return [*told, current] if current else told


values = st.sampled_from([100.0, 85.0, 70.0, 60.0, 40.0, 20.0, math.nan])
columns = st.lists(st.lists(values, min_size=6, max_size=6), min_size=1, max_size=5)


@settings(deadline=None, max_examples=150)
@given(columns)
def test_incidents_are_those_of_the_slow_obvious_way(health):
    array = np.array(health).T
    table = t.health_table(array)
    findings = found(array)
    rows = table.to_pylist()
    for entity in findings.entities:
        own = [row for row in rows if row["entity"] == entity.name]
        wanted = slow_incidents([r["state"] for r in own], [r["health"] for r in own])
        got = [
            {"start": i.start, "end": i.end, "worst": i.worst, "worst_at": i.worst_at}
            for i in entity.incidents
        ]
        assert got == wanted
        assert entity.since == (
            None if own[-1]["state"] == "ok" else wanted[-1]["start"] if wanted else at(0)
        )
        known = [r["health"] for r in own if r["health"] is not None]
        assert entity.worst == (min(known) if known else None)


@given(st.lists(values, min_size=300, max_size=2_000))
@settings(deadline=None, max_examples=20)
def test_a_thinned_line_keeps_the_worst_and_stays_short(health):
    (entity,) = found(np.array(health)[:, None]).entities
    drawn = [h for h in entity.line.health if h is not None]
    known = [h for h in health if not math.isnan(h)]
    assert len(entity.line.time) <= 240
    assert min(drawn, default=None) == min(known, default=None)
    assert list(entity.line.time) == sorted(set(entity.line.time))


def test_a_thinned_plot_keeps_extremes_and_the_oddest_sample():
    def scores(series):
        table = t.scores(series, 20_000)
        score = np.zeros(table.num_rows)
        value = table["value"].to_numpy().copy()
        score[12_345], value[777], value[778] = 9.0, 50.0, -50.0
        table = table.set_column(table.column_names.index("value"), "value", pa.array(value))
        return table.set_column(table.column_names.index("score"), "score", pa.array(score))

    (entity,) = found([[100], [20]], scores=scores).entities
    _, _, plot = entity.plots[0]
    assert len(plot.time) <= 3 * 240
    assert {50.0, -50.0} <= set(plot.value)
    assert max(plot.score) == 9.0


def told_of(count):
    """How many steps it takes to find what there is of so many entities, and to show it."""
    health = 100.0 - np.abs(np.sin(np.arange(30)[:, None] / 37 + np.arange(count) * 1.7)) * 45
    table = t.health_table(health)
    finding, findings = steps(lambda: gather(table, t.scores, [], t.rejects(0), t.facts()))
    assert len(findings.entities) == count
    showing, _ = steps(lambda: Html().render(findings))
    return finding, showing


def test_a_report_of_many_entities_is_hardly_more_work_than_one_of_few():
    (finding, showing), (finding_more, showing_more) = told_of(500), told_of(2_500)
    assert finding_more - finding < 30 * 2_000
    assert showing_more < 2 * showing


# How it is shown


class Page(html.parser.HTMLParser):
    """What a browser would make of the page: tags with attributes, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


def page(findings, **fields) -> Page:
    return Page(Html(**fields).render(findings).decode())


def test_the_first_screen_says_who_why_and_since_when():
    text = page(t.fleet(30)).words
    first = re.sub(r"\s+", " ", text[: text.index("Had trouble")])
    assert "3 of 30 entities are unhealthy" in first
    assert (
        "22fail host:web-0011 since 2024-01-02 19:12, 4 h 47 min system.memory.utilization"
        " 0.8536, normal 0.3991 to 0.5991; 67% of the loss" in first
    )
    assert first.index("web-0011") < first.index("web-0001") < first.index("web-0021")
    assert "signals are missing 20% of those expected are here" in first


def test_a_kept_page_asks_for_nothing_and_runs_nothing():
    for findings in (t.fleet(30), t.fleet(12, hostile=True), t.nothing()):
        shown = page(findings)
        names = {tag for tag, _ in shown.tags}
        assert not names & {"script", "img", "link", "iframe", "object", "base", "form", "image"}
        for _, attributes in shown.tags:
            assert not {a for a in attributes if a.startswith("on")} | attributes.keys() & {
                "style",
                "src",
            }
            assert attributes.get("href", "#")[0] == "#"
    assert "url(" not in STYLE
    assert "@import" not in STYLE


def test_hostile_names_are_shown_as_they_are_where_they_can_be_seen():
    shown = page(t.fleet(12, hostile=True))
    assert "<script>alert(1)</script>{{7*7}}" in shown.words
    assert "\u202e" not in shown.words
    assert {tag for tag, _ in shown.tags} == {tag for tag, _ in page(t.fleet(12)).tags} | {
        "ul",
        "li",
    }


def test_the_content_policy_allows_exactly_the_style_of_the_page():
    text = Html().render(t.fleet(1)).decode()
    assert f"<style>{STYLE}</style>" in text
    (policy,) = [a["content"] for tag, a in Page(text).tags if a.get("http-equiv")]
    assert policy == content_policy()
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy


def test_every_picture_has_words_and_every_link_a_target():
    shown = page(t.fleet(60))
    for place, (tag, attributes) in enumerate(shown.tags):
        if tag == "svg":
            assert attributes["aria-hidden"] == "true"
        if attributes.get("role") == "img":
            assert attributes["aria-label"]
            assert shown.tags[place + 1][0] == "svg"
    ids = [a["id"] for _, a in shown.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for tag, a in shown.tags if tag == "a"}
    assert links <= set(ids)
    assert links


def test_long_lists_fold_and_lose_nobody():
    findings = t.fleet(5_000, 120)
    shown = page(findings)
    assert sum(tag == "article" for tag, _ in shown.tags) == 50
    assert "and 500 more, in the table below" in shown.words
    told = set(re.findall(r"host:web-\d{4}", shown.words))
    assert told == {e.name for e in findings.entities}


def test_a_calm_fleet_says_so_and_shows_its_lowest():
    text = page(found(np.full((5, 4), 99.0))).words
    assert "Nothing is unhealthy" in text
    assert "Lowest health" in text
    assert "Needs a look" not in text


def test_what_was_left_out_is_counted():
    findings = t.fleet(3)
    inputs = tuple(dataclasses.replace(findings.facts.inputs[0], name=f"f{n}") for n in range(60))
    facts = dataclasses.replace(findings.facts, inputs=inputs)
    text = page(dataclasses.replace(findings, facts=facts)).words
    assert "and 10 more inputs" in text
    health = np.where(np.arange(100) % 2, 100.0, 75.0)[:, None]
    made = [t.decision("host:web-0000", at(n), number=n) for n in range(30)]
    text = page(found(health, decisions=made)).words
    assert "50 incidents, the worst 8" in text
    assert "30 decisions, the newest 20" in text
    assert "and 49 more" in text


def test_a_trace_is_folded_and_readable_and_may_be_no_json():
    odd = dataclasses.replace(t.decision("host:web-0000", at(1)), trace="<b>no json")
    shown = page(
        found([[100], [20]], decisions=[t.decision("host:web-0000", at(1), number=2), odd])
    )
    assert '"text": "state == \\"fail\\""' in shown.words
    assert "<b>no json" in shown.words


def test_text_fits_eighty_columns_and_counts_what_it_leaves_out():
    for findings in (t.fleet(5_000, 120), t.fleet(12, hostile=True), t.nothing()):
        lines = Text().render(findings).decode().splitlines()
        assert max(map(len, lines)) <= 80
        assert all(line.isprintable() for line in lines)
    text = Text(entities=2).render(t.fleet(30)).decode()
    assert text.startswith("3 of 30 entities are unhealthy\n===")
    assert "… and 5 more that had trouble" in text
    assert "100 = 95 accepted + 5 rejected" in text


def keys(value, path=""):
    """Every path of a document, with `[]` for the elements of a list."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield f"{path}.{name}".lstrip(".")
            yield from keys(part, f"{path}.{name}")
    if isinstance(value, list):
        for part in value:
            yield from keys(part, path + "[]")


def test_the_json_report_has_the_fields_that_its_documentation_lists():
    went = (Event(Millis(at(1)), "health", "not ok any more", ""),)
    whole = document(dataclasses.replace(t.fleet(12), timeline=went))
    assert whole["schema"] == "watchkeeper.report/1"
    free = ("outcomes.", "states.", "decisions[].trace.")
    names = {name for name in keys(whole) if not name.startswith(free)}
    text = (Path(__file__).parent.parent / "docs/reports.md").read_text()
    text = text[text.index("## Fields") : text.index("## The page of")]
    listed = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    assert names == listed


def properties(schema, path=""):
    """Every path that a schema knows, spelled as `keys` does."""
    for name, part in schema.get("properties", {}).items():
        yield f"{path}.{name}".lstrip(".")
        yield from properties(part, f"{path}.{name}")
    if "items" in schema:
        yield from properties(schema["items"], path + "[]")


def test_the_json_report_holds_to_its_schema_which_knows_every_field():
    known = schema("watchkeeper.report/1", DIALECT)
    check = jsonschema.Draft202012Validator(known, format_checker=jsonschema.FormatChecker())
    went = (Event(Millis(at(1)), "health", "not ok any more", ""),)
    for findings in (t.fleet(30), t.nothing(), found([[100], [math.nan]])):
        whole = document(dataclasses.replace(findings, timeline=went))
        check.validate(whole)
        free = ("outcomes.", "decisions[].trace.")
        assert {one for one in keys(whole) if not one.startswith(free)} <= set(properties(known))
    whole["entities"][0]["health"] = 101
    assert not check.is_valid(whole)


def test_the_json_report_is_canonical_and_has_no_nan():
    raw = plugins.load("reports", "json")().render(found([[100], [math.nan]])).decode()
    whole = json.loads(raw, parse_constant=lambda name: pytest.fail(name))
    assert whole["entities"][0]["health"] is None
    assert whole["entities"][0]["line"][-1] == ["2024-01-02T00:01:00.000Z", None]
    assert (
        raw == json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    )
    odd = dataclasses.replace(t.decision("host:web-0000", at(1)), trace="no json")
    assert document(found([[100]], decisions=[odd]))["decisions"][0]["trace"] == "no json"


# Words and pictures


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), (math.inf, "–"), (0.0, "0"), (0.97312, "0.9731"), (-3.0, "-3"),
        (9_999.4, "9999"), (9_999.6, "10 k"), (123_456, "123.5 k"), (999_960, "1 M"),
        (-2.5e9, "-2.5 G"), (1e30, "1e+12 E"), (0.000123, "1.23e-04"),
    ],
)  # fmt: skip
def test_numbers_read_well(value, said):
    assert words.number(value) == said


@pytest.mark.parametrize(
    ("millis", "said"),
    [
        (0, "0 s"), (999, "0 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h"),
        (97_200_000, "1 d 3 h"), (86_460_000, "1 d"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_durations_read_well(millis, said):
    assert words.span(millis) == said


def test_health_is_never_rounded_up_to_whole():
    assert [words.health(h) for h in (None, 0.0, 99.99, 100.0, 49.6)] == [
        "?",
        "0",
        "99",
        "100",
        "50",
    ]


def test_times_shares_and_series_read_well():
    assert words.when(START) == "2024-01-02 00:00"
    assert words.when(START + 5_000) == "2024-01-02 00:00:05"
    assert words.rfc3339(START + 5) == "2024-01-02T00:00:00.005Z"
    assert [words.percent(s) for s in (0, 0.001, 0.016, 1)] == ["0%", "<1%", "2%", "100%"]
    assert words.series("m", "{}") == "m"
    assert words.series("m", '{"a":"b","c":"d"}') == "m {a=b, c=d}"
    assert words.series("m", "odd") == "m {odd}"
    assert words.series("m", "3") == "m {3}"


def test_a_signal_says_only_what_is_known():
    bare = Signal("m", "{}", 1.0)
    assert words.said(bare) == ""
    known = dataclasses.replace(bare, value=5.0)
    assert words.said(known) == "5"
    assert words.said(dataclasses.replace(known, upper=4.0)) == "5, normal up to 4"
    assert words.said(dataclasses.replace(known, lower=6.0)) == "5, normal from 6"
    assert words.said(dataclasses.replace(known, expected=4.5)) == "5, expected 4.5"


@pytest.mark.parametrize(
    ("health", "said"),
    [
        ([[50.0]], "1 of 1 entity is unhealthy"),
        ([[50.0, 90.0]], "1 of 2 entities is unhealthy"),
        ([[50.0, 20.0]], "2 of 2 entities are unhealthy"),
        ([[math.nan]], "Nothing is known"),
        ([[math.nan, 90.0]], "Nothing is unhealthy, 1 of 2 unknown"),
        ([[90.0]], "Nothing is unhealthy"),
    ],
)
def test_the_verdict_is_one_sentence(health, said):
    assert words.verdict(found(health)) == said


def test_a_cause_known_only_by_name_is_named():
    (entity,) = found([[100], [20]]).entities
    assert words.why(dataclasses.replace(entity, signals=())) == [("system.memory.utilization", "")]
    bare = dataclasses.replace(entity, signals=(), lead="")
    assert words.why(bare) == []
    recovered = dataclasses.replace(entity, state=State.OK, since=None, incidents=(), signals=())
    assert words.time_of(recovered) == ""
    findings = found([[100], [20]])
    text = Text().render(dataclasses.replace(findings, entities=(recovered, bare))).decode()
    assert "     why: system.memory.utilization\n" in text


def test_a_series_without_any_value_is_not_drawn():
    def scores(series):
        table = t.scores(series)
        none = pa.array(np.full(table.num_rows, np.nan))
        return table.set_column(table.column_names.index("value"), "value", none)

    (entity,) = found([[100], [20]], scores=scores).entities
    assert entity.plots == ()


def numbers(svg: str) -> list[float]:
    return [
        float(n)
        for n in re.findall(r"(?<![\w#])-?\d+(?:\.\d+)?", re.sub(r'viewBox="[^"]*"', "", svg))
    ]


series = st.lists(
    st.tuples(
        st.integers(START - TICK, START + 100 * TICK),
        st.floats(-1e12, 1e12),
        st.none() | st.floats(-1e12, 1e12),
        st.none() | st.floats(-1e12, 1e12),
        st.floats(0, 3),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[0],
)


@given(series)
def test_pictures_stay_inside_their_box(rows):
    plot = Plot(*zip(*sorted(rows), strict=True))
    incident = Incident(START, None, State.FAIL, 3.0, START, (), ())
    drawn = signal_plot(plot, [incident], Millis(START), Millis(at(100)))
    assert all(0 <= n <= 1000 for n in numbers(drawn.svg))
    assert "nan" not in drawn.svg
    assert drawn.low <= min(plot.value)
    assert drawn.high >= max(plot.value)


def test_a_health_line_lifts_the_pen_where_it_is_unknown():
    line = Line(tuple(at(n) for n in range(5)), (100.0, 90.0, None, 80.0, None))
    svg = health_plot(line, (), Millis(at(0)), Millis(at(4))).svg
    assert svg.count('class="line" d="M0.0 2.8h0L250.0 12.3M750.0 21.7h0"') == 1


def test_shares_of_the_bar_add_up_and_the_smallest_can_be_seen():
    svg = stacked([(State.OK, 99_999), (State.WARN, 0), (State.FAIL, 1)])
    widths = [float(w) for w in re.findall(r' width="([\d.]+)"', svg)]
    assert len(widths) == 2
    assert abs(sum(widths) - 1000) < 0.2
    assert min(widths) > 5
    assert "rest" in stacked([])
    assert 'width="250.0"' in bar(0.25)


def test_the_template_marks_nothing_as_safe():
    assert "safe" not in PAGE
    assert "autoescape" not in PAGE
