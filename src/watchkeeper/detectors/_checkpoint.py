"""The ensemble's state as bytes, and back. The same state always gives the same bytes.

Layout: `WKDS`, SHA-256 of what follows, then zstd of: length of the header (u32, little-endian),
the header (canonical JSON: rows, detectors with their state versions, dtype and shape of every
array), and the arrays' bytes one after the other, little-endian, row by row.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import cramjam
import numpy as np

from watchkeeper.detectors._ensemble import Ensemble, Memory, name
from watchkeeper.errors import CorruptionError, StoreVersion
from watchkeeper.model import canonical

MAGIC = b"WKDS"
LAYOUT = 1  # of this file, of the counters and of the alarms
LEVEL = 1  # of zstd: the state hardly compresses further, and a checkpoint should be quick
DIGEST = 32


def dump(ensemble: Ensemble, state: Memory) -> bytes:
    """Return the state as bytes."""
    arrays = _arrays(state)
    header = canonical(_header(ensemble, state)).encode()
    pieces = [struct.pack("<I", len(header)), header]
    pieces += [np.ascontiguousarray(array, _little(array)).tobytes() for array in arrays]
    body = bytes(cramjam.zstd.compress(b"".join(pieces), level=LEVEL))
    return MAGIC + hashlib.sha256(body).digest() + body


def load(ensemble: Ensemble, data: bytes) -> Memory:
    """Return the state that `dump` wrote.

    :raises CorruptionError: the bytes are not what was written.
    :raises StoreVersion: other detectors, or other versions of their state, wrote them.
    """
    body = data[len(MAGIC) + DIGEST :]
    if data[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != data[len(MAGIC) :][:DIGEST]:
        raise CorruptionError(
            f"detector state: {len(data)} bytes do not match their digest",
            hint="drop the checkpoint; replay from the journal rebuilds it",
        )
    plain = bytes(cramjam.zstd.decompress(body))
    (length,) = struct.unpack_from("<I", plain)
    at = struct.calcsize("<I") + length
    header = json.loads(plain[struct.calcsize("<I") : at])
    fresh = ensemble.fresh(header["rows"])
    expected = json.loads(canonical(_header(ensemble, fresh)))
    if header != expected:
        raise StoreVersion(
            f"detector state was written by {_made_by(header)}, not by {_made_by(expected)}",
            hint="drop the checkpoint; replay from the journal rebuilds it",
        )
    for array in _arrays(fresh):
        stored = np.frombuffer(plain, _little(array), array.size, at)
        array[...] = stored.reshape(array.shape)
        at += stored.nbytes
    return fresh


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
