"""How a pack spells journal entries and links of the chain. `docs/formats.md` describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

import pyarrow as pa

from watchkeeper.errors import VerifyError
from watchkeeper.journal._entry import NO_KEYS, Block, Stored, seal, unseal, unseal_block
from watchkeeper.ledger import Link, link_hash
from watchkeeper.model import Entry, canonical

ENTRY = pa.schema(
    [
        ("offset", pa.int64()),
        *((name, pa.string()) for name in ("source", "cursor")),
        *((name, pa.int64()) for name in Stored._fields[3:8]),
        ("controls", pa.string()),
        *((name, pa.binary()) for name in ("rejected", "samples", "checksum")),
        *((name, pa.binary()) for name in ("keys", "keys_checksum")),
    ]
)


def entries_body(entries: Sequence[Entry]) -> bytes:
    """Return entries as an Arrow IPC stream, each sealed as in the journal."""
    rows = []
    for entry in entries:
        row, block = seal(entry)
        rows.append((*row, *((block.keys, block.checksum) if block else (b"", b""))))
    told = zip(*rows, strict=True)
    columns = [pa.array(column, kind) for column, kind in zip(told, ENTRY.types, strict=True)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, ENTRY) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=ENTRY))
    return bytes(sink.getvalue().to_pybytes())


def entries_of(body: bytes) -> Iterator[Entry]:
    """Yield the entries that `entries_body` wrote; every offset in them is looked at first.

    :raises CorruptionError: an entry's bytes do not match its checksum.
    :raises ValueError: they are no such entries.
    """
    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all()
    table.validate(full=True)
    if not table.schema.equals(ENTRY) or any(column.null_count for column in table.columns):
        raise ValueError("the columns are not those of entries")
    for fields in table.to_pylist():
        row = Stored(*(fields[name] for name in Stored._fields))
        keys = NO_KEYS
        if row.n_new:
            keys = unseal_block(
                Block(row.first, row.n_new, fields["keys"], fields["keys_checksum"])
            )
        entry = unseal(row, keys)
        for part in (entry.new, entry.samples, entry.rejected):
            part.validate(full=True)
        yield entry


def links_body(links: Sequence[Link]) -> bytes:
    """Return links of the chain, one line of canonical JSON each."""
    return "".join(canonical(asdict(link)) + "\n" for link in links).encode()


def links_of(body: bytes) -> Iterator[Link]:
    """Yield the links that `links_body` wrote."""
    return (Link(**json.loads(line)) for line in body.splitlines())


def chained(links: Iterable[Link], before: str) -> Iterator[Link]:
    """Yield links that follow one from the other.

    :param before: the hash of the link before the first; empty at the beginning of a ledger.
    :raises VerifyError: one does not.
    """
    seq = 0
    for link in links:
        follows = link_hash(before, link.seq, link.kind, link.at, link.body) == link.hash
        if not follows or seq not in (0, link.seq - 1):
            raise VerifyError(
                f"link {link.seq} of the chain does not follow from the link before",
                hint="whoever signed this pack did not take it from a whole ledger",
            )
        seq, before = link.seq, link.hash
        yield link
