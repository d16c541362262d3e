"""Fuzz one target with atheris: `python -m tests.fuzz TARGET [libFuzzer's options]`.

What it finds is left as `crash-…` in the current folder; put it into the corpus of its target, and
the suite tries it on every run. Modules without kernels are instrumented; kernels are compiled.
"""

import hashlib
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
KERNELS = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
    for path in (ROOT / "src" / "watchkeeper").rglob("*.py")
    if "njit" in path.read_text()
]

with atheris.instrument_imports(include=["watchkeeper"], exclude=KERNELS):
    from tests.fuzz.targets import TARGETS, Target


def keeping(target: Target) -> Target:
    """Return a target that leaves behind what breaks it, under the name libFuzzer gives it.

    libFuzzer itself does so once Python has ended, which on a busy machine takes longer than one
    run may take: then it is killed before.
    """

    def kept(data: bytes) -> None:
        try:
            target(data)
        except BaseException:
            Path(f"crash-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}").write_bytes(data)
            raise

    return kept


def main() -> None:
    """Compile what the corpus needs, then fuzz."""
    name, options = sys.argv[1], sys.argv[2:]
    target = TARGETS[name]
    for path in sorted((CORPUS / name).iterdir()):
        target(path.read_bytes())
    limits = ["-rss_limit_mb=1024", "-timeout=2", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *limits, *options, str(CORPUS / name)], keeping(target))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
