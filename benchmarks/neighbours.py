"""What one tenant's flood costs the others: how long their requests wait with it and without.

C6 and D1 of docs/reliability.md. A tenant that behaves sends 5,000 samples a second in requests of
100; in every other round another tenant names series nobody has seen, a million in a minute: half
of them of one metric, as with a request id in a label, half of a metric each. Its share is full
before the first round, so all of them are refused. A request waits from when it was due, whether or
not those before it were answered by then.

    python -m benchmarks.neighbours [--pairs 4] [--seconds 10] [--burst 15] [--at-once 2000]
                                    [--share 20000]

At the end, D1: ten times the load of the one that behaves, for so many seconds (0: not at all).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event
from pathlib import Path

import cramjam
import numpy as np

from benchmarks.ingest.payloads import STEP, Request, Shard, field, varint
from benchmarks.ingest.sender import REMOTE_WRITE, Connection, Sent, send
from benchmarks.ingest.servers import Server, running

CONFIG = """\
version: 1
sources: []
limits: {{tenant_series: {share}, tenant_metric_series: {of_one}, tenant_new_series: {share}}}
"""
NOMINAL, BURST = 5_000, 10  # samples a second; times as many
SERIES, EACH = 2_000, 100  # of the tenant that behaves; in one request
FLOOD = 1_000_000 / 60  # new series a second
GREEDY = REMOTE_WRITE + "X-Scope-OrgID: greedy\r\n"
WARM = 4.0  # seconds before the first round
APART = 0.5  # seconds between two rounds


@dataclass(frozen=True)
class Told:
    """What came of a flood."""

    series: int
    refused: int
    statuses: Counter[int]
    behind: float  # seconds, at the end


def flood(first: int, count: int, at_once: int) -> Iterator[bytes]:
    """Yield requests of a sample each of so many series, numbered from `first`.

    All are written alike, and only the digits of their numbers are changed.
    """
    now = varint(int(time.time() * 1000))
    told = field(2, b"\x09" + bytes(8) + b"\x10" + now)
    for place in range(first, first + count, at_once):
        one_metric = place // at_once % 2 == 0
        labels = [("__name__", "flood" if one_metric else "flood00000000")]
        labels += [("id", "00000000")] if one_metric else []
        labels += [("instance", "n:1")]
        named = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in labels)
        like = field(1, named + told)
        written = np.tile(np.frombuffer(like, np.uint8), (at_once, 1))
        begin, number = like.index(b"00000000"), np.arange(place, place + at_once)
        for digit in range(8):
            written[:, begin + 7 - digit] = ord("0") + number // 10**digit % 10
        yield bytes(cramjam.snappy.compress_raw(written.tobytes()))


def pour(port: int, path: str, todo: Pipe, ready: Event, stop: Event) -> None:
    """Send a flood at its rate for as long as its round lasts; say what came of it."""
    first, count, at_once = todo.recv()
    bodies = list(flood(first, count, at_once))
    connection, statuses = Connection(port, path, GREEDY), Counter[int]()
    refused, series, late = 0, 0, 0.0
    ready.set()
    begun = time.perf_counter()
    for body in bodies:
        late = time.perf_counter() - (begun + series / FLOOD)
        if stop.wait(max(0.0, -late)):
            break
        status, said = connection.post(body)
        statuses[status] += 1
        series += at_once
        refused += int(said.split()[0]) if status == 400 else 0
    connection.close()
    todo.send(Told(series, refused, statuses, max(0.0, late)))


class Behaving:
    """The tenant that behaves: the requests it has still to send."""

    def __init__(self, seconds: float) -> None:
        self._shards = [Shard(n, range(n * EACH, (n + 1) * EACH)) for n in range(SERIES // EACH)]
        self._tick = 0
        self._begin = int(time.time() * 1000) - int(seconds * NOMINAL / SERIES + 2) * STEP * 1000

    def requests(self, samples: float) -> list[Request]:
        """Return the next requests, of so many samples."""
        ticks = range(self._tick, self._tick + int(samples / SERIES) + 1)
        self._tick = ticks.stop
        return [shard.request(tick, self._begin) for tick in ticks for shard in self._shards]


def alone(server: Server, todo: Sequence[Request], seconds: float, rate: float) -> Sent:
    """Send at a rate; nothing may be refused."""
    sent = send(server.port, server.path, todo, seconds=seconds, rate=rate)
    assert not sent.refused, sent.refused
    return sent


def beside(
    server: Server, todo: Sequence[Request], seconds: float, first: int, at_once: int
) -> tuple[Sent, Told]:
    """Send as much while another tenant floods."""
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    here, there = context.Pipe()
    pouring = context.Process(target=pour, args=(server.port, server.path, there, ready, stop))
    pouring.start()
    here.send((first, int(seconds * FLOOD), at_once))
    assert ready.wait(120), "the flood does not begin"
    sent = alone(server, todo, seconds, NOMINAL)
    stop.set()
    told: Told = here.recv()
    pouring.join()
    return sent, told


def waits(sent: Sent) -> str:
    """Return how long requests waited, as people read it."""
    return f"p50 {sent.wait(0.5):.1f} p99 {sent.wait(0.99):.1f} ms"


def pooled(rounds: Sequence[Sent]) -> Sent:
    """Return the waits of several rounds as if they were of one."""
    return Sent(sum(one.samples for one in rounds), [wait for one in rounds for wait in one.waits])


def fill(server: Server, given: argparse.Namespace, behaving: Behaving) -> None:
    """Have the other tenant use up its share, and print how long requests waited meanwhile."""
    seconds = 3 * given.share / FLOOD
    todo = behaving.requests(seconds * NOMINAL)
    sent, told = beside(server, todo, seconds, 1_000_000, given.at_once)
    assert told.series - told.refused == given.share, told
    print(f"while a share of {given.share} is filled: {waits(sent)}", flush=True)
    server.settle(server)


def compare(server: Server, given: argparse.Namespace, behaving: Behaving) -> None:
    """Measure pairs of rounds, each the other way round than the last, and print them."""
    pairs: list[tuple[Sent, Sent]] = []
    floods: list[Told] = []
    for number in range(given.pairs):
        found: dict[bool, Sent] = {}
        for flooded in (number % 2 == 1, number % 2 == 0):
            todo = behaving.requests(given.seconds * NOMINAL)
            if flooded:
                first = number * int(given.seconds * FLOOD)
                found[True], told = beside(server, todo, given.seconds, first, given.at_once)
                floods.append(told)
            else:
                found[False] = alone(server, todo, given.seconds, NOMINAL)
            time.sleep(APART)
        pairs.append((found[False], found[True]))
        print(
            f"alone {waits(pairs[-1][0])}; beside the flood {waits(pairs[-1][1])}"
            f"  ({told.series} series, {told.refused} refused, {told.behind:.1f} s behind)",
            flush=True,
        )
    quiet, loud = (pooled([pair[n] for pair in pairs]) for n in (0, 1))
    sent, refused = sum(one.series for one in floods), sum(one.refused for one in floods)
    statuses = sum((one.statuses for one in floods), Counter[int]())
    print(f"flood: {sent} new series, {refused} refused, {dict(statuses)}")
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        ratio = statistics.median(two.wait(share) / one.wait(share) for one, two in pairs)
        print(
            f"{name}: {quiet.wait(share):.1f} ms alone, {loud.wait(share):.1f} beside the flood;"
            f" {loud.wait(share) / quiet.wait(share):.2f} times, in the median pair {ratio:.2f}"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--burst", type=float, default=15.0)
    parser.add_argument("--at-once", type=int, default=2_000, help="series of one request")
    parser.add_argument("--share", type=int, default=20_000, help="series the other may have")
    given = parser.parse_args()
    rounds = WARM + 3 * given.share / FLOOD + 2 * given.pairs * (given.seconds + 1)
    behaving = Behaving(rounds + BURST * (given.burst + 1))
    config = CONFIG.format(share=given.share, of_one=given.share // 10)
    print("load average at the start: {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))
    with (
        tempfile.TemporaryDirectory() as folder,
        running("watchkeeper", Path(folder) / "house", config) as server,
    ):
        alone(server, behaving.requests(WARM * NOMINAL), WARM, NOMINAL)
        if given.pairs:
            fill(server, given, behaving)
            compare(server, given, behaving)
        if given.burst:
            rate = BURST * NOMINAL
            sent = alone(server, behaving.requests(given.burst * rate), given.burst, rate)
            print(
                f"burst of {rate} samples/s, {sent.samples / given.burst:.0f} acknowledged:"
                f" {waits(sent)}, {sent.wait(1):.1f} at most"
            )
        print(f"most memory: {server.peak() / (1 << 20):.0f} MiB")
    print("load average at the end: {:.1f} {:.1f} {:.1f}".format(*os.getloadavg()))


if __name__ == "__main__":
    main()
