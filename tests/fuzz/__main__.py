"""Fuzz what reads the bytes of others, with atheris: `python -m tests.fuzz [TARGET ...]`.

Without more words it tries what every run of the tests tries: the same inputs each time. With
`--seconds` it looks for new ones. What it finds is left in `build/fuzz/TARGET`; put it into the
corpus of its target, and the suite tries it on every run. Modules without kernels are
instrumented; kernels are compiled.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import atheris
from tests.fuzz.children import main, pinned

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
KERNELS = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    for path in (ROOT / "src" / "watchkeeper").rglob("*.py")
    if "njit" in path.read_text()
]
RUNS = {  # about 4.5 s of processor time each, 60 s in all, as measured on 2026-11-29
    "snappy": 12_000,
    "remote_write_1": 10_000,
    "remote_write_2": 9_000,
    "otlp_protobuf": 9_000,
    "otlp_json": 16_000,
    "line_protocol": 4_000,
    "json_lines": 9_000,
    "alerts": 50_000,
    "exposition": 1_800,
    "snmp": 7_000,
    "journal_record": 150_000,
    "configuration": 1_000,
    "policy": 13_000,
}


def examples(name: str) -> Sequence[Path]:
    """Return the corpus of a target, in the same order everywhere."""
    return sorted((CORPUS / name).iterdir())


if __name__ == "__main__":
    pinned("tests.fuzz")
    with atheris.instrument_imports(include=["watchkeeper"], exclude=KERNELS):
        from tests.fuzz.targets import TARGETS
    sys.exit(main("tests.fuzz", TARGETS, examples, RUNS))
