"""The corpus and what chance makes of it, the same on every run; atheris goes on from there."""

import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
FOUND = ROOT / "build" / "fuzz"
SEED, MUTANTS = 20261128, 150
SECONDS = int(os.environ.get("WATCHKEEPER_FUZZ", "60"))  # of all targets together


def mutant(data, chance):
    """One to four of: a bit turned, bytes left out, doubled, or replaced by something nasty."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(found) + 1)
        length = chance.randint(1, 8)
        kind = chance.randrange(4)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[at : at + length]
        elif kind == 2:
            found[at:at] = found[at : at + length]
        else:
            found[at : at + length] = chance.choice(
                [b"\xff" * 9, b"\x80" * 9, b"\0", b'"', b"\\", b"\n", b"{", b"}", b"1e999"]
            )
    return bytes(found)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_in_the_corpus_or_near_it_breaks_a_target(name):
    target, chance = TARGETS[name], random.Random(f"{SEED} {name}")
    found = sorted((CORPUS / name).iterdir())
    assert found, "a corpus begins with an example of what users send"
    examples = [path.read_bytes() for path in found]
    tried = [*examples, b""]
    tried += [mutant(chance.choice(examples), chance) for _ in range(MUTANTS)]
    for data in tried:
        try:
            target(data)
        except BaseException as error:
            pytest.fail(f"{name}: {error!r} from {data!r}")


def fuzzed(module, out, *options):
    """Run what `make fuzz` runs; return its exit code and what it said."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-m", module, "--out", str(out), *options],
        cwd=ROOT, env={**around, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr[-2000:]


slow_machine = pytest.mark.timeout(1800)  # by the clock: a minute of processor time, shared
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="there is no atheris for this Python"
)


@needs_atheris
def test_faults_that_were_planted_are_found_and_found_again(tmp_path):
    """Two bytes that nobody gave, found by what atheris sees of the code that compares them."""
    code, said = fuzzed("tests.fuzz.planted", tmp_path)
    assert code == 1, said
    found = dict(re.findall(r"^(\w+): .*, from (.+)$", said, re.MULTILINE))
    assert found.keys() == {"raises", "hangs", "takes", "dies"}, said
    assert all(Path(file).read_bytes()[:2] == b"!?" for file in found.values())
    assert "raises: KeyError: 'planted'" in said
    assert "hangs: took more than 2 s of processor time" in said
    commands = dict(re.findall(r"again: .* -m tests.fuzz.planted (\w+) (.*)$", said, re.MULTILINE))
    assert commands.keys() == found.keys()
    code, again = fuzzed("tests.fuzz.planted", tmp_path, "dies", *commands["dies"].split(" ", 1))
    assert code == 1, again
    assert f", from {found['dies']}\n" in again


@needs_atheris
@slow_machine
def test_atheris_finds_nothing():
    """The same inputs in every run: what is not found here is not found elsewhere by chance."""
    code, said = fuzzed("tests.fuzz", FOUND)
    assert code == 0, said


@needs_atheris
@slow_machine
@pytest.mark.nightly
def test_two_runs_try_the_same_inputs(tmp_path):
    digests = []
    for _ in range(2):
        code, said = fuzzed("tests.fuzz", tmp_path)
        assert code == 0, said
        digests.append(re.findall(r"^(\w+) .* (sha256 \w+)$", said, re.MULTILINE))
    assert len(digests[0]) == len(TARGETS)
    assert digests[0] == digests[1]


@needs_atheris
@slow_machine
@pytest.mark.nightly
def test_atheris_finds_nothing_new():
    """With another seed each time; what it says begins with the seed."""
    code, said = fuzzed("tests.fuzz", FOUND / "new", "--seconds", str(SECONDS))
    assert code == 0, said
