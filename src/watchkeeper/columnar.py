"""Arrays as bytes that say what they are and prove that they are whole.

    sealed := head <canonical JSON with its layout and the SHA-256 of the body> | newline | body

The body is the arrays, back to back and little-endian, so the same memory is the same bytes on any
machine. Which array has how many rows is in the head, in the words of whoever wrote it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from watchkeeper.errors import CorruptionError, StoreVersion
from watchkeeper.model import canonical

Column = npt.NDArray[Any]


def seal(layout: str, head: Mapping[str, Any], columns: Iterable[tuple[str, Column]]) -> bytes:
    """Return arrays, each with its dtype as stored, behind a head."""
    body = b"".join(column.astype(kind).tobytes() for kind, column in columns)
    sha256 = hashlib.sha256(body).hexdigest()
    return canonical({**head, "layout": layout, "sha256": sha256}).encode() + b"\n" + body


def unseal(layout: str, blob: bytes, told: str) -> tuple[Any, bytes]:
    """Return what the head says under a name, and the body, of what `seal` wrote.

    :raises StoreVersion: another layout wrote it. :raises CorruptionError: it is not whole.
    """
    text, _, body = blob.partition(b"\n")
    try:
        head = json.loads(text)
        written, sha256, said = head["layout"], head["sha256"], head[told]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"{layout}: the head cannot be read") from error
    if written != layout:
        raise StoreVersion(
            f"layout {written}, this version reads {layout}",
            hint="replay from the journal instead",
        )
    if hashlib.sha256(body).hexdigest() != sha256:
        raise CorruptionError(f"{layout}: the checksum does not match")
    return said, body


def columns(
    body: bytes, kinds: Sequence[str], rows: Iterable[Sequence[int]]
) -> Iterator[list[Column]]:
    """Yield the arrays of a body, one list for each of `rows`; each array is its own memory."""
    at = 0
    for counts in rows:
        some: list[Column] = []
        for kind, count in zip(kinds, counts, strict=True):
            some.append(np.frombuffer(body, kind, count, at).copy())
            at += some[-1].nbytes
        yield some
