"""Rejected samples: look at them, offer them again."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from watchkeeper.cli._terminal import Output, emit, now, stamp

LIST_MAX = 200


def quarantine(
    action: Literal["list", "replay"] = "list",
    /,
    *,
    data: Path = Path("watchkeeper-data"),
    results: Path | None = None,
    reason: str | None = None,
    config: tuple[Path, ...] = (),
    output: Output = "text",
) -> int:
    """List rejected samples, or offer them again to the contracts of today.

    `replay` needs the service to be stopped: it journals the samples that now pass as one more
    entry, so they are scored (or counted late) like any other, and can be replayed.

    Examples:

      watchkeeper quarantine list
      watchkeeper quarantine list --results out --reason above_bound
      watchkeeper quarantine replay --config fixed.yaml

    Parameters
    ----------
    action
        list or replay.
    data
        Folder of journal and ledger.
    results
        A folder that `score` wrote, instead of a data folder.
    reason
        Only samples rejected for this reason.
    config
        Configuration whose contracts are tried.
    output
        text or json.
    """
    if action == "replay":
        return _replay(data, reason, config, output)
    rows = [row for row in _rows(data, results) if reason is None or row["reason"] == reason]
    counts = Counter(row["reason"] for row in rows)
    lines = [f"{count:>8}  {name}" for name, count in counts.most_common()]
    lines += [_line(row) for row in rows[:LIST_MAX]]
    if len(rows) > LIST_MAX:
        lines.append(f"… and {len(rows) - LIST_MAX} more; --output json lists all")
    text = "\n".join(lines) if rows else "quarantine is empty"
    emit(output, {"count": len(rows), "reasons": dict(counts), "samples": rows}, text)
    return 0


def _rows(data: Path, results: Path | None) -> list[dict[str, Any]]:
    if results is not None:
        import pyarrow.parquet as pq

        from watchkeeper.errors import InputError

        try:
            table = pq.read_table(results / "quarantine.parquet")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{results / 'quarantine.parquet'}: cannot be read",
                hint="name a folder that `score` wrote",
            ) from error
        return [_row(row) for row in table.to_pylist()]
    from watchkeeper.cli._house import stores
    from watchkeeper.model import Offset

    with stores(data) as (journal, _):
        return [
            {"offset": entry.offset, **_row(row)}
            for entry in journal.rejected(Offset(0), journal.head())
            for row in entry.rejected.to_pylist()
        ]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Spell a value that is no finite number where it was offered: JSON cannot hold it."""
    value = row["value"]
    if value is None or math.isfinite(value):
        return row
    return {**row, "value": None, "offered": row["offered"] or str(value)}


def _line(row: dict[str, Any]) -> str:
    value = row["offered"] if row["value"] is None else row["value"]
    time = "no time" if row["time"] is None else stamp(row["time"])
    return (
        f"{row['reason']:<15} {row['entity']} {row['metric']} {row['attributes']} = {value!r}"
        f" at {time}: {row['detail']}  [{row['origin']}]"
    )


def _replay(data: Path, reason: str | None, files: tuple[Path, ...], output: Output) -> int:
    from watchkeeper.cli._house import configured, stores
    from watchkeeper.quarantine import release

    contracts = configured(files).rules.contracts
    with stores(data):  # what is not there must not be made
        pass
    with stores(data, read_only=False) as (journal, _):
        done = release(journal, contracts, now(), reason)
    text = f"{done.offered} offered again, {done.accepted} accepted and journalled"
    emit(output, {"offered": done.offered, "released": done.accepted}, text)
    return 0
