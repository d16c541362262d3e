"""Feature flags: off until switched on, switched in the journal, seen alike by core and edges."""

import json
import tempfile
import threading
import time
from pathlib import Path

import pytest
from openfeature import api
from openfeature.flag_evaluation import Reason
from tests.commands import wk
from tests.guarded import Site
from tests.test_http import House as Shown
from tests.test_pipeline import CPU, ENGINE, START, Stores
from tests.test_policies import BAD, GOOD, acting, phases, table
from tests.test_service import Running, Scripted, hot

from watchkeeper import config, pipeline
from watchkeeper.core import checkpoint
from watchkeeper.errors import ConfigError, StoreError
from watchkeeper.features import Features, Switchboard, offer
from watchkeeper.flags import Flags, Gate, Switch, flip
from watchkeeper.model import Control, Millis, Order, Outcome, canonical
from watchkeeper.policies import document, explain_silence, judge, nothing_held, read
from watchkeeper.rerun import flags_now

POLICY = """
version: 1
tick: 1s
receivers: []
sources: []
flags: {action.webhook: false}
actions: {page: {type: webhook, url: 'http://127.0.0.1:9/'}}
policies:
  - {name: hot, match: {types: [host]}, when: health < 90.0, action: [page], mode: auto,
     cooldown: 0s, blast_radius: {amount: 100, percent: 100}}
"""


def on(name="action.webhook", on=True, actor="ada", reason="ready"):
    return flip(name, on, actor, reason)


def test_the_newest_word_holds():
    flags = Flags({"a": False, "b": True})
    assert (flags.on("a"), flags.on("b"), flags.on("c"), flags.on("c", True)) == (
        False, True, False, True,
    )  # fmt: skip
    flags = flags.take(on("a"))
    assert flags.on("a")
    assert flags.adopt({"a": False, "b": False}).on("a")  # the configuration said that before
    assert not flags.adopt({"b": True}).on("a")  # it says something else now
    assert not flags.take(on("a", False)).on("a")


def gate(**flags):
    return Gate(Flags({name.replace("_", "."): value for name, value in flags.items()}),
                {"page": "action.webhook"})  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "outcome", "seen"),
    [
        ({"own": True, "action_webhook": True}, Outcome.ORDERED, "on"),
        ({"own": True}, Outcome.FLAG, "off: action.webhook"),
        ({"action_webhook": True}, Outcome.FLAG, "off: own"),
        ({}, Outcome.FLAG, "off: action.webhook, own"),
    ],
)
def test_a_policy_acts_only_while_its_flag_and_those_of_its_actions_are_on(flags, outcome, seen):
    rule = acting(flag="own", action=["page", "log"])
    _, found, orders = judge([rule], nothing_held(), table(GOOD, BAD), gate(**flags))
    (decision,) = found
    assert decision.outcome is outcome
    assert len(orders) == (2 if outcome is Outcome.ORDERED else 0)
    (said,) = [one for one in json.loads(decision.trace)["guards"] if one["name"] == "flag"]
    assert said["limit"] == "on: action.webhook, own"
    assert said["observed"] == seen
    assert said["verdict"] == ("pass" if outcome is Outcome.ORDERED else "block")


def test_a_flag_that_is_off_stops_the_all_clear_too():
    rule = acting(action=["page"], resolve=True)
    held, _, orders = judge([rule], nothing_held(), table(BAD), gate(action_webhook=True))
    assert len(orders) == 1
    later = table(BAD, GOOD)
    _, found, orders = judge([rule], held, later.cut(1, 2), gate())
    assert phases(found) == [(2, "resolved", "cleared")]
    assert found[0].outcome is Outcome.FLAG
    assert json.loads(found[0].trace)["guards"][0]["observed"] == "off: action.webhook"
    assert not orders


def test_a_policy_that_needs_no_flag_is_not_asked_for_one_and_keeps_its_digest():
    _, (decision,), _ = judge([acting()], nothing_held(), table(BAD), gate())
    assert decision.outcome is Outcome.ORDERED
    assert "flag" not in {one["name"] for one in json.loads(decision.trace)["guards"]}
    assert "flag" not in document(acting())
    assert read(document(acting(flag="x")), "again").flag == "x"


def test_why_nothing_happens_names_the_flag():
    told = explain_silence(acting(flag="own"), nothing_held(), table(GOOD), 0, 0, gate())
    assert told["outcome"] == "flag"


def switched(tmp_path, control, at=4):
    """A house in which a host is hot from the start, and a flag is flipped at a second."""
    stores = Stores(tmp_path, config.load((), {}, POLICY).rules).begin()
    for second in range(1, 10):
        now = START + second * 1000
        if second == at:
            stores.journal.note(control, Millis(now))
        stores.offer([(f"host:{second}", CPU, now, 0.99)], now)
    return stores


def test_a_flip_holds_from_its_place_in_the_journal_on_and_replays(tmp_path):
    stores = switched(tmp_path, on())
    decider = stores.decider()
    while decider.decide():
        pass
    firing = [d for d in stores.ledger.decisions() if d.phase == "firing"]
    outcomes = {d.entity: str(d.outcome) for d in firing}
    assert {outcomes[f"host:{second}"] for second in (1, 2)} == {"flag"}
    assert {outcomes[f"host:{second}"] for second in (5, 6, 7)} == {"ordered"}
    notes = [json.loads(link.body) for link in stores.ledger.links() if link.kind == "flag"]
    assert [(one["by"], one["flag"], one["on"], one["reason"]) for one in notes] == [
        ("ada", "action.webhook", True, "ready")
    ]
    assert stores.verify().steps > 0
    assert flags_now(stores.journal, stores.ledger).on("action.webhook")
    stores.close()


def test_a_checkpoint_keeps_flips(tmp_path):
    stores = switched(tmp_path, on())
    decider = stores.decider()
    while decider.decide():
        pass
    stores.journal.note(Control("heartbeat", "clock", "{}"), Millis(START + 60_000))
    while decider.decide():
        pass
    kept = decider.fold.checkpoint()
    assert checkpoint.flags(kept).flipped == {"action.webhook": True}
    _, state = checkpoint.load(kept, config.read_rulebook)
    assert state.flags == decider.fold.state.flags
    assert flags_now(stores.journal, stores.ledger).flipped == {"action.webhook": True}
    stores.close()


def test_openfeature_answers_what_the_journal_says():
    now = [Flags({"a": True})]
    client = offer(lambda: now[0], "test-flags")
    assert client.get_boolean_value("a", False) is True
    assert client.get_boolean_details("a", False).reason == Reason.STATIC
    now[0] = now[0].take(on("a", False))
    assert client.get_boolean_value("a", True) is False
    assert client.get_boolean_value("nobody", True) is True
    for ask, default in (("string", "x"), ("integer", 1), ("float", 1.5), ("object", {"x": 1})):
        found = getattr(client, f"get_{ask}_details")("a", default)
        assert found.value == default
        assert found.error_code == "TYPE_MISMATCH"
    assert Features(lambda: now[0]).get_metadata().name == "watchkeeper"
    api.clear_providers()


def test_a_source_begins_and_ends_with_its_flag_and_both_are_in_the_journal(tmp_path):
    source = Scripted([hot(0.1), hot(0.2), hot(0.3)])
    running = Running(tmp_path, source)
    running.service.house.switches = {"scripted": Switch("source.scripted", False)}
    with running as house:
        assert source.opened_at == []
        assert house.live.status()["sources"] == {"scripted": "off: flag source.scripted"}
        assert house.live.flags() == [
            {"flag": "source.scripted", "on": False, "said_by": "default"}
        ]
        house.live.flip("source.scripted", True, "ada", "try it")
        house.until(lambda: house.live.status()["counts"]["scored"] >= 2)
        assert house.live.status()["flags"][0] == {
            "flag": "source.scripted", "on": True, "said_by": "flip",
        }  # fmt: skip
        house.live.flip("source.scripted", False, "ada", "enough")
        house.until(lambda: not house.service._collecting)
        with pytest.raises(KeyError):
            house.live.flip("source.other", True, "ada", "x")
        house.until(lambda: len([x for x in house.stores.ledger.links() if x.kind == "flag"]) == 2)
        assert pipeline.verify(
            house.stores.journal, house.stores.ledger, config.read_rulebook, ENGINE
        )


def test_what_was_ordered_waits_while_its_action_is_off():
    rules = config.load((), {}, POLICY).rules
    board = Switchboard(lambda: rules.flags)
    order = Order("k" * 64, "page", "d", "host:a", START, canonical({}))
    with pytest.raises(Exception, match=r"flag action\.webhook is off"):
        board.acting({"page": None}, rules)["page"].perform(order)
    assert board.acting({"page": "itself", "log": "log"}, rules)["log"] == "log"


def test_a_flip_that_cannot_be_written_down_is_refused():
    board = Switchboard(dict)
    with pytest.raises(StoreError, match="flag: not done"):
        board.tell(on(), 0.05)
    written = []
    board.journal(written.append)
    assert written == []  # nobody waits for it any more
    waiting = threading.Thread(target=board.tell, args=(on(),))
    waiting.start()
    while not written:
        board.journal(written.append)
        time.sleep(0.01)
    waiting.join()
    assert written == [on()]


def test_sources_and_actions_that_reach_out_need_a_flag_and_those_at_home_do_not(tmp_path):
    loaded = config.load((), {}, POLICY + "packs: [generic@1]\n")
    assert loaded.rules.needs == {"page": "action.webhook"}
    assert loaded.rules.flags == {"action.webhook": False}
    text = "version: 1\nsources: [{type: host}, {type: scrape, targets: ['127.0.0.1:1']}]\n"
    switches = config.load((), {}, text).switches
    assert switches == {"host": ("source.host", True), "scrape": ("source.scrape", False)}
    with pytest.raises(ConfigError, match=r"no such flag 'action\.webhok'"):
        config.load((), {}, "version: 1\nflags: {action.webhok: true}\n")
    own = "version: 1\nflags: {canary.drain: true}\npolicies: [{name: p, when: health < 1.0"
    assert config.load((), {}, own + ", flag: canary.drain}]\n").rules.flags == {
        "canary.drain": True
    }


def test_an_experimental_detector_is_left_out_until_its_flag_is_on(monkeypatch):
    from watchkeeper.detectors.flatline import Flatline

    monkeypatch.setattr(Flatline, "experimental", True, raising=False)
    text = "version: 1\ndetectors: [{type: robust}, {type: flatline}]\n"
    loaded = config.load((), {}, text)
    assert loaded.experimental == ("flatline",)
    assert [type(one).__name__ for one in loaded.rules.ensemble.detectors] == ["Robust"]
    loaded = config.load((), {}, text + "flags: {detector.flatline: true}\n")
    assert [one.__class__.__name__ for one in loaded.rules.ensemble.detectors][1] == "Flatline"


def test_the_command_writes_to_the_journal_of_a_house_that_does_not_run(tmp_path, capsys):
    switched(tmp_path, on("source.scrape")).close()
    assert wk("flag", "off", "action.webhook", "--reason", "quiet", "--data", tmp_path) == 0
    assert wk("flag", "list", "--data", tmp_path, "--output", "json") == 0
    out = capsys.readouterr().out
    listed = json.loads(out[out.index("{") :])["flags"]
    assert listed == [
        {"flag": "action.webhook", "on": False, "said_by": "flip"},
        {"flag": "source.scrape", "on": True, "said_by": "flip"},
    ]
    assert wk("flag", "on", "action.webhook", "--data", tmp_path) == 1  # no reason
    assert wk("flag", "on", "x", "--reason", "y", "--data", tmp_path / "none") == 1


class Switched(Shown):
    def __init__(self):
        super().__init__()
        self.flips = []

    def flags(self):
        return [{"flag": "action.webhook", "on": False, "said_by": "default"}]

    def flip(self, name, on, actor, reason):
        if name != "action.webhook":
            raise KeyError(name)
        if reason == "full":
            raise StoreError("the disk is full")
        self.flips.append((name, on, actor, reason))


def asked(house, method, path, **how):
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), view=house)
        try:
            return site.ask(path, method, site.token("admin")[1], **how)
        finally:
            site.close()


def test_flags_are_seen_and_switched_over_the_api():
    house = Switched()
    assert asked(house, "GET", "/api/v1/flags").json()["data"]["flags"] == house.flags()
    where = "/api/v1/flags/action.webhook"
    answer = asked(house, "PUT", where, json={"on": True, "reason": " go "})
    assert answer.json()["data"] == {"flag": "action.webhook", "on": True}
    ((name, is_on, actor, reason),) = house.flips
    assert (name, is_on, reason) == ("action.webhook", True, "go")
    assert actor.startswith("token:")


@pytest.mark.parametrize(
    ("where", "how", "status"),
    [
        ("action.webhook", {"json": {"on": "yes", "reason": "x"}}, 400),
        ("action.webhook", {"json": {"on": True}}, 400),
        ("action.webhook", {"json": {"on": True, "reason": " "}}, 400),
        ("action.webhook", {"json": {"on": True, "reason": "x", "more": 1}}, 400),
        ("action.webhook", {"json": [1]}, 400),
        ("action.webhook", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("action.webhook", {"data": {"on": "true"}}, 415),
        ("action.webhook", {"json": {"on": True, "reason": "x" * 5000}}, 413),
        ("action.webhook", {"json": {"on": True, "reason": "full"}}, 503),
        ("action.other", {"json": {"on": True, "reason": "x"}}, 404),
    ],
)
def test_a_flip_that_is_not_one_is_refused(where, how, status):
    house = Switched()
    assert asked(house, "PUT", f"/api/v1/flags/{where}", **how).status_code == status
    assert house.flips == []
