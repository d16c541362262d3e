"""Fuzz targets one after the other, each in a child of a process that has everything ready.

libFuzzer keeps its state for the whole process, so each target needs one of its own; importing and
compiling takes longer than fuzzing, so they share it: the parent gets ready, and forks.

A child writes what it is about to try where its parent can read it. However it ends (an exception,
a signal, the system), the parent has the bytes that were to blame and leaves them in a file.

With a number of runs and a seed, the same bytes are tried on every machine: nothing here depends
on a clock, on the order of a folder, or on the seed of hashes.
"""

import argparse
import gc
import hashlib
import mmap
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import atheris

Target = Callable[[bytes], None]

SEED = 20261128
SECONDS = 2.0  # of processor time that one input may take
MEMORY = 256 << 20  # that all inputs of a target may add to what its child began with
LONGEST = 4096  # bytes of an input
STILL = 300  # seconds by the clock after which an input waits for something that never comes
PINNED = {
    "PYTHONHASHSEED": "0",  # the order of sets is the order in which code is reached
    "OPENBLAS_NUM_THREADS": "1",  # a fork takes no thread along
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
HEAD = struct.Struct("Qd32sQ?Q")  # tried, slowest, digest, grown, trying, length


@dataclass(slots=True)
class Told:
    """What a child tells its parent, in memory they share.

    :param tried: inputs so far. :param slowest: processor seconds of the slowest.
    :param digest: of all inputs in their order. :param grown: bytes since the first one.
    :param trying: whether it is at an input. :param data: that input.
    """

    tried: int = 0
    slowest: float = 0.0
    digest: bytes = bytes(32)
    grown: int = 0
    trying: bool = False
    data: bytes = b""

    def write(self, shared: mmap.mmap) -> None:
        """Put it into the shared memory."""
        head = (self.tried, self.slowest, self.digest, self.grown, self.trying, len(self.data))
        shared[HEAD.size : HEAD.size + len(self.data)] = self.data
        HEAD.pack_into(shared, 0, *head)

    @classmethod
    def read(cls, shared: mmap.mmap) -> "Told":
        """Return what was put there last."""
        *facts, length = HEAD.unpack_from(shared)
        return cls(*facts, shared[HEAD.size : HEAD.size + length])


def peak() -> int:
    """Return the most memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def watched(target: Target, shared: mmap.mmap) -> Target:
    """Return a target that tells what it tries, and ends the process where a limit is passed.

    The timer counts processor time of this process, so a machine that stands still ends nothing;
    nobody handles its signal, so it ends what never comes back to Python, too.
    """
    told, before = Told(), peak()

    def tell(data: bytes) -> None:
        told.tried, told.trying, told.data = told.tried + 1, True, data
        told.digest = hashlib.sha256(told.digest + data).digest()
        told.write(shared)
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            target(data)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        signal.setitimer(signal.ITIMER_PROF, 0)
        told.slowest = max(told.slowest, time.process_time() - began)
        told.grown = peak() - before
        if told.grown > MEMORY:
            print(f"took {told.grown >> 20} MiB", file=sys.stderr, flush=True)
            os._exit(1)
        told.trying = False
        told.write(shared)

    return tell


def child(
    target: Target, examples: Sequence[Path], options: Sequence[str], shared: mmap.mmap, log: Path
) -> NoReturn:
    """Fuzz a target in this process, and end it."""
    out = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for path in examples:  # brings in the pages that every input needs
        target(path.read_bytes())
    most = (peak() + MEMORY >> 20) + 1
    limits = [
        f"-rss_limit_mb={most}", f"-timeout={STILL}", f"-report_slow_units={STILL}",
        f"-max_len={LONGEST}", f"-artifact_prefix={log.parent}/",
    ]  # fmt: skip
    # In the order they are named: that of a folder is its disk's affair.
    seeds = ["-shuffle=0", "-seed_inputs=" + ",".join(map(str, examples))] if examples else []
    atheris.Setup([sys.argv[0], *limits, *seeds, *options], watched(target, shared))
    atheris.Fuzz()
    os._exit(0)


def why(status: int, log: Path) -> str:
    """Return in one line why a child ended that should not have."""
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGPROF:
        return f"took more than {SECONDS:g} s of processor time"
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    said = next((line for line in lines if "ERROR: libFuzzer" in line), lines[-1])
    return f"{said} ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def fuzz(
    name: str, target: Target, examples: Sequence[Path], options: Sequence[str], folder: Path
) -> tuple[str, Path | None]:
    """Fuzz a target in a child; return what is wrong, if anything, and the file that shows it."""
    folder.mkdir(parents=True, exist_ok=True)
    log, shared = folder / "log", mmap.mmap(-1, HEAD.size + LONGEST)
    Told().write(shared)
    if not (process := os.fork()):
        try:
            child(target, examples, options, shared, log)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(2)
    _, status, used = os.wait4(process, 0)
    told = Told.read(shared)
    print(
        f"{name:<16}{told.tried:>8} tried {used.ru_utime + used.ru_stime:6.1f} s"
        f"   slowest {told.slowest * 1e3:5.0f} ms   {told.grown >> 20:>3} MiB"
        f"   sha256 {told.digest.hex()[:16]}",
        flush=True,
    )
    if told.trying:
        left = folder / f"crash-{hashlib.sha1(told.data, usedforsecurity=False).hexdigest()}"
        left.write_bytes(told.data)
        return why(status, log), left
    if status or not told.tried:
        return f"{why(status, log)}, at no input; see {log}", None
    return "", None


def pinned(module: str) -> None:
    """Begin anew where the environment is not what the same run takes everywhere."""
    if any(os.environ.get(name) != value for name, value in PINNED.items()):
        command = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **PINNED})


def main(
    module: str,
    targets: Mapping[str, Target],
    examples: Callable[[str], Sequence[Path]],
    runs: Mapping[str, int],
) -> int:
    """Fuzz those targets that the command line names, or all; return whether something is wrong.

    :param module: what `python -m` runs, for the command that tries a finding again.
    :param examples: what to begin with. :param runs: inputs of each target, unless told seconds.
    """
    asked = argparse.ArgumentParser(f"python -m {module}", description=main.__doc__)
    asked.add_argument("names", nargs="*", metavar="TARGET", help=", ".join(targets))
    asked.add_argument("--seconds", type=int, help="fuzz by the clock, for so long in all")
    asked.add_argument("--seed", type=int, help="of chance; by the clock, another one each time")
    asked.add_argument("--again", type=Path, nargs="+", default=[], help="try these files only")
    asked.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where findings go")
    given = asked.parse_args()
    names = given.names or [*targets]
    seed = given.seed or (random.randrange(1, 1 << 31) if given.seconds else SEED)
    for name in names:
        for path in examples(name):
            targets[name](path.read_bytes())
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert len(threads) == 1, f"a fork would leave threads behind: {threads}"
    gc.collect()
    gc.freeze()  # or the first collection of each child copies all there is
    print(f"seed {seed}", flush=True)
    wrong = 0
    for name in names:
        # The weights that entropy gives to inputs differ from run to run, whatever the seed.
        long = ["-entropic=0", f"-runs={runs[name]}"]
        if given.seconds:
            long = [f"-max_total_time={max(1, given.seconds // len(names))}"]
        options = [str(path) for path in given.again] or [*long, f"-seed={seed}"]
        reason, file = fuzz(name, targets[name], examples(name), options, given.out / name)
        if reason:
            print(f"{name}: {reason}" + (f", from {file}" if file else ""), flush=True)
            wrong += 1
        if file:
            print(f"  again: {sys.executable} -m {module} {name} --again {file}", flush=True)
    return 1 if wrong else 0
