"""Every page of a house that runs: what it answers, and what it says when there is nothing."""

import html
import json
import re
from dataclasses import dataclass
from math import nan

import anyio
import numpy as np
import pytest
from starlette.requests import Request
from tests.test_http import ask, asked
from tests.test_service import CPU, Running, Scripted, batch, clock, hot

from watchkeeper.access import Scope
from watchkeeper.http import app
from watchkeeper.http.pages import overview
from watchkeeper.http.pages._charts import stack
from watchkeeper.http.pages._render import POLICY, Shared
from watchkeeper.http.pages.entity import compared, meanings, unit_of, within
from watchkeeper.http.pages.overview import verdict
from watchkeeper.model import Assessed, Contribution, Millis, State
from watchkeeper.reports import Range
from watchkeeper.shown import Fleet, Place, Sampled, Wanted, chosen, counted, grouped, ranked

PAGES = (
    "/", "/entities/host:a", "/decisions", "/orders", "/collectors", "/quarantine", "/reports",
    "/rulebook", "/audit", "/audit?steps=yes", "/status", "/guide", "/guide/policies",
)  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """One host that is hot, one that is well, and a sample that is impossible."""
    at = clock() - 50_000
    rows = [("host:b", CPU, at + k, 0.2) for k in range(3)] + [("host:b", CPU, at + 9, -4.0)]
    source = Scripted([hot(0.2), hot(0.99, "2"), batch(rows, "scripted", "3")])
    with Running(tmp_path_factory.mktemp("pages"), source) as running:
        running.until(lambda: len(running.live.fleet().entities) == 2, 120)
        running.until(lambda: running.live.fleet().entities[0].state is State.FAIL, 120)
        yield running.live


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("empty"), Scripted([])) as running:
        yield running.live


def text_of(answer):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_what_there_is_under_one_policy(house, path):
    answer = ask(house, path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert answer.text.count("<h1") == 1
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|javascript:", answer.text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


@pytest.mark.parametrize("path", [path for path in PAGES if "host:a" not in path])
def test_a_page_of_an_empty_house_says_what_to_do(empty, path):
    answer = ask(empty, path)
    assert answer.status_code == 200, answer.text
    if path == "/":
        assert "curl http://localhost:8470/api/v1/samples" in text_of(answer)


def test_the_fleet_names_the_worst_first_and_why(house):
    said = text_of(ask(house, "/"))
    assert "1 of 2 entities is unhealthy" in said
    assert said.index("host:a") < said.index("host:b")
    assert f"{CPU} 0.99" in said


@pytest.mark.parametrize(
    ("query", "there", "gone"),
    [
        ("text=HOST:B", "host:b", "host:a"),
        ("state=fail", "host:a", "host:b"),
        ("kind=host&state=ok", "host:b", "host:a"),
        ("rows=1", "host:a", "host:b"),
    ],
)
def test_the_fleet_is_filtered(house, query, there, gone):
    shown = ask(house, f"/?{query}").text
    assert f'href="/entities/{there}"' in shown
    assert f'href="/entities/{gone}"' not in shown


def test_a_filter_that_nothing_fits_says_so(house):
    assert "No entity fits" in ask(house, "/?text=nobody").text
    assert ask(house, "/?colour=red").status_code == 400


def of_one_moment(house, entity):
    """Return what the page says and how the policies stand when it does: time goes on meanwhile."""
    for _ in range(100):
        standings = house.standings(entity)
        said = text_of(ask(house, f"/entities/{entity}"))
        if house.standings(entity) == standings:
            return said, standings
    raise AssertionError("policies do not stand still")


def test_an_entity_says_why_and_why_nothing_happened(house):
    said, standings = of_one_moment(house, "host:a")
    assert "is 0.99" in said
    assert standings
    for standing in standings:
        assert standing["policy"] in said
        assert standing["why"] in said


def test_an_entity_draws_its_health_and_its_signals(house):
    shown = ask(house, "/entities/host:a").text
    charts = [
        json.loads(html.unescape(found)) for found in re.findall(r'data-chart="([^"]*)"', shown)
    ]
    health, signal = charts
    assert health["health"][-1] < 80
    assert health["layers"][0]["name"] == CPU
    assert signal["value"][-1] == 0.99
    assert signal["odd"][-1] is True


FULL = "system.filesystem.utilization"
BARE = Sampled(FULL, "{}", *(np.zeros(0) for _ in range(6)))


def sampled(value, lower, upper, until, attributes="{}"):
    """One sample a minute up to `until`, with a band."""
    time = until - 60_000 * np.arange(len(value) - 1, -1, -1)
    columns = [np.array(one, float) for one in (value, value, lower, upper, np.zeros(len(value)))]
    return BARE._replace(
        **dict(zip(Sampled._fields[1:], (attributes, time, *columns), strict=True))
    )


def test_an_entity_says_which_bound_it_will_reach_and_when(house, monkeypatch):
    assert "No signal is on its way to a bound" in text_of(ask(house, "/entities/host:b"))
    rise = np.linspace(0.6, 0.9, 180)  # a tenth an hour
    rising = sampled(rise, rise - 1, rise + 1, house.fleet().tick)
    monkeypatch.setattr(house, "samples", lambda name: [rising])
    said = text_of(ask(house, "/entities/host:b"))
    assert re.search(FULL + r" rises by 0\.1\d* an hour .*and is at 0\.9", said)
    assert "It reaches 0.95 , where the contract warns, in 29 min" in said
    assert "It reaches 0.97 , where it is critical, in 41 min" in said


def test_a_band_ends_where_values_cannot_be(house, monkeypatch):
    """What is drawn, said and listed as normal of a share is never below 0 nor above 1."""
    one = sampled([0.5, 0.5], [-0.4, 0.4], [1.7, 0.6], house.fleet().tick)
    all_of_it = sampled([0.5, 0.5], [-9, -9], [9, 9], house.fleet().tick, '{"x":"1"}')
    monkeypatch.setattr(house, "samples", lambda name: [one, all_of_it])
    answer = ask(house, "/entities/host:b")
    charts = [
        json.loads(html.unescape(found))
        for found in re.findall(r'data-kind="signal"[^>]*data-chart="([^"]*)"', answer.text)
    ]
    assert [(chart["lower"], chart["upper"]) for chart in charts] == [
        ([0, 0.4], [1, 0.6]),
        ([0, 0], [1, 1]),
    ]
    assert "normal is 0.4 to 0.6" in answer.text
    assert answer.text.count("normal is") == 1  # where anything that can be is normal, none is said


def test_a_name_with_several_meanings_is_described_by_that_of_the_series(house, monkeypatch):
    one = sampled([0.5], [0], [1], house.fleet().tick)
    each = [one._replace(metric=CPU, attributes=text) for text in ("{}", '{"cpu.mode":"idle"}')]
    told = [metric.description for metric in meanings(house.rulebook, "host:b", each)]
    assert "in use" in told[0]
    assert "idle" in told[1]


@pytest.mark.parametrize(
    ("can_be", "band", "drawn"),
    [
        (Range(0.0, 1.0), (-2.0, 3.0), (0.0, 1.0)),
        (Range(0.0, None), (-2.0, 3.0), (0.0, 3.0)),
        (Range(None, 1.0), (-2.0, 3.0), (-2.0, 1.0)),
        (Range(), (-2.0, 3.0), (-2.0, 3.0)),
        (Range(0.0, 1.0), (nan, nan), (nan, nan)),
    ],
)
def test_what_is_normal_is_clipped_on_the_sides_that_have_an_end(can_be, band, drawn):
    cut = within(sampled([0.5], [band[0]], [band[1]], 10**12), can_be)
    assert (cut.lower[0], cut.upper[0]) == pytest.approx(drawn, nan_ok=True)
    assert cut.value.tolist() == [0.5]


def test_what_is_not_there_is_told(house):
    assert ask(house, "/entities/host:x").status_code == 404
    assert ask(house, "/decisions/x").status_code == 404
    assert ask(house, "/orders/x").status_code == 404
    assert ask(house, "/reports/now.exe").status_code == 404


def test_a_decision_unfolds_its_trace(house):
    (key, *_) = re.findall(r'href="(/decisions/[^"?]+)"', ask(house, "/decisions").text)
    said = text_of(ask(house, key))
    for words in ("What held", "What the guards said", "What was ordered", "Policy version"):
        assert words in said
    assert ask(house, "/decisions?policy=nobody").status_code == 200
    assert "No decision fits" in ask(house, "/decisions?policy=nobody").text


def test_quarantine_tells_reason_value_and_advice(house):
    said = text_of(ask(house, "/quarantine"))
    assert "below bound" in said
    assert "-4" in said
    assert "widen the contract and replay" in said
    assert "<button>" not in ask(house, "/quarantine").text  # nobody here may


def test_rejected_samples_are_offered_again_and_stay_where_they_still_break_the_contract(house):
    assert house.replay(None, "test") == (1, 0)
    assert house.replay("too_old", "test") == (0, 0)


@pytest.mark.parametrize("kind", ["html", "json", "text"])
def test_a_report_is_made_when_asked_for(house, kind):
    answer = ask(house, f"/reports/now.{kind}")
    assert answer.status_code == 200
    assert b"host:a" in answer.content
    if kind == "html":
        assert "script-src" not in answer.headers["content-security-policy"]


def test_the_same_question_of_the_same_fleet_is_answered_once(house, monkeypatch):
    made = []
    original = overview.facts
    monkeypatch.setattr(overview, "facts", lambda *a: made.append(1) or original(*a))
    fleet = house.fleet()
    monkeypatch.setattr(type(house), "fleet", lambda _: fleet)
    open_page = {"HX-Request": "true"}
    everybody = app(house)
    whole = asked(everybody, "/").text
    parts = {asked(everybody, "/", open_page).text for _ in range(5)}
    assert len(made) == 1
    assert asked(everybody, "/?state=fail").status_code == 200
    assert len(made) == 2
    (part,) = parts
    live = re.search(r'<div id="live".*</section>\s*</div>', whole, re.DOTALL)[0]
    assert live in part
    assert "<nav" not in part
    assert asked(everybody, "/", open_page).headers["vary"] == "HX-Request"


@dataclass(frozen=True)
class Asker:
    scopes: frozenset
    name: str = "somebody"
    csrf = role = ""

    def may(self, scope):
        return scope in self.scopes


@pytest.mark.parametrize("order", [(True, False), (False, True)], ids=["reader first", "last"])
@pytest.mark.parametrize("part", [(), ((b"hx-request", b"true"),)], ids=["whole", "part"])
def test_the_name_of_the_house_is_told_to_those_who_may_read_it(house, order, part):
    """Whoever asked first: what open pages bring up to date is filled in once for many."""
    shared = Shared(house, "overview.html.j2")

    def shown(reads):
        asker = Asker(frozenset([Scope.STATUS_READ] if reads else []))
        request = Request({
            "type": "http", "method": "GET", "path": "/", "query_string": b"", "scheme": "http",
            "headers": [(b"host", b"localhost"), *part], "asker": asker,
        })  # fmt: skip
        facts = overview.facts(house, house.fleet(), Wanted(), "", 50)

        async def page():
            return await shared.page(request, lambda _: {"address": "localhost", **facts})

        return re.search(r"<title>(.*)</title>", anyio.run(page).body.decode())[1]

    titles = {reads: shown(reads) for reads in order}
    assert f" · {house.title} · Watchkeeper" in titles[True]
    assert house.title not in titles[False]
    assert titles[False].endswith(" · Watchkeeper")
    assert titles[False].count("·") == 1


def test_the_page_names_what_only_a_restart_takes_up(house, monkeypatch):
    said = house.status()
    assert said["restart_for"] == []
    assert "only a restart" not in asked(app(house), "/status").text
    changed = {**said, "restart_for": ["listen", "receivers"]}
    monkeypatch.setattr(type(house), "status", lambda _: changed)
    page = asked(app(house), "/status").text
    assert '<p role="alert">Changed, and only a restart takes it up: listen, receivers</p>' in page


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/nowhere", 404, "There is no such page"),
        ("/decisions/nothing", 404, "There is no such decision"),
        ("/orders/nothing", 404, "There is no such order"),
        ("/?colour=red", 400, "Unknown parameter 'colour'"),
        ("/reports/now.pdf", 404, "Reports are made as html, json, text"),
    ],
)
def test_a_person_who_is_refused_gets_a_page_that_says_what_to_do(house, path, status, said):
    everybody = app(house)
    answer = asked(everybody, path, {"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == status
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert said in text_of(answer)
    assert "Look at the fleet" in text_of(answer)
    program = asked(everybody, path, {"Accept": "*/*"})
    assert (program.status_code, program.json()["status"]) == (status, "error")


def assessed(name, health, state=None, time=0, parts=()):
    state = state or (State.UNKNOWN if health is None else State.OK if health > 90 else State.FAIL)
    shares = tuple(Contribution(metric, "{}", share) for metric, share in parts)
    return Assessed(name, Millis(time), health, state, 1.0, 0.0, shares)


FLEET = Fleet(
    Millis(9),
    ranked([
        assessed("host:b", 100.0), assessed("link:a", None), assessed("host:a", 20.0),
        assessed("host:c", 70.0, State.WARN),
    ]),
)  # fmt: skip


def test_the_worst_comes_first_whatever_the_order_was():
    assert [one.entity for one in FLEET.entities] == ["host:a", "host:c", "link:a", "host:b"]
    assert verdict(FLEET) == "2 of 4 entities are unhealthy"
    assert verdict(Fleet(Millis(0), ())) == "No telemetry yet"


def test_groups_with_most_trouble_come_first_and_count_everybody():
    groups = grouped(FLEET.entities)
    assert [(one.name, one.size) for one in groups] == [("host", 3), ("link", 1)]
    assert dict(groups[0].states) == {"fail": 1, "warn": 1, "unknown": 0, "ok": 1}
    racks = grouped(FLEET.entities, {"host:b": "r1", "host:c": "r2"})
    assert [one.name for one in racks] == ["r2", "r1"]
    assert sum(amount for _, amount in counted(FLEET.entities)) == 4


def test_a_label_leaves_out_who_does_not_have_it():
    asked = []

    def labelled(label):
        asked.append(label)
        return frozenset({"host:c"})

    found = chosen(FLEET, Wanted(label="rack=r1"), labelled)
    assert [one.entity for one in found] == ["host:c"]
    assert asked == ["rack=r1"]
    assert chosen(FLEET, Wanted(), labelled) == list(FLEET.entities)
    assert asked == ["rack=r1"]


def test_layers_and_health_add_up_to_a_hundred_and_gaps_break_the_line():
    parts = [(f"m{k}", 1 / 8) for k in range(8)]
    course = [assessed("host:a", 40.0, time=t, parts=parts) for t in (0, 1_000, 2_000, 60_000)]
    told = stack(course, 1_000, Millis(60_000))
    assert told["health"] == [40.0, 40.0, 40.0, None, 40.0]
    assert len(told["layers"]) == 6
    for place, health in enumerate(told["health"]):
        lost = [layer["lost"][place] for layer in told["layers"]]
        assert (health is None and set(lost) == {None}) or sum(lost) + health == pytest.approx(100)


def test_peers_say_where_a_value_stands():
    from watchkeeper.http.pages.entity import Shown

    mine = Shown("cpu", "cpu", "{}", "", "", 0, 0, 5.0, None, "", 0, Millis(0))
    places = [Place("host:a", 5.0), *(Place(f"host:{n}", float(n)) for n in range(4))]
    told = compared(mine, "host:a", places)
    assert (told.median, told.low, told.high, told.above, told.others) == (1.5, 0.0, 3.0, 4, 4)
    assert told.picture.count("<circle") == 5
    assert unit_of(None) == ""
