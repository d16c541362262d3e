"""Older versions of the configuration's format, brought up to this one step by step.

A file of an older version means what it meant when it was written, and what was done to it is told.
What a step adds lies under all files, so that whatever any of them says goes before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from watchkeeper import plugins
from watchkeeper.config._yaml import Node
from watchkeeper.flags import needed

VERSION = 1  # what this release writes

Added = tuple[Node, list[str]]  # a layer, and what it says in a line each


def _flags(root: Node) -> Added:
    """From 0 to 1: what leaves this host needs its flag; before, it was on once configured."""
    found = {flag: node for flag, node in _leaving(root) if flag}
    layer = {flag: replace(node, value=True, key=None) for flag, node in found.items()}
    told = [f"flags: {{{flag}: true}}, as it is configured here" for flag in sorted(found)]
    return Node({"flags": Node(dict(sorted(layer.items())), root.place)}, root.place), told


STEPS: Mapping[int, Callable[[Node], Added]] = {0: _flags}


def climb(layers: Sequence[Node]) -> tuple[list[Node], tuple[str, ...]]:
    """Return files in this release's version, and what was done to those of an older one."""
    below, risen, told = list[Node](), list[Node](), list[str]()
    for root in layers:
        number = _version(root)
        while number in STEPS:
            layer, said = STEPS[number](root)
            below.append(layer)
            told += [f"{root.place.file}: version {number} is read as {number + 1}"]
            told += [f"{root.place.file}: {line}" for line in said]
            number += 1
            assert isinstance(root.value, dict)
            version = replace(root.value["version"], value=number)
            root = replace(root, value={**root.value, "version": version})
        risen.append(root)
    return [*below, *risen], tuple(told)


def _version(root: Node) -> int:
    """Return what a file says; -1, from which no step leads, when that is no number."""
    node = root.value.get("version") if isinstance(root.value, dict) else None
    return node.value if node is not None and type(node.value) is int else -1


def _leaving(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield the flag that each source and action needs, and where its type is written."""
    parts = root.value if isinstance(root.value, dict) else {}
    for family, word in (("sources", "source"), ("actions", "action")):
        value = parts[family].value if family in parts else None
        plugs = list(value.values()) if isinstance(value, dict) else value
        for node in plugs if isinstance(plugs, list) else ():
            kind = node.value.get("type") if isinstance(node.value, dict) else None
            if kind is not None and kind.value in plugins.kinds(family):
                yield needed(plugins.load(family, str(kind.value)), word, str(kind.value)), kind
