"""Put new files in the place of a data folder's own, all of them or none.

    .next/    the new files while they grow; means nothing
    .whole/   the same folder, renamed once all of them are on the disk: from here on they take
              their places, whoever finishes it
    aside/    what stood there before, in a folder named in `.whole/ASIDE`

A cut at any moment leaves either the old files and a `.next` that nobody needs, or a `.whole`; the
next `finish` goes on with it. A file is in `.whole` exactly as long as it is not in its place.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from watchkeeper.errors import OutputError, Unfinished
from watchkeeper.store import file
from watchkeeper.store.lock import let_go, take
from watchkeeper.store.placed import sync

NEXT, WHOLE, ASIDE = ".next", ".whole", "aside"
WHERE = "ASIDE"  # in `.whole`: the name of the folder below `aside`
STORES = ("journal", "ledger")
COMPANIONS = ("", "-wal", "-shm", "-journal")  # of a store: they belong to the old one


@contextmanager
def owned(data: Path) -> Iterator[None]:
    """Own both stores of a folder, without opening them.

    :raises StoreLocked: a process has one of them open for writing.
    """
    locks: list[int] = []
    try:
        for name in STORES:
            locks.append(take(data / f"{name}.sqlite", name))
        yield
    finally:
        for lock in locks:
            let_go(lock)


def begin(data: Path) -> Path:
    """Return an empty folder for the new files; what a cut left there is dropped."""
    folder = data / NEXT
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(
            f"{folder}: {error.strerror}", hint="the user that runs watchkeeper must own --data"
        ) from error
    return folder


def drop(data: Path) -> None:
    """Forget the new files."""
    shutil.rmtree(data / NEXT, ignore_errors=True)


def commit(data: Path, aside: str) -> Path:
    """Let the new files take their places, durably; what stood there goes aside.

    :param aside: name of a folder below `aside`, see `free`.
    :return: that folder; it is not there when nothing had to go.
    """
    folder = data / NEXT
    for path in [*folder.rglob("*.lock"), *folder.rglob("*-shm"), *folder.rglob("*-wal")]:
        assert not path.name.endswith("-wal") or path.stat().st_size == 0, f"{path} is still open"
        path.unlink()
    (folder / WHERE).write_text(aside, encoding="utf-8")
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)
    file.crash_point("swap.ready")
    folder.rename(data / WHOLE)
    sync(data)
    file.crash_point("swap.whole")
    finish(data)
    return data / ASIDE / aside


def free(data: Path, name: str) -> str:
    """Return this name, with a number if a folder below `aside` has it already."""
    found, number = name, 1
    while (data / ASIDE / found).exists():
        found, number = f"{name}-{number}", number + 1
    return found


def finish(data: Path) -> bool:
    """Go on where a cut left new files that are whole; return whether there were any."""
    whole = data / WHOLE
    if not whole.exists():
        return False
    where = whole / WHERE
    kept = data / ASIDE / (where.read_text(encoding="utf-8") if where.exists() else "")
    for new in sorted(path for path in whole.rglob("*") if path.is_file() and path != where):
        name = new.relative_to(whole)
        for end in COMPANIONS:
            _move(data / f"{name}{end}", kept / f"{name}{end}")
        sync(data)
        file.crash_point("swap.aside")
        (data / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.rename(data / name)
        sync((data / name).parent)
        file.crash_point("swap.placed")
    where.unlink(missing_ok=True)
    shutil.rmtree(whole)
    sync(data)
    return True


def unfinished(data: Path) -> None:
    """Return if nothing is half done.

    :raises Unfinished: a command that changes the folder as a whole was cut off.
    """
    if (data / WHOLE).exists():
        raise Unfinished(
            f"{data}: a restore, repair or migration was cut off while it put its files in place",
            hint="start the house, or run `watchkeeper repair --yes`: either finishes it",
        )


def set_aside(data: Path, names: list[Path], aside: str) -> None:
    """Move files that nobody needs out of the way, keeping them."""
    for name in names:
        _move(data / name, data / ASIDE / aside / name)
    sync(data)


def _move(old: Path, new: Path) -> None:
    if old.exists():
        new.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        old.rename(new)
        with suppress(OSError):
            sync(new.parent)
