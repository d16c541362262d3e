"""A configuration as it is written: every value by its path, and what differs between two.

What may be a secret is not shown, and still known to differ: instead of it, a fingerprint is kept
under a key that lives as long as the process.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from watchkeeper import plugins
from watchkeeper.config import _secrets
from watchkeeper.config._plugs import types_of
from watchkeeper.config._problems import path_text, shown
from watchkeeper.config._schema import SECTIONS
from watchkeeper.config._yaml import Node, Step
from watchkeeper.secret import SHOWN

_KEY = os.urandom(32)
FAMILIES = ("receivers", "sources", "detectors", "health", "actions", "secrets", "engine")
CHANGES_MAX = 200  # told of one reload


class Change(NamedTuple):
    """One value that differs. `was` is empty when it is new, `now` when it is gone."""

    path: str
    was: str
    now: str


@dataclass(frozen=True)
class Written:
    """Every value: its text as it may be shown, and its fingerprint."""

    values: Mapping[str, tuple[str, bytes]] = dataclasses.field(default_factory=dict, repr=False)

    def difference(self, newer: Written) -> list[Change]:
        """Return what differs in a newer one, by path."""
        nothing = ("", b"")
        paths = sorted(self.values.keys() | newer.values.keys())
        pairs = [(p, self.values.get(p, nothing), newer.values.get(p, nothing)) for p in paths]
        return [Change(p, was[0], now[0]) for p, was, now in pairs if was[1] != now[1]][
            :CHANGES_MAX
        ]


def written(root: Node) -> Written:
    """Return a merged configuration as it is written."""
    return Written(dict(_values(root, (), hidden=False)))


def _values(
    node: Node, path: tuple[Step, ...], *, hidden: bool
) -> Iterator[tuple[str, tuple[str, bytes]]]:
    if isinstance(node.value, dict) and node.value:
        closed = _closed(node, path)
        for name, child in node.value.items():
            yield from _values(child, (*path, name), hidden=hidden or name in closed)
    elif isinstance(node.value, list) and node.value:
        for index, item in enumerate(node.value):
            yield from _values(item, (*path, _step(item, index)), hidden=hidden)
    else:
        text = SHOWN if hidden else shown(node, path)
        mark = hmac.digest(_KEY, repr(node.data()).encode(), hashlib.sha256)
        yield path_text(path), (text, mark)


def _step(item: Node, index: int) -> Step:
    """Elements with a name go by it: another one before them is no change of theirs."""
    name = item.value.get("name") if isinstance(item.value, dict) else None
    return name.value if name is not None and isinstance(name.value, str) else index


def _closed(node: Node, path: Sequence[Step]) -> set[str]:
    """Return the fields that are not shown: secrets, and what a plug's own text leaves out."""
    kind = node.value.get("type") if isinstance(node.value, dict) else None
    family = str(path[0]) if path else ""
    plug: Any
    if len(path) == 1 and family in SECTIONS:
        plug = SECTIONS[family]
    elif kind is not None and family in FAMILIES:
        plug = plugins.load({"engine": "engines"}.get(family, family), str(kind.value))
    else:
        return set()
    quiet = {field.name for field in dataclasses.fields(plug) if not field.repr}
    return quiet | {name for name, type_ in types_of(plug).items() if _secrets.holds(type_)}
