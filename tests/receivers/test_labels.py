"""Labels of a block: read by a kernel where they are plain, with care where they are not; alike."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.receivers.prometheus_naive import field, label

from watchkeeper import identity
from watchkeeper.identity import Identity, Naming
from watchkeeper.model import attributes_text, canonical
from watchkeeper.receivers import Limits
from watchkeeper.receivers._labels import Refused, read, read_all
from watchkeeper.receivers._seen import Seen

LIMITS = Limits(labels=3, name=9, value=12)
WORDS = st.sampled_from(
    ["__name__", "a", "b", "ab", "job", "x" * 9, "x" * 10, "", "é", "v" * 12, "v" * 13]
)
PAIRS = st.lists(st.tuples(WORDS, WORDS), max_size=4)
NAMED = PAIRS.map(lambda pairs: sorted({"__name__": "up", **dict(pairs)}.items()))
WRITTEN = st.one_of(PAIRS, NAMED).map(lambda pairs: b"".join(label(*pair) for pair in pairs))
BROKEN = st.tuples(WRITTEN, st.integers(0, 60), st.integers(0, 255)).map(
    lambda one: one[0][: one[1]] + bytes([one[2]]) + one[0][one[1] + 1 :]
)
UP = label("__name__", "up")


def known(blocks):
    """A memory of blocks, and their numbers in it."""
    seen = Seen(1_000)
    ends = np.cumsum([0, *map(len, blocks)])
    places = np.stack([ends[:-1], ends[1:], np.zeros(len(blocks), np.int64)], axis=1)
    return seen, seen.resolve(np.frombuffer(b"".join(blocks), np.uint8), places)


def one_by_one(block):
    try:
        return read(block, LIMITS)
    except Refused:
        return None


@settings(deadline=None)  # the first one may wait for a kernel
@given(st.lists(st.one_of(WRITTEN, BROKEN), min_size=1, max_size=8))
@example([UP, label("", "v") + UP, UP + label("a", ""), UP + UP, label("a", "b") + UP, b""])
@example([UP + field(1, field(2, b"v") + field(1, b"a")), UP + label("a", "é"), UP])
def test_many_blocks_are_read_as_each_alone(blocks):
    seen, numbers = known(blocks)
    assert list(read_all(seen, numbers, LIMITS)) == [one_by_one(block) for block in blocks]


def test_more_blocks_than_are_read_at_once_keep_their_order():
    seen, numbers = known([UP + label("a", str(k)) for k in range(2_500)])
    found = list(read_all(seen, numbers[::-1].copy(), LIMITS))
    assert found == [("up", {"a": str(k)}) for k in reversed(range(2_500))]


@given(st.dictionaries(st.text(), st.text(), max_size=5))
def test_attributes_are_spelled_as_any_canonical_json(attributes):
    assert attributes_text(attributes) == canonical(attributes)


NAMINGS = (Naming("pair", ("a", "b")), Naming("none", (), ("n_",)), Naming("all", ()))
NAMED_AFTER = [
    ({"a": "1", "b": "2"}, "pair:1/2"),
    ({"a": "1"}, "all:"),
    ({"a": "", "b": "2"}, "all:"),
    ({}, "all:"),
]


@pytest.mark.parametrize(("labels", "entity"), NAMED_AFTER, ids=str)
def test_the_first_naming_whose_labels_are_all_there_names_the_entity(labels, entity):
    assert Identity(NAMINGS).key("m", labels, "source:x")[0] == entity


def test_who_fits_is_remembered_of_few_sets_of_few_labels_and_does_not_show(monkeypatch):
    monkeypatch.setattr(identity, "REMEMBERED", 2)
    one = Identity(NAMINGS)
    for labels, entity in 3 * NAMED_AFTER:
        assert one.key("m", labels, "source:x")[0] == entity
        assert one.key("m", labels | dict.fromkeys(map(str, range(40)), "x"), "")[0] == entity
        assert len(one._fitting) <= 2
        assert tuple(labels) in one._fitting
        assert max(map(len, one._fitting)) <= 2
