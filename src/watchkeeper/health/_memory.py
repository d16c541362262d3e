"""How a model's memory becomes bytes and comes back, and how its parameters are held to rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from watchkeeper.errors import ConfigError, CorruptionError, StoreVersion
from watchkeeper.model import canonical

Column = npt.NDArray[Any]


def packed(layout: str, columns: Sequence[Column], kinds: Sequence[str]) -> bytes:
    """Return columns as bytes behind one line that says what they are; the same on any machine."""
    body = b"".join(
        column.astype(kind).tobytes() for column, kind in zip(columns, kinds, strict=True)
    )
    rows, sha256 = [len(column) for column in columns], hashlib.sha256(body).hexdigest()
    head = canonical({"layout": layout, "rows": rows, "sha256": sha256})
    return head.encode() + b"\n" + body


def unpacked(layout: str, blob: bytes, kinds: Sequence[str]) -> list[Column]:
    """Return the columns that `packed` wrote, each its own memory.

    :raises StoreVersion: another layout wrote them. :raises CorruptionError: they are not whole.
    """
    text, _, body = blob.partition(b"\n")
    try:
        head = json.loads(text)
        written, rows, sha256 = head["layout"], head["rows"], head["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptionError("health checkpoint: the head cannot be read") from error
    if written != layout:
        raise StoreVersion(
            f"health checkpoint: layout {written}, this version reads {layout}",
            hint="replay from the journal instead",
        )
    if hashlib.sha256(body).hexdigest() != sha256:
        raise CorruptionError("health checkpoint: the checksum does not match")
    columns: list[Column] = []
    at = 0
    for kind, count in zip(kinds, rows, strict=True):
        columns.append(np.frombuffer(body, kind, count, at).copy())
        at += columns[-1].nbytes
    return columns


def hold(kind: str, rules: Iterable[tuple[str, bool]]) -> None:
    """Hold a model's parameters to rules, each with its text.

    :raises ConfigError: some do not hold; the message names all of them.
    """
    broken = [rule for rule, holds in rules if not holds]
    if broken:
        raise ConfigError(
            f"health {kind}: {'; '.join(broken)} does not hold",
            hint="leave a parameter out to get its default",
        )
