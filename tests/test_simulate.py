"""What a seed means is locked: these digests may change only with a reason in the changelog."""

import gzip
import hashlib
from importlib.resources import files

import pytest

from watchkeeper.simulate import Fleet, digest, preset, read
from watchkeeper.simulate.truth import read_truth, truth
from watchkeeper.simulate.writing import truth_path, write

GOLDEN = {
    1: "dd6392b81f43c2044dac8695b82fcad2eb27954f1ef9c53a5a1c6b194bbc83f7",
    2: "f90edba6d8deac66a04bc578c970da065369abebae7c0405b36ce376d3c4be0c",
    3: "ba78b7f8703c26869979a913c15ef14bf3bf19b0753fcc0e536295002eaa0806",
}
TRUTH = "56118075a95b5e022df1a27b8bf26890add0f26fc2b71a6847740fbb34540a38"
SAMPLE = files("watchkeeper") / "packs" / "host" / "sample"


@pytest.mark.parametrize("seed", GOLDEN)
def test_a_seed_gives_the_same_fleet_as_ever(seed):
    assert digest(preset("small"), seed) == GOLDEN[seed]


def test_a_seed_gives_the_same_truth_as_ever():
    text = truth(Fleet(preset("small"), 1)).text()
    assert hashlib.sha256(text.encode()).hexdigest() == TRUTH


def test_the_shipped_sample_is_what_its_scenario_and_seed_make(tmp_path):
    shipped = SAMPLE / "fleet.csv.gz"
    known = read_truth(truth_path(shipped))
    scenario = read(SAMPLE / "scenario.yaml")
    out = tmp_path / "fleet.csv.gz"
    write(scenario, known.seed, out)
    # The compressed bytes depend on the version of zlib; what they hold does not.
    assert gzip.decompress(shipped.read_bytes()) == gzip.decompress(out.read_bytes())
    assert truth_path(shipped).read_text() == truth_path(out).read_text()
    assert shipped.stat().st_size < 1_500_000
    assert {fault.fault for fault in known.faults} == {"memory_leak", "disk_fill", "fan_fail"}
