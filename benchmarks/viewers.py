"""What people who look cost: throughput of a house with and without viewers of its live page.

One house takes the telemetry of a fleet by remote write as fast as it can, in rounds of the same
size; in every other round viewers hold its page open as a browser does: a stream of what changed,
and the part of the page that changes as soon as it may have, but no sooner than five seconds
after the last time (static/page.js). What counts is the median of the ratios of neighbouring
rounds, which share whatever else the machine is doing. A round has to last longer than the time
between two looks of one viewer, or it holds none: take more ticks on a faster machine.

    python -m benchmarks.viewers [--viewers 100] [--pairs 3] [--series 20000] [--ticks 240]
                                 [--rate 0]

With a rate (samples a second) that leaves the machine idle most of the time, what counts is the
processor time of the house: others on the machine show in it less than in the throughput.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection as Pipe
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.ingest.payloads import Request, requests
from benchmarks.ingest.sender import send
from benchmarks.ingest.servers import Server, running

APART, HEARING, SPREAD = 5.0, 15.0, 2.0  # as in static/page.js
WARM = 10  # ticks before the first round


class Round(NamedTuple):
    """One round.

    :param cpu: seconds that the house used. :param took: seconds by the clock.
    """

    samples: int
    cpu: float
    took: float

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.samples / self.took

    @property
    def cost(self) -> float:
        """CPU seconds of a million samples."""
        return self.cpu / (self.samples / 1e6)


class Viewer:
    """One open page of the fleet: a connection for what changed, and one for looks."""

    def __init__(self, port: int) -> None:
        self.port, self.tag, self.looks, self.bytes, self.events = port, "", 0, 0, 0
        self.changed = asyncio.Event()
        self.kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def hold(self) -> None:
        """Look at the page and be told what changes, for ever."""
        await self.look("")
        await asyncio.gather(self.listen(), self.keep_looking())

    async def listen(self) -> None:
        """Hear what changed."""
        reader, _ = await self.ask(await self.connect(), "/api/v1/events?brief=yes", "")
        async for line in reader:
            if line.startswith(b"data: "):
                told = json.loads(line[6:])
                self.events += 1
                if told.get("entities") or told.get("decisions") or "tick" in told:
                    self.changed.set()

    async def keep_looking(self) -> None:
        """Bring the page up to date when it may have changed, and now and then."""
        while True:
            await asyncio.sleep(APART + random.random() * SPREAD)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), HEARING - APART)
            self.changed.clear()
            await self.look("HX-Request: true\r\n")

    async def look(self, headers: str) -> None:
        """Ask for the page, or for the part of it that changed."""
        if self.tag:
            headers += f"If-None-Match: {self.tag}\r\n"
        self.kept = await self.ask(self.kept or await self.connect(), "/", headers)
        head = (await self.kept[0].readuntil(b"\r\n\r\n")).decode("latin-1")
        said = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in head.split("\r\n"))
        }
        assert head[9:12] in ("200", "304"), head
        size = int(said.get("content-length", 0)) if head[9:12] == "200" else 0
        await self.kept[0].readexactly(size)
        self.tag = said["etag"]
        self.looks += 1
        self.bytes += len(head) + size

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)

    async def ask(
        self, by: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str, headers: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Send a request."""
        by[1].write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())
        await by[1].drain()
        return by


def hold(port: int, count: int, ready: Event, stop: Event, told: Pipe) -> None:
    """Be so many viewers until told to stop; say what they did."""

    spent = 0.0

    async def everybody() -> list[Viewer]:
        nonlocal spent
        viewers = [Viewer(port) for _ in range(count)]
        tasks = [asyncio.create_task(one.hold()) for one in viewers]
        while any(one.looks == 0 for one in viewers):
            await asyncio.sleep(0.05)
        ready.set()
        begun = time.process_time()
        await asyncio.to_thread(stop.wait)
        spent = time.process_time() - begun
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return viewers

    viewers = uvloop.run(everybody())
    counts = (sum(getattr(one, n) for one in viewers) for n in ("looks", "events", "bytes"))
    told.send((*counts, spent))


def one_round(server: Server, todo: Sequence[Request], rate: float = 0.0) -> Round:
    """Send a round, and wait until all of it is decided. :param rate: as `send` takes it."""
    cpu, begun = server.cpu(), time.perf_counter()
    sent = send(server.port, server.path, todo, seconds=600.0, rate=rate)
    assert not sent.refused, sent.refused
    server.settle(server)
    return Round(sent.samples, server.cpu() - cpu, time.perf_counter() - begun)


def watched(server: Server, count: int, work: Callable[[], Round]) -> tuple[Round, str]:
    """Do a round while so many look; return it and what they did."""
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    here, there = context.Pipe(duplex=False)
    viewers = context.Process(target=hold, args=(server.port, count, ready, stop, there))
    viewers.start()
    assert ready.wait(120), "the viewers see no page"
    found = work()
    stop.set()
    looks, events, size, spent = here.recv()
    viewers.join()
    did = f"{looks} looks, {events} events, {size / 1e6:.1f} MB; themselves {spent:.2f} CPU s"
    return found, did


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--series", type=int, default=20_000)
    parser.add_argument("--ticks", type=int, default=240)
    parser.add_argument("--rate", type=float, default=0.0)
    given = parser.parse_args()
    ticks = WARM + 2 * given.pairs * given.ticks
    every = list(requests(given.series, ticks))
    rounds = [
        [one for one in every if begin <= one.tick < begin + given.ticks]
        for begin in range(WARM, ticks, given.ticks)
    ]
    pairs = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running("watchkeeper", Path(folder) / "house") as server,
    ):
        one_round(server, [one for one in every if one.tick < WARM])
        for number in range(given.pairs):
            first, second = rounds[2 * number : 2 * number + 2]
            alone = one_round(server, first, given.rate) if number % 2 == 0 else None
            todo = second if alone else first
            seen, did = watched(server, given.viewers, partial(one_round, server, todo, given.rate))
            alone = alone or one_round(server, second, given.rate)
            pairs.append((alone, seen))
            print(
                f"alone {alone.rate / 1e6:.3f} M samples/s, {alone.cost:.3f} CPU s per million;"
                f" watched {seen.rate / 1e6:.3f}, {seen.cost:.3f}  ({did})",
                flush=True,
            )
    rate = statistics.median(seen.rate / alone.rate for alone, seen in pairs)
    share = statistics.median(
        (seen.cpu - alone.cost * seen.samples / 1e6) / seen.took for alone, seen in pairs
    )
    print(f"{given.viewers} viewers: throughput {rate - 1:+.1%}; {share:.1%} of one processor")


if __name__ == "__main__":
    main()
