"""Measure the policies: 10 rules over 10,000 entities, a tick at a time.

Run `python benchmarks/policies.py`. "starting" is the one tick in which every rule begins to fire
for every entity and all decisions are written; "firing" is any later tick of the same outage.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from watchkeeper.model import Contribution
from watchkeeper.policies import Held, Policy, judge, nothing_held, read
from watchkeeper.testing.policies import Table

CONDITIONS = (
    'state == "fail"',
    "health < 60.0",
    "health < 90.0 && coverage > 0.5",
    "score > 1.0",
    'signal["system.cpu.utilization"] > 1.0',
    'signal["system.memory.utilization"] > 1.0 && health < 90.0',
    'state in ["fail", "warn"] && score > 0.5',
    "100.0 - health > 20.0",
    '!(state == "ok") && health < 80.0',
    'entity_type == "host" && health < 70.0',
)


def rules(count: int, mode: str) -> list[Policy]:
    """Return `count` policies, each with its own condition, without any waiting."""
    texts = [CONDITIONS[i % len(CONDITIONS)] for i in range(count)]
    return [
        read({"name": f"rule-{i}", "when": text, "mode": mode, "action": ["log"],
              "rate": {"acts": 1_000_000}, "blast_radius": {"amount": 1_000_000, "percent": 100}},
             "benchmark")
        for i, text in enumerate(texts)
    ]  # fmt: skip


def fleet(entities: int, tick: int, bad: bool) -> Table:
    """Return one tick of a fleet that is all well, or all bad."""
    shape = (1, entities)
    signal = np.full(shape, 3.0 if bad else 0.1)
    shares = (Contribution("system.cpu.utilization", "{}", 1.0),)
    return Table(
        np.array([tick * 1000]),
        [f"host:web-{i}" for i in range(entities)],
        np.full(shape, 40.0 if bad else 99.0),
        np.ones(shape),
        np.full(shape, 2.5 if bad else 0.1),
        {"system.cpu.utilization": signal, "system.memory.utilization": signal},
        {(0, e): shares for e in range(entities)} if bad else {},
    )


def timed(policies: list[Policy], held: Held, view: Table) -> tuple[Held, float, int]:
    """Judge once; return the memory, milliseconds, and how many decisions there were."""
    begin = time.perf_counter()
    held, decisions, _ = judge(policies, held, view)
    return held, (time.perf_counter() - begin) * 1000, len(decisions)


def measure(entities: int, count: int, mode: str) -> None:
    """Print the milliseconds of one tick in each situation."""
    policies, held = rules(count, mode), nothing_held()
    quiet, firing = [], []
    for tick in range(1, 22):
        held, took, _ = timed(policies, held, fleet(entities, tick, bad=False))
        quiet.append(took)
    held, starting, decided = timed(policies, held, fleet(entities, 30, bad=True))
    for tick in range(31, 41):
        held, took, _ = timed(policies, held, fleet(entities, tick, bad=True))
        firing.append(took)
    pairs = entities * count
    print(
        f"{entities:>6} entities x {count:>2} rules = {pairs:>7} pairs, {mode:7}: "
        f"first tick {quiet[0]:7.1f} ms, none firing {statistics.median(quiet[1:]):6.2f} ms, "
        f"starting {starting:8.1f} ms ({decided} decisions, {starting * 1000 / decided:.1f} us "
        f"each), all firing {statistics.median(firing):6.2f} ms"
    )


def main() -> None:
    """Measure the sizes given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--rules", type=int, default=10)
    options = parser.parse_args()
    measure(10, 10, "auto")  # compiles the kernels
    for mode in ("dry_run", "auto"):
        measure(options.entities // options.rules, options.rules, mode)
        measure(options.entities, 1, mode)
        measure(options.entities, options.rules, mode)


if __name__ == "__main__":
    main()
