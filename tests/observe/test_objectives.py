"""Error budgets: counted right, cheap to keep, and not forgotten by a restart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.health._burn_rate import HOUR, MINUTE, Budget, Pair
from watchkeeper.live._objectives import FILE, Kept, promises, shown
from watchkeeper.model import Millis

NOW = 1_700_000_000_000 // HOUR * HOUR + 59 * MINUTE  # so that whole windows fit
DAY = 24 * HOUR
PAIRS = (Pair("critical", HOUR, 5 * MINUTE, 14.4), Pair("warning", 6 * HOUR, 30 * MINUTE, 1.0))


def test_a_budget_spent_evenly_over_its_window_burns_at_one():
    budget = Budget(0.99, 30 * DAY)
    for hour in range(30 * 24):
        budget.add(NOW - hour * HOUR, 100, 1)
    assert budget.burn(NOW, 30 * DAY) == pytest.approx(1.0)
    assert budget.remaining(NOW) == pytest.approx(0.0)
    budget.add(NOW, 100, 100)
    assert budget.remaining(NOW) < 0


def test_without_events_nothing_is_spent():
    budget = Budget(0.999, 30 * DAY)
    assert budget.remaining(NOW) == 1.0
    assert budget.burning(NOW, PAIRS) is None


def test_a_burn_is_told_while_both_windows_agree_and_no_longer():
    budget = Budget(0.999, 30 * DAY)
    for minute in range(60):
        budget.add(NOW - minute * MINUTE, 60, 2)
    assert budget.burning(NOW, PAIRS) == PAIRS[0]
    for minute in range(1, 6):  # then all is well, and the short window says so
        budget.add(NOW + minute * MINUTE, 60, 0)
    assert budget.burning(NOW + 5 * MINUTE, PAIRS) == PAIRS[1]


@given(
    st.lists(st.tuples(st.integers(0, 60 * DAY), st.integers(0, 9), st.integers(0, 9)), max_size=60)
)
def test_what_is_dumped_and_loaded_counts_the_same_and_does_not_grow(rows):
    budget, again = Budget(0.99, 30 * DAY), Budget(0.99, 30 * DAY)
    for at, good, bad in sorted(rows):
        budget.add(at, good + bad, bad)
    again.load(budget.dump())
    assert again == budget
    for window in (5 * MINUTE, 6 * HOUR, 3 * DAY, 30 * DAY):
        assert 0 <= again.share(60 * DAY, window) <= 1
    assert len(budget.minutes) <= 6 * 60 + 1
    assert len(budget.hours) <= 30 * 24 + 1


def test_counts_outlive_a_restart(tmp_path):
    first = Kept(tmp_path)
    first.budgets["delivery"].add(NOW, 10, 4)
    first.write()
    second = Kept(tmp_path)
    second.read()
    (facts,) = [one for one in second.facts(Millis(NOW)) if one["name"] == "delivery"]
    assert facts["good"] == 0.6
    assert facts["remaining"] == pytest.approx(-39.0)
    assert facts["burning"] == "critical"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 9}',
        '{"version": 1, "objectives": {"loss": {"minutes": [[1, 1, 2]]}}}',
    ],
)
def test_a_file_that_cannot_be_read_begins_anew(text, tmp_path):
    (tmp_path / FILE).write_text(text)
    kept = Kept(tmp_path)
    kept.read()
    assert all(one["remaining"] == 1.0 for one in kept.facts(Millis(NOW)))
    kept.write()
    again = Kept(tmp_path)
    again.read()
    assert again.budgets == kept.budgets


def test_a_pair_of_windows_spends_the_share_that_its_source_says():
    for pair, spends in zip(promises().pairs, (0.02, 0.05, 0.10, 0.10), strict=True):
        assert pair.factor * pair.long / promises().window == pytest.approx(spends)
        assert pair.short * 12 == pair.long
    assert [shown(w) for w in (5 * MINUTE, 6 * HOUR, 30 * DAY)] == ["5m", "6h", "30d"]
