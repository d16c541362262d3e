"""Bodies are unpacked within bounds: what claims or becomes too much is refused before it is."""

import contextlib
import gzip
import resource
import tracemalloc
import zlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.errors import Malformed, TooLarge, Unsupported
from watchkeeper.receivers._unpack import MEMBERS_MAX, unpack

LIMIT = 1 << 20
TEXT = b"The watch is kept. " * 3_000


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "identity": bytes,
    "": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    " Deflate ": bare_deflate,
    "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    "snappy": lambda data: bytes(cramjam.snappy.compress_raw(data)),
    "Snappy": lambda data: bytes(cramjam.snappy.compress(data)),
}
PACKED = [name for name in PACKERS if name.strip() not in ("", "identity")]


def peak(body: bytes, encoding: str) -> int:
    """Return the most bytes that unpacking set aside beyond the body, in Python and in numpy."""
    tracemalloc.start()
    try:
        with pytest.raises((TooLarge, Malformed)):
            unpack(body, encoding, LIMIT)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", PACKERS)
@given(data=st.binary(min_size=1, max_size=2_000).map(lambda some: some * 20))
def test_what_was_packed_comes_back(name, data):
    assert unpack(PACKERS[name](data), name, LIMIT) == data


@pytest.mark.parametrize("name", PACKERS)
def test_exactly_the_limit_is_taken_and_one_byte_more_is_refused(name):
    body = PACKERS[name](TEXT)
    assert unpack(body, name, len(TEXT)) == TEXT
    with pytest.raises(TooLarge, match=f"more than {len(TEXT) - 1} bytes"):
        unpack(body, name, len(TEXT) - 1)


@pytest.mark.parametrize("name", PACKED)
def test_a_body_that_breaks_off_is_refused(name):
    body = PACKERS[name](TEXT)
    for cut in (0, 1, 5, len(body) // 2, len(body) - 1):
        with pytest.raises(Malformed):
            unpack(body[:cut], name, LIMIT)


@pytest.mark.parametrize("name", PACKED)
@given(data=st.data())
def test_a_damaged_body_is_unpacked_or_refused_and_nothing_else(name, data):
    body = bytearray(PACKERS[name](TEXT))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed, TooLarge):
        assert len(unpack(bytes(body), name, LIMIT)) <= LIMIT


@pytest.mark.parametrize("name", PACKED)
def test_more_bytes_after_the_end_are_refused(name):
    with pytest.raises((Malformed, TooLarge)):
        unpack(PACKERS[name](TEXT) + b"\x01\x02\x03", name, LIMIT)


def test_several_members_of_gzip_are_one_body_but_not_thousands():
    assert unpack(gzip.compress(b"a") * MEMBERS_MAX, "gzip", LIMIT) == b"a" * MEMBERS_MAX
    with pytest.raises(Malformed):
        unpack(gzip.compress(b"") * (MEMBERS_MAX + 1), "gzip", LIMIT)


def test_many_large_members_of_gzip_are_read_in_one_sweep():
    member = gzip.compress(TEXT, 0)
    assert unpack(member * 15, "gzip", LIMIT) == TEXT * 15


def test_a_snappy_header_that_claims_gigabytes_is_refused_before_anything_is_set_aside():
    assert peak(b"\xff\xff\xff\xff\x0f", "snappy") < LIMIT // 8
    with pytest.raises(TooLarge):
        unpack(b"\xff\xff\xff\xff\x0f", "snappy", LIMIT)


def test_gzip_bombs_cost_no_more_than_the_limit():
    bomb = gzip.compress(bytes(64 << 20))
    assert peak(bomb, "gzip") < 3 * LIMIT
    assert unpack(gzip.compress(bomb), "gzip", LIMIT) == bomb  # the inner one is just bytes


@pytest.mark.parametrize("window", [10, 17, 20, 21])
def test_a_zstd_window_of_gigabytes_costs_no_more_than_the_limit(window):
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, "little") + b"a"  # 128 KiB of one letter
    bomb = b"\x28\xb5\x2f\xfd\x00" + bytes([window << 3]) + block * 2_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak(bomb, "zstd") < 2 * LIMIT
    with pytest.raises(TooLarge):
        unpack(bomb, "zstd", LIMIT)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


@pytest.mark.parametrize("name", ["br", "gzip, snappy", "SNAPPY-FRAMED", "\x1b[31m"])
def test_other_encodings_are_not_understood(name):
    with pytest.raises(Unsupported, match="use one of"):
        unpack(b"", name, LIMIT)
