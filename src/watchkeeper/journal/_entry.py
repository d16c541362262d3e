"""How an entry is written down, whatever the backend: columns, compression, checksums.

`docs/formats.md` describes it field by field. Everything stored is covered by a SHA-256, so that
a changed byte is an error and never a score.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import pyarrow as pa

from watchkeeper.errors import CorruptionError
from watchkeeper.journal._samples import pack, unpack
from watchkeeper.model import (
    KEYS,
    REJECTS,
    SAMPLES,
    Control,
    Cursor,
    Entry,
    Millis,
    Offset,
    canonical,
)

CODEC = "zstd"  # of texts; samples have a form of their own, see `_samples.py`
ALONE = pa.ipc.IpcReadOptions(use_threads=False)  # waking others takes longer than the work
NO_SAMPLES = pa.RecordBatch.from_pylist([], schema=SAMPLES)
NO_KEYS = pa.RecordBatch.from_pylist([], schema=KEYS)
NO_REJECTS = pa.RecordBatch.from_pylist([], schema=REJECTS)


class Stored(NamedTuple):
    """One entry as a row. `rejected` is an Arrow IPC stream, `samples` packed; empty when none."""

    offset: int
    source: str
    cursor: str
    arrived: int
    first: int
    n_new: int
    n_samples: int
    n_rejected: int
    controls: str  # canonical JSON: [[kind, actor, body], ...]
    rejected: bytes
    samples: bytes
    checksum: bytes


class Block(NamedTuple):
    """The new series of one entry as a row: their KEYS as an Arrow IPC stream."""

    first: int
    length: int
    keys: bytes
    checksum: bytes


def seal(entry: Entry) -> tuple[Stored, Block | None]:
    """Return the entry as it is stored, and its new series if it has any."""
    rejected = _stream(entry.rejected) if entry.rejected.num_rows else b""
    samples = pack(entry.samples) if entry.samples.num_rows else b""
    controls = canonical([[c.kind, c.actor, c.body] for c in entry.controls])
    row = Stored(
        entry.offset,
        entry.source,
        entry.cursor,
        entry.arrived,
        entry.first,
        entry.new.num_rows,
        entry.samples.num_rows,
        entry.rejected.num_rows,
        controls,
        rejected,
        samples,
        b"",
    )
    block = None
    if entry.new.num_rows:
        block = Block(entry.first, entry.new.num_rows, _stream(entry.new), b"")
        block = block._replace(checksum=_block_checksum(block))
    return row._replace(checksum=checksum(row)), block


def unseal(row: Stored, new: pa.RecordBatch) -> Entry:
    """Return the entry, given its new series.

    :raises CorruptionError: the row is not what was written, or the series are not its own.
    """
    if checksum(row) != row.checksum or new.num_rows != row.n_new:
        raise CorruptionError(
            f"journal entry {row.offset}: its bytes do not match its checksum",
            hint="restore the journal from a backup; entries before this one are whole",
        )
    try:
        samples = unpack(row.samples, row.n_samples) if row.samples else NO_SAMPLES
        rejected = table(row.rejected) if row.rejected else NO_REJECTS
    except ValueError as error:  # a whole checksum over bytes that we never wrote
        raise CorruptionError(
            f"journal entry {row.offset}: {error}", hint="restore the journal from a backup"
        ) from error
    assert rejected.schema.equals(REJECTS), rejected.schema
    assert (samples.num_rows, rejected.num_rows) == (row.n_samples, row.n_rejected)
    return Entry(
        Offset(row.offset),
        row.source,
        Cursor(row.cursor),
        Millis(row.arrived),
        row.first,
        new,
        samples,
        rejected,
        tuple(Control(*control) for control in json.loads(row.controls)),
    )


def unseal_block(block: Block) -> pa.RecordBatch:
    """Return the KEYS of a block of new series.

    :raises CorruptionError: the block is not what was written.
    """
    if _block_checksum(block) != block.checksum:
        raise CorruptionError(
            f"journal series {block.first}: the bytes do not match their checksum",
            hint="restore the journal from a backup",
        )
    keys = table(block.keys)
    assert keys.schema.equals(KEYS), keys.schema
    assert keys.num_rows == block.length
    return keys


def facts_checksum(*facts: object) -> bytes:
    """Return the SHA-256 of a row that holds only numbers and text."""
    return hashlib.sha256(canonical(list(facts)).encode()).digest()


def checksum(row: Stored) -> bytes:
    """Return the SHA-256 of an entry's row."""
    facts = [*row[:9], len(row.rejected), len(row.samples)]
    sha = hashlib.sha256(canonical(facts).encode())
    sha.update(row.rejected)
    sha.update(row.samples)
    return sha.digest()


def _block_checksum(block: Block) -> bytes:
    return hashlib.sha256(canonical([block.first, block.length]).encode() + block.keys).digest()


def _stream(table: pa.RecordBatch) -> bytes:
    options = pa.ipc.IpcWriteOptions(compression=CODEC, use_threads=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_batch(table)
    return bytes(sink.getvalue().to_pybytes())


def table(stream: bytes) -> pa.RecordBatch:
    """Return the one batch of an Arrow IPC stream."""
    with pa.ipc.open_stream(stream, options=ALONE) as reader:
        return reader.read_next_batch()
