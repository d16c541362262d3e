"""Where compiled kernels are kept: one folder for each state of the source.

numba caches a kernel by its own file alone. A kernel that calls one in another file would go on
with the old callee after an upgrade, and score differently without a word. So the cache's folder
is named after every source file's size and time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).parent


def keep_apart() -> None:
    """Point numba at the folder of this source, unless the operator named one."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    state = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        facts = path.stat()
        state.update(f"{path.relative_to(PACKAGE)} {facts.st_size} {facts.st_mtime_ns}".encode())
    name = f"kernels-{state.hexdigest()[:16]}"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    for place in (PACKAGE / "__pycache__", Path(home) / "watchkeeper"):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place, os.W_OK):
            os.environ["NUMBA_CACHE_DIR"] = str(place / name)
            return
    os.environ["NUMBA_CACHE_DIR"] = str(Path(tempfile.gettempdir()) / f"watchkeeper-{name}")
