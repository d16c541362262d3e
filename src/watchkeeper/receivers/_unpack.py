"""The body of a request, unpacked within bounds.

A few bytes can claim, or become, gigabytes (CVE-2024-36129, CVE-2026-42154). So a declared length
is looked at before anything is allocated, and nothing is unpacked beyond the limit: memory that is
set aside for a stream of unknown length is at most the limit, and touched only as it fills.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cramjam
import numpy as np
import numpy.typing as npt

from watchkeeper.errors import Malformed, TooLarge, Unsupported

ENCODINGS = ("identity", "gzip", "deflate", "zstd", "snappy")
MEMBERS_MAX = 1024  # of one gzip body; what packs in parallel makes one every 64 kB or more
PIECE = 1 << 16  # bytes given to zlib at once, because it copies what it leaves over
STREAM = b"\xff\x06\x00\x00sNaPpY"  # begins framed snappy, and can never begin a block
GZIP, ZLIB, BARE = 31, 15, -15  # windows as zlib names them


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Return what was packed into `body`, at most `limit` bytes.

    :param encoding: of the header Content-Encoding; empty is identity. Snappy may be a block
        (remote write) or framed; deflate with or without the header of zlib.
    :raises TooLarge: it is, or says it is, longer than the limit; or needs too much memory.
    :raises Malformed: it is not what the encoding says, breaks off, or goes on after the end.
    :raises Unsupported: no such encoding, or several of them.
    """
    name = encoding.strip().lower() or "identity"
    if name == "identity":
        unpacked = body
    elif name in ("gzip", "x-gzip"):
        unpacked = _inflated(body, GZIP, limit)
    elif name == "deflate":
        headed = len(body) > 1 and body[0] & 15 == 8 and not (body[0] << 8 | body[1]) % 31
        unpacked = _inflated(body, ZLIB if headed else BARE, limit)
    elif name == "zstd":
        unpacked = _streamed(cramjam.zstd.decompress_into, body, "zstd", limit)
    elif name == "snappy" and body.startswith(STREAM):
        unpacked = _streamed(cramjam.snappy.decompress_into, body, "framed snappy", limit)
    elif name == "snappy":
        unpacked = _block(body, limit).tobytes()
    else:
        hint = f"use one of {', '.join(ENCODINGS)}"
        raise Unsupported(f"Content-Encoding {name[:40]!r} is not understood", hint=hint)
    if len(unpacked) > limit:
        raise _too_large(name, limit)
    return unpacked


def unpacked_array(body: bytes, encoding: str, limit: int) -> npt.NDArray[np.uint8]:
    """Return the same as `unpack`; of a block of snappy, which is the usual, without a copy."""
    if encoding == "snappy" and not body.startswith(STREAM):
        return _block(body, limit)
    return np.frombuffer(unpack(body, encoding, limit), dtype=np.uint8)


def _too_large(name: str, limit: int) -> TooLarge:
    hint = "send smaller requests, or raise the limit"
    return TooLarge(f"the body ({name}) unpacks to more than {limit} bytes", hint=hint)


def _malformed(name: str, why: object) -> Malformed:
    return Malformed(f"the body is not {name}: {why}")


def _block(body: bytes, limit: int) -> npt.NDArray[np.uint8]:
    try:
        size = cramjam.snappy.decompress_raw_len(body)
        if size > limit:
            raise _too_large("snappy", limit)
        block = np.empty(size, dtype=np.uint8)
        cramjam.snappy.decompress_raw_into(body, block.data)
        block.flags.writeable = False  # as bytes are, or kernels would be compiled twice
    except cramjam.DecompressionError as error:
        raise _malformed("a snappy block", error) from None
    return block


def _streamed(into: Callable[[Any, Any], int], body: bytes, name: str, limit: int) -> bytes:
    if not body:
        raise _malformed(name, "it is empty")
    room = np.empty(limit, dtype=np.uint8)
    try:
        return room[: into(body, room)].tobytes()
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error) and "write" in str(error):
            raise _too_large(name, limit) from None
        if "too much memory" in str(error):  # a window of more than 128 MiB
            raise _too_large(name, limit) from None
        raise _malformed(name, error) from None


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    """Unpack one member after another; only gzip may have several."""
    name = "gzip" if window == GZIP else "deflate"
    parts, room, at, members = list[bytes](), limit, 0, 1
    inflate = zlib.decompressobj(window)
    try:
        while at < len(body):
            if inflate.eof:
                members += 1
                if window != GZIP or members > MEMBERS_MAX:
                    raise _malformed(name, f"it goes on after byte {at}, where it should end")
                inflate = zlib.decompressobj(window)
            piece = body[at : at + PIECE]
            parts.append(inflate.decompress(piece, room + 1))
            room -= len(parts[-1])
            if room < 0:
                raise _too_large(name, limit)
            at += len(piece) - len(inflate.unused_data)
    except zlib.error as error:
        raise _malformed(name, error) from None
    if not inflate.eof:
        raise _malformed(name, "it breaks off")
    return b"".join(parts)
