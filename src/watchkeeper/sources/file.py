"""Telemetry in files: CSV, JSON lines, Parquet; finished ones, or ones that still grow.

    timestamp,entity,metric,value[,attribute…]     long
    timestamp[,entity],metric,metric,…             wide
    timestamp,value                                NAB

What a file is, its bytes tell: the suffix only says which files of a folder are read. Rows that
cannot be read go to quarantine with `file:line`; their neighbours are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from watchkeeper.errors import InputError, NothingToRead
from watchkeeper.model import Batch, Cursor
from watchkeeper.sources._assemble import Parts
from watchkeeper.sources._bytes import PARQUET, open_bytes
from watchkeeper.sources._follow import Follower
from watchkeeper.sources._inputs import Found, expand, sha256
from watchkeeper.sources._layout import Kind, Wanted
from watchkeeper.sources._parquet import Parquet
from watchkeeper.sources._text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Files, folders (searched through) and patterns, plain or packed (gz, zst, bz2, xz).

    :param paths: what to read, in order of the names found.
    :param name: the source's name in the journal.
    :param root: the folder names are relative to; the folder given in `paths` unless said.
    :param layout: `auto` tells it from the columns.
    :param entity: the entity of every row; else a column says it, else the file's name.
    :param entity_type: put before entities without a type; `host`, for NAB `series`, unless said.
    :param time_column: which column holds the time; found by its name unless said.
    :param entity_column: which column holds the entity.
    :param metric_column: which column of a long file holds the metric's name.
    :param value_column: which column of a long or NAB file holds the value.
    :param attribute_columns: columns of a wide file that describe a series instead of being one.
    :param delimiter: between the cells of CSV; `,` `;` or tab, told from the header, unless said.
    :param follow: go on reading what is added, through rotations.
    :param batch_rows: samples of a batch, about.
    :param interval: seconds between looks at files that grow.
    """

    paths: tuple[str, ...]
    name: str = "file"
    root: str = ""
    layout: Kind = "auto"
    entity: str = ""
    entity_type: str = ""
    time_column: str = ""
    entity_column: str = ""
    metric_column: str = ""
    value_column: str = ""
    attribute_columns: tuple[str, ...] = ()
    delimiter: str = ""
    follow: bool = False
    batch_rows: int = 500_000
    interval: float = 5.0

    at_home: ClassVar[bool] = True

    @property
    def sampled(self) -> bool:
        """A poll hands on what waits in the files."""
        return False

    def open(self, cursor: Cursor | None) -> FileReader:
        """Start after `cursor`; None starts at the first file's first row."""
        return FileReader(self, cursor)

    def wanted(self) -> Wanted:
        """Return what was said about the columns."""
        return Wanted(
            layout=self.layout,
            time=self.time_column,
            entity=self.entity_column,
            metric=self.metric_column,
            value=self.value_column,
            attributes=self.attribute_columns,
            fixed=self.entity,
            entity_type=self.entity_type,
        )


class Part(NamedTuple):
    """One input file, as `run.json` names it, with the source that reads it alone."""

    source: File
    name: str
    size: int
    sha256: str


class Scanned(NamedTuple):
    """The inputs of one run, and what stood in the way of some of them."""

    parts: list[Part]
    problems: list[InputError]


class FileReader:
    """Reads the files of one source, one behind the other. See `sources.Reader`.

    A file that cannot be read raises once, after all that could be read of it, and the next poll
    goes on with the next file; `problems` keeps what was raised.
    """

    def __init__(self, source: File, cursor: Cursor | None) -> None:
        self._source = source
        self.problems: list[InputError] = []
        stood = json.loads(cursor) if cursor else {}
        self._follower: Follower | None = None
        self._waiting: list[Found] = []
        self._current: tuple[Found, Any] | None = None
        self._fresh = False  # the current file was opened at its beginning and gave nothing yet
        self._unsaid: list[InputError] = []
        if source.follow:
            self._follower = Follower(
                source.paths, source.root, self._opened, stood.get("files", {})
            )
            return
        found, self._unsaid = expand(source.paths, source.root)
        self._stood = stood
        after = stood.get("file", "")
        self._waiting = [one for one in found if one.key >= after]

    def poll(self) -> Batch | None:
        """Return the next batch; None when all files are read (to their present end)."""
        try:
            if self._follower is not None:
                got = self._follower.read()
                if got is None:
                    return None
                return self._batch(got[0], {"files": self._follower.positions})
            return self._next()
        except InputError as error:
            self.problems.append(error)
            raise

    def close(self) -> None:
        """Release the files. Safe to call twice."""
        if self._follower is not None:
            self._follower.close()
        self._leave()

    def _next(self) -> Batch | None:
        if self._unsaid:
            raise self._unsaid.pop(0)
        while self._current is not None or self._waiting:
            if self._current is None:
                self._enter(self._waiting.pop(0))
            assert self._current is not None
            found, reader = self._current
            try:
                got = reader.read()
            except InputError:
                self._leave()
                raise
            if got is not None:
                self._fresh = False
                parts, at, line = got
                return self._batch(parts, {"file": found.key, "at": at, "line": line})
            self._leave()
            if self._fresh:
                raise NothingToRead(f"{found.origin.name}: no rows", hint="leave the file out")
        return None

    def _enter(self, found: Found) -> None:
        stood = self._stood if self._stood.get("file") == found.key else {}
        reader = self._opened(found.path, found, stood.get("at", 0), stood.get("line", 1))
        self._current, self._fresh = (found, reader), not stood

    def _leave(self) -> None:
        if self._current is not None:
            self._current[1].close()
            self._current = None

    def _opened(self, path: Path, found: Found, at: int, line: int) -> Any:
        source = self._source
        stream, head = open_bytes(path, found.origin.name)
        stream.close()
        if head.startswith(PARQUET):
            return Parquet(path, found.origin, source.wanted(), at, source.batch_rows)
        return Text(
            path, found.origin, source.wanted(), source.delimiter, source.batch_rows,
            at=at, line=line, waits=source.follow,
        )  # fmt: skip

    def _batch(self, parts: Parts, stands: dict[str, Any]) -> Batch:
        cursor = Cursor(json.dumps(stands, sort_keys=True, separators=(",", ":")))
        return Batch(self._source.name, cursor, parts.keys, parts.samples, parts.unread)


def scan(inputs: Sequence[str], **options: Any) -> Scanned:
    """Find the files of one run and digest them.

    :param options: fields of `File` that hold for all of them (`layout`, `entity`, …).
    :raises NothingToRead: no file was found and nothing stood in the way.
    """
    found, problems = expand(inputs, options.get("root", ""))
    pattern = File(**{**options, "paths": ()})
    parts: list[Part] = []
    for one in found:
        try:
            size, digest = sha256(one.path, one.origin.name)
        except InputError as error:
            problems.append(error)
            continue
        root = str(one.path).removesuffix(one.origin.name)
        source = replace(pattern, paths=(str(one.path),), root=root, name=one.key)
        parts.append(Part(source, one.key, size, digest))
    if not parts and not problems:
        raise NothingToRead("no input files", hint="give files, folders or patterns")
    return Scanned(parts, problems)


plugin = File
