"""The budget of memory: what is allowed here, and whether there is room for more."""

import math

import pytest

from watchkeeper import memory
from watchkeeper.cli import doctor
from watchkeeper.memory import SERIES, Allowed, Budget, allowed

MEBIBYTE = 1 << 20


def groups(folder, lines, limits):
    """Make groups as the system shows them; return what `allowed` is given."""
    own = folder / "own"
    own.write_text("".join(f"{line}\n" for line in lines))
    for path, text in limits.items():
        file = folder / "groups" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return own, folder / "groups"


@pytest.mark.parametrize(
    ("lines", "limits", "size"),
    [
        (["0::/house"], {"house/memory.max": 300}, 300),
        (["0::/slice/house"], {"slice/memory.max": 200, "slice/house/memory.max": "max"}, 200),
        (["0::/slice/house"], {"slice/memory.max": 200, "slice/house/memory.max": 100}, 100),
        (["0::/of/the/host"], {"memory.max": 400}, 400),
        (
            ["9:cpu:/", "4:memory:/house", "0::/"],
            {"memory/house/memory.limit_in_bytes": 500, "house/memory.max": 1},
            500,
        ),
        (["4:memory:/"], {"memory/memory.limit_in_bytes": 9223372036854771712}, None),
        (["0::/"], {}, None),
    ],
)
def test_the_tightest_limit_of_our_group_and_those_around_it_counts(tmp_path, lines, limits, size):
    found = allowed(*groups(tmp_path, lines, limits))
    if size is None:
        assert found.by == "the machine"
    else:
        assert found == Allowed(size, "the control group")


def test_where_there_are_no_groups_the_machine_counts(tmp_path):
    assert allowed(tmp_path / "none", tmp_path).by == "the machine"


@pytest.fixture
def small(monkeypatch):
    """A budget in a group of 1,000 MiB, of which the process holds 100."""
    monkeypatch.setattr(memory, "allowed", lambda: Allowed(1_000 * MEBIBYTE, "the control group"))
    monkeypatch.setattr(memory, "left", lambda most: most - 100 * MEBIBYTE)
    monkeypatch.setattr(memory, "LOOK", math.inf)
    return Budget


def test_unless_told_otherwise_a_fifth_stays_for_work_under_way(small):
    assert (small().most, small().unfit) == (800 * MEBIBYTE, "")
    assert small(900 * MEBIBYTE).most == 900 * MEBIBYTE


def test_a_budget_that_does_not_fit_is_told_and_not_kept_to(small):
    budget = small(2_000 * MEBIBYTE)
    assert budget.most == 800 * MEBIBYTE
    assert budget.unfit == (
        "limits: memory: 2000 MiB is more than the control group allows (1000 MiB);"
        " 800 MiB is kept to"
    )


def test_what_was_let_in_counts_until_the_next_look(small):
    budget = small()
    assert budget.room(600 * MEBIBYTE)
    assert not budget.room(200 * MEBIBYTE)
    assert budget.room(100 * MEBIBYTE)


def test_requests_are_refused_before_sources_wait(small):
    budget = small()
    assert budget.room(650 * MEBIBYTE)  # 50 MiB are left, less than the tenth for sources
    assert budget.short
    assert budget.room(0)


def test_series_that_are_promised_count_until_they_are_scored(small, monkeypatch):
    monkeypatch.setattr(memory, "LOOK", 0.0)
    budget, scored = small(), 6
    budget.decided = lambda: scored
    many = 600 * MEBIBYTE // SERIES
    assert budget.promise(many, entry=7)
    assert not budget.promise(many, entry=8)
    scored = 7
    assert budget.promise(many, entry=8)


def test_series_that_will_be_refused_need_less_room_and_only_now(small, monkeypatch):
    monkeypatch.setattr(memory, "LOOK", 0.0)
    budget = small()
    budget.decided = lambda: 6
    many = 600 * MEBIBYTE // SERIES
    assert budget.promise(0, entry=7, refused=many)
    assert budget.promise(many, entry=7), "what is refused is not scored, so it is not waited for"
    assert not budget.promise(0, entry=8, refused=many)


def test_doctor_says_what_is_allowed_and_whether_the_budget_fits(small, tmp_path):
    config = tmp_path / "house.yaml"
    config.write_text("version: 1\nlimits: {memory: 2GiB}\n")

    def row(*files):
        return next(one for one in doctor.diagnose(tmp_path, files) if one.what == "memory")

    assert row().verdict == "warn"  # less than 1 GiB
    assert row().found == "1000 MiB allowed by the control group, 800 MiB to be used"
    assert row(config).verdict == "fail"
    assert row(config).hint.endswith("ask for less, or allow more")
