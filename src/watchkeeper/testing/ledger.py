"""What every ledger promises, as checks. A backend is a ledger when all of them pass.

Each check is given a function that opens one store: empty at first, the same one each time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from watchkeeper.ledger import Ledger, Watermark, link_hash, receipt_link_body, step_link_body
from watchkeeper.model import (
    Assessed,
    Checkpoint,
    Contribution,
    Counts,
    Decision,
    Millis,
    Offset,
    Order,
    Outcome,
    Phase,
    Receipt,
    State,
    Step,
    canonical,
)

Opener = Callable[[], Ledger]
LATER = Millis(10**12)


def ledger_checks() -> Iterator[Callable[[Opener], None]]:
    """Yield every check of this module, in the order in which they are written."""
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            yield check


def assessed(entity: str, time: int, health: float | None = 99.5) -> Assessed:
    """Return an assessment with floats that do not survive rounding."""
    shares = (Contribution("cpu", '{"cpu":"0"}', 2 / 3), Contribution("mem", "{}", 1 / 3))
    state = State.UNKNOWN if health is None else State.WARN
    return Assessed(entity, Millis(time), health, state, 0.1 + 0.2, -0.0, shares)


def decided(tick: int, entity: str = "host:a", name: str = "hot") -> Decision:
    """Return a decision whose key names policy, entity and tick."""
    return Decision(
        f"{name}:{entity}:{tick}", name, "v1", entity, Phase.FIRING, Millis(tick), "critical",
        12.5, "condition_held", Outcome.ORDERED, '{"clauses":[]}',
    )  # fmt: skip


def ordered(decision: Decision) -> Order:
    """Return an order that this decision owes."""
    return Order(
        f"order:{decision.key}", "webhook", decision.key, decision.entity, decision.at, '{"a":1}'
    )


def step(tick: int, entities: Sequence[str] = ("host:a",), owes: bool = True) -> Step:
    """Return the step of a tick: one assessment and one decision an entity, with its order."""
    decisions = tuple(decided(tick, entity) for entity in entities)
    return Step(
        Offset(tick // 10), Millis(tick), "rulebook", Counts(10, 2, 7, 2, 1), "0" * 64,
        tuple(assessed(entity, tick, 100.0 - tick / 7000) for entity in entities),
        decisions, tuple(map(ordered, decisions)) if owes else (),
    )  # fmt: skip


def receipt(order: Order, attempt: int, outcome: str, at: int = 5, due: int = 0) -> Receipt:
    """Return what came of an attempt."""
    return Receipt(order.key, attempt, outcome, "HTTP 503", Millis(at), Millis(due))


def check_an_empty_ledger_concluded_nothing(open_ledger: Opener) -> None:
    """And proves so, with its first link."""
    for _ in range(2):
        ledger = open_ledger()
        assert ledger.watermark() is None
        assert ledger.counts() == Counts()
        assert ledger.health() == []
        assert ledger.decisions() == []
        assert ledger.outbox(LATER, 10) == []
        assert ledger.orders(10) == []
        assert ledger.checkpoint() is None
        assert ledger.step_body(Millis(1)) is None
        assert [link.kind for link in ledger.links()] == ["genesis"]
        assert ledger.prove() == 1
        ledger.close()
        ledger.close()


def check_a_step_comes_back_as_it_was(open_ledger: Opener) -> None:
    """Every field and every bit, before and after opening again."""
    one = step(1_000, ["host:b", "host:a"])
    ledger = open_ledger()
    ledger.commit(one)
    for _ in range(2):
        assert ledger.watermark() == Watermark(Offset(100), Millis(1_000))
        assert ledger.health() == sorted(one.health, key=lambda each: each.entity)
        assert canonical(ledger.health()[0].score) == "-0.0"
        assert ledger.decisions() == list(reversed(one.decisions))
        assert [order for order, _ in ledger.outbox(LATER, 10)] == list(one.orders)
        assert ledger.counts() == one.counts
        assert ledger.step_body(Millis(1_000)) == step_link_body(one)
        assert ledger.step_body(Millis(999)) is None
        assert ledger.prove() == 2
        ledger.close()
        ledger = open_ledger()
    ledger.close()


def check_a_step_is_stored_whole_or_not_at_all(open_ledger: Opener) -> None:
    """An order that exists already refuses the whole step; the ledger goes on after it."""
    ledger = open_ledger()
    one = step(1_000)
    ledger.commit(one)
    two = step(2_000)
    clash = Step(
        two.offset, two.tick, two.rulebook, two.counts, two.scores, two.health,
        two.decisions, one.orders,
    )  # fmt: skip
    for wrong in (clash, step(1_000), step(500)):
        try:
            ledger.commit(wrong)
        except AssertionError:
            continue
        raise AssertionError("a step that cannot be was stored")
    assert ledger.watermark() == Watermark(Offset(100), Millis(1_000))
    assert ledger.history("host:a", Millis(0), LATER) == list(one.health)
    ledger.commit(two)
    assert ledger.prove() == 3
    ledger.close()


def check_counts_add_up(open_ledger: Opener) -> None:
    """Over all steps, also after opening again."""
    ledger = open_ledger()
    for tick in (1_000, 2_000, 3_000):
        ledger.commit(step(tick))
    ledger.close()
    ledger = open_ledger()
    assert ledger.counts() == Counts(30, 6, 21, 6, 3)
    ledger.close()


def check_health_is_known_at_any_time(open_ledger: Opener) -> None:
    """The last assessment of each entity at or before a time; unknown stays unknown."""
    ledger = open_ledger()
    ledger.commit(step(1_000, ["host:a", "host:b"]))
    ledger.commit(step(2_000, ["host:b", "host:c"]))
    unknown = assessed("host:a", 3_000, None)
    ledger.commit(Step(Offset(300), Millis(3_000), "r", Counts(), "0" * 64, (unknown,), (), ()))

    def times(at: int | None) -> list[tuple[str, int]]:
        found = ledger.health(None if at is None else Millis(at))
        return [(one.entity, one.time) for one in found]

    assert times(999) == []
    assert times(1_999) == [("host:a", 1_000), ("host:b", 1_000)]
    assert times(2_000) == [("host:a", 1_000), ("host:b", 2_000), ("host:c", 2_000)]
    assert times(None) == [("host:a", 3_000), ("host:b", 2_000), ("host:c", 2_000)]
    assert ledger.health()[0] == unknown
    assert [one.time for one in ledger.history("host:a", Millis(1_000), Millis(3_000))] == [
        1_000,
        3_000,
    ]
    assert ledger.history("host:a", Millis(1_001), Millis(2_999)) == []
    ledger.close()


def check_what_changed_is_told_after_a_tick(open_ledger: Opener) -> None:
    """In the order of the steps, so that whoever applies it in turn knows what health would."""
    ledger = open_ledger()
    steps = [step(1_000, ["host:b", "host:a"]), step(2_000, ["host:a"]), step(3_000, ["host:b"])]
    for one in steps:
        ledger.commit(one)
    assert ledger.changes(Millis(0)) == [one for each in steps for one in each.health]
    assert ledger.changes(Millis(2_000)) == list(steps[2].health)
    assert ledger.changes(Millis(3_000)) == []
    ledger.close()


def check_the_lowest_of_each_stretch_is_told_whole(open_ledger: Opener) -> None:
    """With its state and contributions; unknown only where nothing is known."""
    ledger = open_ledger()
    kept = {}
    said = (90.0, 40.0, None, None, None, 70.0)
    for place, health in enumerate(said, start=1):
        kept[place] = assessed("host:a", place * 1_000, health)
        ledger.commit(
            Step(
                Offset(place),
                Millis(place * 1_000),
                "r",
                Counts(),
                "0" * 64,
                (kept[place],),
                (),
                (),
            )
        )
    low = ledger.lowest("host:a", Millis(1_000), Millis(6_000), 2_000)
    assert low[:2] == [kept[1], kept[2]]
    assert [one.health for one in low] == [90.0, 40.0, None, 70.0]
    assert low[3] == kept[6]
    assert [one.time for one in ledger.lowest("host:a", Millis(2_000), Millis(2_500), 2_000)] == [
        2_000
    ]
    assert ledger.lowest("host:x", Millis(0), LATER, 2_000) == []
    ledger.close()


def check_the_begin_of_trouble_is_known(open_ledger: Opener) -> None:
    """Since the last time all was well, or since the first word."""
    ledger = open_ledger()
    well = Assessed("host:a", Millis(2_000), 100.0, State.OK, 1.0, 0.0, ())
    for tick, one in (
        (1_000, assessed("host:a", 1_000)),
        (2_000, well),
        (3_000, assessed("host:a", 3_000)),
        (4_000, assessed("host:a", 4_000, None)),
    ):
        ledger.commit(Step(Offset(tick), Millis(tick), "r", Counts(), "0" * 64, (one,), (), ()))
        since = {1_000: 1_000, 2_000: None, 3_000: 3_000, 4_000: 3_000}[tick]
        assert ledger.unwell_since("host:a") == since
    assert ledger.unwell_since("host:x") is None
    ledger.close()


def check_a_decision_an_order_and_its_receipts_are_found_by_key(open_ledger: Opener) -> None:
    """And nothing by a key that nobody gave."""
    ledger = open_ledger()
    one = step(1_000)
    ledger.commit(one)
    (made,), (owed,) = one.decisions, one.orders
    told = [receipt(owed, 1, "retry", due=9), receipt(owed, 2, "done", at=10)]
    for each in told:
        ledger.settle(each)
    assert ledger.decision(made.key) == made
    assert ledger.orders_of(made.key) == [owed]
    assert ledger.order(owed.key) == owed
    assert ledger.receipts(owed.key) == told
    assert ledger.decision("x") is None
    assert ledger.order("x") is None
    assert not ledger.orders_of("x")
    assert not ledger.receipts("x")
    ledger.close()


def check_decisions_are_found_newest_first(open_ledger: Opener) -> None:
    """Of one entity or all, until a time, at most as many as asked for."""
    ledger = open_ledger()
    for tick in range(1_000, 9_000, 1_000):
        ledger.commit(step(tick, ["host:a", "host:b"]))
    assert [one.at for one in ledger.decisions("host:a")] == list(range(8_000, 0, -1_000))
    assert [one.at for one in ledger.decisions("host:a", Millis(3_500), 2)] == [3_000, 2_000]
    assert [one.entity for one in ledger.decisions(None, None, 3)] == ["host:b", "host:a", "host:b"]
    assert ledger.decisions("host:x") == []
    ledger.close()


def check_the_outbox_owes_until_settled(open_ledger: Opener) -> None:
    """Oldest first; a retry waits for its time; done, refused and dead close the order."""
    ledger = open_ledger()
    for tick in (1_000, 2_000, 3_000, 4_000):
        ledger.commit(step(tick))
    for tick, outcome in ((1_000, "done"), (2_000, "refused"), (3_000, "dead")):
        ((order, attempts),) = ledger.outbox(Millis(0), 10)
        assert (order.created, attempts) == (tick, 0)
        ledger.settle(receipt(order, 1, outcome, due=1))
    ((order, _),) = ledger.outbox(Millis(0), 10)
    ledger.settle(receipt(order, 1, "retry", due=7_000))
    for _ in range(2):
        assert ledger.outbox(Millis(6_999), 10) == []
        assert ledger.outbox(Millis(7_000), 10) == [(order, 1)]
        last = [one.outcome for _, one in ledger.orders(10) if one is not None]
        assert last == ["retry", "dead", "refused", "done"]
        ledger.close()
        ledger = open_ledger()
    ledger.settle(receipt(order, 2, "done"))
    assert ledger.outbox(LATER, 10) == []
    assert [one.created for one, _ in ledger.orders(2)] == [4_000, 3_000]
    assert ledger.prove() == 10
    ledger.close()


def check_an_order_waits_for_the_older_one_of_its_entity(open_ledger: Opener) -> None:
    """What is said of one entity arrives in order; what is said of others does not wait."""
    ledger = open_ledger()
    ledger.commit(step(1_000, ("host:a", "host:b")))
    ledger.commit(step(2_000, ("host:a", "host:b")))
    first, other = (order for order, _ in ledger.outbox(LATER, 10))
    assert [first.entity, other.entity] == ["host:a", "host:b"]
    assert {first.created, other.created} == {1_000}
    ledger.settle(receipt(first, 1, "retry", due=50_000))
    ledger.settle(receipt(other, 1, "done"))
    waiting = [(order.entity, order.created) for order, _ in ledger.outbox(Millis(9_000), 10)]
    assert waiting == [("host:b", 2_000)]
    ledger.settle(receipt(first, 2, "done"))
    assert ("host:a", 2_000) in [(o.entity, o.created) for o, _ in ledger.outbox(Millis(9_000), 10)]
    ledger.close()


def check_settling_twice_changes_nothing(open_ledger: Opener) -> None:
    """The first receipt of an attempt stands, and no link is added for the second."""
    ledger = open_ledger()
    ledger.commit(step(1_000))
    ((order, _),) = ledger.outbox(LATER, 10)
    first = receipt(order, 1, "retry", at=5, due=9)
    for again in (first, first, receipt(order, 1, "done", at=6)):
        ledger.settle(again)
    assert ledger.orders(1) == [(order, first)]
    assert [link.kind for link in ledger.links()] == ["genesis", "step", "receipt"]
    assert list(ledger.links())[2].body == receipt_link_body(first)
    assert ledger.prove() == 3
    ledger.close()


def check_the_chain_can_be_recomputed(open_ledger: Opener) -> None:
    """From its links alone, by the public functions."""
    ledger = open_ledger()
    one = step(1_000)
    ledger.commit(one)
    ledger.note("report", Millis(1_500), canonical({"sha256": "ab"}))
    before = ""
    links = list(ledger.links())
    for seq, link in enumerate(links, start=1):
        assert link.seq == seq
        before = link_hash(before, seq, link.kind, link.at, link.body)
        assert link.hash == before
    assert [link.kind for link in links] == ["genesis", "step", "report"]
    assert links[1].body == step_link_body(one)
    assert json.loads(links[2].body) == {"sha256": "ab"}
    assert list(ledger.links(after=2)) == links[2:]
    assert ledger.prove() == 3
    ledger.close()


def check_three_checkpoints_are_kept(open_ledger: Opener) -> None:
    """The newest comes back, byte for byte, also one that knows of more than the last step."""
    ledger = open_ledger()
    assert ledger.checkpoint() is None
    ledger.save(Checkpoint(Offset(100), Millis(1_000), b"before any step"))
    assert ledger.checkpoint() == Checkpoint(Offset(100), Millis(1_000), b"before any step")
    for tick in (1_000, 2_000, 3_000, 4_000):
        ledger.commit(step(tick))
        ledger.save(Checkpoint(Offset(tick // 10), Millis(tick), bytes(str(tick), "ascii") * 1000))
    ledger.save(Checkpoint(Offset(400), Millis(4_000), b""))
    assert ledger.checkpoint() == Checkpoint(Offset(400), Millis(4_000), b"")
    ledger.save(Checkpoint(Offset(500), Millis(5_000), b"after silence"))
    ledger.close()
    ledger = open_ledger()
    assert ledger.checkpoint() == Checkpoint(Offset(500), Millis(5_000), b"after silence")
    assert ledger.prove() == 5
    ledger.close()
