"""The whole pipeline over files: the same core, the samples of all files merged by time.

The files are the journal here: every sample arrives at its own time, and `run.json` holds their
digests beside the digest of the results, so anyone can run it again and compare.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from watchkeeper import __version__, core
from watchkeeper.contracts import Known, check
from watchkeeper.core import Concluded, Observed
from watchkeeper.core.state import START, Rulebook, State
from watchkeeper.core.timeline import Block, Timeline
from watchkeeper.detectors import Samples
from watchkeeper.engines import Engine
from watchkeeper.errors import NothingToRead
from watchkeeper.model import Batch, Counts, Millis, pick
from watchkeeper.policies import digest as digest_of
from watchkeeper.reports import Facts, Findings, Input, Range
from watchkeeper.results import Results, series_digest

T = TypeVar("T")


@dataclass
class Progress:
    """Where a run stands; told after every batch read and every block scored."""

    stage: str = "read"
    samples: int = 0
    total: int | None = None  # samples to score, once everything is read


@dataclass
class Given:
    """What a run was given. Problems may still be added while the inputs are read.

    :param inputs: name, size in bytes and sha256 of each. :param problems: one line each.
    """

    title: str
    inputs: Sequence[Mapping[str, Any]]
    problems: list[str]


@dataclass
class Tally:
    """What a run counted, and how long each stage took."""

    offered: int = 0
    counts: Counts = field(default_factory=Counts)
    series: int = 0
    entities: int = 0
    ticks: int = 0
    first: int | None = None
    last: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, stage: str, since: float) -> float:
        """Add the time since `since` to a stage; return now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now


def read(
    batches: Iterator[Batch],
    rulebook: Rulebook,
    results: Results,
    tally: Tally,
    tell: Callable[[Progress], None],
) -> Timeline:
    """Check every batch; lay what is accepted out in time, keep what is not for quarantine."""
    timeline, known = Timeline(rulebook.tick), Known(rulebook.contracts)
    progress, since = Progress(), time.perf_counter()
    for batch in _ahead(batches):
        since = tally.timed("read", since)
        checked = check(rulebook.contracts, batch, START, known=known, live=False)
        tally.offered += checked.offered
        tally.counts += Counts(rejected=checked.rejected.num_rows)
        timeline.add(checked.keys, checked.samples)
        results.reject(checked.rejected)
        progress.samples = tally.offered
        since = tally.timed("check", since)
        tell(progress)
    return timeline


def score(
    timeline: Timeline,
    rulebook: Rulebook,
    engine: Engine,
    results: Results,
    tally: Tally,
    tell: Callable[[Progress], None],
    batch: int | None = None,
) -> State:
    """Carry the timeline through the core into the results, block by block.

    :param batch: at most so many samples at once go to the detectors; does not show in the result.
    :raises NothingToRead: not one sample was accepted.
    """
    if timeline.samples == 0:
        raise _nothing(tally, results)
    progress = Progress("score", 0, timeline.samples)
    state = core.fresh(rulebook)
    state = core.enrol(rulebook, state, timeline.keys())
    tally.series, tally.entities = len(state.series.entity), len(state.series.entities)
    since = time.perf_counter()
    for block in _ahead(timeline.blocks(tally.entities)):
        since = tally.timed("sort", since)
        state, observed, concluded = _one(rulebook, state, engine, block, tally, batch)
        tally.counts += observed.counts
        tally.ticks += len(block.ticks)
        tally.first = int(block.ticks[0]) if tally.first is None else tally.first
        tally.last = int(block.ticks[-1])
        since = time.perf_counter()
        results.add(state.series, [observed], concluded)
        since = tally.timed("wait for writer", since)
        progress.samples += len(block.row)
        tell(progress)
    return state


def facts(
    rulebook: Rulebook, tally: Tally, digest: str, state: State, given: Given
) -> dict[str, Any]:
    """Return run.json: versions, inputs, the accounting identity, the digest; timings apart."""
    counts = tally.counts
    assert tally.offered == counts.accepted + counts.rejected, (tally.offered, counts)
    return {
        "schema": "watchkeeper.run/1",
        "version": __version__,
        "inputs": [dict(one) for one in given.inputs],
        "problems": list(given.problems),
        "rulebook": {"digest": rulebook.digest, "document": rulebook.document},
        "counts": {
            "offered": tally.offered,
            "accepted": counts.accepted,
            "rejected": counts.rejected,
            "scored": counts.scored,
            "duplicate": counts.duplicate,
            "late": counts.late,
            "series": tally.series,
            "entities": tally.entities,
            "ticks": tally.ticks,
        },
        "window": {"first_tick": tally.first, "last_tick": tally.last},
        "series_digest": series_digest(state.series.keys),
        "digest": digest,
    }


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Make the next item on a thread while this one is worked on."""
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        waiting = thread.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = thread.submit(next, items, None)
            yield item


def _one(
    rulebook: Rulebook,
    state: State,
    engine: Engine,
    block: Block,
    tally: Tally,
    batch: int | None,
) -> tuple[State, Observed, Concluded]:
    since = time.perf_counter()
    samples = Samples(block.row, block.time, block.time, block.value)
    if batch is None or batch >= len(block.row):
        state, observed = core.observe(rulebook, state, samples, engine)
    else:
        state, observed = _in_parts(rulebook, state, engine, samples, batch)
    since = tally.timed("detect", since)
    state, concluded = core.conclude(rulebook, state, observed.evidence, block.ticks)
    tally.timed("conclude", since)
    return state, observed, concluded


def _in_parts(
    rulebook: Rulebook, state: State, engine: Engine, samples: Samples, batch: int
) -> tuple[State, Observed]:
    """Observe slices of time one after the other and put the results back in order."""
    cuts = np.sort(samples.time)[batch::batch]
    part_of = np.searchsorted(cuts, samples.time, side="right")
    done = []
    for part in np.unique(part_of):
        chosen = np.flatnonzero(part_of == part)
        state, observed = core.observe(rulebook, state, pick(samples, chosen), engine)
        done.append(observed)
    return state, core.merged(done)


def scored(
    batches: Iterator[Batch],
    rulebook: Rulebook,
    engine: Engine,
    out: Path,
    given: Given,
    tell: Callable[[Progress], None] = lambda _: None,
    batch: int | None = None,
) -> tuple[dict[str, Any], Findings]:
    """Run everything into the folder `out`; return run.json's content and the findings."""
    with Results(out) as results:
        tally, begun = Tally(), time.perf_counter()
        timeline = read(batches, rulebook, results, tally, tell)
        state = score(timeline, rulebook, engine, results, tally, tell, batch)
        since = time.perf_counter()
        digest = results.settle()
        since = tally.timed("finish writing", since)
        findings = results.report(_told(rulebook, tally, digest, given))
        tally.timed("report", since)
        tally.timed("total", begun)
        run = facts(rulebook, tally, digest, state, given)
        run["timings"] = {
            "seconds": {stage: round(seconds, 4) for stage, seconds in tally.seconds.items()},
            "samples_per_second": round(tally.offered / tally.seconds["total"]),
            "workers": engine.workers,
        }
        results.publish(run)
        return run, findings


def versions(rulebook: Rulebook) -> tuple[tuple[str, str], ...]:
    """Return (name, version) of everything that has a say in the results."""
    document = rulebook.document
    plugs = [*document["detectors"], document["health"]]
    return (
        ("watchkeeper", __version__),
        ("rulebook", rulebook.digest[:12]),
        *((f"contract {one.name}", str(one.version)) for one in rulebook.contracts),
        *((str(plug["type"]), str(plug["version"])) for plug in plugs),
        *((f"policy {one.name}", digest_of(one)[:12]) for one in rulebook.policies),
    )


def possible(rulebook: Rulebook) -> dict[str, Range]:
    """Return what the contracts hold for possible of each metric, as it is shown.

    A counter is shown as its rate, which is never below 0. Of several meanings of one name the
    widest counts.
    """
    found: dict[str, Range] = {}
    for metric in (one for contract in rulebook.contracts for one in contract.metrics):
        range_of = Range(0.0) if metric.kind == "counter" else Range(metric.low, metric.high)
        before = found.get(metric.name, range_of)
        lows, highs = (before.low, range_of.low), (before.high, range_of.high)
        found[metric.name] = Range(
            None if None in lows else min(low for low in lows if low is not None),
            None if None in highs else max(high for high in highs if high is not None),
        )
    return found


def _nothing(tally: Tally, results: Results) -> NothingToRead:
    """Nothing will be written, so the error has to say what quarantine.parquet would have."""
    if tally.offered == 0:
        return NothingToRead("no input holds a sample", hint="see what is said of each input")
    why = (
        results.quarantine().group_by("reason").aggregate([("origin", "min"), ("origin", "count")])
    )
    counts = ", ".join(
        f"{row['origin_count']} {row['reason']} such as {row['origin_min']}"
        for row in sorted(why.to_pylist(), key=lambda row: (-row["origin_count"], row["reason"]))
    )
    return NothingToRead(
        f"none of {tally.offered} samples was accepted: {counts}", hint="see docs/errors.md"
    )


def _told(rulebook: Rulebook, tally: Tally, digest: str, given: Given) -> Facts:
    return Facts(
        title=given.title,
        versions=versions(rulebook),
        inputs=tuple(Input(one["name"], one["size"], one["sha256"]) for one in given.inputs),
        counts=tally.counts,
        offered=tally.offered,
        since=Millis(tally.first or 0),
        until=Millis(tally.last or 0),
        digest=digest,
        problems=tuple(given.problems),
        possible=possible(rulebook),
    )
