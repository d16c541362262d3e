"""Find plugs by file name: `type: robust` under `detectors:` is detectors/robust.py.

No registry, no decorator, no list to edit. The file is the registration, and a plug costs its
import only when the configuration names it. A third party offers the same through an entry point
in the group `watchkeeper.<family>`; the entry point's name is the kind.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import pkgutil
from typing import Any, cast

from watchkeeper.errors import UnknownKind


def kinds(family: str) -> list[str]:
    """Return the names usable as `type:` in one family, sorted, without importing the plugs."""
    package = importlib.import_module(f"watchkeeper.{family}")
    return sorted(_own(*package.__path__) | _foreign(family).keys())


def load(family: str, kind: str) -> Any:
    """Return the class that one plug file offers as `plugin`.

    :raises UnknownKind: no file and no entry point has this name.
    """
    known = kinds(family)
    if kind not in known:
        close = difflib.get_close_matches(kind, known, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise UnknownKind(
            f"{family}: no kind {kind!r}", hint=f"{meant}known kinds: {', '.join(known)}"
        )
    foreign = _foreign(family).get(kind)
    if foreign is not None:
        return foreign.load()
    return importlib.import_module(f"watchkeeper.{family}.{kind}").plugin


@functools.cache  # what is installed does not change under a running process
def _own(*folders: str) -> frozenset[str]:
    found = (module.name for module in pkgutil.iter_modules(folders))
    return frozenset(name for name in found if not name.startswith("_"))


@functools.cache
def _foreign(family: str) -> dict[str, importlib.metadata.EntryPoint]:
    group = _installed().select(group=f"watchkeeper.{family}")
    return {point.name: point for point in group}


@functools.cache
def _installed() -> importlib.metadata.EntryPoints:
    # Python 3.11 says groups, which are selected from alike.
    return cast("importlib.metadata.EntryPoints", importlib.metadata.entry_points())
