"""Files put in their place: whole, and never through a link that somebody else laid (S4)."""

import os

import pytest

from watchkeeper.errors import OutputError
from watchkeeper.store import placed


def test_a_link_laid_beside_the_place_is_not_written_through(tmp_path):
    victim, place = tmp_path / "victim", tmp_path / "report.html"
    victim.write_text("precious")
    (tmp_path / f".report.html.{os.getpid()}").symlink_to(victim)
    with pytest.raises(OutputError, match=r"report\.html"):
        placed.put(place, b"ours")
    assert victim.read_text() == "precious"
    assert not place.exists()


def test_a_link_in_the_place_itself_is_replaced_and_its_target_left_alone(tmp_path):
    victim, place = tmp_path / "victim", tmp_path / "report.html"
    victim.write_text("precious")
    place.symlink_to(victim)
    placed.put(place, b"ours")
    assert (victim.read_text(), place.read_text()) == ("precious", "ours")
    assert not place.is_symlink()
