"""What every health model must satisfy. `for check in health_checks(): check(model)`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from watchkeeper.health import Evidence, Health, HealthModel, Roster
from watchkeeper.model import STATES, Floats, State, Times

Check = Callable[[HealthModel[Any]], None]
MINUTE = 60_000
UNKNOWN = STATES.index(State.UNKNOWN)


def fleet(seed: int, ticks: int, series: int, entities: int) -> tuple[Evidence, Times, Roster]:
    """Return seeded evidence with silences, alarms and several samples in a tick."""
    random = np.random.default_rng(seed)
    times = MINUTE * np.arange(1, ticks + 1, dtype=np.int64)
    count = ticks * series
    tick = np.sort(random.integers(0, max(ticks, 1), count)).astype(np.int64)
    row = random.integers(0, series, count).astype(np.uint32)
    score = np.where(random.random(count) < 0.3, random.gamma(2.0, 1.0, count), 0.1)
    silence = random.integers(-1, 4, count) * MINUTE
    evidence = Evidence(tick, row, score, times[tick] + silence)
    roster = Roster(
        random.integers(0, entities, series).astype(np.uint32),
        random.choice(np.array([0.0, 0.1, 0.3, 0.6, 0.9, 1.0]), series),
    )
    return evidence, times, roster


def part(evidence: Evidence, start: int, end: int) -> Evidence:
    """Return the evidence of ticks start..end, counted from there."""
    of_part = (evidence.tick >= start) & (evidence.tick < end)
    return Evidence(
        evidence.tick[of_part] - start,
        evidence.series[of_part],
        evidence.score[of_part],
        evidence.deadline[of_part],
    )


def assess_in_blocks(
    model: HealthModel[Any], evidence: Evidence, ticks: Times, roster: Roster, cuts: list[int]
) -> tuple[Any, Health]:
    """Assess block by block, through `dump` and `load` between blocks, and join the answers."""
    entities = int(roster.entity.max()) + 1 if len(roster.entity) else 0
    state = model.grow(model.fresh(), len(roster.entity), entities)
    edges = [0, *sorted(cuts), len(ticks)]
    parts = []
    for start, end in itertools.pairwise(edges):
        state = model.load(model.dump(state))
        state, health = model.assess(state, part(evidence, start, end), ticks[start:end], roster)
        parts.append(health)
    return state, joined(parts)


def joined(parts: list[Health]) -> Health:
    """Return blocks in order as one."""
    tables = [np.concatenate([getattr(p, name) for p in parts]) for name in Health._fields[:4]]
    counts = np.concatenate([np.diff(p.start) for p in parts])
    start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    series = np.concatenate([p.series for p in parts])
    share = np.concatenate([p.share for p in parts])
    return Health(tables[0], tables[1], tables[2], tables[3], start, series, share)


def same(left: Health, right: Health) -> bool:
    """Return whether two answers are the same bytes."""
    pairs: Iterable[tuple[Any, Any]] = zip(left, right, strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def check_cuts_do_not_show(model: HealthModel[Any]) -> None:
    """Any split of the ticks into blocks, with a checkpoint between them, gives the same bytes."""
    for seed in range(4):
        evidence, ticks, roster = fleet(seed, 24, 9, 3)
        _, whole = assess_in_blocks(model, evidence, ticks, roster, [])
        for cuts in ([5], [1, 2, 3, 17], list(range(1, 24))):
            _, cut = assess_in_blocks(model, evidence, ticks, roster, cuts)
            assert same(whole, cut), (seed, cuts)


def check_answers_stay_in_range(model: HealthModel[Any]) -> None:
    """Health is 0..100 or NaN, and NaN exactly when the state is unknown; scores are finite."""
    evidence, ticks, roster = fleet(7, 40, 30, 4)
    _, found = assess_in_blocks(model, evidence, ticks, roster, [])
    known = ~np.isnan(found.health)
    assert bool(np.all((found.health[known] >= 0) & (found.health[known] <= 100)))
    assert bool(np.all((found.state == UNKNOWN) == ~known))
    there = ~np.isnan(found.coverage)
    assert bool(np.all((found.coverage[there] >= 0) & (found.coverage[there] <= 1)))
    assert bool(np.all(np.isfinite(found.score) & (found.score >= 0)))
    assert not known[~there].any()


def check_shares_add_up(model: HealthModel[Any]) -> None:
    """Shares of a cell add up to 1, largest first, none at 100 and none at unknown."""
    evidence, ticks, roster = fleet(11, 30, 60, 3)
    _, found = assess_in_blocks(model, evidence, ticks, roster, [])
    health: Floats = found.health.ravel()
    for cell, (start, end) in enumerate(zip(found.start, found.start[1:], strict=False)):
        share = found.share[start:end]
        assert (len(share) > 0) == bool(health[cell] < 100.0), cell
        if len(share):
            assert abs(float(share.sum()) - 1.0) <= 1e-12, (cell, share)
            order = list(zip((-share).tolist(), found.series[start:end].tolist(), strict=True))
            assert order == sorted(order), (cell, order)


def check_growth_is_neutral(model: HealthModel[Any]) -> None:
    """Room for series and entities that say nothing changes no answer of the others."""
    evidence, ticks, roster = fleet(3, 20, 6, 2)
    state = model.grow(model.fresh(), 6, 2)
    _, small = model.assess(state, evidence, ticks, roster)
    wide = Roster(np.r_[roster.entity, [2, 0]].astype(np.uint32), np.r_[roster.weight, [0.5, 0.5]])
    state = model.grow(model.grow(model.fresh(), 6, 2), 8, 3)
    _, large = model.assess(state, evidence, ticks, wide)
    for name in Health._fields[:4]:
        assert getattr(small, name).tobytes() == getattr(large, name)[:, :2].tobytes(), name
    assert np.isnan(large.coverage[:, 2]).all()
    assert small.share.tobytes() == large.share.tobytes()


def check_nothing_is_expected_of_the_unheard(model: HealthModel[Any]) -> None:
    """An entity whose series never spoke is unknown, and nothing is expected of it."""
    none = np.zeros(0)
    nothing = Evidence(none.astype(np.int64), none.astype(np.uint32), none, none.astype(np.int64))
    roster = Roster(np.zeros(2, np.uint32), np.full(2, 0.5))
    state = model.grow(model.fresh(), 2, 1)
    _, found = model.assess(state, nothing, MINUTE * np.arange(1, 4, dtype=np.int64), roster)
    assert np.isnan(found.health).all()
    assert np.isnan(found.coverage).all()
    assert (found.state == UNKNOWN).all()


def health_checks() -> Iterator[Check]:
    """Yield every check; together they say what a health model is."""
    yield check_cuts_do_not_show
    yield check_answers_stay_in_range
    yield check_shares_add_up
    yield check_growth_is_neutral
    yield check_nothing_is_expected_of_the_unheard
