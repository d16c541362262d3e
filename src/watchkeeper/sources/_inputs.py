"""Which files an operator means by paths, folders and patterns, and what their contents are."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from watchkeeper.errors import InputError, NothingToRead
from watchkeeper.sources._bytes import refused
from watchkeeper.sources._layout import Origin

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".pq")  # `.json` is rarely a table
PACKED = (".gz", ".zst", ".bz2", ".xz")


class Found(NamedTuple):
    """One file to read.

    :param key: its name, made unique among the inputs of one source.
    """

    path: Path
    origin: Origin
    key: str


def expand(paths: Sequence[str], root: str = "") -> tuple[list[Found], list[InputError]]:
    """Return the files meant by paths, folders (searched through) and patterns, sorted by name.

    Names are relative to `root`, else to the folder given, so they do not change when the inputs
    are moved. Hidden files, and in folders files of other formats, are passed over.
    """
    found: dict[Path, Origin] = {}
    problems: list[InputError] = []
    for text in paths:
        files, base = _meant(text, problems)
        for path in files:
            base_of = Path(root) if root else base
            found.setdefault(path, Origin(_relative(path, base_of), stem(path)))
    taken: dict[str, int] = {}
    named: list[Found] = []
    for path, origin in sorted(found.items(), key=lambda one: (one[1].name, str(one[0]))):
        number = taken[origin.name] = taken.get(origin.name, 0) + 1
        key = origin.name if number == 1 else f"{origin.name}#{number}"
        named.append(Found(path, origin, key))
    return sorted(named, key=lambda one: one.key), problems


def stem(path: Path) -> str:
    """Return a file's name without the suffixes of its format and compression."""
    name = path.name
    for suffixes in (PACKED, (*FORMATS, ".json")):
        for suffix in suffixes:
            if name.lower().endswith(suffix) and len(name) > len(suffix):
                name = name[: -len(suffix)]
                break
    return name


def sha256(path: Path, name: str) -> tuple[int, str]:
    """Return the size in bytes and the SHA-256 of a file as it lies on the disk.

    :raises Unreadable: the system refused.
    """
    try:
        with path.open("rb", buffering=0) as file:
            found = hashlib.file_digest(file, "sha256")
            return file.tell(), found.hexdigest()
    except OSError as error:
        raise refused(name, error) from error


def _meant(text: str, problems: list[InputError]) -> tuple[list[Path], Path]:
    path = Path(text)
    if path.is_dir():
        return _inside(path, problems), path
    if not os.path.lexists(path) and glob.has_magic(text):
        base = Path(_plain_prefix(text))
        matched = [Path(one) for one in glob.glob(text, recursive=True)]  # noqa: PTH207
        files = [one for one in matched if one.is_file()]
        if not files:
            problems.append(_nothing(text, "no file matches"))
        return sorted(files), base
    if not os.path.lexists(path):
        problems.append(_nothing(text, "does not exist"))
        return [], path.parent
    return [path], path.parent


def _inside(folder: Path, problems: list[InputError]) -> list[Path]:
    files: list[Path] = []
    before = len(problems)

    def note(error: OSError) -> None:
        problems.append(refused(str(error.filename), error))

    for where, folders, names in os.walk(folder, onerror=note):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        files += [
            Path(where) / name
            for name in sorted(names)
            if not name.startswith(".") and _is_ours(name)
        ]
    if not files and len(problems) == before:
        problems.append(_nothing(str(folder), f"holds no {', '.join(FORMATS)}"))
    return files


def _is_ours(name: str) -> bool:
    lower = name.lower()
    for suffix in PACKED:
        lower = lower.removesuffix(suffix)
    return lower.endswith(FORMATS)


def _plain_prefix(pattern: str) -> str:
    parts = Path(pattern).parts
    plain = [part for n, part in enumerate(parts) if not any(map(glob.has_magic, parts[: n + 1]))]
    return str(Path(*plain)) if plain else "."


def _relative(path: Path, base: Path) -> str:
    try:
        return path.relative_to(base).as_posix()
    except ValueError:
        return path.name


def _nothing(text: str, why: str) -> NothingToRead:
    return NothingToRead(f"{text}: {why}", hint="check the path; folders are searched through")
