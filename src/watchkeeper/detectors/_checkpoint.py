"""The ensemble's state as bytes, and back. The same state always gives the same bytes.

Layout: `WKDS`, length of the header (u32, little-endian), the header (canonical JSON: rows,
detectors with their state versions, dtype and shape of every array), then frames, each its length
(u32) and zstd of some rows of one array, little-endian, and at the end SHA-256 of all before. So
neither the state nor its bytes are ever held a second time as a whole.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

import cramjam
import numpy as np

from watchkeeper.detectors._ensemble import Ensemble, Memory, name
from watchkeeper.errors import CorruptionError, StoreVersion
from watchkeeper.model import canonical

MAGIC = b"WKDS"
LAYOUT = 2  # of this file, of the counters and of the alarms
LEVEL = 1  # of zstd: the state hardly compresses further, and a checkpoint should be quick
DIGEST = 32
FRAME_BYTES = 4 << 20  # before compression
LENGTH = struct.Struct("<I")


def dump(ensemble: Ensemble, state: Memory) -> bytes:
    """Return the state as bytes."""
    return b"".join(pieces(ensemble, state))


def pieces(ensemble: Ensemble, state: Memory) -> Iterator[bytes]:
    """Yield what `dump` returns, piece by piece; the state may not change meanwhile."""
    sha256 = hashlib.sha256()
    header = canonical(_header(ensemble, state)).encode()
    piece = MAGIC + LENGTH.pack(len(header)) + header
    sha256.update(piece)
    yield piece
    for array in _arrays(state):
        for rows in _slices(array):
            plain: Any = np.ascontiguousarray(array[rows], _little(array)).view(np.uint8)
            frame = bytes(cramjam.zstd.compress(plain.reshape(-1), level=LEVEL))
            piece = LENGTH.pack(len(frame)) + frame
            sha256.update(piece)
            yield piece
    yield sha256.digest()


def load(ensemble: Ensemble, data: bytes | memoryview) -> Memory:
    """Return the state that `dump` wrote.

    :raises CorruptionError: the bytes are not what was written.
    :raises StoreVersion: other detectors, or other versions of their state, wrote them.
    """
    data = memoryview(data)
    body = data[:-DIGEST]
    if bytes(data[: len(MAGIC)]) != MAGIC or hashlib.sha256(body).digest() != data[-DIGEST:]:
        raise CorruptionError(
            f"detector state: {len(data)} bytes do not match their digest",
            hint="drop the checkpoint; replay from the journal rebuilds it",
        )
    (length,) = LENGTH.unpack_from(body, len(MAGIC))
    at = len(MAGIC) + LENGTH.size + length
    header = json.loads(bytes(body[at - length : at]))
    state = ensemble.grow(ensemble.fresh(0), header["rows"])
    expected = json.loads(canonical(_header(ensemble, state)))
    if header != expected:
        raise StoreVersion(
            f"detector state was written by {_made_by(header)}, not by {_made_by(expected)}",
            hint="drop the checkpoint; replay from the journal rebuilds it",
        )
    for array in _arrays(state):
        for rows in _slices(array):
            (length,) = LENGTH.unpack_from(body, at)
            at += LENGTH.size + length
            plain = bytes(cramjam.zstd.decompress(body[at - length : at]))
            array[rows] = np.frombuffer(plain, _little(array)).reshape(array[rows].shape)
    return state


def _slices(array: Any) -> Iterator[slice]:
    """Cut an array into rows of about FRAME_BYTES."""
    step = max(FRAME_BYTES // max(array[:1].nbytes, 1), 1)
    return (slice(first, first + step) for first in range(0, len(array), step))


def _arrays(state: Memory) -> list[Any]:
    return [array for part in (*state.parts, state.rates) for array in part] + [state.alarms]


def _little(array: Any) -> np.dtype[Any]:
    little: np.dtype[Any] = array.dtype.newbyteorder("<")
    return little


def _header(ensemble: Ensemble, state: Memory) -> dict[str, Any]:
    return {
        "layout": LAYOUT,
        "rows": len(state.alarms),
        "detectors": [[name(one), one.state_version] for one in ensemble.detectors],
        "arrays": [[_little(a).str, list(a.shape)] for a in _arrays(state)],
    }


def _made_by(header: dict[str, Any]) -> str:
    kinds = ", ".join(f"{kind} v{version}" for kind, version in header["detectors"])
    return f"layout {header['layout']} with {kinds}"
