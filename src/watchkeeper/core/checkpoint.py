"""Turn the state at a tick into bytes and back. A cache: replay can always rebuild it.

    checkpoint := length of header <8 bytes> | header <canonical JSON> | parts, back to back

The header holds the rulebook, the scalars, and the name and length of each part but the last, the
detectors' state, which is by far the longest and made piece by piece.

A picture is all that a checkpoint holds, as it lies in memory. Making bytes of a large one takes
seconds; a copy of it takes a tenth of one, if it goes where another copy has been.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from watchkeeper.contracts import traits
from watchkeeper.core import fresh
from watchkeeper.core.panel import Current
from watchkeeper.core.state import Kept, Rulebook, State, Texts
from watchkeeper.detectors._checkpoint import load as load_detectors
from watchkeeper.detectors._checkpoint import pieces as pieces_of_detectors
from watchkeeper.errors import CorruptionError
from watchkeeper.flags import Flags
from watchkeeper.model import KEYS, Checkpoint, Millis, Offset, Times, append, canonical
from watchkeeper.policies import dump as dump_held
from watchkeeper.policies import load as load_held

SCHEMA = 2


class Columns(NamedTuple):
    """What changes from sample to sample, in arrays."""

    last: Times
    now: Current
    kept: Kept
    detectors: Any
    health: Any


class Picture(NamedTuple):
    """All that a checkpoint holds."""

    rulebook: Rulebook
    offset: Offset
    tick: Millis
    arrived: Millis
    names: tuple[Texts, ...]  # in order of KEYS
    held: bytes
    columns: Columns
    flipped: Mapping[str, bool]


def picture(rulebook: Rulebook, state: State) -> Picture:
    """Return the state as it lies in memory. Only between ticks, when nothing is pending."""
    assert state.pending.empty
    series = state.series
    names = (series.owners, series.metrics, series.attributes)
    columns = Columns(state.last, state.now, state.kept, state.detectors, state.health)
    return Picture(
        rulebook, state.offset, state.tick, state.arrived,
        tuple(column.frozen() for column in names), dump_held(state.held), columns,
        state.flags.flipped,
    )  # fmt: skip


def copied(of: Picture, into: Picture | None) -> Picture:
    """Return a picture that nobody writes to.

    :param into: an earlier copy that is no longer needed; its memory is used again.
    """
    return of._replace(columns=_copied(of.columns, into.columns if into is not None else None))


def pieces(of: Picture) -> Iterator[bytes]:
    """Yield the bytes of a checkpoint; what the picture shows may not change meanwhile."""
    names = {name: column.encoded() for name, column in zip(KEYS.names, of.names, strict=True)}
    last, now, kept, detectors, health = of.columns
    series = pa.table({**names, "last": last, "score": now.score, "deadline": now.deadline})
    parts = {
        "series": _ipc(series),
        "kept": _ipc(pa.table(dict(zip(Kept._fields, kept, strict=True)))),
        "health": of.rulebook.health.dump(health),
        "held": of.held,
    }
    header = canonical(
        {
            "schema": SCHEMA,
            "rulebook": of.rulebook.document,
            "offset": of.offset,
            "tick": of.tick,
            "arrived": of.arrived,
            "flipped": of.flipped,
            "parts": [[name, len(body)] for name, body in parts.items()],
        }
    ).encode()
    yield len(header).to_bytes(8, "little") + header
    yield from parts.values()
    yield from pieces_of_detectors(of.rulebook.ensemble, detectors)


def dump(rulebook: Rulebook, state: State) -> Checkpoint:
    """Return the state as one checkpoint. Only between ticks, when nothing is pending."""
    return Checkpoint(state.offset, state.tick, b"".join(pieces(picture(rulebook, state))))


def load(
    checkpoint: Checkpoint, reread: Callable[[Mapping[str, Any]], Rulebook]
) -> tuple[Rulebook, State] | None:
    """Return rulebook and state as they were; None when another version wrote them.

    :raises CorruptionError: the bytes make no sense.
    """
    header, at = _header(checkpoint)
    body = memoryview(checkpoint.body)
    if header["schema"] != SCHEMA:
        return None
    parts = {}
    for name, length in header["parts"]:
        parts[name] = bytes(body[at : at + length])
        at += length
    rulebook = reread(header["rulebook"])
    series, kept = _table(parts["series"]), _table(parts["kept"])
    keys = _keys(series)
    state = fresh(rulebook)
    state.series.add(keys)
    state.traits = traits(rulebook.contracts, keys)
    state.last = _column(series, "last")
    state.now = Current(
        _column(series, "score"), _column(series, "deadline"), np.full(len(state.last), -1)
    )
    state.kept = Kept(*(_column(kept, name) for name in Kept._fields))
    state.detectors = load_detectors(rulebook.ensemble, body[at:])
    state.health = rulebook.health.load(parts["health"])
    state.held = load_held(parts["held"])
    state.offset, state.arrived = Offset(header["offset"]), Millis(header["arrived"])
    state.tick = Millis(header["tick"])
    state.flags = Flags(rulebook.flags, header.get("flipped", {}))
    return rulebook, state


def flags(checkpoint: Checkpoint) -> Flags:
    """Return the feature flags that a checkpoint holds, without the rest of it."""
    header, _ = _header(checkpoint)
    return Flags(header["rulebook"].get("flags", {}), header.get("flipped", {}))


def document(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Return the rulebook that a checkpoint holds, without the rest of it."""
    found: Mapping[str, Any] = _header(checkpoint)[0]["rulebook"]
    return found


def _header(checkpoint: Checkpoint) -> tuple[dict[str, Any], int]:
    """Return the header, and where the parts begin.

    :raises CorruptionError: the bytes make no sense.
    """
    begin = 8 + int.from_bytes(checkpoint.body[:8], "little")
    try:
        return json.loads(bytes(checkpoint.body[8:begin])), begin
    except ValueError as error:
        raise CorruptionError(f"checkpoint at tick {checkpoint.tick}: {error}") from error


def _copied(value: Any, into: Any) -> Any:
    """Copy arrays, however they lie in tuples."""
    kind = type(value)
    if not isinstance(value, tuple):
        return _into(into, value)
    before = into if type(into) is kind and len(into) == len(value) else [None] * len(value)
    parts = [_copied(one, other) for one, other in zip(value, before, strict=True)]
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def _into(room: Any, column: Any) -> Any:
    if room is None or (room.dtype, room.shape[1:]) != (column.dtype, column.shape[1:]):
        room = column[:0]
    if len(room) > len(column):
        room = room[: len(column)]
    np.copyto(room, column[: len(room)])
    return append(room, column[len(room) :])


def _keys(series: pa.Table) -> pa.RecordBatch:
    table = series.select(KEYS.names).combine_chunks().cast(KEYS)
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], KEYS)


def _column(table: pa.Table, name: str) -> Any:
    column = table[name].to_numpy()
    return append(column[:0], column)  # a copy: state arrays are written in place, and grow


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def _table(body: bytes) -> pa.Table:
    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all()
    table.validate(full=True)
    return table
