"""Look for trouble with this machine and this installation, and say what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from watchkeeper import __version__
from watchkeeper.cli._terminal import Output, emit, now, stamp

SQLITE_FIXED = (3, 51, 3)  # every version before can corrupt a WAL file (sqlite.org/wal.html)
MEMORY_WARN, MEMORY_FAIL = 1 << 30, 512 << 20  # bytes allowed; its libraries take 300 MiB
SPACE_WARN, SPACE_FAIL = 5 << 30, 512 << 20  # bytes free where journal and ledger grow
CLOCK_EARLIEST = 1_750_000_000_000  # 2025-06-15: no release is older
CLOCK_LATEST = 4_102_444_800_000  # 2100-01-01
TOOLS = {
    "chronyc": "chrony keeps the clock right; so does systemd-timesyncd",
    "amtool": "to look at a local Alertmanager",
    "duckdb": "to query scores.parquet and health.parquet by hand",
}

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing looked at. :param hint: what to do; empty when it is fine."""

    what: str
    verdict: Verdict
    found: str
    hint: str = ""


def doctor(
    *,
    data: Path = Path("watchkeeper-data"),
    config: tuple[Path, ...] = (),
    output: Output = "text",
) -> int:
    """Look for trouble with this machine; exit with 1 when something fails.

    Examples:

      watchkeeper doctor
      watchkeeper doctor --data /var/lib/watchkeeper

    Parameters
    ----------
    data
        The folder of journal and ledger.
    config
        Configuration whose limits: memory: is held against what is allowed here.
    output
        text or json.
    """
    rows = list(diagnose(data, config))
    sound = all(row.verdict != "fail" for row in rows)
    facts = {"ok": sound, "rows": [asdict(row) for row in rows]}
    emit(output, facts, "\n".join(map(_text, rows)))
    return 0 if sound else 1


def diagnose(data: Path, config: tuple[Path, ...] = ()) -> Iterator[Row]:
    """Yield what was found, the most basic first."""
    yield Row("watchkeeper", "ok", __version__)
    looks: tuple[Callable[[], Row], ...] = (
        _python,
        _machine,
        _sqlite,
        _kernels,
        lambda: _memory(config),
        lambda: _folder(data),
        lambda: _space(data),
        _clock,
    )
    for look in looks:
        yield look()
    for tool, use in TOOLS.items():
        path = shutil.which(tool)
        yield Row(f"optional: {tool}", "ok", path or f"not installed; {use}")


def _text(row: Row) -> str:
    line = f"{row.verdict:<5}{row.what:<20}{row.found}"
    return f"{line}\n{'':25}{row.hint}" if row.hint else line


def _python() -> Row:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.flags.optimize:
        hint = "start Python without -O: assertions guard what is written"
        return Row("python", "warn", f"{found}, assertions off", hint)
    return Row("python", "ok", found)


def _machine() -> Row:
    found = f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"
    if platform.machine() not in ("x86_64", "AMD64"):
        hint = "scores are proven equal bit for bit on x86-64 only; do not mix machines in a replay"
        return Row("machine", "warn", found, hint)
    return Row("machine", "ok", found)


def _sqlite() -> Row:
    import apsw

    found = apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")[:3]) < SQLITE_FIXED:
        hint = "older than 3.51.3, which can corrupt the journal; upgrade the apsw package"
        return Row("sqlite", "warn", found, hint)
    return Row("sqlite", "ok", f"{found} (apsw {apsw.apsw_version()})")


def _kernels() -> Row:
    """Compiled kernels are kept beside the code, or in NUMBA_CACHE_DIR; else each start waits."""
    import watchkeeper

    named = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(named) if named else Path(watchkeeper.__file__).parent
    if _writable(folder):
        return Row("kernel cache", "ok", str(folder))
    hint = "set NUMBA_CACHE_DIR to a folder you can write, or every start compiles anew"
    return Row("kernel cache", "warn", f"{folder} cannot be written", hint)


def _folder(data: Path) -> Row:
    if not data.exists():
        home = _existing(data)
        if _writable(home):
            return Row("data folder", "ok", f"{data} will be made at the first start")
        hint = f"make it and give it to this user: chown {os.getuid()} {data}"
        return Row("data folder", "fail", f"{data} cannot be made in {home}", hint)
    if not data.is_dir() or not _writable(data):
        hint = f"give it to this user: chown -R {os.getuid()} {data}"
        return Row("data folder", "fail", f"{data} is no folder we can write", hint)
    open_keys = [path for path in _keys(data) if path.stat().st_mode & 0o077]
    if open_keys:
        hint = f"chmod 600 {open_keys[0]}"
        return Row("data folder", "fail", f"{open_keys[0]} is open to other users", hint)
    if data.stat().st_mode & stat.S_IWOTH:
        return Row("data folder", "fail", f"{data} is open to everybody", f"chmod o-w {data}")
    return Row("data folder", "ok", str(data))


def _keys(data: Path) -> list[Path]:
    folder = data / "keys"
    return sorted(folder.glob("*.key")) if folder.is_dir() else []


def _memory(config: tuple[Path, ...]) -> Row:
    from watchkeeper.cli._house import configured
    from watchkeeper.memory import Budget, mebibytes

    budget = Budget(configured(config).limits.memory if config else 0)
    allowed = budget.allowed
    found = (
        f"{mebibytes(allowed.size)} allowed by {allowed.by}, {mebibytes(budget.most)} to be used"
    )
    if budget.unfit:
        return Row("memory", "fail", found, f"{budget.unfit}; ask for less, or allow more")
    if allowed.size >= MEMORY_WARN:
        return Row("memory", "ok", found)
    hint = (
        "room for few series: allow 1 GiB or more (MemoryMax= of the unit, memory of the container)"
    )
    return Row("memory", "fail" if allowed.size < MEMORY_FAIL else "warn", found, hint)


def _space(data: Path) -> Row:
    free = shutil.disk_usage(_existing(data)).free
    found = f"{free / (1 << 30):.1f} GiB free"
    if free >= SPACE_WARN:
        return Row("disk space", "ok", found)
    hint = "ingestion stops when the disk is full; move --data to a larger disk"
    return Row("disk space", "fail" if free < SPACE_FAIL else "warn", found, hint)


def _clock() -> Row:
    time = now()
    found = stamp(time)
    if not CLOCK_EARLIEST < time < CLOCK_LATEST:
        hint = "set the clock: samples too far from it are put in quarantine"
        return Row("clock", "fail", found, hint)
    synchronised = Path("/run/systemd/timesync/synchronized").exists()
    return Row("clock", "ok", f"{found}, synchronised" if synchronised else found)


def _existing(path: Path) -> Path:
    """Return the nearest folder above that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
