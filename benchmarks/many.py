"""How long a person waits for the page of a fleet of 10,000 entities, in a real browser.

A house is filled with so many hosts, a hundredth of them unwell, and hears all of them again and
again while Chromium opens the fleet, looks for the last host by its name, and asks for more rows.
What counts is what the browser itself tells of its loads (navigation and paint timing): from the
click to the last byte, to a page that can be used, to the first thing painted.

    python -m benchmarks.many [--entities 10000] [--loads 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.ingest.servers import Server, running

METRICS = ("system.cpu.utilization", "system.memory.utilization")
TOGETHER = 5_000  # entities of one request
EVERY = 5.0  # seconds between two words of one entity
FILLED = 600.0  # seconds in which the fleet must be there
TIMED = """() => {
    const [load] = performance.getEntriesByType("navigation");
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    return [load.responseEnd, load.domContentLoadedEventEnd, load.loadEventEnd,
            paint ? paint.startTime : -1, load.transferSize];
}"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]


def name_of(number: int) -> str:
    """Return the name of an entity."""
    return f"host:node-{number:05d}"


def said(count: int) -> Iterator[bytes]:
    """Return what all entities say now, as bodies of JSON lines."""
    now = time.time()
    for begin in range(0, count, TOGETHER):
        lines = [
            {
                "entity": name_of(number),
                "metric": metric,
                "attributes": {"rack": f"r{number // 40}"},
                "timestamp": now,
                "value": 0.99 if number % 100 == 7 else 0.3 + number % 10 / 100,
            }
            for number in range(begin, min(begin + TOGETHER, count))
            for metric in METRICS
        ]
        yield "".join(json.dumps(line) + "\n" for line in lines).encode()


def push(server: Server, count: int) -> None:
    """Let every entity say something."""
    for body in said(count):
        url = f"http://127.0.0.1:{server.port}/api/v1/samples"
        asked = urllib.request.Request(url, body, {"Content-Type": "application/x-ndjson"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            answer.read()


def fill(server: Server, count: int) -> None:
    """Let entities speak until the house has judged all of them."""
    until = time.monotonic() + FILLED
    while json.loads(server.get("/api/v1/status"))["data"]["entities"] < count:
        if time.monotonic() > until:
            raise SystemExit(f"not all {count:,} entities are there after {FILLED:g} s")
        push(server, count)
        time.sleep(EVERY)


def keep_speaking(server: Server, count: int, stop: threading.Event) -> None:
    """Let every entity go on as agents do."""
    while not stop.wait(EVERY):
        push(server, count)


def loads(page: Page, url: str, times: int) -> list[Sequence[float]]:
    """Open an address so many times; return what the browser tells of each."""
    found = []
    for _ in range(times):
        page.goto(url, wait_until="load")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        found.append(page.evaluate(TIMED))
        time.sleep(0.7)  # so that looks meet ticks at any distance
    return found


def told(what: str, found: Sequence[Sequence[float]]) -> None:
    """Print the median and the worst of some loads."""
    last_byte, usable, loaded, painted, size = zip(*found, strict=True)
    parts = [
        f"{name} {statistics.median(times):.0f} ms (worst {max(times):.0f})"
        for name, times in (
            ("last byte", last_byte), ("usable", usable), ("loaded", loaded), ("painted", painted),
        )
    ]  # fmt: skip
    print(f"{what}: {', '.join(parts)}; {max(size) / 1e3:.0f} kB", flush=True)


def find(page: Page, url: str, wanted: str, times: int) -> list[float]:
    """Type a name into the filter; return how long it took until its row is there, ms."""
    took = []
    for _ in range(times):
        page.goto(url, wait_until="load")
        box = page.get_by_label("Name", exact=True)
        begun = time.perf_counter()
        box.fill(wanted)
        row = page.locator("table.fleet tbody tr", has_text=wanted)
        row.wait_for()
        page.wait_for_function("document.querySelectorAll('table.fleet tbody tr').length === 1")
        took.append(1000 * (time.perf_counter() - begun))
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--loads", type=int, default=15)
    given = parser.parse_args()
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        running("watchkeeper", Path(folder) / "house") as server,
        sync_playwright() as playwright,
    ):
        fill(server, given.entities)
        speaking = threading.Thread(target=keep_speaking, args=(server, given.entities, stop))
        speaking.start()
        try:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            url = f"http://127.0.0.1:{server.port}/"
            loads(page, url, 1)  # the browser's own first
            told(f"fleet of {given.entities:,}, 50 rows", loads(page, url, given.loads))
            told("the same, 1,000 rows", loads(page, f"{url}?rows=1000", given.loads))
            took = find(page, url, name_of(given.entities - 1), given.loads)
            print(
                f"the last one, found by its name: {statistics.median(took):.0f} ms after typing"
                f" (worst {max(took):.0f}), of which 300 ms wait for more to be typed"
            )
            browser.close()
        finally:
            stop.set()
            speaking.join()


if __name__ == "__main__":
    main()
