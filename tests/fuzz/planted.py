"""Targets with a fault in each, to see that fuzzing finds it: `python -m tests.fuzz.planted`.

Two bytes that nobody gave are found by what atheris sees of the code that compares them. Then
follows what no exception tells of: an input that takes too long, one that takes too much memory,
one that ends the process below Python.
"""

import ctypes
import sys

import atheris
from tests.fuzz.children import MEMORY, main, pinned


@atheris.instrument_func
def raises(data: bytes) -> None:
    if data[:2] == b"!?":
        raise KeyError("planted")


@atheris.instrument_func
def hangs(data: bytes) -> None:
    while data[:2] == b"!?":
        pass


@atheris.instrument_func
def takes(data: bytes) -> None:
    if data[:2] == b"!?":
        bytes([1]) * (MEMORY + (64 << 20))


@atheris.instrument_func
def dies(data: bytes) -> None:
    if data[:2] == b"!?":
        ctypes.string_at(0)


@atheris.instrument_func
def holds(data: bytes) -> None:
    if data[:2] == b"!?":
        return


TARGETS = {each.__name__: each for each in (raises, hangs, takes, dies, holds)}

if __name__ == "__main__":
    pinned("tests.fuzz.planted")
    runs = dict.fromkeys(TARGETS, 20_000)
    sys.exit(main("tests.fuzz.planted", TARGETS, lambda name: (), runs))
