"""The corpus and what chance makes of it, the same on every run; atheris goes on from there."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
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


PLANTED = """
import atheris
from tests.fuzz import __main__ as fuzz

@atheris.instrument_func
def planted(data):
    if data[:2] == b"!?":
        raise KeyError("planted")

fuzz.TARGETS["policy"] = planted
fuzz.main()
"""


def atheris(program, name, folder, seconds):
    """Fuzz a target for some seconds in a folder of its own, as `make fuzz` does."""
    corpus = shutil.copytree(CORPUS / name, folder / "corpus")
    options = [f"-max_total_time={seconds}", f"-seed={SEED}", str(corpus)]
    return subprocess.run(
        [sys.executable, *program, name, *options],
        cwd=folder, env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
        capture_output=True, text=True, timeout=seconds + 300, check=False,
    )  # fmt: skip


@pytest.mark.nightly
def test_atheris_tells_of_a_fault_that_was_planted(tmp_path):
    """Two bytes that nobody gave it, found by what it sees of the code that compares them."""
    done = atheris(["-c", PLANTED], "policy", tmp_path, 60)
    assert done.returncode != 0
    assert "KeyError: 'planted'" in done.stdout
    (left,) = tmp_path.glob("crash-*")
    assert left.read_bytes().startswith(b"!?")


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_atheris_finds_nothing(name, tmp_path):
    began = time.monotonic()
    done = atheris(["-m", "tests.fuzz"], name, tmp_path, max(1, SECONDS // len(TARGETS)))
    left = [path.read_bytes() for path in tmp_path.glob("*-*") if path.is_file()]
    assert done.returncode == 0, (
        f"{time.monotonic() - began:.0f} s, left {left}\n{done.stderr[-3000:]}"
    )
