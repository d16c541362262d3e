"""Write what was found into a folder, whole or not at all.

Files are written beside the target and the folder is renamed into place at the end. A thread
writes while the next block is scored. The digest covers the canonical results block by block; it
knows nothing of time, workers, engines, batch sizes or paths.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from watchkeeper import plugins
from watchkeeper.core import Concluded, Observed
from watchkeeper.core.panel import Panel
from watchkeeper.core.state import Series, Texts
from watchkeeper.errors import OutputError
from watchkeeper.model import (
    KEYS,
    REJECTS,
    STATES,
    Assessed,
    Decision,
    canonical,
    decision_facts,
)
from watchkeeper.reports import Facts, Findings, Scope, gather
from watchkeeper.store.placed import sync

STAMP = pa.timestamp("ms", "UTC")
NAME = pa.dictionary(pa.int32(), pa.string())
SCORES_FILE = pa.schema(
    [
        ("entity", NAME),
        ("metric", NAME),
        ("attributes", NAME),
        ("time", STAMP),
        *((column, pa.float64()) for column in ("value", "expected", "lower", "upper", "score")),
        ("onset", pa.float64()),
    ]
)
CONTRIBUTIONS = pa.list_(
    pa.struct([("metric", NAME), ("attributes", NAME), ("share", pa.float64())])
)
HEALTH_FILE = pa.schema(
    [
        ("entity", NAME),
        ("time", STAMP),
        ("health", pa.float64()),
        ("state", NAME),
        ("coverage", pa.float64()),
        ("score", pa.float64()),
        ("contributions", CONTRIBUTIONS),
    ]
)
STATE_NAMES = pa.array([str(state) for state in STATES])
QUARANTINE_ORDER = (*KEYS.names, "time", "value", "offered", "reason", "detail", "origin")
EVERYTHING = Scope()
BACKLOG = 2  # blocks waiting for the writer, so that memory stays bounded


class Results:
    """One output folder in the making. Use as a context: leaving it early leaves no trace."""

    def __init__(self, out: Path) -> None:
        self._out = out.absolute()
        _refuse_foreign(self._out)
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            made = tempfile.mkdtemp(prefix=f".{self._out.name}.", dir=self._out.parent)
        except OSError as error:
            raise OutputError(f"{out}: {error.strerror}", hint="choose another --out") from error
        self.folder = Path(made)
        self.folder.chmod(0o755)
        self._sha = hashlib.sha256()
        self._scores = pq.ParquetWriter(
            self.folder / "scores.parquet", SCORES_FILE, compression="snappy",
            use_dictionary=["entity", "metric", "attributes"], write_statistics=["time"],
        )  # fmt: skip
        self._health = pq.ParquetWriter(
            self.folder / "health.parquet", HEALTH_FILE, compression="snappy"
        )
        self._decisions = (self.folder / "decisions.jsonl").open("w", encoding="utf-8")
        self._quarantine: list[pa.RecordBatch] = []
        self._names: Names | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="results")
        self._waiting: list[Future[None]] = []
        self._series = Series()
        self.decisions: list[Decision] = []

    def __enter__(self) -> Results:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._writer.shutdown(wait=True, cancel_futures=True)
        with suppress(OSError):  # a full disk refuses the rest of the buffer too
            self._decisions.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise OutputError(
                f"{self._out}: {error.strerror or error}", hint="nothing was left behind"
            ) from error

    def add(self, series: Series, observed: Sequence[Observed], concluded: Concluded) -> None:
        """Write one block: its scores, then its health, then its decisions."""
        self.decisions += concluded.decisions
        self._series = series
        while len(self._waiting) >= BACKLOG:
            self._waiting.pop(0).result()
        count = len(series.entity)
        if self._names is None or self._names.count != count:
            self._names = Names(series)
        self._waiting.append(
            self._writer.submit(self._write, self._names, list(observed), concluded)
        )

    def reject(self, rejected: pa.RecordBatch) -> None:
        """Keep rejected samples for quarantine.parquet."""
        if rejected.num_rows:
            self._quarantine.append(rejected)

    def settle(self) -> str:
        """Wait for the writer and close the tables; return the digest of all results."""
        while self._waiting:
            self._waiting.pop(0).result()
        self._scores.close()
        self._health.close()
        self._decisions.close()
        self._sha.update(series_digest(self._series.keys).encode())
        table = self.quarantine()
        pq.write_table(table, self.folder / "quarantine.parquet")
        told = table.drop_columns("origin")  # how telemetry was cut into files does not count
        for row in told.to_pylist():
            self._sha.update(canonical({k: repr(v) for k, v in row.items()}).encode())
        return self._sha.hexdigest()

    def quarantine(self) -> pa.Table:
        """Return all rejected samples in canonical order."""
        table = pa.Table.from_batches(self._quarantine, schema=REJECTS)
        return table.sort_by([(name, "ascending") for name in QUARANTINE_ORDER])

    def write(self, name: str, text: str) -> None:
        """Add one more file."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def report(
        self,
        facts: Facts,
        kinds: Sequence[str] = ("html", "json"),
        scope: Scope = EVERYTHING,
    ) -> Findings:
        """Boil the settled results down, or a part of them; write the reports of these kinds.

        :raises InputError: there is no such part.
        """
        facts = scope.of(facts)
        inside = _inside(facts)
        decisions = [one for one in self.decisions if facts.since <= one.at <= facts.until]
        quarantine = self.quarantine()
        if not scope.is_whole:
            series = self._series
            chosen = scope.members(
                series.entities, series.entity, series.attributes.words, series.attributes.code
            )
            inside = inside & pc.field("entity").isin(chosen)
            among = set(chosen)
            decisions = [one for one in decisions if one.entity in among]
            quarantine = quarantine.filter(pc.field("entity").isin(chosen))
        findings = gather(
            pq.read_table(self.folder / "health.parquet", filters=inside),
            reader(self.folder),
            decisions,
            quarantine,
            facts,
        )
        for kind in kinds:
            plug = plugins.load("reports", kind)()
            (self.folder / plug.file).write_bytes(plug.render(findings))
        return findings

    def publish(self, run: Mapping[str, Any]) -> None:
        """Write run.json, make everything durable, and rename the folder into place."""
        self.write("run.json", json.dumps(run, indent=2, sort_keys=True) + "\n")
        for path in [*self.folder.iterdir(), self.folder]:
            sync(path)
        try:
            if self._out.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{self._out.name}.old.", dir=self._out.parent))
                self._out.rename(old / "was")
                self.folder.rename(self._out)
                shutil.rmtree(old)
            else:
                self.folder.rename(self._out)
            sync(self._out.parent)
        except OSError as error:
            raise OutputError(f"{self._out}: {error.strerror}") from error

    def _write(self, names: Names, observed: list[Observed], concluded: Concluded) -> None:
        for one in observed:
            self._scores.write_batch(names.scores(one))
            for column in (one.samples.row, one.samples.time, *one.scores[:6]):
                self._sha.update(np.ascontiguousarray(column).data)
        panel = concluded.panel
        batch = names.health(panel)
        self._health.write_batch(batch)
        for name in ("time", "health", "coverage", "score"):
            self._sha.update(np.asarray(batch[name].cast(_plain(name)).fill_null(-1)).data)
        cells: tuple[npt.NDArray[Any], ...] = (panel.state, *panel.cells[4:])
        for cell in cells:
            self._sha.update(np.ascontiguousarray(cell).data)
        for decision in concluded.decisions:
            line = canonical(decision_facts(decision))
            self._decisions.write(line + "\n")
            self._sha.update(line.encode())


class Names:
    """Dictionaries for the string columns, made once while no series is added."""

    def __init__(self, series: Series) -> None:
        self.count = len(series.entity)
        self.entities = pa.array(series.entities, pa.string())
        self._entity = series.entity.astype(np.int32)
        self.metrics, self._metric = _codes(series.metrics)
        self.attributes, self._attributes = _codes(series.attributes)

    def scores(self, observed: Observed) -> pa.RecordBatch:
        """Return rows of scores.parquet."""
        row = observed.samples.row
        scores = observed.scores
        columns = [
            pa.DictionaryArray.from_arrays(self._entity[row], self.entities),
            pa.DictionaryArray.from_arrays(self._metric[row], self.metrics),
            pa.DictionaryArray.from_arrays(self._attributes[row], self.attributes),
            pa.array(observed.samples.time).cast(STAMP),
            *(pa.array(column, from_pandas=True) for column in scores[:6]),  # NaN is null
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCORES_FILE)

    def health(self, panel: Panel) -> pa.RecordBatch:
        """Return rows of health.parquet: every entity of which something is expected."""
        known = ~np.isnan(panel.coverage)
        tick, entity = np.nonzero(known)
        health = panel.health[known]
        cells = panel.cells
        chosen = np.flatnonzero(known.ravel())
        starts = np.append(cells.start[chosen], cells.start[-1]).astype(np.int32)
        signals = pa.StructArray.from_arrays(
            [
                pa.DictionaryArray.from_arrays(self._metric[cells.series], self.metrics),
                pa.DictionaryArray.from_arrays(self._attributes[cells.series], self.attributes),
                pa.array(cells.share),
            ],
            fields=list(CONTRIBUTIONS.value_type),
        )
        columns = [
            pa.DictionaryArray.from_arrays(entity.astype(np.int32), self.entities),
            pa.array(panel.ticks[tick]).cast(STAMP),
            pa.array(health, mask=np.isnan(health)),
            pa.DictionaryArray.from_arrays(panel.state[known].astype(np.int32), STATE_NAMES),
            pa.array(panel.coverage[known]),
            pa.array(panel.score[known]),
            pa.ListArray.from_arrays(pa.array(starts), signals, type=CONTRIBUTIONS),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=HEALTH_FILE)


def health_rows(kept: Sequence[Assessed]) -> pa.Table:
    """Return assessments of the ledger as rows of health.parquet."""
    parts = [contribution for one in kept for contribution in one.contributions]
    starts = np.cumsum([0, *(len(one.contributions) for one in kept)], dtype=np.int32)
    signals = pa.StructArray.from_arrays(
        [
            pa.array([one.metric for one in parts], pa.string()).dictionary_encode(),
            pa.array([one.attributes for one in parts], pa.string()).dictionary_encode(),
            pa.array([one.share for one in parts], pa.float64()),
        ],
        fields=list(CONTRIBUTIONS.value_type),
    )
    columns = [
        pa.array([one.entity for one in kept], pa.string()).dictionary_encode(),
        pa.array([one.time for one in kept], pa.int64()).cast(STAMP),
        pa.array([one.health for one in kept], pa.float64()),
        pa.array([str(one.state) for one in kept], pa.string()).dictionary_encode(),
        pa.array([one.coverage for one in kept], pa.float64()),
        pa.array([one.score for one in kept], pa.float64()),
        pa.ListArray.from_arrays(pa.array(starts), signals, type=CONTRIBUTIONS),
    ]
    return pa.Table.from_arrays(columns, schema=HEALTH_FILE)


def series_digest(keys: Sequence[pa.RecordBatch]) -> str:
    """Return the SHA-256 over the names of all series, in order."""
    sha = hashlib.sha256()
    for row in pa.Table.from_batches(keys, schema=KEYS).to_pylist():
        sha.update(canonical(row).encode())
    return sha.hexdigest()


def reader(folder: Path) -> Callable[[Sequence[tuple[str, str, str]]], pa.Table]:
    """Return a function that reads the scores of chosen (entity, metric, attributes)."""

    def read(chosen: Sequence[tuple[str, str, str]]) -> pa.Table:
        near = pc.scalar(True)
        for index, name in enumerate(KEYS.names[:2]):
            near = near & pc.field(name).isin(sorted({key[index] for key in chosen}))
        found = pads.dataset(folder / "scores.parquet").to_table(
            filter=near, batch_size=1 << 16, batch_readahead=2, fragment_readahead=1
        )
        return found.filter(pa.array(_among(found, chosen)))

    return read


def within(table: pa.Table, facts: Facts) -> pa.Table:
    """Return the rows of the window."""
    return table.filter(_inside(facts))


def _inside(facts: Facts) -> pc.Expression:
    return (pc.field("time") >= pa.scalar(facts.since, pa.int64()).cast(STAMP)) & (
        pc.field("time") <= pa.scalar(facts.until, pa.int64()).cast(STAMP)
    )


def _among(table: pa.Table, chosen: Sequence[tuple[str, str, str]]) -> npt.NDArray[np.bool_]:
    """Return which rows name one of the chosen series."""
    code = np.zeros(table.num_rows, np.int64)
    wanted = np.zeros(len(chosen), np.int64)
    for index, name in enumerate(KEYS.names):
        column = table[name].unify_dictionaries().combine_chunks()
        names = {value: number for number, value in enumerate(column.dictionary.to_pylist())}
        size = len(names) + 1  # one more, for names that no row has
        code = code * size + column.indices.to_numpy()
        wanted = wanted * size + np.array(
            [names.get(key[index], len(names)) for key in chosen], np.int64
        )
    result: npt.NDArray[np.bool_] = np.isin(code, wanted)
    return result


def _codes(names: Texts) -> tuple[pa.Array, np.ndarray[Any, np.dtype[np.int32]]]:
    return pa.array(names.words, pa.string()), names.code.astype(np.int32)


def _plain(name: str) -> pa.DataType:
    return pa.int64() if name == "time" else pa.float64()


def _refuse_foreign(out: Path) -> None:
    """Only an absent or empty folder, or one that holds an earlier run, may be replaced."""
    if out.exists() and (
        not out.is_dir() or (any(out.iterdir()) and not (out / "run.json").exists())
    ):
        raise OutputError(
            f"{out}: holds something that is not a watchkeeper run",
            hint="choose a new folder for --out",
        )
