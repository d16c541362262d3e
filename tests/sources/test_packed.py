"""Compressed files, whole and cut."""

import bz2
import gzip
import lzma
import zlib

import pyarrow as pa
import pytest
from tests.sources.reading import read

from watchkeeper.errors import InputError, Truncated

ROWS = [f"{1_704_067_200 + n},host:a,m,{n * 7919 % 1000}.25" for n in range(3000)]
TEXT = "timestamp,entity,metric,value\n" + "".join(row + "\n" for row in ROWS)
PACK = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
REST = {  # the standard library's own engines say what can be had of a cut file
    ".gz": lambda: zlib.decompressobj(31),
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lzma.LZMADecompressor,
}


@pytest.fixture(params=list(PACK))
def suffix(request):
    return request.param


def put(folder, suffix, data):
    path = folder / f"a.csv{suffix}"
    path.write_bytes(data)
    return path


def test_what_is_packed_reads_like_what_is_not(tmp_path, suffix):
    plain = read(put(tmp_path, "", TEXT.encode()))
    for rows in (100, 500_000):
        packed = read(put(tmp_path, suffix, PACK[suffix](TEXT.encode())), batch_rows=rows)
        assert packed[0] == plain[0]
        assert packed[2] == []


def test_streams_behind_each_other_are_one_file(tmp_path, suffix):
    half = len(TEXT) // 2
    data = PACK[suffix](TEXT[:half].encode()) + PACK[suffix](TEXT[half:].encode())
    samples, unread, errors = read(put(tmp_path, suffix, data))
    assert (len(samples), unread, errors) == (3000, [], [])


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_file_gives_every_whole_row_before_the_cut_and_then_says_so(tmp_path, suffix, share):
    data = PACK[suffix](TEXT.encode())
    cut = put(tmp_path, suffix, data[: int(len(data) * share)])
    samples, unread, errors = read(cut, batch_rows=500)
    assert [type(error) for error in errors] == [Truncated]
    assert "ends too early" in str(errors[0])
    assert unread == []
    whole = read(put(tmp_path, "", TEXT.encode()))[0]
    assert samples == whole[: len(samples)]
    if suffix in REST:
        content = REST[suffix]().decompress(cut.read_bytes())
        assert len(samples) == max(0, content.count(b"\n") - 1)


def test_a_cut_right_behind_the_last_row_is_still_a_cut(tmp_path):
    data = gzip.compress(TEXT.encode())
    samples, _, errors = read(put(tmp_path, ".gz", data[:-8]))
    assert len(samples) == 3000
    assert [type(error) for error in errors] == [Truncated]


def test_zeros_behind_a_gzip_stream_are_padding(tmp_path):
    samples, _, errors = read(put(tmp_path, ".gz", gzip.compress(TEXT.encode()) + bytes(512)))
    assert (len(samples), errors) == (3000, [])


def test_damage_is_told_apart_from_a_cut(tmp_path, suffix):
    data = bytearray(PACK[suffix](TEXT.encode()))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    samples, _, errors = read(put(tmp_path, suffix, bytes(data)), batch_rows=200)
    assert len(samples) < 3000
    assert len(errors) == 1
    assert isinstance(errors[0], InputError)


def test_a_stream_far_longer_than_its_packed_form_arrives_whole(tmp_path):
    rows = ["timestamp,entity,metric,value"] + ["1704067200,host:a,m,1"] * 400_000
    path = put(tmp_path, ".gz", gzip.compress("\n".join(rows).encode()))
    assert len(read(path, batch_rows=50_000)[0]) == 400_000
