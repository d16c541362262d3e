"""Turn the state at a tick into bytes and back. A cache: replay can always rebuild it.

    checkpoint := length of header <8 bytes> | header <canonical JSON> | parts, back to back

The header holds the rulebook, the scalars, and the name and length of each part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from watchkeeper.core import enrol, fresh
from watchkeeper.core.state import Kept, Rulebook, State
from watchkeeper.detectors._checkpoint import dump as dump_detectors
from watchkeeper.detectors._checkpoint import load as load_detectors
from watchkeeper.errors import CorruptionError
from watchkeeper.model import KEYS, Checkpoint, Millis, Offset, canonical
from watchkeeper.policies import dump as dump_held
from watchkeeper.policies import load as load_held

SCHEMA = 1


def dump(rulebook: Rulebook, state: State) -> Checkpoint:
    """Return the state as one checkpoint. Only between ticks, when nothing is pending."""
    assert state.pending.empty
    (keys,) = state.series.keys
    columns = {"last": state.last, "score": state.now.score, "deadline": state.now.deadline}
    series = pa.table({**{name: keys[name] for name in KEYS.names}, **columns})
    parts = {
        "series": _ipc(series),
        "kept": _ipc(pa.table(dict(zip(Kept._fields, state.kept, strict=True)))),
        "detectors": dump_detectors(rulebook.ensemble, state.detectors),
        "health": rulebook.health.dump(state.health),
        "held": dump_held(state.held),
    }
    header = canonical(
        {
            "schema": SCHEMA,
            "rulebook": rulebook.document,
            "offset": state.offset,
            "tick": state.tick,
            "arrived": state.arrived,
            "parts": [[name, len(body)] for name, body in parts.items()],
        }
    ).encode()
    body = len(header).to_bytes(8, "little") + header + b"".join(parts.values())
    return Checkpoint(state.offset, state.tick, body)


def load(
    checkpoint: Checkpoint, reread: Callable[[Mapping[str, Any]], Rulebook]
) -> tuple[Rulebook, State] | None:
    """Return rulebook and state as they were; None when another version wrote them.

    :raises CorruptionError: the bytes make no sense.
    """
    body = checkpoint.body
    size = int.from_bytes(body[:8], "little")
    try:
        header = json.loads(body[8 : 8 + size])
    except ValueError as error:
        raise CorruptionError(f"checkpoint at tick {checkpoint.tick}: {error}") from error
    if header["schema"] != SCHEMA:
        return None
    parts, at = {}, 8 + size
    for name, length in header["parts"]:
        parts[name] = body[at : at + length]
        at += length
    rulebook = reread(header["rulebook"])
    series = _table(parts["series"])
    state = enrol(rulebook, fresh(rulebook), _keys(series))
    state.last = _column(series, "last")
    state.now = state.now._replace(
        score=_column(series, "score"), deadline=_column(series, "deadline")
    )
    kept = _table(parts["kept"])
    state.kept = Kept(*(_column(kept, name) for name in Kept._fields))
    state.detectors = load_detectors(rulebook.ensemble, parts["detectors"])
    state.health = rulebook.health.load(parts["health"])
    state.held = load_held(parts["held"])
    state.offset, state.arrived = Offset(header["offset"]), Millis(header["arrived"])
    state.tick = Millis(header["tick"])
    return rulebook, state


def _keys(series: pa.Table) -> pa.RecordBatch:
    table = series.select(KEYS.names).combine_chunks().cast(KEYS)
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], KEYS)


def _column(table: pa.Table, name: str) -> Any:
    return np.array(table[name].to_numpy())  # a copy: state arrays are written in place


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def _table(body: bytes) -> pa.Table:
    with pa.ipc.open_stream(body) as stream:
        return stream.read_all()
