"""What is pushed to break the whole service: it is refused as documented, and nobody else suffers.

One house for all of it, a modest sender beside, and its memory watched. Afterwards the ledger is
proven, and holds what the modest sender was told is stored.
"""

import gzip
import http.client
import json
import re
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise

import cramjam
import numpy as np
import pytest
from tests.integration.house import a_house
from tests.receivers import prometheus_naive

START = 1_750_000_000_000
MIB = 1 << 20
ZEROS = bytes(16 * MIB)
GREED, SHARE, AT_ONCE = 1_000_000, 20_000, 10_000  # new series of one tenant; it may have; it sends
FIRST, OF_ONE = 200_000, 5_000  # of those that are sent first; series of one metric it may have
CONFIG = f"""sources: []
limits:
  body: 4MiB
  tenant_series: {SHARE}
  tenant_new_series: {SHARE}
  tenant_metric_series: {OF_ONE}
"""
SNAPPY = {"content_type": "application/x-protobuf", "content_encoding": "snappy"}


def squeezed(data):
    return bytes(cramjam.snappy.compress_raw(data))


def requests_of(series):
    """Remote write of one sample a series; each is a list of labels."""
    return squeezed(prometheus_naive.first([(one, [(START, 1.0)], []) for one in series]))


BOMBS = {
    "snappy that claims 4 GiB": ("/api/v1/write", b"\xff\xff\xff\xff\x0f", SNAPPY),
    "snappy of 16 MiB": ("/api/v1/write", squeezed(ZEROS), SNAPPY),
    "gzip 1000:1": ("/write", gzip.compress(ZEROS), {"content_encoding": "gzip"}),
    "gzip in gzip": (
        "/write", gzip.compress(gzip.compress(ZEROS)), {"content_encoding": "gzip"},
    ),
    "deflate": ("/write", zlib.compress(ZEROS), {"content_encoding": "deflate"}),
    "zstd": ("/write", bytes(cramjam.zstd.compress(ZEROS)), {"content_encoding": "zstd"}),
    "zstd with a window of 2 GiB": (
        "/write", b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(20), {"content_encoding": "zstd"},
    ),
    "10^6 empty series": ("/api/v1/write", squeezed(b"\x0a\x00" * 1_000_000), SNAPPY),
    "10^5 labels": (
        "/api/v1/write",
        requests_of([[("__name__", "m")] + [(f"l{k:06}", "v") for k in range(100_000)]]),
        SNAPPY,
    ),
    "a value of 1 MiB": (
        "/api/v1/write", requests_of([[("__name__", "m"), ("a", "x" * MIB)]]), SNAPPY,
    ),
    "depth 10^4": (
        "/v1/metrics", b"[" * 10_000 + b"]" * 10_000, {"content_type": "application/json"},
    ),
    "overlapping fields": ("/api/v1/write", squeezed(b"\x0a\xff\xff\xff\xff\x0f" * 10), SNAPPY),
    "an endless varint": ("/v1/metrics", b"\xff" * MIB, {"content_type": "application/x-protobuf"}),
}  # fmt: skip


def greed(labels, count):
    """Yield requests of one sample of each of AT_ONCE series nobody has seen, until all are sent.

    All series are written alike, and only six digits are changed, which are zeros in `labels`.
    """
    like = np.frombuffer(prometheus_naive.first([(labels, [(START, 1.0)])]), np.uint8)
    written = np.tile(like, (AT_ONCE, 1))
    begin = like.tobytes().index(b"000000")
    for first in range(0, count, AT_ONCE):
        number = np.arange(first, first + AT_ONCE)
        for digit in range(6):
            written[:, begin + 5 - digit] = ord("0") + number // 10**digit % 10
        yield squeezed(written.tobytes())


class Modest(threading.Thread):
    """A tenant that behaves: ten samples at a time, one request after another."""

    def __init__(self, house):
        super().__init__()
        self.house, self.over, self.stored, self.codes = house, threading.Event(), 0, set()

    def run(self):
        while not self.over.wait(0.02):
            first = self.stored
            lines = [
                json.dumps({"timestamp": START + first + k, "entity": "host:modest",
                            "metric": "load", "value": k})
                for k in range(10)
            ]  # fmt: skip
            code, _ = self.house.ask(
                "/api/v1/samples", "\n".join(lines).encode(), x_scope_orgid="modest"
            )
            self.codes.add(code)
            self.stored += 10 * (code == 200)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with a_house(tmp_path_factory.mktemp("poison") / "house", CONFIG) as found:
        modest = Modest(found)
        modest.start()
        try:
            found.modest = modest
            yield found
        finally:
            modest.over.set()
            modest.join()
        found.stop()
        found.prove()
        assert modest.codes == {200}, "nobody else may suffer"
        held = [one.time for one in found.samples() if one.entity == "host:modest"]
        assert held == list(range(START, START + modest.stored))
        assert modest.stored > 100


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_refused_and_64_of_them_at_once_take_little_memory(house, name):
    path, body, headers = BOMBS[name]
    code, said = house.ask(path, body, **headers)
    assert code in (400, 413), said
    codes, more = sixty_four(house, lambda: house.ask(path, body, **headers)[0])
    assert codes <= {code, 503}, "busy at most"
    assert more < 64 * MIB, "what is unpacked is unpacked one by one"


def sixty_four(house, ask):
    """Ask 64 times at once; return the answers, and the memory the house took for it at most."""
    before, peak, over = house.rss(), [0], threading.Event()

    def watch():
        while not over.wait(0.01):
            peak[0] = max(peak[0], house.rss())

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(64) as pool:
        codes = set(pool.map(lambda _: ask(), range(64)))
    over.set()
    watching.join()
    return codes, peak[0] - before


@pytest.mark.nightly
@pytest.mark.parametrize("size", [32 * MIB - 1, 64 * MIB], ids=["that fit", "that do not"])
def test_64_bodies_at_once_as_large_as_a_house_takes_unless_told_otherwise(tmp_path, size):
    body, headers = gzip.compress(bytes(size), 1), {"content_encoding": "gzip"}
    with a_house(tmp_path / "house") as house:
        house.patience = 300.0
        code, said = house.ask("/write", body, **headers)
        assert code in (400, 413), said
        codes, more = sixty_four(house, lambda: house.ask("/write", body, **headers)[0])
        print(f"{more / MIB:.0f} MiB")
        assert codes <= {code, 503}
        assert more < 128 * MIB, "what is unpacked is unpacked one by one"
        house.stop()


def test_a_body_without_a_length_is_read_up_to_the_limit(house):
    line = http.client.HTTPConnection("127.0.0.1", house.port, 30)
    line.request("POST", "/write", (b"x" * MIB for _ in range(6)), encode_chunked=True)
    try:
        assert line.getresponse().status == 413
    finally:
        line.close()


@pytest.mark.parametrize(
    "odd",
    [
        [("__name__", "odd"), ("a", "1"), ("a", "2")],
        [("__name__", "odd"), ("b", "1"), ("a", "2")],
        [("__name__", "odd"), ("a", "")],
        [("__name__", ""), ("a", "1")],
        [("a", "1")],
        [("__name__", "odd"), ("a", "x\r\ny")],
        [("__name__", "odd"), ("a", "‮abc")],
        [("__name__", "odd"), ("a", "x" * 5_000)],
        [("__name__", "x" * 300)],
    ],
    ids=str,
)
def test_one_odd_series_costs_its_neighbours_nothing(house, odd):
    good = [[("__name__", f"good{k}"), ("instance", "n:1")] for k in range(20)]
    before = house.status()["traffic"]
    code, said = house.ask("/api/v1/write", requests_of([*good[:10], odd, *good[10:]]), **SNAPPY)
    after = house.status()["traffic"]
    assert code in (204, 400), said
    assert (code == 400) == (after["rejected"] > before["rejected"])
    assert after["accepted"] - before["accepted"] >= 20


@pytest.mark.parametrize(
    "name", ["__proto__", "constructor", "toString", "hasOwnProperty", "__class__"]
)
def test_names_that_are_traps_elsewhere_are_names(house, name):
    line = json.dumps({"timestamp": START, "entity": f"host:{name}", "metric": name, "value": 1,
                       "attributes": {name: name}})  # fmt: skip
    assert house.ask("/api/v1/samples", line.encode())[0] == 200
    house.until(lambda: name in house.ask("/api/v1/entities?limit=1000")[1].decode())
    assert house.ask("/")[0] == 200


def too_many(house):
    """How many samples it has put into quarantine because their series were too many."""
    told = house.ask("/metrics")[1].decode()
    found = re.search(r'rejected_samples_total\{reason="too_many_series"\} (\d+)', told)
    return int(found[1]) if found else 0


def test_a_tenant_with_too_many_series_is_held_to_its_share(house):
    """First it invents series of one metric, as with a request id in a label; then metrics."""
    before, counted = house.rss(), too_many(house)
    rejected, codes, held, stored = [], set(), [], []
    of_one = greed([("__name__", "greed"), ("id", "000000"), ("instance", "n:1")], FIRST)
    apart = greed([("__name__", "greed000000"), ("instance", "n:1")], GREED - FIRST)
    for number, body in enumerate(chain(of_one, apart), 1):
        code, said = house.ask("/api/v1/write", body, x_scope_orgid="greedy", **SNAPPY)
        codes.add(code)
        rejected.append(0)
        if code == 400:
            assert b"refused: too_many_series" in said
            rejected[-1] = int(said.split()[0])
        if number % 10 == 0:
            held.append(house.rss() - before)
            stored.append(house.modest.stored)
    assert codes == {204, 400}
    assert sum(rejected[: FIRST // AT_ONCE]) == FIRST - OF_ONE
    assert sum(rejected) == GREED - SHARE, "its other metrics have the rest of its share"
    assert too_many(house) - counted == sum(rejected)
    assert held[-1] - held[4] < 48 * MIB, "what is refused leaves nothing, not a hundred bytes each"
    assert held[-1] < 320 * MIB, "what its share is worth, and the newest entries of the journal"
    assert all(one < other for one, other in pairwise(stored)), "others are served all the while"
    assert house.modest.codes == {200}
